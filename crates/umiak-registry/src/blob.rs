//! A blob in a local file: a whole file, or a stretch of an archive.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use umiak_spec::{ReadAt, Verified};

use crate::error::{Error, IoContext as _};
use crate::image::Layer;

/// Bytes at hand; cheap to clone, readable from several threads at once.
#[derive(Debug, Clone)]
pub struct BlobFile {
    file: Arc<File>,
    offset: u64,
    length: u64,
}

impl BlobFile {
    /// A whole file.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).at("open", path)?;
        let length = file.metadata().at("look at", path)?.len();
        Ok(Self { file: Arc::new(file), offset: 0, length })
    }

    /// A stretch of a file.
    pub(crate) fn part(file: &Arc<File>, offset: u64, length: u64) -> Self {
        Self { file: Arc::clone(file), offset, length }
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The file that it lies in.
    pub(crate) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Reads from the start; each reader has a position of its own.
    #[must_use]
    pub fn reader(&self) -> BlobReader {
        BlobReader { blob: self.clone(), position: 0 }
    }

    /// All of it, for small documents; the caller has checked [`BlobFile::len`].
    pub(crate) fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.reader().read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Whether length and digest are those of `layer`.
    pub(crate) fn verify(&self, layer: &Layer, path: &Path) -> Result<(), Error> {
        let what = || format!("layer {}", layer.digest);
        if self.length != layer.size {
            return Err(Error::Size { what: what(), expected: layer.size, found: self.length });
        }
        let (found, _) = Verified::new(self.reader()).finish().at("read", path)?;
        if found != layer.digest {
            return Err(Error::Digest { what: what(), expected: layer.digest, found });
        }
        Ok(())
    }
}

impl ReadAt for BlobFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.length);
        end.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.file.read_exact_at(buffer, self.offset + offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.length)
    }
}

/// Reads a [`BlobFile`].
#[derive(Debug, Clone)]
pub struct BlobReader {
    blob: BlobFile,
    position: u64,
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.blob.length - self.position;
        let wanted = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.blob.file.read_at(&mut buffer[..wanted], self.blob.offset + self.position)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_ends_where_it_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, b"0123456789").unwrap();
        let whole = BlobFile::open(&path).unwrap();
        let part = BlobFile::part(&whole.file(), 2, 5);
        let mut buffer = [0; 3];
        part.read_exact_at(&mut buffer, 2).unwrap();
        assert_eq!(&buffer, b"456");
        for offset in [3, 5, u64::MAX] {
            assert!(part.read_exact_at(&mut buffer, offset).is_err(), "{offset}");
        }
        assert_eq!(ReadAt::len(&part).unwrap(), 5);
    }
}
