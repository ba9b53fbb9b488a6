//! A disk's file as a stream: what writers of formats want ([`Write`] and [`Seek`]).

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use umiak_spec::ReadAt as _;

use super::DiskFile;

/// A file with a position. Unbuffered: each write is one operation of the disk, so put a [`std::io::BufWriter`] around it.
/// A flush does not make anything durable; [`DiskFile::sync`] of [`Stream::file`] does.
pub struct Stream {
    file: Arc<dyn DiskFile>,
    position: u64,
}

impl Stream {
    /// At the start of `file`.
    #[must_use]
    pub fn new(file: Arc<dyn DiskFile>) -> Self {
        Self { file, position: 0 }
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Arc<dyn DiskFile> {
        &self.file
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all_at(bytes, self.position)?;
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.file.len()?.saturating_sub(self.position);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        self.file.read_exact_at(&mut buffer[..count], self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Stream {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let moved = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.file.len()?.checked_add_signed(by),
        };
        self.position = moved.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
