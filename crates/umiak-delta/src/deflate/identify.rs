//! Which encoder made a stream: the likely ones compress what it holds until the first byte that differs.
//!
//! What made the other streams of the file goes first, then what the header hints at. The work is bounded: files whose streams
//! nobody known made are given up after a few. Only counts decide, never time.

use std::io::{self, Read, Write};

use super::check::{Check, Checked};
use super::encoder::{Encoder, Family, Strategy};
use super::first::{Look, look};
use super::inflate::inflate;
use super::pieces::PieceReader;
use super::run::Form;
use super::scan::{Container, Found, LevelHint};

/// Streams of a file that all encoders are tried on though none made the others.
const PATIENCE: usize = 3;

/// Encoders tried on a stream when patience is at its end.
const HASTY: usize = 2;

/// Finds encoders for the streams of one file.
pub(super) struct Identify {
    /// What made the streams before, the last one first.
    known: Vec<Encoder>,
    failed: usize,
    /// Bytes that may still be compressed in trials.
    work: u64,
}

impl Identify {
    /// For a file whose streams hold `total` bytes.
    pub(super) fn new(total: u64) -> Self {
        Self { known: Vec::new(), failed: 0, work: total.saturating_mul(16).saturating_add(16 << 20) }
    }

    /// The encoder that makes exactly this stream of `file`.
    pub(super) fn encoder(&mut self, found: &Found, file: &[u8]) -> Option<Encoder> {
        let (packed, plain) = parts(found, file)?;
        let mut candidates = self.known.clone();
        candidates.extend(likely(found));
        match look(&packed) {
            Look::Stored => {}
            Look::Strange => candidates.clear(),
            Look::Known(first) => candidates.retain(|candidate| candidate.may_make(&first)),
        }
        let mut tried: Vec<Encoder> = Vec::new();
        for candidate in candidates {
            let hasty = self.known.is_empty() && self.failed >= PATIENCE && tried.len() >= HASTY;
            if hasty || self.work == 0 {
                break;
            }
            if tried.contains(&candidate) {
                continue;
            }
            tried.push(candidate);
            if self.makes(candidate, &plain, &packed) {
                self.known.retain(|known| *known != candidate);
                self.known.insert(0, candidate);
                self.known.truncate(4);
                return Some(candidate);
            }
        }
        self.failed += 1;
        if self.failed > PATIENCE * (1 + self.known.len()) {
            self.work /= 2;
        }
        None
    }

    fn makes(&mut self, encoder: Encoder, plain: &[u8], packed: &[u8]) -> bool {
        let mut source = plain;
        let mut source = Checked { source: &mut source, check: Check::None, left: plain.len() as u64 };
        let mut same = Same { left: packed };
        let made = encoder.compress(&mut source, &mut same);
        self.work = self.work.saturating_sub(plain.len() as u64 - source.left);
        made.is_ok() && same.left.is_empty()
    }
}

/// The stream and what it holds.
fn parts(found: &Found, file: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let packed = if found.form == Form::Chunked {
        let mut region = found.region(file);
        let mut stream = Vec::new();
        PieceReader::new(&mut region, &found.chunks).read_to_end(&mut stream).ok()?;
        stream.get(2..stream.len().checked_sub(4)?)?.to_vec()
    } else {
        file.get(found.body.clone())?.to_vec()
    };
    let mut plain = Vec::new();
    inflate(&mut packed.as_slice(), &mut plain, found.opened).ok()?;
    Some((packed, plain))
}

/// All encoders, the likely ones first.
fn likely(found: &Found) -> Vec<Encoder> {
    let levels: [u8; 9] = match found.hint.level {
        LevelHint::Best => [9, 8, 7, 6, 5, 4, 3, 2, 1],
        LevelHint::Usual => [6, 9, 5, 7, 8, 4, 1, 3, 2],
        LevelHint::Quick => [5, 4, 3, 2, 6, 1, 9, 7, 8],
        LevelHint::Fastest => [1, 2, 3, 6, 9, 4, 5, 7, 8],
    };
    let zlib = |memory, strategy| Family::Zlib { memory, strategy };
    let usual = zlib(8, Strategy::Default);
    let first = match found.hint.container {
        Container::Gzip => [Family::Gnu, usual],
        Container::Zip => [usual, Family::Gnu],
        Container::Zlib => [usual, zlib(9, Strategy::Default)],
        Container::Png => [zlib(8, Strategy::Filtered), usual],
    };
    let second = [zlib(9, Strategy::Default), zlib(9, Strategy::Filtered), first[0], first[1]];
    let rare = [Strategy::Huffman, Strategy::Fixed].map(|strategy| zlib(8, strategy));
    let rare = rare.into_iter().chain((1..8).rev().map(|memory| zlib(memory, Strategy::Default)));
    let rare: Vec<Family> = rare.collect();
    let by_level = |families: &[Family]| -> Vec<Encoder> {
        levels.iter().flat_map(|level| families.iter().filter_map(|family| Encoder::new(*family, *level))).collect()
    };
    let mut encoders = by_level(&first);
    encoders.extend(by_level(&second));
    encoders.extend(by_level(&rare));
    encoders
}

/// Takes the bytes expected and nothing else.
struct Same<'a> {
    left: &'a [u8],
}

impl Write for Same<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.left.strip_prefix(bytes) {
            Some(rest) => {
                self.left = rest;
                Ok(bytes.len())
            }
            None => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
