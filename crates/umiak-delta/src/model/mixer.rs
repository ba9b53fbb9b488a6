//! Probabilities of bits: adaptive ones in many contexts, mixed into one.
//!
//! Everything is whole numbers, so both sides compute the same on every machine; docs/formats/delta-model.md gives each step.
//! After Matt Mahoney's PAQ line of compressors: counters, logistic mixing.

use std::io;
use std::sync::LazyLock;

use super::coder::Coder;

/// `ln(p / (1 - p))` in units of 1/256, for p in units of 1/4096; its inverse.
struct Logistic {
    stretch: [i16; 4096],
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

static LOGISTIC: LazyLock<Logistic> = LazyLock::new(|| {
    let mut stretch = [2047; 4096];
    let mut next = 0;
    for logit in -2047..=2047 {
        let probability = squash(logit) as usize;
        while next <= probability {
            stretch[next] = logit as i16;
            next += 1;
        }
    }
    Logistic { stretch }
});

/// A probability that learns: 22 bits of it, 10 bits of how often it was met.
type Counter = u32;

const NEW: Counter = 1 << 31;

/// One over `n + 1.5`, in units of 1/65536.
static SPEED: LazyLock<[u32; 1024]> = LazyLock::new(|| std::array::from_fn(|n| (65536 * 2 / (2 * n + 3)) as u32));

fn learn(counter: &mut Counter, bit: bool, limit: u32, speed: &[u32; 1024]) {
    let met = *counter & 1023;
    let probability = i64::from(*counter >> 10);
    let goal = if bit { (1 << 22) - 1 } else { 0 };
    let moved = probability + (((goal - probability) * i64::from(speed[met as usize])) >> 16);
    *counter = (moved as u32) << 10 | if met < limit { met + 1 } else { met };
}

/// Mixes `N` contexts.
pub struct Mixer<const N: usize> {
    counters: Vec<Counter>,
    bits: u32,
    weights: Vec<[i32; N]>,
    limit: u32,
    rate: i32,
    stretch: &'static [i16; 4096],
    speed: &'static [u32; 1024],
}

impl<const N: usize> Mixer<N> {
    /// `2^bits` counters for each context, weights for each of `sets`. Counters settle after `limit` bits.
    pub fn new(bits: u32, sets: usize, limit: u32) -> Self {
        Self {
            counters: vec![NEW; N << bits],
            bits,
            weights: vec![[(65536 * 3 / 2) / N as i32 + 8192; N]; sets],
            limit,
            rate: 10,
            stretch: &LOGISTIC.stretch,
            speed: &SPEED,
        }
    }

    /// Codes one bit in the contexts whose hashes are given, with weights of set `set`.
    #[inline]
    pub fn code(&mut self, coder: &mut impl Coder, bit: bool, contexts: &[u32; N], set: usize) -> io::Result<bool> {
        let mut places = [0; N];
        let mut inputs = [0i32; N];
        for at in 0..N {
            let place = at << self.bits | (contexts[at].wrapping_mul(0x9E37_79B1) >> (32 - self.bits)) as usize;
            places[at] = place;
            inputs[at] = i32::from(self.stretch[(self.counters[place] >> 20) as usize]);
        }
        let weights = &mut self.weights[set];
        let sum: i64 =
            inputs.iter().zip(weights.iter()).map(|(input, weight)| i64::from(*input) * i64::from(*weight)).sum();
        let one = squash((sum >> 16).clamp(-2047, 2047) as i32);
        let bit = coder.code(bit, (one as u32) << 4 | 8)?;
        let error = (i32::from(bit) * 4095 - one) * self.rate;
        for (weight, input) in weights.iter_mut().zip(&inputs) {
            *weight += (input * error + 0x8000) >> 16;
        }
        for place in places {
            learn(&mut self.counters[place], bit, self.limit, self.speed);
        }
        Ok(bit)
    }
}

/// Mixes numbers into one hash.
#[inline]
pub fn hash(parts: &[u32]) -> u32 {
    parts.iter().fold(0x2F0B_4C47, |hash, part| (hash.rotate_left(5) ^ part).wrapping_mul(0x85EB_CA6B))
}
