//! Whole numbers in adaptive bits: how many bits it has first, then those below the highest, the first of them in context.

use std::io;

use super::coder::Coder;
use super::mixer::{Mixer, hash};

/// Codes numbers of one kind.
pub struct Numbers {
    mixer: Mixer<3>,
    last: [u32; 2],
}

impl Numbers {
    pub fn new() -> Self {
        Self { mixer: Mixer::new(12, 1, 30), last: [0; 2] }
    }

    /// Codes `value`; `context` is anything both sides know that bears on it.
    ///
    /// # Errors
    /// The decoder's source, or a number of more than 64 bits.
    pub fn code(&mut self, coder: &mut impl Coder, value: u64, context: u32) -> io::Result<u64> {
        let length = u64::BITS - value.leading_zeros();
        let length = self.tree(coder, length, 7, context, 0)?;
        if length > u64::BITS {
            return Err(crate::patch::invalid("a number has more than 64 bits"));
        }
        let mut made = u64::from(length > 0);
        for place in (0..length.saturating_sub(1)).rev() {
            let bit = value >> place & 1 == 1;
            let above = length - 2 - place;
            let known = if above < 3 { made as u32 } else { 8 + above };
            let contexts = [
                hash(&[1, length, known, 0]),
                hash(&[1, length, known, context + 1]),
                hash(&[1, length, known, self.last[0] + 99]),
            ];
            made = made << 1 | u64::from(self.mixer.code(coder, bit, &contexts, 0)?);
        }
        self.last = [length, self.last[0]];
        Ok(made)
    }

    /// A number below `2^bits`, from its highest bit on.
    fn tree(&mut self, coder: &mut impl Coder, value: u32, bits: u32, context: u32, salt: u32) -> io::Result<u32> {
        let mut node = 1;
        for place in (0..bits).rev() {
            let bit = value >> place & 1 == 1;
            let contexts = [
                hash(&[salt, node, context]),
                hash(&[salt, node, context, self.last[0], 7]),
                hash(&[salt, node, self.last[0], self.last[1], 9]),
            ];
            node = node << 1 | u32::from(self.mixer.code(coder, bit, &contexts, 0)?);
        }
        Ok(node - (1 << bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Decoder, Encoder};

    #[test]
    fn numbers_of_all_lengths_come_back_and_longer_ones_are_errors() {
        let numbers: Vec<u64> = (0..=64u32).map(|bits| u64::MAX.checked_shr(64 - bits).unwrap_or(0)).collect();
        let mut encoder = Encoder::default();
        let mut coding = Numbers::new();
        for number in &numbers {
            coding.code(&mut encoder, *number, 3).unwrap();
        }
        let bytes = encoder.finish();
        let mut decoder = Decoder::new(bytes.as_slice());
        let mut coding = Numbers::new();
        for number in &numbers {
            assert_eq!(coding.code(&mut decoder, 0, 3).unwrap(), *number);
        }
        // Of these, one begins with a length of 127, the other with none.
        let long = [[0; 8], [0xFF; 8]].map(|bytes| Numbers::new().code(&mut Decoder::new(&bytes[..]), 0, 0).is_err());
        assert!(long.contains(&true));
    }
}
