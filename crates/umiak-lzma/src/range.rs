//! The range coder: turns bits and their adaptive probabilities into bytes, and bits into prices.
//!
//! Guarantees the byte stream of the LZMA range coder (11-bit probabilities, shift 5, 32-bit range, leading zero byte).
//! A carry is added straight into the bytes already written instead of holding them back, which leaves the common path
//! with one branch. It does not know what the bits mean.

/// Probability of a zero bit, in 2048ths.
pub(crate) type Prob = u16;

/// What every probability starts from: one half.
pub(crate) const PROB_INIT: Prob = 1 << 10;

const PROB_BITS: u32 = 11;
const MOVE_BITS: u32 = 5;
const TOP: u32 = 1 << 24;

/// Writes bits as a range-coded stream.
pub(crate) struct RangeEncoder {
    low: u64,
    range: u32,
    out: Vec<u8>,
}

impl RangeEncoder {
    pub(crate) fn new() -> Self {
        Self { low: 0, range: u32::MAX, out: Vec::new() }
    }

    /// Starts a new stream, forgetting the bytes of the last.
    pub(crate) fn restart(&mut self) {
        self.low = 0;
        self.range = u32::MAX;
        self.out.clear();
        self.out.push(0);
    }

    /// Bytes the stream would have if it were finished now.
    pub(crate) fn finished_len(&self) -> usize {
        self.out.len() + 4
    }

    /// Ends the stream and gives its bytes.
    pub(crate) fn finish(&mut self) -> &[u8] {
        for _ in 0..4 {
            self.shift();
        }
        &self.out
    }

    #[inline(always)]
    fn shift(&mut self) {
        if self.low >> 32 != 0 {
            carry(&mut self.out);
        }
        self.out.push((self.low >> 24) as u8);
        self.low = (self.low & 0x00FF_FFFF) << 8;
    }

    /// Codes one bit (0 or 1) and adapts its probability.
    #[inline(always)]
    pub(crate) fn bit(&mut self, prob: &mut Prob, bit: u32) {
        let p = u32::from(*prob);
        let bound = (self.range >> PROB_BITS) * p;
        let mask = 0u32.wrapping_sub(bit);
        self.low += u64::from(bound & mask);
        self.range = bound.wrapping_add(self.range.wrapping_sub(bound << 1) & mask);
        // Towards 2048 for a zero, towards 31 for a one (arithmetic shift rounds the second up, as the decoder does).
        let target = (1i32 << PROB_BITS) - (((1 << PROB_BITS) - (1 << MOVE_BITS) + 1) & mask as i32);
        *prob = (p as i32 + ((target - p as i32) >> MOVE_BITS)) as Prob;
        if self.range < TOP {
            self.range <<= 8;
            self.shift();
        }
    }

    /// Codes the low `count` bits of `value`, highest first, at even odds.
    #[inline]
    pub(crate) fn direct(&mut self, value: u32, count: u32) {
        for i in (0..count).rev() {
            self.range >>= 1;
            self.low += u64::from(self.range & 0u32.wrapping_sub((value >> i) & 1));
            if self.range < TOP {
                self.range <<= 8;
                self.shift();
            }
        }
    }

    /// Codes `bits` bits of `symbol`, highest first, down a tree of probabilities.
    #[inline(always)]
    pub(crate) fn tree(&mut self, probs: &mut [Prob], bits: u32, symbol: u32) {
        let mut node = 1usize;
        for i in (0..bits).rev() {
            let bit = (symbol >> i) & 1;
            self.bit(&mut probs[node], bit);
            node = node << 1 | bit as usize;
        }
    }

    /// As [`Self::tree`], lowest bit first.
    #[inline(always)]
    pub(crate) fn reverse_tree(&mut self, probs: &mut [Prob], bits: u32, symbol: u32) {
        let mut node = 1usize;
        for i in 0..bits {
            let bit = (symbol >> i) & 1;
            self.bit(&mut probs[node], bit);
            node = node << 1 | bit as usize;
        }
    }
}

/// Adds one to the big number that the bytes written so far are. The leading zero byte absorbs the last carry.
#[cold]
fn carry(out: &mut [u8]) {
    for byte in out.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
}

/// Price of coding a bit, in 16ths of a bit, by the probability of that bit in 16 / 2048ths.
static PRICE: [u8; 128] = prices();

/// The table of the LZMA specification's encoder: four squarings give four binary digits of the logarithm.
const fn prices() -> [u8; 128] {
    let mut table = [0; 128];
    let mut i = 0;
    while i < 128 {
        let mut w = (i as u32) * 16 + 8;
        let mut bit_count = 0;
        let mut cycle = 0;
        while cycle < 4 {
            w *= w;
            bit_count <<= 1;
            while w >= 1 << 16 {
                w >>= 1;
                bit_count += 1;
            }
            cycle += 1;
        }
        table[i] = ((PROB_BITS << 4) - 15 - bit_count) as u8;
        i += 1;
    }
    table
}

/// Price of `bit` (0 or 1) at this probability, in 16ths of a bit.
#[inline(always)]
pub(crate) fn price(prob: Prob, bit: u32) -> u32 {
    let p = u32::from(prob) ^ (0u32.wrapping_sub(bit) & ((1 << PROB_BITS) - 1));
    u32::from(PRICE[(p >> 4) as usize & 127])
}

/// Price of a symbol in a tree, highest bit first.
#[inline]
pub(crate) fn tree_price(probs: &[Prob], bits: u32, symbol: u32) -> u32 {
    let mut node = 1usize;
    let mut sum = 0;
    for i in (0..bits).rev() {
        let bit = (symbol >> i) & 1;
        sum += price(probs[node], bit);
        node = node << 1 | bit as usize;
    }
    sum
}

/// Price of a symbol in a tree, lowest bit first.
#[inline]
pub(crate) fn reverse_tree_price(probs: &[Prob], bits: u32, symbol: u32) -> u32 {
    let mut node = 1usize;
    let mut sum = 0;
    for i in 0..bits {
        let bit = (symbol >> i) & 1;
        sum += price(probs[node], bit);
        node = node << 1 | bit as usize;
    }
    sum
}
