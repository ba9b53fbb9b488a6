//! One block of a deflate stream: its symbols, and writing them in the form that zlib and GNU gzip choose.
//!
//! Both count what the block would take with codes of its own, with the fixed codes and stored, and take the least; how they
//! build and write the codes is the same. Where a block ends is not decided here.

use std::io;

use super::bits::BitWriter;
use super::codes::{
    Code, DISTANCE_BASE, DISTANCE_EXTRA, DISTANCES, END, FIXED_DISTANCES, FIXED_LITERALS, LENGTH_BASE, LENGTH_EXTRA,
    LENGTH_INDEX, LENGTH_ORDER, LENGTHS, LITERALS, REPEAT_EXTRA, assign, distance_symbol,
};
use super::huffman::{Built, build};

/// A literal (distance 0), or a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Symbol {
    /// Bytes back, 1 to 32768; 0 for a literal.
    pub(super) distance: u16,
    /// The literal, or the length of the match, 3 to 258.
    pub(super) value: u16,
}

/// The symbols of the block that is being gathered.
pub(super) struct Block {
    symbols: Vec<Symbol>,
    literals: [u32; LITERALS],
    distances: [u32; DISTANCES],
    matches: usize,
    fixed_only: bool,
}

/// Codes of one block and how they are written.
struct Codes {
    literals: [u8; LITERALS],
    distances: [u8; DISTANCES],
    last_literal: usize,
    last_distance: usize,
    /// Both sets of lengths, run length coded: symbol and value of the extra bits.
    runs: Vec<(u8, u8)>,
    run_lengths: [u8; LENGTHS],
    /// How many run lengths are written.
    written: usize,
    bits: u64,
}

impl Block {
    pub(super) fn new(fixed_only: bool) -> Self {
        let mut block = Self {
            symbols: Vec::with_capacity(1 << 14),
            literals: [0; LITERALS],
            distances: [0; DISTANCES],
            matches: 0,
            fixed_only,
        };
        block.clear();
        block
    }

    fn clear(&mut self) {
        self.symbols.clear();
        self.literals = [0; LITERALS];
        self.literals[END] = 1;
        self.distances = [0; DISTANCES];
        self.matches = 0;
    }

    /// Appends a symbol; `distance` at most 32768, `value` a byte or a length.
    #[inline]
    pub(super) fn push(&mut self, symbol: Symbol) {
        self.symbols.push(symbol);
        let value = usize::from(symbol.value);
        if symbol.distance == 0 {
            self.literals[value & 0xFF] += 1;
        } else {
            let length = LENGTH_INDEX.get(value).copied().unwrap_or(0);
            self.literals[END + 1 + usize::from(length)] += 1;
            self.distances[distance_symbol(u32::from(symbol.distance)).min(DISTANCES - 1)] += 1;
            self.matches += 1;
        }
    }

    /// How many symbols there are.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.symbols.len()
    }

    /// Whether GNU gzip would end the block here, though there is room: matches are few, and yet it is short for `plain` bytes.
    pub(super) fn pays(&self, plain: u64) -> bool {
        let mut bits = self.symbols.len() as u64 * 8;
        for (count, extra) in self.distances.iter().zip(DISTANCE_EXTRA) {
            bits += u64::from(*count) * (5 + u64::from(extra));
        }
        self.matches < self.symbols.len() / 2 && bits / 8 < plain / 2
    }

    /// Writes the block in its shortest form and begins the next. `stored`: its plain bytes, if they are still at hand and at
    /// most 65535.
    pub(super) fn write(&mut self, out: &mut BitWriter<'_>, stored: Option<&[u8]>, last: bool) -> io::Result<()> {
        let codes = self.codes();
        let extra = self.extra_bits();
        let own = (codes.bits + extra + 3).div_ceil(8);
        let fixed = (self.fixed_bits() + extra + 3).div_ceil(8);
        let use_fixed = fixed <= own || self.fixed_only;
        let best = if use_fixed { fixed } else { own };
        let last_bit = u32::from(last);
        match stored.filter(|plain| plain.len() as u64 + 4 <= best) {
            Some(plain) => store(out, plain, last)?,
            None if use_fixed => {
                out.put(2 | last_bit, 3)?;
                self.body(out, &FIXED_LITERALS, &FIXED_DISTANCES)?;
            }
            None => {
                out.put(4 | last_bit, 3)?;
                codes.header(out)?;
                self.body(out, &codes.literals, &codes.distances)?;
            }
        }
        self.clear();
        Ok(())
    }

    fn codes(&self) -> Codes {
        let mut literals = [0; LITERALS];
        let mut distances = [0; DISTANCES];
        let Built { last: last_literal, cost: literal_bits } = build(&self.literals, 15, &mut literals);
        let Built { last: last_distance, cost: distance_bits } = build(&self.distances, 15, &mut distances);
        let mut runs = Vec::with_capacity(LITERALS);
        let mut counts = [0; LENGTHS];
        run_lengths(&literals[..=last_literal], &mut runs, &mut counts);
        run_lengths(&distances[..=last_distance], &mut runs, &mut counts);
        let mut lengths = [0; LENGTHS];
        let run_bits = build(&counts, 7, &mut lengths).cost;
        let last = LENGTH_ORDER.iter().rposition(|symbol| lengths[usize::from(*symbol)] != 0).unwrap_or(0);
        let written = last.max(3) + 1;
        let extra: u64 = counts.iter().zip(REPEAT_EXTRA).map(|(count, bits)| u64::from(*count) * u64::from(bits)).sum();
        let header = 14 + 3 * written as u64 + run_bits + extra;
        let bits = literal_bits + distance_bits + header;
        Codes { literals, distances, last_literal, last_distance, runs, run_lengths: lengths, written, bits }
    }

    fn extra_bits(&self) -> u64 {
        let sum = |counts: &[u32], extra: &[u8]| -> u64 {
            counts.iter().zip(extra).map(|(count, extra)| u64::from(*count) * u64::from(*extra)).sum()
        };
        sum(&self.literals[END + 1..], &LENGTH_EXTRA) + sum(&self.distances, &DISTANCE_EXTRA)
    }

    fn fixed_bits(&self) -> u64 {
        let sum = |counts: &[u32], lengths: &[u8]| -> u64 {
            counts.iter().zip(lengths).map(|(count, length)| u64::from(*count) * u64::from(*length)).sum()
        };
        sum(&self.literals, &FIXED_LITERALS) + sum(&self.distances, &FIXED_DISTANCES)
    }

    fn body(&self, out: &mut BitWriter<'_>, literals: &[u8], distances: &[u8]) -> io::Result<()> {
        let mut literal_codes = [Code::default(); 288];
        let mut distance_codes = [Code::default(); DISTANCES];
        assign(literals, &mut literal_codes);
        assign(distances, &mut distance_codes);
        for symbol in &self.symbols {
            let value = usize::from(symbol.value);
            if symbol.distance == 0 {
                let code = literal_codes[value & 0xFF];
                out.put(u32::from(code.bits), u32::from(code.length))?;
                continue;
            }
            let index = usize::from(LENGTH_INDEX.get(value).copied().unwrap_or(0));
            let code = literal_codes[END + 1 + index];
            let rest = u32::from(symbol.value.wrapping_sub(LENGTH_BASE[index]));
            out.put(u32::from(code.bits) | rest << code.length, u32::from(code.length + LENGTH_EXTRA[index]))?;
            let index = distance_symbol(u32::from(symbol.distance)).min(DISTANCES - 1);
            let code = distance_codes[index];
            let rest = u32::from(symbol.distance - DISTANCE_BASE[index]);
            out.put(u32::from(code.bits) | rest << code.length, u32::from(code.length + DISTANCE_EXTRA[index]))?;
        }
        let end = literal_codes[END];
        out.put(u32::from(end.bits), u32::from(end.length))
    }
}

impl Codes {
    fn header(&self, out: &mut BitWriter<'_>) -> io::Result<()> {
        out.put((self.last_literal + 1).saturating_sub(257) as u32, 5)?;
        out.put(self.last_distance as u32, 5)?;
        out.put((self.written - 4) as u32, 4)?;
        for symbol in &LENGTH_ORDER[..self.written] {
            out.put(u32::from(self.run_lengths[usize::from(*symbol)]), 3)?;
        }
        let mut codes = [Code::default(); LENGTHS];
        assign(&self.run_lengths, &mut codes);
        for &(symbol, value) in &self.runs {
            let code = codes[usize::from(symbol)];
            out.put(u32::from(code.bits), u32::from(code.length))?;
            out.put(u32::from(value), u32::from(REPEAT_EXTRA[usize::from(symbol)]))?;
        }
        Ok(())
    }
}

/// A stored block of at most 65535 bytes.
pub(super) fn store(out: &mut BitWriter<'_>, plain: &[u8], last: bool) -> io::Result<()> {
    out.put(u32::from(last), 3)?;
    out.align()?;
    let length = plain.len() as u16;
    out.bytes(&length.to_le_bytes())?;
    out.bytes(&(!length).to_le_bytes())?;
    out.bytes(plain)
}

/// Run length codes `lengths`: a run never mixes symbols, and takes the first form that fits from the left.
fn run_lengths(lengths: &[u8], runs: &mut Vec<(u8, u8)>, counts: &mut [u32; LENGTHS]) {
    let mut add = |symbol: u8, value: usize| {
        runs.push((symbol, value as u8));
        counts[usize::from(symbol)] += 1;
    };
    for group in lengths.chunk_by(|one, other| one == other) {
        let (length, mut left) = (group[0], group.len());
        if length == 0 {
            while left > 0 {
                let run = left.min(138);
                match run {
                    11.. => add(18, run - 11),
                    3.. => add(17, run - 3),
                    _ => (0..run).for_each(|_| add(0, 0)),
                }
                left -= run;
            }
            continue;
        }
        // The first of a run stands for itself, and repeats follow it.
        add(length, 0);
        left -= 1;
        while left > 0 {
            let run = left.min(6);
            if run >= 3 {
                add(16, run - 3);
            } else {
                (0..run).for_each(|_| add(length, 0));
            }
            left -= run;
        }
    }
}
