//! Which files are alike: the smallest hashes of their 48-byte windows.
//!
//! Two files share about as many of these as they share text, wherever it lies in them. Nothing here reads names.

use std::collections::{BinaryHeap, HashMap};

/// Hashes kept of a file.
const KEPT: usize = 96;

/// Shorter files have no sketch.
const SHORTEST: usize = 64;

/// Files that may share one hash before it says nothing.
const COMMON: usize = 48;

/// The smallest hashes of a file's windows, ascending.
#[must_use]
pub fn sketch(bytes: &[u8]) -> Vec<u64> {
    if bytes.len() < SHORTEST {
        return Vec::new();
    }
    let mut smallest = BinaryHeap::with_capacity(KEPT + 1);
    let (mut rolling, mut largest) = (0u64, u64::MAX);
    for (at, byte) in bytes.iter().enumerate() {
        rolling = (rolling << 1).wrapping_add((u64::from(*byte) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        // The high bits have seen the last 48 bytes and more; mixing spreads them.
        let hash = (rolling >> 16).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        if hash < largest && at >= SHORTEST - 1 {
            if smallest.iter().any(|known| *known == hash) {
                continue;
            }
            smallest.push(hash);
            if smallest.len() > KEPT {
                smallest.pop();
                largest = smallest.peek().copied().unwrap_or(u64::MAX);
            }
        }
    }
    smallest.into_sorted_vec()
}

/// Sketches of the files of a base.
#[derive(Debug, Default)]
pub struct Sketches {
    files: HashMap<u64, Vec<u32>>,
}

impl Sketches {
    /// Adds the sketch of file `number`.
    pub fn add(&mut self, number: u32, sketch: &[u64]) {
        for hash in sketch {
            let files = self.files.entry(*hash).or_default();
            if files.len() < COMMON {
                files.push(number);
            }
        }
    }

    /// The file that shares most with `sketch`, if it shares an eighth; of equals the first.
    #[must_use]
    pub fn most_alike(&self, sketch: &[u64]) -> Option<u32> {
        let mut votes: HashMap<u32, usize> = HashMap::new();
        for number in sketch.iter().filter_map(|hash| self.files.get(hash)).flatten() {
            *votes.entry(*number).or_default() += 1;
        }
        let best = votes.into_iter().max_by_key(|(number, votes)| (*votes, std::cmp::Reverse(*number)))?;
        (best.1 * 8 >= sketch.len()).then_some(best.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seed: u32, length: u32) -> Vec<u8> {
        (0..length).flat_map(|n| (n ^ seed).wrapping_mul(2_654_435_761).rotate_left(9).to_be_bytes()).collect()
    }

    #[test]
    fn the_file_that_shares_text_is_found() {
        let mut sketches = Sketches::default();
        for number in 0..20 {
            sketches.add(number, &sketch(&text(number << 20, 2000)));
        }
        let mut moved = text(1 << 30, 700);
        moved.extend(&text(7 << 20, 2000)[2500..]);
        assert_eq!(sketches.most_alike(&sketch(&moved)), Some(7));
        assert_eq!(sketches.most_alike(&sketch(&text(1 << 31, 2000))), None);
        assert_eq!(sketches.most_alike(&sketch(b"short")), None);
    }
}
