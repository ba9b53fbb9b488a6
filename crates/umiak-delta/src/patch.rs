//! Following the copies and literals of one content on the applier's side.

use std::io::{self, Read};

use umiak_spec::ReadAt;

use crate::align::Copy;
use crate::model::{BLOCK, Progress};
use crate::reading::LaneIn;

/// A source that copies are taken from.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Its bytes.
    pub bytes: &'a dyn ReadAt,
    /// How many.
    pub size: u64,
}

/// How far a content is made.
pub struct Patch {
    progress: Progress,
    literal: u64,
    copy: u64,
    /// Where the copy goes on.
    base: u64,
    /// Bytes of the copy that were corrected and not yet given out.
    block: Vec<u8>,
    given: usize,
    /// Base bytes read ahead.
    window: Window,
}

impl Patch {
    /// A content of this size, made from a source of `base` bytes; nothing of it made.
    #[must_use]
    pub fn new(size: u64, base: u64) -> Self {
        let progress = Progress::new(size, base);
        Self { progress, literal: 0, copy: 0, base: 0, block: Vec::new(), given: 0, window: Window::default() }
    }

    /// Makes some more bytes, as many as fit into `buffer` or fewer; 0 at the end.
    ///
    /// # Errors
    /// The delta asks for what is not there, or something cannot be read.
    pub fn read(&mut self, lane: &mut LaneIn<'_>, source: Source<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        while self.literal == 0 && self.given == self.block.len() {
            if self.copy > 0 {
                self.next_block(lane, source)?;
            } else if self.progress.is_done() {
                return Ok(0);
            } else {
                let operation = lane.model.operation(None, &mut self.progress)?;
                self.literal = operation.literal;
                (self.base, self.copy) = operation.copy.unwrap_or((0, 0));
            }
        }
        if self.literal > 0 {
            let length = usize::try_from(self.literal).unwrap_or(usize::MAX).min(buffer.len());
            lane.bytes.read_exact(&mut buffer[..length])?;
            self.literal -= length as u64;
            return Ok(length);
        }
        let length = buffer.len().min(self.block.len() - self.given);
        buffer[..length].copy_from_slice(&self.block[self.given..self.given + length]);
        self.given += length;
        Ok(length)
    }

    fn next_block(&mut self, lane: &mut LaneIn<'_>, source: Source<'_>) -> io::Result<()> {
        let length = self.copy.min(BLOCK);
        self.block.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
        self.window.read(source, self.base, &mut self.block)?;
        lane.model.correct(&mut self.block, None, 0)?;
        self.given = 0;
        self.copy -= length;
        self.base += length;
        Ok(())
    }
}

/// All copies of a content of `size` bytes; `literal` is told where literals are.
///
/// # Errors
/// As [`Patch::read`]; more than `limit` copies.
pub fn copies(
    lane: &mut LaneIn<'_>,
    size: u64,
    base: u64,
    limit: usize,
    mut literal: impl FnMut(&mut LaneIn<'_>, u64, u64) -> io::Result<()>,
) -> io::Result<Vec<Copy>> {
    let mut progress = Progress::new(size, base);
    let mut copies = Vec::new();
    while !progress.is_done() {
        let at = progress.at();
        let operation = lane.model.operation(None, &mut progress)?;
        literal(lane, at, operation.literal)?;
        if let Some((base, length)) = operation.copy {
            if copies.len() == limit {
                return Err(invalid("a program has too many copies"));
            }
            copies.push(Copy { base, target: at + operation.literal, length });
        }
    }
    Ok(copies)
}

pub fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Short reads near each other become one.
#[derive(Default)]
struct Window {
    bytes: Vec<u8>,
    start: u64,
}

/// Bytes read at once for short copies.
const AHEAD: u64 = 16 << 10;

impl Window {
    fn read(&mut self, source: Source<'_>, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if buffer.len() as u64 >= AHEAD {
            return source.bytes.read_exact_at(buffer, offset);
        }
        let end = offset + buffer.len() as u64;
        if offset < self.start || end > self.start + self.bytes.len() as u64 {
            let start = offset.saturating_sub(AHEAD / 4);
            let length = (source.size - start).min(AHEAD + AHEAD / 4 + AHEAD);
            self.bytes.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
            self.start = start;
            source.bytes.read_exact_at(&mut self.bytes, start)?;
        }
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        buffer.copy_from_slice(&self.bytes[from..from + buffer.len()]);
        Ok(())
    }
}
