//! The adaptive LZMA model: state machine, recent distances and probabilities, and how each operation is coded with them.
//!
//! Guarantees to follow the LZMA decoder step for step, with `lc = 3`, `lp = 0` and `pb <= 2`. It does not choose operations.

use crate::range::{PROB_INIT, Prob, RangeEncoder};

/// Literal coders: one for each value of the three high bits of the byte before.
pub(crate) const LITERAL_CONTEXTS: usize = 8;
/// Shortest and longest match that can be coded.
pub(crate) const MIN_MATCH: usize = 2;
pub(crate) const MAX_MATCH: usize = 273;
/// Values of the state machine.
const STATES: usize = 12;
/// Positions modulo `1 << pb` told apart at most.
pub(crate) const POS_STATES: usize = 4;
/// Kinds of match length (2, 3, 4, more) that distances are coded by.
pub(crate) const LEN_STATES: usize = 4;
/// Distances below this are coded without direct bits.
pub(crate) const FULL_DISTANCES: usize = 128;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Op {
    /// [`LITERAL`], a recent distance (0..=3), or a distance (bytes back, less one) plus four.
    pub(crate) back: u32,
    /// Bytes covered. A recent distance 0 with length 1 is the short form.
    pub(crate) len: u32,
}

/// The `back` of a literal.
pub(crate) const LITERAL: u32 = u32::MAX;

/// What a decoder would hold besides probabilities.
#[derive(Clone, Copy, Default)]
pub(crate) struct Context {
    pub(crate) state: u8,
    /// The four last distances, bytes back less one, newest first.
    pub(crate) reps: [u32; 4],
}

impl Context {
    /// Was the last operation a literal?
    #[inline(always)]
    pub(crate) fn after_literal(&self) -> bool {
        self.state < 7
    }

    #[inline(always)]
    pub(crate) fn literal(&mut self) {
        const NEXT: [u8; 16] = [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 4, 5, 0, 0, 0, 0];
        self.state = NEXT[usize::from(self.state & 15)];
    }

    /// Moves on over a match or a recent distance.
    #[inline(always)]
    pub(crate) fn copy(&mut self, back: u32, len: u32) {
        let [a, b, c, d] = self.reps;
        let low = self.after_literal();
        if back >= 4 {
            self.reps = [back - 4, a, b, c];
            self.state = if low { 7 } else { 10 };
        } else {
            self.reps = match back {
                0 => [a, b, c, d],
                1 => [b, a, c, d],
                2 => [c, a, b, d],
                _ => [d, a, b, c],
            };
            self.state = match (len == 1, low) {
                (true, true) => 9,
                (false, true) => 8,
                (_, false) => 11,
            };
        }
    }
}

/// Probabilities of match lengths.
pub(crate) struct LenModel {
    pub(crate) choice: Prob,
    pub(crate) choice2: Prob,
    pub(crate) low: [[Prob; 8]; POS_STATES],
    pub(crate) mid: [[Prob; 8]; POS_STATES],
    pub(crate) high: [Prob; 256],
}

impl LenModel {
    const NEW: Self = Self {
        choice: PROB_INIT,
        choice2: PROB_INIT,
        low: [[PROB_INIT; 8]; POS_STATES],
        mid: [[PROB_INIT; 8]; POS_STATES],
        high: [PROB_INIT; 256],
    };

    fn encode(&mut self, rc: &mut RangeEncoder, len: u32, pos_state: usize) {
        let symbol = len - MIN_MATCH as u32;
        if symbol < 8 {
            rc.bit(&mut self.choice, 0);
            rc.tree(&mut self.low[pos_state], 3, symbol);
        } else {
            rc.bit(&mut self.choice, 1);
            if symbol < 16 {
                rc.bit(&mut self.choice2, 0);
                rc.tree(&mut self.mid[pos_state], 3, symbol - 8);
            } else {
                rc.bit(&mut self.choice2, 1);
                rc.tree(&mut self.high, 8, symbol - 16);
            }
        }
    }
}

/// All probabilities, and the context they are used in.
pub(crate) struct Model {
    pub(crate) at: Context,
    /// `(1 << pb) - 1`.
    pub(crate) pos_mask: usize,
    pub(crate) is_match: [[Prob; POS_STATES]; 16],
    pub(crate) is_rep: [Prob; 16],
    pub(crate) is_rep0: [Prob; 16],
    pub(crate) is_rep1: [Prob; 16],
    pub(crate) is_rep2: [Prob; 16],
    pub(crate) is_rep0_long: [[Prob; POS_STATES]; 16],
    pub(crate) literal: [[Prob; 0x300]; LITERAL_CONTEXTS],
    pub(crate) slot: [[Prob; 64]; LEN_STATES],
    pub(crate) special: [Prob; FULL_DISTANCES],
    pub(crate) align: [Prob; 16],
    pub(crate) match_len: LenModel,
    pub(crate) rep_len: LenModel,
}

const _: () = assert!(STATES <= 16);

impl Model {
    const NEW: Self = Self {
        at: Context { state: 0, reps: [0; 4] },
        pos_mask: 0,
        is_match: [[PROB_INIT; POS_STATES]; 16],
        is_rep: [PROB_INIT; 16],
        is_rep0: [PROB_INIT; 16],
        is_rep1: [PROB_INIT; 16],
        is_rep2: [PROB_INIT; 16],
        is_rep0_long: [[PROB_INIT; POS_STATES]; 16],
        literal: [[PROB_INIT; 0x300]; LITERAL_CONTEXTS],
        slot: [[PROB_INIT; 64]; LEN_STATES],
        special: [PROB_INIT; FULL_DISTANCES],
        align: [PROB_INIT; 16],
        match_len: LenModel::NEW,
        rep_len: LenModel::NEW,
    };

    pub(crate) fn new() -> Self {
        Self::NEW
    }

    /// Back to what a decoder starts from.
    pub(crate) fn reset(&mut self, pb: u32) {
        *self = Self::NEW;
        self.pos_mask = (1 << pb) - 1;
    }

    /// Codes `op` for the plain bytes at `pos` and moves on.
    #[inline]
    pub(crate) fn encode(&mut self, rc: &mut RangeEncoder, plain: &[u8], pos: usize, op: Op) {
        let st = usize::from(self.at.state & 15);
        let ps = pos & self.pos_mask & (POS_STATES - 1);
        if op.back == LITERAL {
            rc.bit(&mut self.is_match[st][ps], 0);
            self.encode_literal(rc, plain, pos);
            self.at.literal();
            return;
        }
        rc.bit(&mut self.is_match[st][ps], 1);
        if op.back >= 4 {
            rc.bit(&mut self.is_rep[st], 0);
            self.match_len.encode(rc, op.len, ps);
            self.encode_distance(rc, op.back - 4, op.len);
        } else {
            rc.bit(&mut self.is_rep[st], 1);
            self.encode_rep(rc, st, ps, op);
        }
        self.at.copy(op.back, op.len);
    }

    #[inline]
    fn encode_literal(&mut self, rc: &mut RangeEncoder, plain: &[u8], pos: usize) {
        let before = if pos == 0 { 0 } else { plain[pos - 1] };
        let probs = &mut self.literal[usize::from(before >> 5)];
        let byte = u32::from(plain[pos]);
        if self.at.after_literal() {
            let mut node = 1usize;
            for i in (0..8).rev() {
                let bit = (byte >> i) & 1;
                rc.bit(&mut probs[node & 0xFF], bit);
                node = node << 1 | bit as usize;
            }
            return;
        }
        let mut matched = u32::from(plain[pos - self.at.reps[0] as usize - 1]);
        let mut offset = 0x100u32;
        let mut symbol = byte | 0x100;
        while symbol < 0x1_0000 {
            matched <<= 1;
            let node = (offset + (matched & offset) + (symbol >> 8)) as usize;
            let bit = (symbol >> 7) & 1;
            rc.bit(&mut probs[node], bit);
            symbol <<= 1;
            offset &= !(matched ^ symbol);
        }
    }

    fn encode_rep(&mut self, rc: &mut RangeEncoder, st: usize, ps: usize, op: Op) {
        if op.back == 0 {
            rc.bit(&mut self.is_rep0[st], 0);
            rc.bit(&mut self.is_rep0_long[st][ps], u32::from(op.len != 1));
        } else {
            rc.bit(&mut self.is_rep0[st], 1);
            if op.back == 1 {
                rc.bit(&mut self.is_rep1[st], 0);
            } else {
                rc.bit(&mut self.is_rep1[st], 1);
                rc.bit(&mut self.is_rep2[st], op.back - 2);
            }
        }
        if op.len > 1 {
            self.rep_len.encode(rc, op.len, ps);
        }
    }

    fn encode_distance(&mut self, rc: &mut RangeEncoder, dist: u32, len: u32) {
        let slot = slot(dist);
        rc.tree(&mut self.slot[len_state(len as usize)], 6, slot);
        if slot < 4 {
            return;
        }
        let bits = (slot >> 1) - 1;
        let base = (2 | (slot & 1)) << bits;
        let rest = dist - base;
        if slot < 14 {
            rc.reverse_tree(&mut self.special[base as usize..], bits, rest);
        } else {
            rc.direct(rest >> 4, bits - 4);
            rc.reverse_tree(&mut self.align, 4, rest & 15);
        }
    }
}

/// Which distance coder a match of this length uses.
#[inline(always)]
pub(crate) fn len_state(len: usize) -> usize {
    len.saturating_sub(MIN_MATCH).min(LEN_STATES - 1)
}

/// The slot of a distance (bytes back less one): twice its binary logarithm plus the bit after the first.
#[inline(always)]
pub(crate) fn slot(dist: u32) -> u32 {
    if dist < 4 {
        return dist;
    }
    let n = 31 - dist.leading_zeros();
    n * 2 + ((dist >> (n - 1)) & 1)
}
