//! Following the copies and literals of one content on the applier's side.

use std::io::{self, Read};

use umiak_spec::ReadAt;

use crate::align::Copy;
use crate::reading::LaneIn;
use crate::varint;

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
    /// Bytes not yet made.
    left: u64,
    literal: u64,
    copy: u64,
    /// Where the copy goes on, or where the last one ended.
    base: u64,
    /// Base bytes read ahead.
    window: Window,
}

impl Patch {
    /// A content of this size, nothing of it made.
    #[must_use]
    pub fn new(size: u64) -> Self {
        Self { left: size, literal: 0, copy: 0, base: 0, window: Window::default() }
    }

    /// Makes some more bytes, as many as fit into `buffer` or fewer; 0 at the end.
    ///
    /// # Errors
    /// The delta asks for what is not there, or something cannot be read.
    pub fn read(&mut self, lane: &mut LaneIn<'_>, source: Source<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        while self.literal == 0 && self.copy == 0 {
            if self.left == 0 {
                return Ok(0);
            }
            self.next(lane, source.size)?;
        }
        let part = if self.literal > 0 { self.literal } else { self.copy };
        let length = usize::try_from(part).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..length];
        if self.literal > 0 {
            lane.bytes.read_exact(buffer)?;
            self.literal -= length as u64;
        } else {
            self.window.read(source, self.base, buffer)?;
            lane.correct(buffer)?;
            self.copy -= length as u64;
            self.base += length as u64;
        }
        self.left -= length as u64;
        Ok(length)
    }

    /// Reads the next literal's length and, unless it ends the content, the next copy.
    fn next(&mut self, lane: &mut LaneIn<'_>, size: u64) -> io::Result<()> {
        let step = Operation::read(lane, self.left, self.base, size)?;
        self.literal = step.literal;
        if let Some((base, length)) = step.copy {
            (self.base, self.copy) = (base, length);
        }
        Ok(())
    }
}

/// A literal and the copy behind it.
struct Operation {
    literal: u64,
    copy: Option<(u64, u64)>,
}

impl Operation {
    /// `left`: bytes of the target to come; `expected`: where the last copy ended; `size`: of the source.
    fn read(lane: &mut LaneIn<'_>, left: u64, expected: u64, size: u64) -> io::Result<Self> {
        let literal = varint::get(&mut lane.literals)?;
        let room = left.checked_sub(literal).ok_or_else(|| invalid("a literal reaches over the end of its file"))?;
        if room == 0 {
            return Ok(Self { literal, copy: None });
        }
        let length = varint::get(&mut lane.copies)?;
        let base = expected.checked_add_signed(varint::get_signed(&mut lane.seeks)?);
        let inside = base.and_then(|base| base.checked_add(length)).is_some_and(|end| end <= size);
        match base {
            Some(base) if inside && length > 0 && length <= room => Ok(Self { literal, copy: Some((base, length)) }),
            _ => Err(invalid("a copy reaches over the end of its base or its file")),
        }
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
    let (mut at, mut expected) = (0, 0);
    let mut copies = Vec::new();
    while at < size {
        let step = Operation::read(lane, size - at, expected, base)?;
        literal(lane, at, step.literal)?;
        at += step.literal;
        if let Some((base, length)) = step.copy {
            if copies.len() == limit {
                return Err(invalid("a program has too many copies"));
            }
            copies.push(Copy { base, target: at, length });
            at += length;
            expected = base + length;
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
