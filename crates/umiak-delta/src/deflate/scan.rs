//! Finding deflate streams in a file by the headers in front of them, wherever they lie.
//!
//! A gzip member, a local zip header with method 8, a PNG picture and a zlib stream are looked for at every byte, so prefixes, several members,
//! archives inside of archives and missing directories do not matter. What follows a header must inflate to its end, or it is
//! passed over. Streams that are tiny, or larger than what they hold, are not worth it and left out.

use std::io::{BufRead, Read, Write};
use std::ops::Range;

use flate2::Crc;

use super::check::{Adler, Check};
use super::directory;
use super::inflate::inflate;
use super::pieces::{NAME, PieceReader};
use super::run::Form;
use super::{DeflateError, MAX_OPENED};

/// A stream.
#[derive(Debug)]
pub(super) struct Found {
    /// First byte that is not raw: of the stream, or of its first chunk.
    pub(super) start: usize,
    /// Behind what is derived.
    pub(super) end: usize,
    /// The stream's bytes, for all forms but [`Form::Chunked`].
    pub(super) body: Range<usize>,
    /// Bytes it holds.
    pub(super) opened: u64,
    pub(super) form: Form,
    /// Chunk lengths and how often they repeat.
    pub(super) chunks: Vec<(u32, u32)>,
    pub(super) hint: Hint,
    /// Where the archive of a directory begins.
    pub(super) origin: u64,
}

impl Found {
    /// The compressed bytes, with chunk headers if there are.
    pub(super) fn region<'a>(&self, file: &'a [u8]) -> &'a [u8] {
        file.get(self.start..self.end).unwrap_or_default()
    }
}

/// What the header says about the encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hint {
    pub(super) level: LevelHint,
    pub(super) container: Container,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LevelHint {
    Best,
    Usual,
    /// zlib's levels 2 to 5.
    Quick,
    Fastest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Container {
    Gzip,
    Zip,
    Png,
    Zlib,
}

const GZIP: [u8; 3] = [0x1F, 0x8B, 8];
const ZIP: [u8; 4] = *b"PK\x03\x04";
const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";
const PNG: [u8; 8] = *b"\x89PNG\r\n\x1A\n";

/// A stream shorter than this stays closed.
const SHORTEST: usize = 24;

/// All streams worth opening, in order. What is inflated is bounded: behind some gigabytes nothing is found.
pub(super) fn scan(file: &[u8]) -> Vec<Found> {
    let mut scan = Scan { file, work: 4 * MAX_OPENED };
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = file.get(at..) {
        let Some(step) = rest.iter().position(|byte| matches!(byte, 0x1F | b'P' | 0x89 | 0x78)) else { break };
        at += step;
        let stream = scan.stream(at).filter(Found::is_worth_it);
        at += 1;
        if let Some(stream) = stream {
            at = stream.end;
            found.push(stream);
        }
    }
    found
}

impl Found {
    fn is_worth_it(&self) -> bool {
        let packed = self.end - self.start;
        self.form == Form::Directory || packed >= SHORTEST && self.opened > packed as u64
    }
}

struct Scan<'a> {
    file: &'a [u8],
    /// Bytes that may still be inflated, in vain or not.
    work: u64,
}

/// A stream that was inflated to its end.
struct Inflated {
    packed: usize,
    opened: u64,
    crc: u32,
    adler: u32,
}

impl Scan<'_> {
    fn stream(&mut self, at: usize) -> Option<Found> {
        let head = self.file.get(at..)?;
        if head.starts_with(&GZIP) {
            self.gzip(at)
        } else if head.starts_with(&ZIP) {
            self.zip(at)
        } else if head.starts_with(&PNG) {
            self.png(at)
        } else if head.starts_with(&directory::RECORD) {
            directory(at, head)
        } else if head.first() == Some(&0x78) {
            self.zlib(at)
        } else {
            None
        }
    }

    /// RFC 1952, 2.3.
    fn gzip(&mut self, at: usize) -> Option<Found> {
        let head = self.file.get(at..at + 10)?;
        let flags = head[3];
        if flags & 0xE0 != 0 {
            return None;
        }
        let level = match head[8] {
            2 => LevelHint::Best,
            4 => LevelHint::Fastest,
            _ => LevelHint::Usual,
        };
        let mut start = at + 10;
        if flags & 4 != 0 {
            start += 2 + usize::from(self.u16(start)?);
        }
        for text in [8, 16] {
            if flags & text != 0 {
                start += self.file.get(start..)?.iter().position(|byte| *byte == 0)? + 1;
            }
        }
        if flags & 2 != 0 {
            start += 2;
        }
        let inflated = self.inflate(start)?;
        let end = start + inflated.packed;
        let derived = self.u32(end) == Some(inflated.crc) && self.u32(end + 4) == Some(inflated.opened as u32);
        let form = if derived { Form::Gzip } else { Form::Bare };
        Some(found(start, &inflated, form, Hint { level, container: Container::Gzip }))
    }

    /// A local file header (APPNOTE.TXT, 4.3.7) and the descriptor that may follow (4.3.9).
    fn zip(&mut self, at: usize) -> Option<Found> {
        let flags = self.u16(at + 6)?;
        if self.u16(at + 8)? != 8 || flags & 1 != 0 {
            return None;
        }
        let level = match flags >> 1 & 3 {
            0 => LevelHint::Usual,
            1 => LevelHint::Best,
            2 => LevelHint::Quick,
            _ => LevelHint::Fastest,
        };
        let start = at + 30 + usize::from(self.u16(at + 26)?) + usize::from(self.u16(at + 28)?);
        let inflated = self.inflate(start)?;
        let end = start + inflated.packed;
        let derived = flags & 8 != 0
            && self.file.get(end..)?.starts_with(&DESCRIPTOR)
            && self.u32(end + 4) == Some(inflated.crc)
            && self.u32(end + 8) == Some(inflated.packed as u32)
            && self.u32(end + 12) == Some(inflated.opened as u32);
        let form = if derived { Form::Descriptor } else { Form::Bare };
        Some(found(start, &inflated, form, Hint { level, container: Container::Zip }))
    }

    fn png(&mut self, at: usize) -> Option<Found> {
        let mut start = at + PNG.len();
        while *self.file.get(start + 4..start + 8)? != NAME {
            start = start.checked_add(12)?.checked_add(self.big(start)? as usize)?;
        }
        let mut chunks: Vec<(u32, u32)> = Vec::new();
        let mut end = start;
        while self.file.get(end + 4..end + 8) == Some(&NAME) {
            let length = self.big(end)?;
            let behind = end.checked_add(8)?.checked_add(length as usize)?;
            let mut crc = Crc::new();
            crc.update(self.file.get(end + 4..behind)?);
            if self.big(behind)? != crc.sum() {
                return None;
            }
            end = behind + 4;
            match chunks.last_mut() {
                Some((last, times)) if *last == length => *times += 1,
                _ => chunks.push((length, 1)),
            }
        }
        let mut source = self.file.get(start..end)?;
        let mut reader = PieceReader::new(&mut source, &chunks);
        let mut head = [0; 2];
        reader.read_exact(&mut head).ok()?;
        let plain_zlib = head[0] & 15 == 8 && head[1] & 0x20 == 0;
        let level = zlib_level(head[1]);
        let inflated = self.inflate_from(&mut reader).filter(|_| plain_zlib)?;
        let mut trailer = [0; 4];
        reader.read_exact(&mut trailer).ok()?;
        reader.finish().ok()?;
        if u32::from_be_bytes(trailer) != inflated.adler {
            return None;
        }
        let hint = Hint { level, container: Container::Png };
        Some(Found { start, end, body: 0..0, opened: inflated.opened, form: Form::Chunked, chunks, hint, origin: 0 })
    }

    /// RFC 1950, with the usual window; only the right checksum behind it tells it from what looks like it.
    fn zlib(&mut self, at: usize) -> Option<Found> {
        let flags = *self.file.get(at + 1)?;
        if flags & 0x20 != 0 || !u16::from_be_bytes([0x78, flags]).is_multiple_of(31) {
            return None;
        }
        let inflated = self.inflate(at + 2)?;
        if self.big(at + 2 + inflated.packed)? != inflated.adler {
            return None;
        }
        let hint = Hint { level: zlib_level(flags), container: Container::Zlib };
        Some(found(at + 2, &inflated, Form::Zlib, hint))
    }

    fn inflate(&mut self, start: usize) -> Option<Inflated> {
        let mut source = self.file.get(start..)?;
        let before = source.len();
        let mut inflated = self.inflate_from(&mut source)?;
        inflated.packed = before - source.len();
        Some(inflated)
    }

    fn inflate_from(&mut self, source: &mut dyn BufRead) -> Option<Inflated> {
        let mut sums = Sums { crc: Check::Crc(Crc::new()), adler: Check::Adler(Adler::new()), size: 0 };
        let result: Result<u64, DeflateError> = inflate(source, &mut sums, self.work.min(MAX_OPENED));
        self.work = self.work.saturating_sub(sums.size);
        let opened = result.ok()?;
        Some(Inflated { packed: 0, opened, crc: sums.crc.sum(), adler: sums.adler.sum() })
    }

    fn u16(&self, at: usize) -> Option<u16> {
        let bytes = self.file.get(at..at.checked_add(2)?)?;
        Some(u16::from_le_bytes(bytes.try_into().ok()?))
    }

    fn u32(&self, at: usize) -> Option<u32> {
        self.big(at).map(u32::swap_bytes)
    }

    fn big(&self, at: usize) -> Option<u32> {
        let bytes = self.file.get(at..at.checked_add(4)?)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    }
}

fn found(start: usize, inflated: &Inflated, form: Form, hint: Hint) -> Found {
    let body = start..start + inflated.packed;
    let end = body.end + form.trailer();
    Found { start, end, body, opened: inflated.opened, form, chunks: Vec::new(), hint, origin: 0 }
}

/// FLEVEL of RFC 1950, 2.2.
fn zlib_level(flags: u8) -> LevelHint {
    match flags >> 6 {
        0 => LevelHint::Fastest,
        1 => LevelHint::Quick,
        2 => LevelHint::Usual,
        _ => LevelHint::Best,
    }
}

fn directory(at: usize, file: &[u8]) -> Option<Found> {
    let (length, distance) = directory::find(file)?;
    let origin = (at as u64).checked_sub(distance)?;
    let end = at + length;
    let hint = Hint { level: LevelHint::Usual, container: Container::Zip };
    let (opened, form) = (length as u64, Form::Directory);
    Some(Found { start: at, end, body: at..end, opened, form, chunks: Vec::new(), hint, origin })
}

struct Sums {
    crc: Check,
    adler: Check,
    size: u64,
}

impl Write for Sums {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.crc.update(bytes);
        self.adler.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
