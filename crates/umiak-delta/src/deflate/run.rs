//! Where the streams of a file lie: the runs that recipes and layouts consist of, and how they are written down.
//!
//! ```text
//! layout = count, its runs
//! recipe = count, its runs, raw bytes behind the last
//! run    = raw bytes before it: in a recipe less those of the layout's run of the same number, signed
//!          encoder * 8 + form: the encoder is 0 in a layout and for a directory
//!          bytes opened: for a directory, and in a recipe
//!          form 3: how many lengths; each length and how many chunks in a row have it
//!          form 4: where the archive begins
//! ```
//!
//! All numbers are varints.

use super::encoder::Encoder;
use super::scan::Found;
use super::{DeflateError, MAX_OPENED};
use crate::varint;

/// What belongs to a stream and is derived from what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Form {
    /// Nothing.
    Bare = 0,
    /// CRC-32 and size behind it, little-endian, as behind a gzip member.
    Gzip = 1,
    /// "PK\7\8", CRC-32, bytes compressed, bytes held, little-endian: a zip entry's descriptor.
    Descriptor = 2,
    /// A zlib stream in PNG chunks; the opened bytes are its two bytes of header and what it holds.
    Chunked = 3,
    /// No stream but a zip archive's directory, with expected fields taken out.
    Directory = 4,
    /// Adler-32 behind it, big-endian, as behind a zlib stream.
    Zlib = 5,
}

impl Form {
    fn from_number(number: u64) -> Option<Self> {
        let all = [Self::Bare, Self::Gzip, Self::Descriptor, Self::Chunked, Self::Directory, Self::Zlib];
        all.get(usize::try_from(number).ok()?).copied()
    }

    /// Opened bytes before those that the stream holds.
    pub(super) fn header(self) -> u64 {
        if self == Self::Chunked { 2 } else { 0 }
    }

    /// Bytes behind the stream.
    pub(super) fn trailer(self) -> usize {
        match self {
            Self::Bare | Self::Directory => 0,
            Self::Chunked | Self::Zlib => 4,
            Self::Gzip => 8,
            Self::Descriptor => 16,
        }
    }
}

/// Raw bytes and the stream behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Bytes before the stream that are as they are.
    pub(super) raw: u64,
    /// Bytes that the stream holds; in a layout that was read, at most. Bytes of a directory.
    pub(super) opened: u64,
    /// What made it; none in a layout.
    pub(super) encoder: Option<Encoder>,
    pub(super) form: Form,
    /// Chunk lengths of [`Form::Chunked`].
    pub(super) chunks: Box<[(u32, u32)]>,
    /// Where the archive of a [`Form::Directory`] begins.
    pub(super) origin: u64,
}

impl Run {
    /// Whether there is a stream.
    pub(super) fn is_stream(&self) -> bool {
        self.form != Form::Directory
    }
}

/// Most runs of one file, and most chunk lengths.
const MAX_RUNS: u64 = 1 << 16;

/// Collects runs from what was found.
#[derive(Default)]
pub(super) struct Gather {
    runs: Vec<Run>,
    at: usize,
}

impl Gather {
    /// Appends a stream behind all others.
    pub(super) fn push(&mut self, found: &Found, encoder: Option<Encoder>) {
        if self.runs.len() as u64 == MAX_RUNS {
            return;
        }
        let raw = (found.start - self.at) as u64;
        self.at = found.end;
        let chunks = found.chunks.clone().into_boxed_slice();
        // A layout does not say how much a stream holds: inflating tells.
        let opened = if encoder.is_some() || found.form == Form::Directory { found.opened } else { MAX_OPENED };
        self.runs.push(Run { raw, opened, encoder, form: found.form, chunks, origin: found.origin });
    }

    /// The runs, and how many bytes of a file of `size` follow the last.
    pub(super) fn finish(self, size: usize) -> (Vec<Run>, u64) {
        (self.runs, (size - self.at) as u64)
    }
}

/// Appends `runs`: of a layout, or of a recipe beside its `layout`.
pub(super) fn encode(runs: &[Run], layout: Option<&[Run]>, out: &mut Vec<u8>) {
    varint::put(out, runs.len() as u64);
    for (number, run) in runs.iter().enumerate() {
        match layout {
            None => varint::put(out, run.raw),
            Some(layout) => {
                let beside = layout.get(number).map_or(0, |run| run.raw);
                varint::put_signed(out, run.raw.wrapping_sub(beside).cast_signed());
            }
        }
        varint::put(out, run.encoder.map_or(0, Encoder::number) << 3 | run.form as u64);
        if layout.is_some() || run.form == Form::Directory {
            varint::put(out, run.opened);
        }
        if run.form == Form::Chunked {
            varint::put(out, run.chunks.len() as u64);
            for (length, times) in &run.chunks {
                varint::put(out, u64::from(*length));
                varint::put(out, u64::from(*times));
            }
        }
        if run.form == Form::Directory {
            varint::put(out, run.origin);
        }
    }
}

/// Takes runs off the front of `from`: of a layout, or of a recipe beside its `layout`.
pub(super) fn decode(from: &mut &[u8], layout: Option<&[Run]>) -> Result<Vec<Run>, DeflateError> {
    let count = number(from)?;
    if count > MAX_RUNS {
        return Err(DeflateError::Malformed("too many streams"));
    }
    let mut runs: Vec<Run> = Vec::new();
    let mut lengths = MAX_RUNS;
    for _ in 0..count {
        let beside = layout.map(|layout| layout.get(runs.len()).map_or(0, |run| run.raw));
        runs.push(decode_run(from, beside, &mut lengths)?);
    }
    Ok(runs)
}

/// `beside`: the raw bytes of the layout's run, when this is a recipe.
fn decode_run(from: &mut &[u8], beside: Option<u64>, lengths: &mut u64) -> Result<Run, DeflateError> {
    let raw = match beside {
        None => number(from)?,
        Some(beside) => beside.checked_add_signed(signed(from)?).ok_or(NOT_THERE)?,
    };
    if raw > MAX_OPENED {
        return Err(NOT_THERE);
    }
    let kind = number(from)?;
    let form = Form::from_number(kind & 7).ok_or(DeflateError::Malformed("an unknown form of stream"))?;
    let encoder = match kind >> 3 {
        0 if beside.is_none() || form == Form::Directory => None,
        number => {
            let known = Encoder::from_number(number).filter(|_| beside.is_some() && form != Form::Directory);
            Some(known.ok_or(DeflateError::Malformed("an unknown encoder"))?)
        }
    };
    let opened = if beside.is_some() || form == Form::Directory { number(from)? } else { MAX_OPENED };
    let chunks = if form == Form::Chunked { decode_chunks(from, lengths)? } else { Box::default() };
    let origin = if form == Form::Directory { number(from)? } else { 0 };
    Ok(Run { raw, opened, encoder, form, chunks, origin })
}

const NOT_THERE: DeflateError = DeflateError::Malformed("a stream lies outside of its file");

fn decode_chunks(from: &mut &[u8], left: &mut u64) -> Result<Box<[(u32, u32)]>, DeflateError> {
    let count = number(from)?;
    *left = left.checked_sub(count).ok_or(DeflateError::Malformed("too many chunks"))?;
    let mut chunks = Vec::new();
    for _ in 0..count {
        let (length, times) = (number(from)?, number(from)?);
        match (u32::try_from(length), u32::try_from(times)) {
            (Ok(length), Ok(times @ 1..)) => chunks.push((length, times)),
            _ => return Err(DeflateError::Malformed("a chunk cannot be so long")),
        }
    }
    Ok(chunks.into_boxed_slice())
}

pub(super) fn number(from: &mut &[u8]) -> Result<u64, DeflateError> {
    varint::get(from).map_err(|_| CUT)
}

fn signed(from: &mut &[u8]) -> Result<i64, DeflateError> {
    varint::get_signed(from).map_err(|_| CUT)
}

const CUT: DeflateError = DeflateError::Malformed("a number is cut off or has a long form");
