//! Probabilities of bits: adaptive ones in many contexts, mixed into one.
//!
//! Everything is whole numbers, so both sides compute the same on every machine; docs/formats/delta-model.md gives each step.
//! After Matt Mahoney's PAQ line of compressors: counters, logistic mixing.

use std::io;
use std::sync::LazyLock;

use super::coder::Coder;

/// What is computed once.
struct Tables {
    /// `ln(p / (1 - p))` in units of 1/256, for p in units of 1/4096.
    stretch: [i16; 4096],
    /// Its inverse, by logit + 2048.
    squash: [u16; 4096],
    /// One over `n + 1.5`, in units of 1/65536.
    speed: [u16; 256],
}

/// `4096 / (1 + exp(-x))` for x = -8, -7.5 .. 8, rounded.
const SQUASH: [i32; 33] = [
    1, 2, 4, 6, 10, 17, 27, 45, 74, 120, 194, 311, 488, 747, 1102, 1546, 2048, 2550, 2994, 3349, 3608, 3785, 3902,
    3976, 4022, 4051, 4069, 4079, 4086, 4090, 4092, 4094, 4095,
];

/// Probability in units of 1/4096 of a logit in units of 1/256.
fn squash(logit: i32) -> i32 {
    let logit = logit.clamp(-2047, 2047) + 2048;
    let (place, part) = ((logit >> 7) as usize, logit & 127);
    (SQUASH[place] * (128 - part) + SQUASH[place + 1] * part + 64) >> 7
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let mut stretch = [2047; 4096];
    let mut next = 0;
    for logit in -2047..=2047 {
        let probability = squash(logit) as usize;
        while next <= probability {
            stretch[next] = logit as i16;
            next += 1;
        }
    }
    let squash = std::array::from_fn(|logit| squash(logit as i32 - 2048) as u16);
    Tables { stretch, squash, speed: std::array::from_fn(|n| (65536 * 2 / (2 * n + 3)) as u16) }
});

/// A probability that learns: 22 bits of it, 10 bits of how often it was met. Kept with [`EVEN`] flipped, so that new counters are
/// zeros: memory that no context leads to is never touched.
pub type Counter = u32;

/// Knows nothing.
pub const NEW: Counter = 0;

/// A probability of one half.
const EVEN: Counter = 1 << 31;

/// Mixes `N` counters.
pub struct Blend<const N: usize> {
    weights: Vec<[i32; N]>,
    limit: u32,
    rate: i32,
    tables: &'static Tables,
}

impl<const N: usize> Blend<N> {
    /// Weights for each of `sets`. Counters settle after `limit` bits, at most 255.
    pub fn new(sets: usize, limit: u32) -> Self {
        Self { weights: vec![[(65536 * 3 / 2) / N as i32 + 8192; N]; sets], limit, rate: 50, tables: &TABLES }
    }

    /// Codes one bit with weights of set `set`, from the counters at `places` of `counters`.
    #[inline(always)]
    pub fn code(
        &mut self,
        coder: &mut impl Coder,
        bit: bool,
        counters: &mut [Counter],
        places: &[usize; N],
        set: usize,
    ) -> io::Result<bool> {
        let tables = self.tables;
        let mut states = [0; N];
        let mut inputs = [0i32; N];
        for at in 0..N {
            states[at] = counters[places[at]] ^ EVEN;
            inputs[at] = i32::from(tables.stretch[(states[at] >> 20) as usize]);
        }
        let weights = &mut self.weights[set];
        let mut sum = 0i32;
        for at in 0..N {
            sum += (inputs[at] * (weights[at] >> 2)) >> 3;
        }
        let one = i32::from(tables.squash[((sum >> 11).clamp(-2047, 2047) + 2048) as usize]);
        let bit = coder.code(bit, (one as u32) << 4 | 8)?;
        let error = (i32::from(bit) * 4095 - one) * self.rate;
        for at in 0..N {
            weights[at] = (weights[at] + ((inputs[at] * error + 0x8000) >> 16)).clamp(-(1 << 20), 1 << 20);
        }
        let goal = ((1i64 << 22) - 1) & -i64::from(bit);
        for at in 0..N {
            let met = states[at] & 1023;
            let probability = i64::from(states[at] >> 10);
            let moved = probability + (((goal - probability) * i64::from(tables.speed[(met & 255) as usize])) >> 16);
            counters[places[at]] = ((moved as u32) << 10 | (met + u32::from(met < self.limit))) ^ EVEN;
        }
        Ok(bit)
    }
}

/// Mixes counters that are found by hash, each alone.
pub struct Mixer<const N: usize> {
    counters: Vec<Counter>,
    bits: u32,
    blend: Blend<N>,
}

impl<const N: usize> Mixer<N> {
    /// `2^bits` counters for each context, weights for each of `sets`. Counters settle after `limit` bits.
    pub fn new(bits: u32, sets: usize, limit: u32) -> Self {
        Self { counters: vec![NEW; N << bits], bits, blend: Blend::new(sets, limit) }
    }

    /// Codes one bit in the contexts whose hashes are given, with weights of set `set`.
    #[inline(always)]
    pub fn code(&mut self, coder: &mut impl Coder, bit: bool, contexts: &[u32; N], set: usize) -> io::Result<bool> {
        let mut places = [0; N];
        for at in 0..N {
            places[at] = at << self.bits | place(contexts[at], self.bits);
        }
        self.blend.code(coder, bit, &mut self.counters, &places, set)
    }
}

/// The highest `bits` bits of a hash, spread.
#[inline(always)]
pub fn place(hash: u32, bits: u32) -> usize {
    (hash.wrapping_mul(0x9E37_79B1) >> (32 - bits)) as usize
}

/// Mixes numbers into one hash.
#[inline(always)]
pub fn hash(parts: &[u32]) -> u32 {
    parts.iter().fold(0x2F0B_4C47, |hash, part| (hash.rotate_left(5) ^ part).wrapping_mul(0x85EB_CA6B))
}
