//! One patched or new content on the maker's side: its copies, what they get wrong, and what they leave out.

use std::io;

use umiak_spec::ReadAt;

use crate::DeltaError;
use crate::align::{Copy, align};
use crate::plan::Method;
use crate::settle::Settle;
use crate::streams::{Kind, Lane, Streams};
use crate::varint;
use crate::{deflate, exe};

/// A content as a delta says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// How its copies are predicted; plain when there is no source.
    pub method: Method,
    /// Bytes that copies and literals add up to: of the content, or of it with its deflate streams opened.
    size: u64,
    copies: Vec<Copy>,
    literals: Vec<u8>,
    /// Right bytes before each wrong one.
    gaps: Vec<u64>,
    /// Right bytes after the last wrong one.
    tail: u64,
    mismatches: Vec<u8>,
    notes: Vec<u8>,
}

impl Piece {
    /// All literal.
    #[must_use]
    pub fn literal(target: &[u8]) -> Self {
        Self::of(Method::Plain, Vec::new(), target, Differ::new(target), Vec::new())
    }

    /// Copies of `base` as it is.
    ///
    /// # Errors
    /// The base is too large.
    pub fn plain(base: &[u8], target: &[u8]) -> Result<Self, DeltaError> {
        let copies = align(base, target).map_err(DeltaError::Match)?;
        Ok(Self::copied(base, target, copies))
    }

    fn copied(base: &[u8], target: &[u8], copies: Vec<Copy>) -> Self {
        let mut differ = Differ::new(target);
        for copy in &copies {
            let (from, to, length) = (copy.base as usize, copy.target as usize, copy.length as usize);
            differ.compare(&base[from..from + length], &target[to..to + length]);
        }
        Self::of(Method::Plain, copies, target, differ, Vec::new())
    }

    /// Both are programs: references are predicted. `None` when they are not, or when plain copies say it shorter.
    ///
    /// # Errors
    /// Prediction fails, which its own input never makes it do.
    pub fn program(base: &[u8], target: &[u8]) -> Result<Option<Self>, DeltaError> {
        let Some(alignment) = exe::align(base, target) else { return Ok(None) };
        let mut differ = Differ::new(target);
        exe::predict(&base, &alignment.note, &alignment.copies, &mut differ).map_err(DeltaError::Program)?;
        let mut notes = Vec::new();
        varint::put(&mut notes, alignment.note.len() as u64);
        notes.extend_from_slice(&alignment.note);
        let plain = Self::copied(base, target, alignment.copies.clone());
        let program = Self::of(Method::Program, alignment.copies, target, differ, notes);
        Ok(Some(if program.cost()? <= plain.cost()? { program } else { plain }))
    }

    /// Both hold deflate streams: these are opened. `None` when there is nothing to open.
    ///
    /// # Errors
    /// The opened base is too large.
    pub fn deflate(base: &[u8], target: &[u8]) -> Result<Option<Self>, DeltaError> {
        let Some((recipe, opened)) = deflate::Recipe::of_target(target) else { return Ok(None) };
        let mut notes = Vec::new();
        recipe.encode(&mut notes);
        let base_opened = match deflate::Recipe::of_base(base) {
            Some((layout, base_opened)) => {
                layout.encode(&mut notes);
                base_opened
            }
            None => return Ok(None),
        };
        let mut piece = Self::plain(&base_opened, &opened)?;
        piece.method = Method::Deflate;
        let mut head = Vec::new();
        varint::put(&mut head, opened.len() as u64);
        varint::put(&mut head, notes.len() as u64);
        head.extend_from_slice(&notes);
        piece.notes = head;
        Ok(Some(piece))
    }

    fn of(method: Method, copies: Vec<Copy>, target: &[u8], differ: Differ<'_>, notes: Vec<u8>) -> Self {
        let mut literals = Vec::new();
        let mut at = 0;
        for copy in &copies {
            literals.extend_from_slice(&target[at..copy.target as usize]);
            at = (copy.target + copy.length) as usize;
        }
        literals.extend_from_slice(&target[at..]);
        let Differ { gaps, gap, mismatches, .. } = differ;
        Self { method, size: target.len() as u64, copies, literals, gaps, tail: gap, mismatches, notes }
    }

    /// About how many bytes this takes in a delta.
    ///
    /// # Errors
    /// The compressor has no memory.
    pub fn cost(&self) -> io::Result<u64> {
        let mut streams = Streams::default();
        self.write(&mut streams, Lane::Binary, &mut 0);
        let mut cost = 0;
        for (_, bytes) in streams.finish() {
            // What is compressed alone pays for a header that it would not pay among others.
            cost += (zstd::bulk::compress(&bytes, 6)?.len() as u64).saturating_sub(12);
        }
        Ok(cost)
    }

    /// Appends to the streams of `lane`. `gap` is the number of right bytes since the lane's last wrong one.
    pub fn write(&self, streams: &mut Streams, lane: Lane, gap: &mut u64) {
        let (mut at, mut expected) = (0, 0);
        for copy in &self.copies {
            varint::put(streams.get(lane, Kind::Literals), copy.target - at);
            varint::put(streams.get(lane, Kind::Copies), copy.length);
            varint::put_signed(streams.get(lane, Kind::Seeks), copy.base.wrapping_sub(expected).cast_signed());
            at = copy.target + copy.length;
            expected = copy.base + copy.length;
        }
        if at < self.size {
            varint::put(streams.get(lane, Kind::Literals), self.size - at);
        }
        let gaps = streams.get(lane, Kind::Gaps);
        for right in &self.gaps {
            varint::put(gaps, *gap + right);
            *gap = 0;
        }
        *gap += self.tail;
        streams.get(lane, Kind::Mismatches).extend_from_slice(&self.mismatches);
        streams.get(lane, Kind::Bytes).extend_from_slice(&self.literals);
        streams.get(lane, Kind::Notes).extend_from_slice(&self.notes);
    }
}

/// Writes down where predictions are wrong.
struct Differ<'a> {
    target: &'a [u8],
    gaps: Vec<u64>,
    gap: u64,
    mismatches: Vec<u8>,
}

impl<'a> Differ<'a> {
    fn new(target: &'a [u8]) -> Self {
        Self { target, gaps: Vec::new(), gap: 0, mismatches: Vec::new() }
    }

    fn compare(&mut self, predicted: &[u8], actual: &[u8]) {
        let mut at = 0;
        while at < actual.len() {
            let run = crate::suffix::common(&predicted[at..], &actual[at..]);
            self.gap += run as u64;
            at += run;
            if at < actual.len() {
                self.gaps.push(self.gap);
                self.gap = 0;
                self.mismatches.push(actual[at].wrapping_sub(predicted[at]));
                at += 1;
            }
        }
    }
}

impl Settle for Differ<'_> {
    fn settle(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let target = self.target;
        let actual = start.and_then(|start| target.get(start..start.checked_add(bytes.len())?));
        let actual = actual.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.compare(bytes, actual);
        bytes.copy_from_slice(actual);
        Ok(())
    }
}

/// All bytes of a source.
///
/// # Errors
/// It cannot be read.
pub fn read_all(source: &dyn ReadAt, size: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(size).map_err(|_| io::ErrorKind::OutOfMemory)?];
    source.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
