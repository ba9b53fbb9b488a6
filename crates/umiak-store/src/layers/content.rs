//! A content of a file that is stored: in a squashfs image, or as a blob.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use umiak_spec::ReadAt;
use umiak_squashfs::StoredContent;

use super::files::OpenImage;

/// Plain bytes, read at random; they stay readable when what holds them is removed meanwhile.
///
/// What is read was not verified: who needs to know that it is the content he looks for hashes it.
#[derive(Clone)]
pub struct Content(Where);

#[derive(Clone)]
enum Where {
    Image(OpenImage, StoredContent),
    Blob(Arc<File>, u64),
    Nothing,
}

impl Content {
    pub(crate) fn in_image(image: &OpenImage, stored: StoredContent) -> Self {
        Self(Where::Image(Arc::clone(image), stored))
    }

    pub(crate) fn blob(file: File, size: u64) -> Self {
        Self(Where::Blob(Arc::new(file), size))
    }

    /// No bytes.
    pub(crate) fn empty() -> Self {
        Self(Where::Nothing)
    }

    /// Bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match &self.0 {
            Where::Image(_, stored) => stored.size(),
            Where::Blob(_, size) => *size,
            Where::Nothing => 0,
        }
    }

    /// Reads it from its beginning to its end.
    #[must_use]
    pub fn reader(&self) -> ContentReader {
        ContentReader { content: self.clone(), position: 0 }
    }
}

impl ReadAt for Content {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match &self.0 {
            Where::Blob(file, _) => ReadAt::read_exact_at(file, buffer, offset),
            Where::Nothing if buffer.is_empty() => Ok(()),
            Where::Nothing => Err(io::ErrorKind::UnexpectedEof.into()),
            Where::Image(image, stored) => {
                let count = image.read_at(stored, offset, buffer).map_err(io::Error::other)?;
                if count == buffer.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
            }
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.size())
    }
}

/// A content in order.
pub struct ContentReader {
    content: Content,
    position: u64,
}

impl Read for ContentReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.content.size().saturating_sub(self.position);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        self.content.read_exact_at(&mut buffer[..count], self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}
