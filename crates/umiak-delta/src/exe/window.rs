//! Reading a file from some place on, again and again, in large pieces.

use std::io;

use umiak_spec::ReadAt;

/// Bytes read at a time while places follow each other.
const SIZE: u64 = 64 << 10;

/// Bytes read at a place that is far from the last.
const FIRST: u64 = 4 << 10;

/// Bytes before the place that was asked for.
const BEFORE: u64 = 256;

/// A file and the part of it that was read last.
pub struct Window<'a> {
    file: &'a dyn ReadAt,
    size: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    /// Nothing read.
    ///
    /// # Errors
    /// The file's size cannot be told.
    pub fn new(file: &'a dyn ReadAt) -> io::Result<Self> {
        Ok(Self { file, size: file.len()?, start: 0, bytes: Vec::new() })
    }

    /// The bytes from `offset` on.
    ///
    /// # Errors
    /// There are fewer, or they cannot be read.
    pub fn get(&mut self, offset: u64, length: u64) -> io::Result<&[u8]> {
        let end = offset.checked_add(length).filter(|end| *end <= self.size).ok_or(io::ErrorKind::UnexpectedEof)?;
        if offset < self.start || end > self.start + self.bytes.len() as u64 {
            let read = self.start + self.bytes.len() as u64;
            let follows = offset >= self.start && offset <= read + FIRST;
            let start = offset.saturating_sub(BEFORE);
            let stop = (start + if follows { SIZE } else { FIRST }).max(end).min(self.size);
            self.bytes.resize(usize::try_from(stop - start).map_err(|_| io::ErrorKind::OutOfMemory)?, 0);
            self.start = start;
            self.file.read_exact_at(&mut self.bytes, start)?;
        }
        let from = (offset - self.start) as usize;
        Ok(&self.bytes[from..from + length as usize])
    }
}
