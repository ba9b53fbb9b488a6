//! Blobs kept by digest, so that nothing is fetched twice.
//!
//! ```text
//! <cache>/blobs/sha256/<hex>            a whole blob
//! <cache>/blobs/sha256/<hex>.partial    what an interrupted fetch left; locked while a fetch goes on
//! <cache>/unpacked/<hex>                an archive that came compressed, by the digest of the compressed file
//! ```
//!
//! Guarantees: a file without suffix was complete and verified when it was renamed into place; before its first use in
//! a process it is verified again, and dropped if it is damaged. Several processes may use one cache: a partial file is
//! written by the one that holds its lock. This is the only module of the crate that changes files.
#![allow(clippy::disallowed_methods)]

use std::fs::{self, File};
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use umiak_spec::{Digest, Limits, Sha256, Verified};

use crate::blob::BlobFile;
use crate::error::{Error, IoContext as _};
use crate::image::Layer;

/// A directory of blobs.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    root: PathBuf,
}

impl Cache {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn blob(&self, digest: Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// The blob of `layer` if it is kept and whole.
    pub(crate) fn get(&self, layer: &Layer) -> Option<BlobFile> {
        let path = self.blob(layer.digest);
        let blob = BlobFile::open(&path).ok()?;
        match blob.verify(layer, &path) {
            Ok(()) => Some(blob),
            Err(_) => {
                let _ = fs::remove_file(&path);
                None
            }
        }
    }

    /// A kept manifest or config, if it is whole.
    pub(crate) fn document(&self, digest: Digest, limits: &Limits) -> Option<Vec<u8>> {
        let blob = BlobFile::open(&self.blob(digest)).ok().filter(|blob| blob.len() <= limits.document)?;
        blob.bytes().ok().filter(|bytes| Digest::of(bytes) == digest)
    }

    /// Keeps a verified manifest or config.
    pub(crate) fn keep_document(&self, digest: Digest, bytes: &[u8]) -> Result<BlobFile, Error> {
        let size = bytes.len() as u64;
        let blob = Layer { digest, size, media_type: String::new(), diff_id: None };
        let mut partial = self.partial(&blob)?;
        partial.restart()?;
        partial.append(bytes)?;
        self.keep(&blob, partial)
    }

    /// Starts or resumes a fetch; waits for another process that fetches the same blob.
    pub(crate) fn partial(&self, layer: &Layer) -> Result<Partial, Error> {
        let path = self.blob(layer.digest).with_extension("partial");
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).at("create", parent)?;
        }
        let file = loop {
            let options = File::options().read(true).write(true).create(true).truncate(false).clone();
            let file = options.open(&path).at("create", &path)?;
            file.lock().at("lock", &path)?;
            // Whoever held the lock may have renamed the file into place meanwhile: then it is a blob, not ours.
            let ours = file.metadata().at("look at", &path)?.ino();
            if fs::metadata(&path).is_ok_and(|there| there.ino() == ours) {
                break file;
            }
        };
        let mut partial = Partial { path, file, hash: Sha256::new(), length: 0 };
        let kept = partial.file.metadata().at("look at", &partial.path)?.len();
        if kept > layer.size {
            partial.restart()?;
        } else {
            partial.hash_kept()?;
        }
        Ok(partial)
    }

    /// Makes a fetched blob a whole one.
    pub(crate) fn keep(&self, layer: &Layer, mut partial: Partial) -> Result<BlobFile, Error> {
        let what = || format!("layer {}", layer.digest);
        if partial.length != layer.size {
            return Err(Error::Size { what: what(), expected: layer.size, found: partial.length });
        }
        let found = std::mem::take(&mut partial.hash).finish();
        if found != layer.digest {
            // What is there is of no use for another try.
            partial.restart()?;
            return Err(Error::Digest { what: what(), expected: layer.digest, found });
        }
        let path = self.blob(layer.digest);
        partial.file.sync_all().at("write to disk", &partial.path)?;
        fs::rename(&partial.path, &path).at("rename into place", &path)?;
        BlobFile::open(&path)
    }

    /// The plain bytes of a compressed archive, unpacked once.
    pub(crate) fn unpacked(
        &self,
        archive: &Path,
        unpack: impl FnOnce(File, &mut dyn Write) -> Result<(), Error>,
    ) -> Result<BlobFile, Error> {
        let file = File::open(archive).at("open", archive)?;
        let (digest, _) = Verified::new(&file).finish().at("read", archive)?;
        let path = self.root.join("unpacked").join(digest.hex());
        if !path.exists() {
            let mut file = file;
            file.seek(SeekFrom::Start(0)).at("read", archive)?;
            let beside = path.with_extension(format!("new-{}", std::process::id()));
            let made = create(&beside).and_then(|mut out| {
                unpack(file, &mut out)?;
                out.sync_all().at("write to disk", &beside)
            });
            if let Err(error) = made.and_then(|()| fs::rename(&beside, &path).at("rename into place", &path)) {
                let _ = fs::remove_file(&beside);
                return Err(error);
            }
        }
        BlobFile::open(&path)
    }

    /// A file without a name: gone when it is closed, however the process ends.
    pub(crate) fn nameless(&self) -> Result<File, Error> {
        fs::create_dir_all(&self.root).at("create", &self.root)?;
        let path = self.root.join(format!("scratch-{}-{:?}", std::process::id(), std::thread::current().id()));
        let file = create(&path)?;
        fs::remove_file(&path).at("remove", &path)?;
        Ok(file)
    }
}

fn create(path: &Path) -> Result<File, Error> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).at("create", parent)?;
    }
    File::options().read(true).write(true).create(true).truncate(true).open(path).at("create", path)
}

/// A blob that is being fetched.
pub(crate) struct Partial {
    path: PathBuf,
    file: File,
    hash: Sha256,
    length: u64,
}

impl Partial {
    /// Bytes that are here already: where the next fetch may start.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Forgets what is here.
    pub(crate) fn restart(&mut self) -> Result<(), Error> {
        self.file.set_len(0).at("empty", &self.path)?;
        self.file.seek(SeekFrom::Start(0)).at("empty", &self.path)?;
        self.hash = Sha256::new();
        self.length = 0;
        Ok(())
    }

    /// Adds bytes.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).at("write", &self.path)?;
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn hash_kept(&mut self) -> Result<(), Error> {
        let mut buffer = vec![0; 256 << 10];
        loop {
            match self.file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    self.hash.update(&buffer[..count]);
                    self.length += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).at("read", &self.path),
            }
        }
    }
}

/// A nameless file as a blob.
pub(crate) fn whole(file: File, length: u64) -> BlobFile {
    BlobFile::part(&Arc::new(file), 0, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(bytes: &[u8]) -> Layer {
        Layer { digest: Digest::of(bytes), size: bytes.len() as u64, media_type: String::new(), diff_id: None }
    }

    #[test]
    fn an_interrupted_fetch_is_resumed_and_kept_once_verified() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path());
        let layer = layer(b"hello world");
        cache.partial(&layer).unwrap().append(b"hello ").unwrap();
        assert!(cache.get(&layer).is_none());
        let mut again = cache.partial(&layer).unwrap();
        assert_eq!(again.length(), 6);
        again.append(b"world").unwrap();
        assert_eq!(cache.keep(&layer, again).unwrap().bytes().unwrap(), b"hello world");
        assert_eq!(cache.get(&layer).unwrap().bytes().unwrap(), b"hello world");
    }

    #[test]
    fn wrong_bytes_are_never_kept_nor_used() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path());
        let layer = layer(b"hello world");
        let mut partial = cache.partial(&layer).unwrap();
        partial.append(b"hello w0rld").unwrap();
        assert!(matches!(cache.keep(&layer, partial), Err(Error::Digest { .. })));
        assert_eq!(cache.partial(&layer).unwrap().length(), 0, "nothing of it is resumed");

        let path = cache.blob(layer.digest);
        fs::write(&path, "damaged").unwrap();
        assert!(cache.get(&layer).is_none());
        assert!(!path.exists(), "a damaged blob is dropped");
    }
}
