//! Prices: what coding something would cost now, in 16ths of a bit, kept in tables between refreshes.
//!
//! Prices only steer choices; a stale price costs size, never correctness. Tables are refreshed after a fixed number of
//! uses, so that the same bytes in give the same bytes out.

use crate::model::{
    Context, FULL_DISTANCES, LEN_STATES, LITERAL_CONTEXTS, LenModel, MAX_MATCH, MIN_MATCH, Model, Op, POS_STATES, slot,
};
use crate::range::{Prob, price, reverse_tree_price, tree_price};

/// Slots of the distances below 4 GiB.
const SLOTS: usize = 64;
/// Length prices have one entry for each length, rounded up to make indexing cheap.
pub(crate) const LENS: usize = 512;

/// Uses after which tables are refreshed.
const LITERALS_PER_REFRESH: u32 = 48;
const LENS_PER_REFRESH: u32 = 32;
const DISTANCES_PER_REFRESH: u32 = 64;

/// The tables.
pub(crate) struct Prices {
    literal: [[u16; 256]; LITERAL_CONTEXTS],
    literal_uses: [u32; LITERAL_CONTEXTS],
    literal_due: [u32; LITERAL_CONTEXTS],
    pub(crate) match_len: [[u32; LENS]; POS_STATES],
    pub(crate) rep_len: [[u32; LENS]; POS_STATES],
    match_len_uses: u32,
    rep_len_uses: u32,
    near: [[u32; FULL_DISTANCES]; LEN_STATES],
    slot: [[u32; SLOTS]; LEN_STATES],
    align: [u32; 16],
    distance_uses: u32,
    distance_due: u32,
    slots: usize,
}

impl Prices {
    pub(crate) fn new() -> Self {
        Self {
            literal: [[0; 256]; LITERAL_CONTEXTS],
            literal_uses: [0; LITERAL_CONTEXTS],
            literal_due: [0; LITERAL_CONTEXTS],
            match_len: [[0; LENS]; POS_STATES],
            rep_len: [[0; LENS]; POS_STATES],
            match_len_uses: 0,
            rep_len_uses: 0,
            near: [[0; FULL_DISTANCES]; LEN_STATES],
            slot: [[0; SLOTS]; LEN_STATES],
            align: [0; 16],
            distance_uses: 0,
            distance_due: 0,
            slots: SLOTS,
        }
    }

    /// Prices of a fresh model, for distances up to `max_distance`.
    pub(crate) fn reset(&mut self, model: &Model, max_distance: usize) {
        self.slots = (slot(u32::try_from(max_distance).unwrap_or(u32::MAX)) as usize + 1).max(14);
        for context in 0..LITERAL_CONTEXTS {
            self.literal_due[context] = 4;
            self.refresh_literal(model, context);
        }
        self.distance_due = 4;
        self.refresh_lens(model);
        self.refresh_distances(model);
    }

    /// Counts the operation just coded at `pos` (`before` is the context it was coded in).
    #[inline]
    pub(crate) fn used(&mut self, before: u8, op: Op) {
        if op.back == crate::model::LITERAL {
            self.literal_uses[usize::from(before >> 5)] += 1;
        } else if op.back >= 4 {
            self.match_len_uses += 1;
            self.distance_uses += 1;
        } else if op.len > 1 {
            self.rep_len_uses += 1;
        }
    }

    /// Refreshes the tables that have been used enough.
    #[inline]
    pub(crate) fn refresh(&mut self, model: &Model) {
        for context in 0..LITERAL_CONTEXTS {
            if self.literal_uses[context] >= self.literal_due[context] {
                self.refresh_literal(model, context);
            }
        }
        if self.match_len_uses >= LENS_PER_REFRESH || self.rep_len_uses >= LENS_PER_REFRESH {
            self.refresh_lens(model);
        }
        if self.distance_uses >= self.distance_due {
            self.refresh_distances(model);
        }
    }

    fn refresh_literal(&mut self, model: &Model, context: usize) {
        self.literal_uses[context] = 0;
        self.literal_due[context] = (self.literal_due[context] * 2).min(LITERALS_PER_REFRESH);
        let probs = &model.literal[context];
        let mut sums = [0u16; 512];
        for node in 1..256 {
            let zero = price(probs[node], 0) as u16;
            let one = price(probs[node], 1) as u16;
            sums[node * 2] = sums[node] + zero;
            sums[node * 2 + 1] = sums[node] + one;
        }
        self.literal[context].copy_from_slice(&sums[256..]);
    }

    fn refresh_lens(&mut self, model: &Model) {
        self.match_len_uses = 0;
        self.rep_len_uses = 0;
        for ps in 0..=model.pos_mask {
            len_prices(&model.match_len, ps, &mut self.match_len[ps]);
            len_prices(&model.rep_len, ps, &mut self.rep_len[ps]);
        }
    }

    fn refresh_distances(&mut self, model: &Model) {
        self.distance_uses = 0;
        self.distance_due = (self.distance_due * 2).min(DISTANCES_PER_REFRESH);
        for (i, price) in self.align.iter_mut().enumerate() {
            *price = reverse_tree_price(&model.align, 4, i as u32);
        }
        let mut special = [0u32; FULL_DISTANCES];
        for (dist, sum) in special.iter_mut().enumerate().skip(4) {
            let s = slot(dist as u32);
            let bits = (s >> 1) - 1;
            let base = (2 | (s & 1)) << bits;
            *sum = reverse_tree_price(&model.special[base as usize..], bits, dist as u32 - base);
        }
        for ls in 0..LEN_STATES {
            for s in 0..self.slots {
                let mut sum = tree_price(&model.slot[ls], 6, s as u32);
                if s >= 14 {
                    sum += ((s as u32 >> 1) - 1 - 4) << 4;
                }
                self.slot[ls][s] = sum;
            }
            for (dist, (near, special)) in self.near[ls].iter_mut().zip(special).enumerate() {
                *near = self.slot[ls][slot(dist as u32) as usize] + special;
            }
        }
    }

    /// Price of a distance (bytes back less one) for a match whose length is in class `ls`.
    #[inline(always)]
    pub(crate) fn distance(&self, ls: usize, dist: u32) -> u32 {
        if (dist as usize) < FULL_DISTANCES {
            self.near[ls][dist as usize]
        } else {
            self.slot[ls][(slot(dist) & 63) as usize] + self.align[(dist & 15) as usize]
        }
    }

    /// Price of the literal `byte` after `before`, without the bit that says it is one.
    #[inline(always)]
    pub(crate) fn literal(&self, model: &Model, at: &Context, before: u8, byte: u8, matched: u8) -> u32 {
        if at.after_literal() {
            u32::from(self.literal[usize::from(before >> 5)][usize::from(byte)])
        } else {
            matched_price(&model.literal[usize::from(before >> 5)], byte, matched)
        }
    }
}

/// Price of a literal when the byte at the newest distance is known to differ.
#[inline]
fn matched_price(probs: &[Prob; 0x300], byte: u8, matched: u8) -> u32 {
    let mut matched = u32::from(matched);
    let mut offset = 0x100u32;
    let mut symbol = u32::from(byte) | 0x100;
    let mut sum = 0;
    for _ in 0..8 {
        matched <<= 1;
        let node = (offset + (matched & offset) + (symbol >> 8)) as usize;
        sum += price(probs[node], (symbol >> 7) & 1);
        symbol <<= 1;
        offset &= !(matched ^ symbol);
    }
    sum
}

/// Prices of every length at one position state.
fn len_prices(model: &LenModel, ps: usize, out: &mut [u32; LENS]) {
    let low = price(model.choice, 0);
    let mid = price(model.choice, 1) + price(model.choice2, 0);
    let high = price(model.choice, 1) + price(model.choice2, 1);
    for i in 0..8 {
        out[MIN_MATCH + i] = low + tree_price(&model.low[ps], 3, i as u32);
        out[MIN_MATCH + 8 + i] = mid + tree_price(&model.mid[ps], 3, i as u32);
    }
    let mut sums = [0u32; 512];
    sums[1] = high;
    for node in 1..256 {
        sums[node * 2] = sums[node] + price(model.high[node], 0);
        sums[node * 2 + 1] = sums[node] + price(model.high[node], 1);
    }
    out[MIN_MATCH + 16..=MAX_MATCH].copy_from_slice(&sums[256..]);
}
