//! The longest match of any text in a base: a suffix array with a table of first bytes.
//!
//! [`Suffixes::new`] costs time linear in the base and 4 bytes a base byte; a lookup is a binary search among the suffixes that begin
//! with the same two or three bytes. Nothing here decides what is worth copying.

use libsais::SuffixArrayConstruction;

/// A base whose suffixes are sorted.
pub struct Suffixes<'a> {
    base: &'a [u8],
    sorted: Vec<i32>,
    /// `starts[k]..starts[k + 1]`: the suffixes that begin with the bytes of `k`.
    starts: Vec<u32>,
    /// Bytes in `k`.
    prefix: usize,
}

/// Bases above this get a table of three bytes.
const LARGE: usize = 8 << 20;

/// The largest base that can be sorted.
pub const MAX_BASE: usize = 1 << 30;

impl<'a> Suffixes<'a> {
    /// Sorts the suffixes of `base`, which must be shorter than [`MAX_BASE`].
    ///
    /// # Errors
    /// The base is too long, or there is no memory for it.
    pub fn new(base: &'a [u8]) -> Result<Self, SortError> {
        if base.len() > MAX_BASE {
            return Err(SortError(base.len()));
        }
        let sorted = if base.is_empty() {
            Vec::new()
        } else {
            let array = SuffixArrayConstruction::for_text(base).in_owned_buffer32().single_threaded().run();
            array.map_err(|_| SortError(base.len()))?.into_vec()
        };
        let prefix = if base.len() > LARGE { 3 } else { 2 };
        let starts = starts(base, prefix);
        Ok(Self { base, sorted, starts, prefix })
    }

    /// The longest beginning of `text` that is in the base. Matches shorter than the table's prefix are not found.
    #[must_use]
    pub fn longest(&self, text: &[u8]) -> Match {
        if text.len() < self.prefix {
            return Match::default();
        }
        let key = key(text, self.prefix);
        let (mut low, mut high) = (self.starts[key] as usize, self.starts[key + 1] as usize);
        let (mut low_length, mut high_length) = (self.prefix, self.prefix);
        let mut best = Match::default();
        while low < high {
            let middle = low.midpoint(high);
            let position = self.sorted[middle] as usize;
            let suffix = &self.base[position..];
            let known = low_length.min(high_length).min(suffix.len());
            let length = known + common(&suffix[known..], &text[known..]);
            if length > best.length {
                best = Match { position, length, rank: middle };
            }
            let less = length == suffix.len() || length < text.len() && suffix[length] < text[length];
            if less {
                (low, low_length) = (middle + 1, length);
            } else {
                (high, high_length) = (middle, length);
            }
        }
        best
    }

    /// Of the matches about as long as `found`, one that is near `wanted`: what is near takes fewer bytes to say.
    #[must_use]
    pub fn nearest(&self, text: &[u8], found: Match, wanted: usize) -> Match {
        let score = |candidate: &Match| {
            let distance = candidate.position.abs_diff(wanted) + 1;
            candidate.length as i64 * BYTE_WORTH - i64::from(distance.ilog2())
        };
        let mut best = found;
        let mut best_score = score(&found);
        let least = found.length.saturating_sub(SHORTER).max(self.prefix);
        let before = self.sorted[..found.rank].iter().enumerate().rev().take(NEIGHBOURS);
        let after = self.sorted.iter().enumerate().skip(found.rank + 1).take(NEIGHBOURS);
        let mut look = |neighbours: &mut dyn Iterator<Item = (usize, &i32)>| {
            for (rank, position) in neighbours {
                let position = *position as usize;
                let length = common(&self.base[position..], text);
                if length < least {
                    return;
                }
                let candidate = Match { position, length, rank };
                if score(&candidate) > best_score {
                    (best, best_score) = (candidate, score(&candidate));
                }
            }
        };
        look(&mut before.into_iter());
        look(&mut after.into_iter());
        best
    }
}

/// Where a text is in the base.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Match {
    /// First byte.
    pub position: usize,
    /// Bytes; 0 if it is not there.
    pub length: usize,
    /// Which of the sorted suffixes it is.
    rank: usize,
}

/// Matches looked at on each side of the longest.
const NEIGHBOURS: usize = 500;

/// How much shorter a nearer match may be.
const SHORTER: usize = 10;

/// Bits that a byte more is worth.
const BYTE_WORTH: i64 = 3;

/// A base cannot be sorted.
#[derive(Debug, thiserror::Error)]
#[error("cannot sort the suffixes of {0} bytes: too many for the memory there is")]
pub struct SortError(usize);

/// How many bytes `a` and `b` begin with alike.
#[must_use]
pub fn common(a: &[u8], b: &[u8]) -> usize {
    let length = a.len().min(b.len());
    let (a, b) = (&a[..length], &b[..length]);
    let words = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
    let mut at = 0;
    for (x, y) in words {
        let differ = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
        if differ != 0 {
            return at + (differ.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    at + a[at..].iter().zip(&b[at..]).take_while(|(x, y)| x == y).count()
}

fn key(text: &[u8], prefix: usize) -> usize {
    text[..prefix].iter().fold(0, |key, byte| key << 8 | usize::from(*byte))
}

/// Counts prefixes. Suffixes shorter than a prefix sort among those of zeros behind them, first in their range.
fn starts(base: &[u8], prefix: usize) -> Vec<u32> {
    let mut starts = vec![0u32; (1 << (8 * prefix)) + 1];
    for window in base.windows(prefix) {
        starts[key(window, prefix) + 1] += 1;
    }
    let mut tail = [0; 3];
    for short in 1..prefix.min(base.len() + 1) {
        tail.fill(0);
        tail[..short].copy_from_slice(&base[base.len() - short..]);
        starts[key(&tail, prefix) + 1] += 1;
    }
    let mut sum = 0;
    for count in &mut starts {
        sum += *count;
        *count = sum;
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow(base: &[u8], text: &[u8]) -> usize {
        (0..base.len()).map(|at| common(&base[at..], text)).max().unwrap_or(0)
    }

    #[test]
    fn the_longest_match_is_found() {
        let mut seed = 7u32;
        let mut byte = move || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 30) as u8
        };
        for length in [0, 1, 2, 3, 5, 50, 500] {
            let base: Vec<u8> = (0..length).map(|_| byte()).collect();
            let text: Vec<u8> = (0..300).map(|_| byte()).collect();
            let suffixes = Suffixes::new(&base).unwrap();
            for at in 0..text.len() {
                let Match { position, length: found, .. } = suffixes.longest(&text[at..]);
                let expected = slow(&base, &text[at..]);
                assert!(found == expected || expected < 2, "{length} {at}: {found} {expected}");
                assert_eq!(base[position..position + found], text[at..at + found]);
            }
        }
    }
}
