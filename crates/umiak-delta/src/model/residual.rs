//! Where predicted bytes are wrong, and what is there instead.
//!
//! While predictions hold, one bit says that a whole block of them is right; blocks grow. Near a wrong byte each byte has its own bit,
//! in the context of the predicted byte, its neighbours, and what became of this byte before; a wrong byte is then coded bit
//! by bit in the same contexts. So a name that was replaced everywhere costs little after its first places.

use std::io;

use super::coder::Coder;
use super::mixer::{Mixer, hash};

/// Right bytes after which bytes are taken in blocks.
const CALM: u32 = 20;

/// The largest block is `16 << LARGEST`.
const LARGEST: u32 = 8;

/// Bytes whose corrections are coded one after the other, with all that was learned from them.
pub struct Residual {
    blocks: Mixer<3>,
    flags: Mixer<6>,
    bytes: Mixer<7>,
    /// What each predicted byte became when it was last wrong, and when it was last met.
    became: [u8; 256],
    met: [u8; 256],
    /// The last bytes, the newest lowest.
    recent: u32,
    /// One bit a byte: was it wrong. The newest lowest.
    wrongs: u32,
    /// Differences of the last wrong bytes.
    differences: [u8; 2],
    /// Right bytes since the last wrong one.
    right: u32,
    /// Right blocks since then.
    blocks_right: u32,
}

impl Residual {
    pub fn new() -> Self {
        Self {
            blocks: Mixer::new(12, 16, 255),
            flags: Mixer::new(16, 64, 255),
            bytes: Mixer::new(18, 8, 255),
            became: std::array::from_fn(|byte| byte as u8),
            met: std::array::from_fn(|byte| byte as u8),
            recent: 0,
            wrongs: 0,
            differences: [0; 2],
            right: CALM,
            blocks_right: 0,
        }
    }

    /// Codes what is wrong in `predicted`, which is `actual` afterwards. `actual` is asked only on the encoder's side. `hint` says what kind of
    /// bytes these are.
    pub fn code(
        &mut self,
        coder: &mut impl Coder,
        predicted: &mut [u8],
        actual: Option<&[u8]>,
        hint: u32,
    ) -> io::Result<()> {
        let mut at = 0;
        while at < predicted.len() {
            if self.right < CALM {
                self.byte(coder, predicted, at, actual, hint)?;
                at += 1;
                continue;
            }
            let size = (16usize << self.blocks_right.min(LARGEST)).min(predicted.len() - at);
            let wrong = actual.is_some_and(|actual| actual[at..at + size] != predicted[at..at + size]);
            let length = usize::BITS - size.leading_zeros();
            let calm = self.blocks_right.min(15);
            let contexts = [
                hash(&[hint, length, calm]),
                hash(&[hint, length, u32::from(predicted[at]), 1]),
                hash(&[hint, self.recent & 0xFF, u32::from(predicted[at]), 2]),
            ];
            if self.blocks.code(coder, wrong, &contexts, calm as usize)? {
                let end = at + size;
                let mut any = false;
                while at < end && !any {
                    // The last byte must be wrong when no other is.
                    any = if at + 1 == end {
                        self.wrong(coder, predicted, at, actual, hint)?;
                        true
                    } else {
                        self.byte(coder, predicted, at, actual, hint)?
                    };
                    at += 1;
                }
                self.blocks_right = 0;
            } else {
                for byte in &predicted[at + size - size.min(4)..at + size] {
                    self.recent = self.recent << 8 | u32::from(*byte);
                }
                self.wrongs = 0;
                at += size;
                self.blocks_right += 1;
            }
        }
        Ok(())
    }

    /// One byte; says whether it was wrong.
    fn byte(
        &mut self,
        coder: &mut impl Coder,
        predicted: &mut [u8],
        at: usize,
        actual: Option<&[u8]>,
        hint: u32,
    ) -> io::Result<bool> {
        let byte = u32::from(predicted[at]);
        let next = predicted.get(at + 1).map_or(256, |byte| u32::from(*byte));
        let after = predicted.get(at + 2).map_or(256, |byte| u32::from(*byte));
        let wrong = actual.is_some_and(|actual| actual[at] != predicted[at]);
        let right = self.right.min(31);
        let contexts = [
            hash(&[hint, self.wrongs & 0xFF, right, 1]),
            hash(&[byte, self.recent & 0xFF, hint, 2]),
            hash(&[byte, self.recent & 0xFFFF, next, 3]),
            hash(&[byte, next, self.wrongs & 3, 4]),
            hash(&[byte, u32::from(self.met[byte as usize]), u32::from(self.became[byte as usize]), next, 5]),
            hash(&[byte, next, after, self.recent & 0xFF, 6]),
        ];
        let set = (self.wrongs & 7) as usize * 8 + (right / 4).min(7) as usize;
        if self.flags.code(coder, wrong, &contexts, set)? {
            self.wrong(coder, predicted, at, actual, hint)?;
            return Ok(true);
        }
        self.met[byte as usize] = byte as u8;
        self.recent = self.recent << 8 | byte;
        self.wrongs <<= 1;
        self.right += 1;
        Ok(false)
    }

    /// What a wrong byte is.
    fn wrong(
        &mut self,
        coder: &mut impl Coder,
        predicted: &mut [u8],
        at: usize,
        actual: Option<&[u8]>,
        hint: u32,
    ) -> io::Result<()> {
        let byte = predicted[at];
        let value = actual.map_or(0, |actual| actual[at]);
        let shown = u32::from(byte);
        let next = predicted.get(at + 1).map_or(256, |byte| u32::from(*byte));
        let guesses = [self.became[byte as usize], byte.wrapping_add(self.differences[0])];
        let mut node = 1u32;
        for place in (0..8).rev() {
            let guess = |guess: u8| {
                let guess = u32::from(guess) | 0x100;
                let agrees = guess >> (place + 1) == node;
                if agrees { 2 + (guess >> place & 1) } else { 0 }
            };
            let (first, second) = (guess(guesses[0]), guess(guesses[1]));
            let contexts = [
                hash(&[node, hint, 1]),
                hash(&[node, shown, 2]),
                hash(&[node, shown, self.recent & 0xFF, 3]),
                hash(&[node, self.recent & 0xFFFF, 4]),
                hash(&[first, second, place, hint, 5]),
                hash(&[node, u32::from(guesses[0]), u32::from(guesses[1]), 6]),
                hash(&[node, shown, next, self.recent & 0xFF, 7]),
            ];
            let bit = self.bytes.code(coder, value >> place & 1 == 1, &contexts, place as usize)?;
            node = node << 1 | u32::from(bit);
        }
        let value = node as u8;
        predicted[at] = value;
        self.became[byte as usize] = value;
        self.met[byte as usize] = value;
        self.differences = [value.wrapping_sub(byte), self.differences[0]];
        self.recent = self.recent << 8 | u32::from(value);
        self.wrongs = self.wrongs << 1 | 1;
        self.right = 0;
        self.blocks_right = 0;
        Ok(())
    }
}
