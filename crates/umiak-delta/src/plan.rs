//! The plan of a delta: for each content of the target, in its order, where it comes from.
//!
//! ```text
//! instruction = varint: kind in the low three bits, value above
//! 0 keep     the next value + 1 contents are the sources that follow the last one used
//! 1 move     the last source used moves by value, zigzag
//! 2 patch    value = method * 4 + lane; then the source, signed, from the one that follows; the size, signed, from the source's
//! 3 new      value = lane; then the size
//! 4 again    the content that was value + 1 contents before
//! 5 spacing  of the next content; otherwise it is the source's, or for new contents that of the content before
//! ```
//!
//! The plan ends with its stream. Every number is checked against the sources there are and the target's size.

use std::io::BufRead;

use crate::DeltaError;
use crate::container::Bases;
use crate::streams::Lane;
use crate::varint;

/// How a content is made from its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Method {
    /// Copies of the source's bytes.
    Plain = 0,
    /// Copies with predicted references (docs/formats/delta-executables.md).
    Program = 1,
    /// Copies between opened deflate streams (docs/formats/delta-deflate.md).
    Deflate = 2,
}

impl Method {
    fn from_number(number: u64) -> Option<Self> {
        [Self::Plain, Self::Program, Self::Deflate].get(usize::try_from(number).ok()?).copied()
    }

    /// A word for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "patched",
            Self::Program => "patched as a program",
            Self::Deflate => "patched uncompressed",
        }
    }
}

/// Where a content comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It is a source.
    Kept(usize),
    /// It is made from a source.
    Patched {
        /// Number of the source.
        source: usize,
        /// How.
        method: Method,
        /// Whose streams.
        lane: Lane,
    },
    /// It is in the delta.
    New(Lane),
    /// It is the content of this number in the target.
    Again(usize),
}

/// One content of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Where it comes from.
    pub origin: Origin,
    /// Bytes.
    pub size: u64,
    /// See [`crate::container::Part::spacing`].
    pub spacing: u64,
}

/// Writes a plan.
pub struct PlanWriter<'a> {
    bases: &'a Bases<'a>,
    expected: usize,
    spacing: u64,
    placed: usize,
    run: u64,
    out: Vec<u8>,
}

impl<'a> PlanWriter<'a> {
    /// An empty plan over these sources.
    pub fn new(bases: &'a Bases<'a>) -> Self {
        Self { bases, expected: 1, spacing: 0, placed: 0, run: 0, out: Vec::new() }
    }

    /// Appends a content.
    pub fn push(&mut self, step: &Step) {
        let predicted = match step.origin {
            Origin::Kept(source) | Origin::Patched { source, .. } => self.bases.part(source).map(|part| part.spacing),
            Origin::New(_) | Origin::Again(_) => None,
        };
        if predicted.unwrap_or(self.spacing) != step.spacing {
            self.instruction(5, step.spacing);
        }
        self.spacing = step.spacing;
        match step.origin {
            Origin::Kept(source) => {
                if source != self.expected {
                    self.instruction(1, zigzag(self.beyond_expected(source)));
                }
                self.run += 1;
                self.expected = source + 1;
            }
            Origin::Patched { source, method, lane } => {
                self.instruction(2, method as u64 * 4 + lane as u64);
                let from = self.beyond_expected(source);
                varint::put_signed(&mut self.out, from);
                let base = self.bases.part(source).map_or(0, |part| part.size);
                varint::put_signed(&mut self.out, step.size.wrapping_sub(base).cast_signed());
                self.expected = source + 1;
            }
            Origin::New(lane) => {
                self.instruction(3, lane as u64);
                varint::put(&mut self.out, step.size);
            }
            Origin::Again(content) => self.instruction(4, (self.placed - content - 1) as u64),
        }
        self.placed += 1;
    }

    /// The plan's bytes.
    pub fn finish(mut self) -> Vec<u8> {
        self.end_run();
        self.out
    }

    fn beyond_expected(&self, source: usize) -> i64 {
        (source as u64).wrapping_sub(self.expected as u64).cast_signed()
    }

    fn instruction(&mut self, kind: u64, value: u64) {
        self.end_run();
        varint::put(&mut self.out, value << 3 | kind);
    }

    fn end_run(&mut self) {
        if self.run > 0 {
            varint::put(&mut self.out, (self.run - 1) << 3);
            self.run = 0;
        }
    }
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Reads a plan, step by step.
pub struct PlanReader<'a, R> {
    bases: &'a Bases<'a>,
    source: R,
    expected: usize,
    spacing: u64,
    sizes: Vec<u64>,
    run: u64,
    next_spacing: Option<u64>,
}

impl<'a, R: BufRead> PlanReader<'a, R> {
    /// A plan over these sources.
    pub fn new(bases: &'a Bases<'a>, source: R) -> Self {
        Self { bases, source, expected: 1, spacing: 0, sizes: Vec::new(), run: 0, next_spacing: None }
    }

    /// The next content, nothing after the last.
    ///
    /// # Errors
    /// The stream cannot be read, or what it says cannot be.
    pub fn step(&mut self) -> Result<Option<Step>, DeltaError> {
        loop {
            if self.run > 0 {
                self.run -= 1;
                let source = self.expected;
                return self.place(Origin::Kept(source), self.part_size(source)?).map(Some);
            }
            if self.source.fill_buf()?.is_empty() {
                return if self.next_spacing.is_none() { Ok(None) } else { Err(MALFORMED) };
            }
            let instruction = varint::get(&mut self.source)?;
            let value = instruction >> 3;
            match instruction & 7 {
                0 => self.run = value + 1,
                1 => self.expected = self.moved(unzigzag(value))?,
                2 => return self.patch(value).map(Some),
                3 => {
                    let lane = Lane::from_number(value).ok_or(MALFORMED)?;
                    let size = varint::get(&mut self.source)?;
                    return self.place(Origin::New(lane), size).map(Some);
                }
                4 => {
                    let back = usize::try_from(value).map_err(|_| MALFORMED)?;
                    let content = self.sizes.len().checked_sub(1).and_then(|last| last.checked_sub(back));
                    let content = content.ok_or(MALFORMED)?;
                    return self.place(Origin::Again(content), self.sizes[content]).map(Some);
                }
                5 => self.next_spacing = Some(value),
                _ => return Err(MALFORMED),
            }
        }
    }

    fn patch(&mut self, value: u64) -> Result<Step, DeltaError> {
        let method = Method::from_number(value / 4).ok_or(MALFORMED)?;
        let lane = Lane::from_number(value % 4).ok_or(MALFORMED)?;
        let by = varint::get_signed(&mut self.source)?;
        let source = self.moved(by)?;
        let change = varint::get_signed(&mut self.source)?;
        let size = self.part_size(source)?.checked_add_signed(change).ok_or(MALFORMED)?;
        self.place(Origin::Patched { source, method, lane }, size)
    }

    fn moved(&self, by: i64) -> Result<usize, DeltaError> {
        let moved = (self.expected as u64).checked_add_signed(by).and_then(|to| usize::try_from(to).ok());
        moved.filter(|to| *to <= self.bases.count()).ok_or(MALFORMED)
    }

    fn part_size(&self, source: usize) -> Result<u64, DeltaError> {
        Ok(self.bases.part(source).ok_or(MALFORMED)?.size)
    }

    fn place(&mut self, origin: Origin, size: u64) -> Result<Step, DeltaError> {
        let predicted = match origin {
            Origin::Kept(source) | Origin::Patched { source, .. } => {
                self.expected = source + 1;
                self.bases.part(source).map(|part| part.spacing)
            }
            Origin::New(_) | Origin::Again(_) => None,
        };
        self.spacing = self.next_spacing.take().or(predicted).unwrap_or(self.spacing);
        self.sizes.push(size);
        Ok(Step { origin, size, spacing: self.spacing })
    }
}

const MALFORMED: DeltaError = DeltaError::Malformed("the plan asks for what is not there");
