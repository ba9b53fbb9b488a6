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
    pub fn code(&mut self, coder: &mut impl Coder, value: u64, context: u32) -> io::Result<u64> {
        let length = u64::BITS - value.leading_zeros();
        let length = self.tree(coder, length, 7, context, 0)?;
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
