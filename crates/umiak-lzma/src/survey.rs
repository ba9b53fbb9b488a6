//! A look at a block before it is encoded: is it worth encoding, and is it text?
//!
//! Both answers only steer; a wrong one costs size, never correctness.

/// Counts of the byte values of a block.
pub(crate) struct Survey {
    counts: [u32; 256],
    len: u64,
}

impl Survey {
    pub(crate) fn of(plain: &[u8]) -> Self {
        // Four rows, so that runs of one value do not wait for their own counter.
        let mut rows = [[0u32; 256]; 4];
        for quad in plain.chunks(4) {
            for (row, &byte) in rows.iter_mut().zip(quad) {
                row[usize::from(byte)] += 1;
            }
        }
        let mut counts = [0; 256];
        for row in rows {
            for (sum, count) in counts.iter_mut().zip(row) {
                *sum += count;
            }
        }
        Self { counts, len: plain.len() as u64 }
    }

    /// Are all values about equally common, so that only matches could make the block smaller? (Less than 0.3 % is lost.)
    pub(crate) fn flat(&self) -> bool {
        let squares: u64 = self.counts.iter().map(|&c| u64::from(c) * u64::from(c)).sum();
        // Random bytes give len^2 / 256 + len; a tilt of 3 % is 0.02 bits in 8.
        squares * 256 <= self.len * self.len * 103 / 100 + self.len * 256
    }

    /// Position bits: machine code and tables repeat at even positions, text (hardly any NUL) does not care.
    pub(crate) fn position_bits(&self) -> u32 {
        u32::from(u64::from(self.counts[0]) * 512 > self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_tables() {
        assert_eq!(Survey::of(&b"a text has no NUL. ".repeat(99)).position_bits(), 0);
        assert_eq!(Survey::of(&[0, 1, 2, 3].repeat(99)).position_bits(), 1);
    }

    #[test]
    fn random_bytes_are_flat_and_text_is_not() {
        let mut x = 1u64;
        let random: Vec<u8> = std::iter::repeat_with(|| {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (x >> 56) as u8
        })
        .take(131_072)
        .collect();
        assert!(Survey::of(&random).flat());
        assert!(Survey::of(&random[..5000]).flat());
        let mut tilted = random;
        tilted[..30_000].fill(7);
        assert!(!Survey::of(&tilted).flat());
        assert!(!Survey::of(&b"a text is far from flat. ".repeat(999)).flat());
    }
}
