//! Bits into bytes as RFC 1951 packs them: the first bit is the lowest of the first byte.
//!
//! Writes what is full in large pieces. Holds no more than the buffer.

use std::io::{self, Write};

/// Bytes gathered before they are written.
const BUFFER: usize = 32 << 10;

/// Packs bits and hands the bytes on.
pub(super) struct BitWriter<'a> {
    out: &'a mut dyn Write,
    buffer: Vec<u8>,
    held: u64,
    count: u32,
    written: u64,
}

impl<'a> BitWriter<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, buffer: Vec::with_capacity(BUFFER + 8), held: 0, count: 0, written: 0 }
    }

    /// Appends the `count` low bits of `value`; at most 32, and the others are zero.
    #[inline]
    pub(super) fn put(&mut self, value: u32, count: u32) -> io::Result<()> {
        self.held |= u64::from(value) << self.count;
        self.count += count;
        if self.count >= 32 {
            self.buffer.extend_from_slice(&(self.held as u32).to_le_bytes());
            self.held >>= 32;
            self.count -= 32;
            if self.buffer.len() >= BUFFER {
                return self.flush();
            }
        }
        Ok(())
    }

    /// Zeros up to the next byte.
    pub(super) fn align(&mut self) -> io::Result<()> {
        let gap = self.count.wrapping_neg() & 7;
        self.put(0, gap)?;
        let whole = (self.count / 8) as usize;
        self.buffer.extend_from_slice(&self.held.to_le_bytes()[..whole]);
        self.held = 0;
        self.count = 0;
        Ok(())
    }

    /// Appends whole bytes; the writer must be aligned.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        debug_assert_eq!(self.count, 0);
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    /// Writes out everything, filled up to a byte; how many bytes there were.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        self.align()?;
        self.flush()?;
        Ok(self.written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
