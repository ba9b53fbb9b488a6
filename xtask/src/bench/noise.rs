//! Bytes that look random, that no compressor makes smaller, and that are the same every time.

/// `length` bytes; another `seed` gives others.
pub fn noise(seed: u64, length: u64) -> Vec<u8> {
    // Xorshift; the seed is spread so that near ones give far sequences, and is never 0.
    let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| step()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_noise() {
        let bytes = noise(1, 10_000);
        assert_eq!(bytes, noise(1, 10_000));
        assert_ne!(bytes, noise(2, 10_000));
        assert!((0..=255_u8).all(|value| bytes.contains(&value)));
    }
}
