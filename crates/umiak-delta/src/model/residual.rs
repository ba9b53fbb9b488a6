//! Where predicted bytes are wrong, and what is there instead.
//!
//! While predictions hold, one bit says that a whole block of them is right; blocks grow. A block that is not is halved until few
//! bytes are left. Close behind a wrong byte each byte has its own bit, in the context of the predicted byte, its neighbours, and
//! what became of this byte before; a wrong byte is then coded bit by bit in the same contexts. So a name that was replaced
//! everywhere costs little after its first places.

use std::io;

use super::coder::Coder;
use super::mixer::{Blend, Counter, Mixer, NEW, hash, place};

/// Right bytes after which bytes are taken in blocks.
const CALM: u32 = 20;

/// Bytes in the first block, in the logarithm.
const FIRST: u32 = 4;

/// The largest block is `16 << LARGEST`.
const LARGEST: u32 = 8;

/// Blocks with a wrong byte are halved down to this many bytes.
const SMALL: usize = 64;

/// Contexts of the bits of a wrong byte, beside the guesses.
const CONTEXTS: usize = 4;

/// Sets of counters for each, in the logarithm.
const SETS: u32 = 12;

/// Counters in a set: for the bits of half a byte, side by side in a cache line.
const HALF: usize = 16;

/// Counters for whether guesses hold.
const GUESSES: usize = 2048;

/// Bytes whose corrections are coded one after the other, with all that was learned from them.
pub struct Residual {
    blocks: Mixer<4>,
    flags: Mixer<4>,
    bytes: Blend<{ CONTEXTS + 1 }>,
    counters: Vec<Counter>,
    /// What each predicted byte became when it was last wrong, and when it was last met.
    became: [u8; 256],
    met: [u8; 256],
    /// The last bytes, the newest lowest.
    recent: u32,
    /// One bit a byte: was it wrong. The newest lowest.
    wrongs: u32,
    /// Difference of the last wrong byte.
    difference: u8,
    /// Right bytes since the last wrong one.
    right: u32,
    /// Right blocks since then.
    blocks_right: u32,
}

/// What is being corrected.
struct Text<'a> {
    predicted: &'a mut [u8],
    actual: Option<&'a [u8]>,
    hint: u32,
}

impl Text<'_> {
    #[inline(always)]
    fn shown(&self, at: usize) -> u32 {
        self.predicted.get(at).map_or(256, |byte| u32::from(*byte))
    }

    fn differs(&self, from: usize, to: usize) -> bool {
        self.actual.is_some_and(|actual| actual[from..to] != self.predicted[from..to])
    }
}

impl Residual {
    pub fn new() -> Self {
        Self {
            blocks: Mixer::new(13, 32, 60),
            flags: Mixer::new(16, 64, 12),
            bytes: Blend::new(128, 8),
            counters: vec![NEW; GUESSES + (CONTEXTS << SETS) * HALF],
            became: std::array::from_fn(|byte| byte as u8),
            met: std::array::from_fn(|byte| byte as u8),
            recent: 0,
            wrongs: 0,
            difference: 0,
            right: CALM,
            blocks_right: 0,
        }
    }

    /// Codes what is wrong in `predicted`, which is `actual` afterwards. `actual` is asked only on the encoder's side. `hint`, at
    /// most 15, says what kind of bytes these are.
    pub fn code(
        &mut self,
        coder: &mut impl Coder,
        predicted: &mut [u8],
        actual: Option<&[u8]>,
        hint: u32,
    ) -> io::Result<()> {
        let mut text = Text { predicted, actual, hint };
        let mut at = 0;
        while at < text.predicted.len() {
            if self.right < CALM {
                self.byte(coder, &mut text, at)?;
                at += 1;
            } else {
                at = self.block(coder, &mut text, at)?;
            }
        }
        Ok(())
    }

    /// A block from `at` on, up to its first wrong byte; gives where to go on.
    fn block(&mut self, coder: &mut impl Coder, text: &mut Text<'_>, mut at: usize) -> io::Result<usize> {
        let mut size = (1usize << (FIRST + self.blocks_right.min(LARGEST))).min(text.predicted.len() - at);
        if !self.any(coder, text, at, size, 0)? {
            self.skip(text, at, size);
            self.blocks_right += 1;
            return Ok(at + size);
        }
        while size > SMALL {
            let half = size / 2;
            if self.any(coder, text, at, half, 16)? {
                size = half;
            } else {
                self.skip(text, at, half);
                at += half;
                size -= half;
            }
        }
        let end = at + size;
        while at + 1 < end {
            at += 1;
            if self.byte(coder, text, at - 1)? {
                return Ok(at);
            }
        }
        // The last byte must be wrong when no other is.
        self.wrong(coder, text, at)?;
        Ok(end)
    }

    /// Whether there is any wrong byte among `size` from `at` on.
    fn any(&mut self, coder: &mut impl Coder, text: &Text<'_>, at: usize, size: usize, part: u32) -> io::Result<bool> {
        let wrong = text.differs(at, at + size);
        let length = usize::BITS - size.leading_zeros() + part;
        let calm = self.blocks_right.min(15) + part;
        let head = text.shown(at) << 18 | text.shown(at + 1) << 9 | text.shown(at + 2);
        let contexts = [
            hash(&[text.hint << 16 | length << 8 | calm]),
            hash(&[text.hint << 18 | length << 9 | text.shown(at), self.recent & 0xFF, 1]),
            hash(&[head, text.shown(at + 3) << 5 | length, 2]),
            hash(&[self.recent & 0xFFFF, head >> 9, 3]),
        ];
        self.blocks.code(coder, wrong, &contexts, calm as usize)
    }

    /// Passes right bytes.
    fn skip(&mut self, text: &Text<'_>, at: usize, size: usize) {
        for byte in &text.predicted[at + size - size.min(4)..at + size] {
            self.recent = self.recent << 8 | u32::from(*byte);
        }
        self.wrongs = self.wrongs.checked_shl(size as u32).unwrap_or(0);
        self.right = self.right.saturating_add(size as u32);
    }

    /// One byte; says whether it was wrong.
    fn byte(&mut self, coder: &mut impl Coder, text: &mut Text<'_>, at: usize) -> io::Result<bool> {
        let (byte, next, after) = (text.shown(at), text.shown(at + 1), text.shown(at + 2));
        let wrong = text.differs(at, at + 1);
        let right = self.right.min(31);
        let last = self.recent & 0xFF;
        let (met, became) = (self.met[byte as usize & 255], self.became[byte as usize & 255]);
        let contexts = [
            hash(&[text.hint, self.wrongs & 0xFF, right, 1]),
            hash(&[byte << 16 | last << 8 | text.hint, 2]),
            hash(&[byte << 16 | u32::from(met) << 8 | u32::from(became), next, 3]),
            hash(&[byte << 9 | next, after << 8 | last, 4]),
        ];
        let set = (self.wrongs & 7) as usize * 8 + (right / 4).min(7) as usize;

        if self.flags.code(coder, wrong, &contexts, set)? {
            self.wrong(coder, text, at)?;
            return Ok(true);
        }
        self.met[byte as usize & 255] = byte as u8;
        self.recent = self.recent << 8 | byte;
        self.wrongs <<= 1;
        self.right = self.right.saturating_add(1);
        Ok(false)
    }

    /// What a wrong byte is.
    fn wrong(&mut self, coder: &mut impl Coder, text: &mut Text<'_>, at: usize) -> io::Result<()> {
        let byte = text.predicted[at];
        let value = text.actual.map_or(0, |actual| actual[at]);
        let (shown, recent) = (u32::from(byte), self.recent);
        let guesses = [u32::from(self.became[byte as usize]), u32::from(byte.wrapping_add(self.difference))];
        let mut node = 1u32;
        for half in [4, 0] {
            let contexts = [
                hash(&[node, text.hint, 1]),
                hash(&[node << 8 | shown, 2]),
                hash(&[node << 16 | shown << 8 | recent & 0xFF, 3]),
                hash(&[node << 16 | recent & 0xFFFF, text.hint, 4]),
            ];
            let mut places = [0; CONTEXTS + 1];
            for (number, context) in contexts.iter().enumerate() {
                places[number + 1] = GUESSES + (number << SETS | place(*context, SETS)) * HALF;
            }
            let mut low = 1;
            for bit in (half..half + 4).rev() {
                let (first, second) = (foretold(guesses[0], node, bit), foretold(guesses[1], node, bit));
                let mut at = places;
                at[0] = ((text.hint & 15) * 128 + first * 32 + second * 8 + bit) as usize;
                at[1..].iter_mut().for_each(|place| *place += low);
                let set = (bit + 8 * (first * 4 + second)) as usize;
                let one = self.bytes.code(coder, value >> bit & 1 == 1, &mut self.counters, &at, set)?;
                (node, low) = (node << 1 | u32::from(one), low << 1 | usize::from(one));
            }
        }
        let value = node as u8;
        text.predicted[at] = value;
        self.became[byte as usize] = value;
        self.met[byte as usize] = value;
        self.difference = value.wrapping_sub(byte);
        self.recent = recent << 8 | u32::from(value);
        self.wrongs = self.wrongs << 1 | 1;
        self.right = 0;
        self.blocks_right = 0;
        Ok(())
    }
}

/// What bit `bit` is if a byte is `guess`: 2 or 3 for 0 or 1; 0 when the bits above, in `node`, are others already.
#[inline(always)]
fn foretold(guess: u32, node: u32, bit: u32) -> u32 {
    let guess = guess | 0x100;
    if guess >> (bit + 1) == node { 2 + (guess >> bit & 1) } else { 0 }
}
