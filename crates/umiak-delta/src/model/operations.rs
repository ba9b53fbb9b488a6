//! The copies and literals of a content, as numbers in context.
//!
//! Where a copy begins is said by the diagonals (base position minus target position) of the copies before it: most
//! copies go on along one of them, or begin where the last one ended.

use std::io;

use super::coder::Coder;
use super::mixer::{Mixer, hash};
use super::number::Numbers;

/// A literal and the copy behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// Bytes of literal, maybe 0.
    pub literal: u64,
    /// First base byte and length of the copy; none when the literal ends the content.
    pub copy: Option<(u64, u64)>,
}

/// How far a content is, and along which diagonals.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    size: u64,
    base_size: u64,
    at: u64,
    /// Where the last copy ended in the base.
    end: u64,
    diagonals: [u64; 4],
}

impl Progress {
    /// At the beginning of a content of `size` bytes that is patched from `base_size` bytes.
    #[must_use]
    pub fn new(size: u64, base_size: u64) -> Self {
        Self { size, base_size, at: 0, end: 0, diagonals: [0; 4] }
    }

    /// Target bytes that operations covered.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Whether the content is complete.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.at == self.size
    }

    /// Where a copy may begin exactly: at the end of the last one, along a diagonal.
    fn places(&self, at: u64) -> [u64; 5] {
        let along = |diagonal: u64| diagonal.wrapping_add(at);
        let [a, b, c, d] = self.diagonals;
        [along(a), self.end, along(b), along(c), along(d)]
    }

    fn took(&mut self, base: u64, length: u64) {
        let diagonal = base.wrapping_sub(self.at);
        let place = self.diagonals.iter().position(|known| *known == diagonal).unwrap_or(3);
        self.diagonals[..=place].rotate_right(1);
        self.diagonals[0] = diagonal;
        self.at += length;
        self.end = base + length;
    }
}

/// Places of [`Progress::places`] that a copy may begin near.
const NEAR: [usize; 3] = [1, 2, 3];

/// Codes operations, with all that was learned from those before.
pub struct Operations {
    literals: Numbers,
    copies: Numbers,
    places: Mixer<3>,
    offsets: [Numbers; 3],
    last: [u32; 2],
    lengths: [u32; 2],
}

impl Operations {
    pub fn new() -> Self {
        let offsets = [Numbers::new(), Numbers::new(), Numbers::new()];
        let places = Mixer::new(12, 1, 30);
        Self { literals: Numbers::new(), copies: Numbers::new(), places, offsets, last: [0; 2], lengths: [0; 2] }
    }

    /// Codes the next operation of a content that is not done. `operation` is asked only on the encoder's side.
    ///
    /// # Errors
    /// The decoder's source, or an operation that reaches over the end of the content or of the base.
    pub fn code(
        &mut self,
        coder: &mut impl Coder,
        operation: Option<Operation>,
        progress: &mut Progress,
    ) -> io::Result<Operation> {
        let first = u32::from(progress.at > 0);
        let literal = operation.map_or(0, |operation| operation.literal);
        let literal = self.literals.code(coder, literal, self.lengths[1] * 2 + first)?;
        let room = progress.size - progress.at;
        if literal > room {
            return Err(crate::patch::invalid("a literal reaches over the end of its file"));
        }
        progress.at += literal;
        self.lengths[0] = log(literal);
        if literal == room {
            return Ok(Operation { literal, copy: None });
        }
        let wanted = operation.and_then(|operation| operation.copy);
        let base = self.place(coder, wanted.map(|(base, _)| base), progress)?;
        let length =
            self.copies.code(coder, wanted.map_or(0, |(_, length)| length), self.last[0] * 64 + self.lengths[0])?;
        let inside = base.checked_add(length).is_some_and(|end| end <= progress.base_size);
        if !inside || length == 0 || length > room - literal {
            return Err(crate::patch::invalid("a copy reaches over the end of its base or its file"));
        }
        self.lengths[1] = log(length);
        progress.took(base, length);
        Ok(Operation { literal, copy: Some((base, length)) })
    }

    fn place(&mut self, coder: &mut impl Coder, base: Option<u64>, progress: &Progress) -> io::Result<u64> {
        let places = progress.places(progress.at);
        let choice = base.map_or(0, |base| choose(base, &places));
        let mut node = 1;
        for bit in (0..3).rev() {
            let contexts = [
                hash(&[node, self.last[0], self.last[1]]),
                hash(&[node, self.lengths[0], 1]),
                hash(&[node, self.last[0], self.lengths[0].min(6), self.lengths[1].min(8), 2]),
            ];
            node = node << 1 | u32::from(self.places.code(coder, choice >> bit & 1 == 1, &contexts, 0)?);
        }
        let choice = node - 8;
        self.last = [choice, self.last[0]];
        if choice < 5 {
            return Ok(places[choice as usize]);
        }
        let near = (choice - 5) as usize;
        let from = places[NEAR[near]];
        let offset = zigzag(base.map_or(0, |base| base.wrapping_sub(from)));
        let offset = self.offsets[near].code(coder, offset, self.lengths[0])?;
        Ok(from.wrapping_add(unzigzag(offset)))
    }
}

/// How to say where a copy begins: exactly one of `places`, or the nearest of some.
fn choose(base: u64, places: &[u64; 5]) -> u32 {
    if let Some(exact) = places.iter().position(|place| *place == base) {
        return exact as u32;
    }
    let distance = |near: &usize| zigzag(base.wrapping_sub(places[NEAR[*near]]));
    5 + (0..NEAR.len()).min_by_key(distance).unwrap_or(0) as u32
}

fn log(value: u64) -> u32 {
    u64::BITS - value.leading_zeros()
}

fn zigzag(value: u64) -> u64 {
    let value = value.cast_signed();
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> u64 {
    value >> 1 ^ (value & 1).wrapping_neg()
}
