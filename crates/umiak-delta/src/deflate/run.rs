//! Where the streams of a file lie: the runs that recipes and layouts consist of.
//!
//! ```text
//! runs  = count, then each run
//! run   = raw bytes before it, bytes the stream holds, encoder * 8 + form, chunks of form 3, origin of form 5
//! chunks = how many lengths, then each length and how many chunks in a row have it
//! ```
//!
//! All numbers are varints. In a layout the encoder is 0.

use std::io::Read;

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
    /// Adler-32 behind it, big-endian, as behind a zlib stream.
    Zlib = 2,
    /// A zlib stream in PNG chunks; the opened bytes are its two bytes of header and what it holds.
    Chunked = 3,
    /// "PK\7\8", CRC-32, bytes compressed, bytes held, little-endian: a zip entry's descriptor.
    Descriptor = 4,
    /// No stream but a zip archive's directory, with expected fields taken out.
    Directory = 5,
}

impl Form {
    fn from_number(number: u64) -> Option<Self> {
        let all = [Self::Bare, Self::Gzip, Self::Zlib, Self::Chunked, Self::Descriptor, Self::Directory];
        all.get(usize::try_from(number).ok()?).copied()
    }

    /// Bytes behind the stream.
    pub(super) fn trailer(self) -> usize {
        match self {
            Self::Bare | Self::Directory => 0,
            Self::Zlib | Self::Chunked => 4,
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
    /// Bytes that the stream holds.
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
        self.runs.push(Run { raw, opened: found.opened, encoder, form: found.form, chunks, origin: found.origin });
    }

    pub(super) fn finish(self) -> Vec<Run> {
        self.runs
    }
}

/// Appends `runs`.
pub(super) fn encode(runs: &[Run], out: &mut Vec<u8>) {
    varint::put(out, runs.len() as u64);
    for run in runs {
        varint::put(out, run.raw);
        varint::put(out, run.opened);
        varint::put(out, run.encoder.map_or(0, Encoder::number) << 3 | run.form as u64);
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

/// Takes runs off the front of `from`; with encoders or without.
pub(super) fn decode(from: &mut &[u8], with_encoder: bool) -> Result<Vec<Run>, DeflateError> {
    let count = number(from)?;
    if count > MAX_RUNS {
        return Err(DeflateError::Malformed("too many streams"));
    }
    let mut runs = Vec::new();
    let mut total = 0u64;
    let mut lengths = MAX_RUNS;
    for _ in 0..count {
        let run = decode_run(from, with_encoder, &mut lengths)?;
        total = total.saturating_add(run.opened).saturating_add(run.raw);
        if total > MAX_OPENED {
            return Err(DeflateError::Malformed("a file opens to too many bytes"));
        }
        runs.push(run);
    }
    Ok(runs)
}

fn decode_run(from: &mut &[u8], with_encoder: bool, lengths: &mut u64) -> Result<Run, DeflateError> {
    let (raw, opened, kind) = (number(from)?, number(from)?, number(from)?);
    let form = Form::from_number(kind & 7).ok_or(DeflateError::Malformed("an unknown form of stream"))?;
    let encoder = match (kind >> 3, with_encoder) {
        (0, _) if form == Form::Directory => None,
        (0, false) => None,
        (_, false) => return Err(DeflateError::Malformed("a layout has no encoders")),
        (number, true) => Some(Encoder::from_number(number).ok_or(DeflateError::Malformed("an unknown encoder"))?),
    };
    let chunks = if form == Form::Chunked { decode_chunks(from, lengths)? } else { Box::default() };
    let origin = if form == Form::Directory { number(from)? } else { 0 };
    Ok(Run { raw, opened, encoder, form, chunks, origin })
}

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

fn number(from: &mut (impl Read + ?Sized)) -> Result<u64, DeflateError> {
    varint::get(from).map_err(|_| DeflateError::Malformed("a number is cut off or has a long form"))
}
