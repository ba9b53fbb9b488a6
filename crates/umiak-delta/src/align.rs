//! Which parts of a target are copied from where in its base: matching with mismatches, after Colin Percival's bsdiff.
//!
//! A match found in the suffix array begins a copy when it is clearly better than going on with the copy before it; copies then grow
//! both ways as long as at least half of the bytes agree. What no copy covers is literal.

use crate::suffix::{SortError, Suffixes, common};

/// Target bytes that are predicted from base bytes. Copies are sorted by `target` and do not overlap there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copy {
    /// First byte in the base.
    pub base: u64,
    /// First byte in the target.
    pub target: u64,
    /// Bytes, at least 1.
    pub length: u64,
}

/// A match must agree in this many bytes more than the copy before it would, to begin a copy.
const CLEARLY: usize = 12;

/// While the copy before goes on without a mismatch for this long, nothing better is looked for.
const GOING_WELL: usize = 32;

/// Aligns `target` to `base`.
///
/// # Errors
/// The base is too long to be sorted.
pub fn align(base: &[u8], target: &[u8]) -> Result<Vec<Copy>, SortError> {
    Ok(Aligner::new(base)?.align(target, CLEARLY))
}

/// A base that targets can be aligned to.
pub struct Aligner<'a> {
    base: &'a [u8],
    suffixes: Suffixes<'a>,
}

impl<'a> Aligner<'a> {
    /// Sorts the suffixes of `base`.
    ///
    /// # Errors
    /// The base is too long to be sorted.
    pub fn new(base: &'a [u8]) -> Result<Self, SortError> {
        Ok(Self { base, suffixes: Suffixes::new(base)? })
    }

    /// Aligns `target`; a match must agree in `clearly` bytes more than the copy before it would, to begin a copy.
    #[must_use]
    pub fn align(&self, target: &[u8], clearly: usize) -> Vec<Copy> {
        let from = Place { base: 0, target: 0 };
        let mut scan = Scan { base: self.base, target, suffixes: &self.suffixes, clearly, copies: Vec::new(), from };
        scan.run();
        scan.copies
    }
}

#[derive(Clone, Copy)]
struct Place {
    base: usize,
    target: usize,
}

struct Scan<'a> {
    base: &'a [u8],
    target: &'a [u8],
    suffixes: &'a Suffixes<'a>,
    clearly: usize,
    copies: Vec<Copy>,
    /// Where the copy that is being decided begins; it goes on along this diagonal.
    from: Place,
}

impl Scan<'_> {
    fn run(&mut self) {
        let mut at = 0;
        loop {
            let (next, length) = self.next_match(at);
            let end = self.forward(next.target);
            let back = if next.target < self.target.len() { self.backward(next) } else { 0 };
            let (end, back) = self.share(end, next, back);
            if end > 0 {
                let copy = (self.from.base as u64, self.from.target as u64, end as u64);
                self.copies.push(Copy { base: copy.0, target: copy.1, length: copy.2 });
            }
            if next.target >= self.target.len() {
                return;
            }
            self.from = Place { base: next.base - back, target: next.target - back };
            at = next.target + length;
        }
    }

    /// The base byte that the current copy would take for target byte `at`.
    fn along(&self, at: usize) -> Option<usize> {
        (self.from.base + at).checked_sub(self.from.target).filter(|base| *base < self.base.len())
    }

    fn agrees(&self, at: usize) -> bool {
        self.along(at).is_some_and(|base| self.base[base] == self.target[at])
    }

    /// From target byte `at` on, the first match that is clearly better than the current copy.
    fn next_match(&self, mut at: usize) -> (Place, usize) {
        let mut counted = at;
        let mut agreeing = 0;
        while at < self.target.len() {
            if let Some(base) = self.along(at) {
                let run = common(&self.base[base..], &self.target[at..]);
                if run >= GOING_WELL {
                    at += run;
                    (counted, agreeing) = (at, 0);
                    continue;
                }
            }
            let found = self.suffixes.longest(&self.target[at..]);
            let length = found.length;
            while counted < at + length {
                agreeing += usize::from(self.agrees(counted));
                counted += 1;
            }
            if length > 0 && length == agreeing {
                at += length;
                (counted, agreeing) = (at, 0);
                continue;
            }
            if length > agreeing + self.clearly {
                let wanted = self.from.base + at - self.from.target;
                let found = self.suffixes.nearest(&self.target[at..], found, wanted);
                return (Place { base: found.position, target: at }, found.length);
            }
            if counted > at {
                agreeing -= usize::from(self.agrees(at));
            } else {
                counted = at + 1;
            }
            at += 1;
        }
        (Place { base: 0, target: self.target.len() }, 0)
    }

    /// How long the current copy is at best when it must end before target byte `limit`.
    fn forward(&self, limit: usize) -> usize {
        let room = (limit - self.from.target).min(self.base.len() - self.from.base);
        let pairs = self.base[self.from.base..][..room].iter().zip(&self.target[self.from.target..]);
        best_length(pairs.map(|(a, b)| a == b))
    }

    /// How far back the copy through `next` reaches at best.
    fn backward(&self, next: Place) -> usize {
        let room = (next.target - self.from.target).min(next.base);
        let base = self.base[next.base - room..next.base].iter().rev();
        let target = self.target[next.target - room..next.target].iter().rev();
        best_length(base.zip(target).map(|(a, b)| a == b))
    }

    /// Where both copies would cover the same target bytes, each gets those where it agrees more.
    fn share(&self, end: usize, next: Place, back: usize) -> (usize, usize) {
        let overlap = (self.from.target + end + back).saturating_sub(next.target);
        if overlap == 0 {
            return (end, back);
        }
        let first = self.from.target + end - overlap;
        let (mut score, mut best, mut keep) = (0i64, 0i64, 0);
        for step in 0..overlap {
            let target = self.target[first + step];
            score += i64::from(self.base[self.from.base + end - overlap + step] == target);
            score -= i64::from(self.base[next.base - back + step] == target);
            if score > best {
                (best, keep) = (score, step + 1);
            }
        }
        (end - overlap + keep, back - keep)
    }
}

/// The length at which agreeing bytes outweigh the others most.
fn best_length(agree: impl Iterator<Item = bool>) -> usize {
    let (mut score, mut best, mut length) = (0i64, 0i64, 0);
    for (at, equal) in agree.enumerate() {
        score += if equal { 1 } else { -1 };
        if score > best {
            (best, length) = (score, at + 1);
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_insertion_is_the_only_literal() {
        let base: Vec<u8> = (0..2000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let mut target = base.clone();
        target.splice(4000..4000, *b"something new");
        target[6000] ^= 1;
        let copies = align(&base, &target).unwrap();
        assert_eq!(copies.len(), 2, "{copies:?}");
        assert_eq!(copies[0], Copy { base: 0, target: 0, length: 4000 });
        assert_eq!(copies[1], Copy { base: 4000, target: 4013, length: 4000 });
    }

    #[test]
    fn copies_are_in_order_and_inside() {
        let base = b"the quick brown fox jumps over the lazy dog and runs away over the hills".repeat(3);
        for target in
            [&b""[..], b"fox", b"over the lazy hills and away jumps the quick brown fox jumps over the dog and"]
        {
            let mut end = 0;
            for copy in align(&base, target).unwrap() {
                assert!(copy.target >= end && copy.length > 0, "{copy:?}");
                end = copy.target + copy.length;
                assert!(end <= target.len() as u64 && copy.base + copy.length <= base.len() as u64);
            }
        }
        assert!(align(b"", b"anything").unwrap().is_empty());
    }
}
