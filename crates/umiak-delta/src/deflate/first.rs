//! The first block of a stream: its symbols, which say what kind of encoder may have made it.
//!
//! Whatever matches zlib and GNU gzip choose, they make the same codes of the same symbols; other encoders rarely do. So one
//! block tells most streams that cannot be made again, and the number of its symbols tells how much memory zlib had.

use super::bits::BitWriter;
use super::block::{Block, Symbol};
use super::codes::{
    DISTANCE_BASE, DISTANCE_EXTRA, DISTANCES, END, FIXED_DISTANCES, FIXED_LITERALS, LENGTH_BASE, LENGTH_EXTRA,
    LENGTH_ORDER, LENGTHS, LITERALS, REPEAT_EXTRA,
};

/// More symbols than any block of zlib or GNU gzip has.
const MOST: usize = 1 << 15;

/// What the first block shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct First {
    /// How many symbols there are, without the end of the block.
    pub(super) symbols: usize,
    /// Whether no block follows.
    pub(super) last: bool,
    /// Whether there is a match among them.
    pub(super) matches: bool,
}

/// What a look at a stream gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// The first block is stored and tells nothing.
    Stored,
    /// Its codes are those that zlib and GNU gzip make.
    Known(First),
    /// None of them made it.
    Strange,
}

/// Looks at the first block of `stream`.
pub(super) fn look(stream: &[u8]) -> Look {
    let mut bits = Bits { bytes: stream, at: 0 };
    match (bits.take(1), bits.take(2)) {
        (Some(_), Some(0)) => Look::Stored,
        (Some(last), Some(kind @ 1..=2)) => symbols(&mut bits, kind == 1)
            .and_then(|found| check(stream, bits.at, &found, last == 1, kind == 1))
            .map_or(Look::Strange, |matches| {
                Look::Known(First { symbols: matches.0, last: last == 1, matches: matches.1 })
            }),
        _ => Look::Strange,
    }
}

/// Whether `found`, written by zlib, takes the `end` bits that the stream begins with; their number, and whether some are matches.
fn check(stream: &[u8], end: usize, found: &[Symbol], last: bool, fixed: bool) -> Option<(usize, bool)> {
    let mut block = Block::new(fixed);
    found.iter().for_each(|symbol| block.push(*symbol));
    let mut made = Vec::new();
    let mut out = BitWriter::new(&mut made);
    block.write(&mut out, None, last).ok()?;
    out.finish().ok()?;
    let whole = end / 8;
    let rest = (1u16 << (end % 8)) - 1;
    let same = made.get(..whole)? == stream.get(..whole)?
        && made.len() == end.div_ceil(8)
        && made.get(whole).zip(stream.get(whole)).is_none_or(|(one, other)| u16::from(one ^ other) & rest == 0);
    same.then(|| (found.len(), found.iter().any(|symbol| symbol.distance != 0)))
}

fn symbols(bits: &mut Bits<'_>, fixed: bool) -> Option<Vec<Symbol>> {
    let (literals, distances) =
        if fixed { (Decoder::new(&FIXED_LITERALS)?, Decoder::new(&FIXED_DISTANCES)?) } else { lengths(bits)? };
    let mut symbols = Vec::new();
    while symbols.len() < MOST {
        let symbol = usize::from(literals.next(bits)?);
        if symbol == END {
            return Some(symbols);
        }
        if symbol < END {
            symbols.push(Symbol { distance: 0, value: symbol as u16 });
            continue;
        }
        let index = symbol - END - 1;
        let value = LENGTH_BASE.get(index)? + bits.take(u32::from(LENGTH_EXTRA[index]))?;
        let index = usize::from(distances.next(bits)?);
        let distance = DISTANCE_BASE.get(index)?.checked_add(bits.take(u32::from(DISTANCE_EXTRA[index]))?)?;
        symbols.push(Symbol { distance, value });
    }
    None
}

/// The codes of a block with its own (RFC 1951, 3.2.7).
fn lengths(bits: &mut Bits<'_>) -> Option<(Decoder, Decoder)> {
    let literals = usize::from(bits.take(5)?) + 257;
    let distances = usize::from(bits.take(5)?) + 1;
    let written = usize::from(bits.take(4)?) + 4;
    if literals > LITERALS || distances > DISTANCES {
        return None;
    }
    let mut run_lengths = [0; LENGTHS];
    for symbol in &LENGTH_ORDER[..written] {
        run_lengths[usize::from(*symbol)] = bits.take(3)? as u8;
    }
    let runs = Decoder::new(&run_lengths)?;
    let mut lengths: Vec<u8> = Vec::with_capacity(literals + distances);
    while lengths.len() < literals + distances {
        let symbol = runs.next(bits)? as u8;
        let extra = bits.take(u32::from(REPEAT_EXTRA[usize::from(symbol)]))?;
        let (length, times) = match symbol {
            16 => (*lengths.last()?, 3 + extra),
            17 => (0, 3 + extra),
            18 => (0, 11 + extra),
            length => (length, 1),
        };
        lengths.extend(std::iter::repeat_n(length, usize::from(times)));
    }
    let (literals, distances) = lengths.get(..literals + distances)?.split_at(literals);
    Some((Decoder::new(literals)?, Decoder::new(distances)?))
}

/// Bits of a stream in order.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// The next bits, at most 13.
    fn take(&mut self, count: u32) -> Option<u16> {
        let mut value = 0;
        for place in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            value |= u16::from(byte >> (self.at % 8) & 1) << place;
            self.at += 1;
        }
        Some(value)
    }
}

/// Decodes a canonical code bit by bit.
struct Decoder {
    /// Symbols with a code, in the order of the codes.
    symbols: Vec<u16>,
    /// Codes of each length.
    count: [u16; 16],
}

impl Decoder {
    fn new(lengths: &[u8]) -> Option<Self> {
        let mut count = [0; 16];
        let mut symbols = Vec::with_capacity(lengths.len());
        for length in 1..16u8 {
            let of_length = lengths.iter().enumerate().filter(|(_, other)| **other == length);
            symbols.extend(of_length.map(|(symbol, _)| symbol as u16));
            count[usize::from(length)] = lengths.iter().filter(|other| **other == length).count() as u16;
        }
        (lengths.iter().all(|length| *length < 16)).then_some(Self { symbols, count })
    }

    fn next(&self, bits: &mut Bits<'_>) -> Option<u16> {
        let (mut code, mut first, mut index) = (0u32, 0u32, 0u32);
        for count in &self.count[1..] {
            code |= u32::from(bits.take(1)?);
            let count = u32::from(*count);
            if code < first + count {
                return self.symbols.get((index + code.checked_sub(first)?) as usize).copied();
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::encoder::{Encoder, Family, Strategy};
    use super::*;

    fn text() -> Vec<u8> {
        (0..60_000u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 18).to_string().into_bytes()).collect()
    }

    #[test]
    fn the_number_of_symbols_tells_the_memory() {
        for memory in 1..=9u8 {
            let family = Family::Zlib { memory, strategy: Strategy::Default };
            let mut out = Vec::new();
            Encoder::new(family, 6).unwrap().compress(&mut text().as_slice(), &mut out).unwrap();
            let symbols = (1 << (memory + 6)) - 1;
            assert_eq!(look(&out), Look::Known(First { symbols, last: false, matches: true }));
        }
    }

    #[test]
    fn codes_of_others_are_strange() {
        // "aaaa" in a fixed block, where zlib would have taken a match.
        let four = [0x4B, 0x4C, 0x4C, 0x4C, 0x04, 0x00];
        assert_eq!(look(&four), Look::Known(First { symbols: 4, last: true, matches: false }));
        let mut out = Vec::new();
        let family = Family::Zlib { memory: 8, strategy: Strategy::Default };
        Encoder::new(family, 9).unwrap().compress(&mut text().as_slice(), &mut out).unwrap();
        // One code length more than needed is written.
        out[1] ^= 0x20;
        assert_eq!(look(&out), Look::Strange);
        assert_eq!(look(&[]), Look::Strange);
        assert_eq!(look(&[7]), Look::Strange);
        assert_eq!(look(&[1, 0, 0, 0xFF, 0xFF]), Look::Stored);
    }
}
