//! What librsync would send: a delta of whole blocks that the base has somewhere, and literals.
//!
//! Only for a figure to compare with. The stream is librsync's own (docs/formats/foreign-deltas.md), with blocks of 512
//! bytes as balena's engine has them, so that it can be applied and compared; matching is greedy, as there.

use std::collections::HashMap;

/// Bytes of a block.
const BLOCK: usize = 512;

/// Factor of the rolling hash.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// The librsync delta from `base` to `target`.
pub fn delta(base: &[u8], target: &[u8]) -> Vec<u8> {
    let mut blocks: HashMap<u64, usize> = HashMap::new();
    for (number, block) in base.chunks_exact(BLOCK).enumerate() {
        blocks.entry(hash(block)).or_insert(number * BLOCK);
    }
    let highest = (1..BLOCK).fold(1u64, |power, _| power.wrapping_mul(FACTOR));
    let mut out = Stream { bytes: 0x7273_0236_u32.to_be_bytes().to_vec(), literal: Vec::new(), copy: None };
    let mut at = 0;
    let mut rolling = target.get(..BLOCK).map(hash);
    while let (Some(value), Some(window)) = (rolling, target.get(at..at + BLOCK)) {
        let is_same = |from: &usize| base.get(*from..*from + BLOCK) == Some(window);
        // Where the last copy goes on, before where the same block was first.
        let goes_on = out.copy.map(|(from, length)| from + length).filter(is_same);
        if let Some(from) = goes_on.or_else(|| blocks.get(&value).copied().filter(is_same)) {
            out.copy(from);
            at += BLOCK;
            rolling = target.get(at..at + BLOCK).map(hash);
            continue;
        }
        out.literal(target[at]);
        let first = u64::from(target[at]).wrapping_mul(highest);
        rolling = target.get(at + BLOCK).map(|last| roll(value.wrapping_sub(first), *last));
        at += 1;
    }
    target[at..].iter().for_each(|byte| out.literal(*byte));
    out.flush();
    out.bytes.push(0);
    out.bytes
}

fn roll(hash: u64, byte: u8) -> u64 {
    hash.wrapping_mul(FACTOR).wrapping_add(byte.into())
}

fn hash(block: &[u8]) -> u64 {
    block.iter().fold(0, |hash, byte| roll(hash, *byte))
}

/// Operations being written; copies that follow each other are one.
struct Stream {
    bytes: Vec<u8>,
    literal: Vec<u8>,
    copy: Option<(usize, usize)>,
}

impl Stream {
    fn copy(&mut self, from: usize) {
        match &mut self.copy {
            Some((start, length)) if *start + *length == from => *length += BLOCK,
            _ => {
                self.flush();
                self.copy = Some((from, BLOCK));
            }
        }
    }

    fn literal(&mut self, byte: u8) {
        if self.copy.is_some() {
            self.flush();
        }
        self.literal.push(byte);
    }

    fn flush(&mut self) {
        if let Some((from, length)) = self.copy.take() {
            let (from, length) = (Number::of(from), Number::of(length));
            self.bytes.push(0x45 + 4 * from.width + length.width);
            self.bytes.extend_from_slice(from.bytes());
            self.bytes.extend_from_slice(length.bytes());
        }
        if !self.literal.is_empty() {
            let length = Number::of(self.literal.len());
            self.bytes.push(0x41 + length.width);
            self.bytes.extend_from_slice(length.bytes());
            self.bytes.append(&mut self.literal);
        }
    }
}

/// A number in 1, 2, 4 or 8 bytes: the width is the power of two.
struct Number {
    width: u8,
    bytes: [u8; 8],
}

impl Number {
    fn of(number: usize) -> Self {
        let number = number as u64;
        let width = match number {
            0..=0xFF => 0,
            0x100..=0xFFFF => 1,
            0x1_0000..=0xFFFF_FFFF => 2,
            _ => 3,
        };
        Self { width, bytes: number.to_be_bytes() }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[8 - (1 << self.width)..]
    }
}

#[cfg(test)]
mod tests {
    use umiak_delta::foreign::{Bounds, rdiff};
    use umiak_spec::Silent;
    use umiak_testkit::random::Chance;

    use super::*;

    #[test]
    fn what_is_made_makes_the_target() {
        let mut chance = Chance::new(1);
        let base = chance.bytes(40 * BLOCK);
        let other = chance.bytes(3_000);
        let moved = [&base[700..9_000], &other, &base[..4_000], b"end"].concat();
        for target in [&base[..], &moved, &other, b"", &base[..511], &base[..512]] {
            let delta = delta(&base, target);
            let mut made = Vec::new();
            rdiff(&base.as_slice(), &mut delta.as_slice(), &mut made, &Bounds::default(), &Silent).unwrap();
            assert_eq!(made, target);
        }
        assert_eq!(delta(&base, &base).len(), 9, "one copy");
    }
}
