//! Words of references: which of several guesses they are, or how far they are from the first.

use std::io;

use super::coder::Coder;
use super::mixer::{Mixer, hash};
use crate::correct::{Guess, Others};

/// References whose words are coded one after the other, with all that was learned from them.
pub struct References {
    /// Whether a guess is right.
    hits: Mixer<5>,
    /// Distances from the first guess.
    distances: Mixer<3>,
    /// Outcomes, one bit each, the newest lowest: of the form, of all.
    forms: [u32; 16],
    recent: u32,
    /// Bits of the last distance of the form, and its distance.
    last: [(u32, u64); 16],
}

impl References {
    pub fn new() -> Self {
        Self {
            hits: Mixer::new(14, 64, 40),
            distances: Mixer::new(14, 16, 40),
            forms: [0; 16],
            recent: 0,
            last: [(0, 0); 16],
        }
    }

    /// Codes the word of a reference. `actual` is asked only on the encoder's side.
    pub fn code(
        &mut self,
        coder: &mut impl Coder,
        guess: &Guess,
        others: &mut dyn FnMut(&mut Others),
        actual: Option<u64>,
    ) -> io::Result<u64> {
        let form = guess.form.number();
        let word = actual.unwrap_or(0);
        if self.hit(coder, guess, 0, guess.rule as u32, word == guess.word)? {
            self.note(form, true);
            return Ok(guess.word);
        }
        self.note(form, false);
        let mut more = Others::beside(guess.word);
        others(&mut more);
        for (place, (other, rule)) in more.words().iter().enumerate() {
            if self.hit(coder, guess, place as u32 + 1, u32::from(*rule), word == *other)? {
                return Ok(*other);
            }
        }
        let mask = guess.form.mask();
        let rest = (word ^ guess.word) & !mask;
        let clean = self.hit(coder, guess, 7, 0, rest == 0)?;
        let bits = guess.form.bits();
        let limit = u64::MAX >> (64 - bits);
        let distance = guess.form.value(word).wrapping_sub(guess.form.value(guess.word)) & limit;
        let distance = self.distance(coder, form, bits, distance)?;
        let value = guess.form.value(guess.word).wrapping_add(distance);
        let mut made = guess.form.with_value(guess.word, value);
        if !clean {
            let width = guess.form.width() as u32 * 8;
            for place in (0..width).filter(|place| mask >> place & 1 == 0) {
                let contexts = [hash(&[place, 40]), hash(&[place, form, 41]), hash(&[made as u32, place, 42])];
                let flipped = self.distances.code(coder, rest >> place & 1 == 1, &contexts, 15)?;
                made ^= u64::from(flipped) << place;
            }
        }
        Ok(made)
    }

    fn note(&mut self, form: u32, right: bool) {
        let outcomes = &mut self.forms[form as usize & 15];
        *outcomes = *outcomes << 1 | u32::from(!right);
        self.recent = self.recent << 1 | u32::from(!right);
    }

    fn hit(&mut self, coder: &mut impl Coder, guess: &Guess, place: u32, rule: u32, right: bool) -> io::Result<bool> {
        let form = guess.form.number();
        let case = place << 8 | form << 4 | rule;
        let before = self.forms[form as usize & 15] & 7;
        let (near, exact) = ((guess.target >> 10) as u32, guess.target as u32);
        let contexts = [
            hash(&[case, before]),
            hash(&[case, self.recent & 255, 1]),
            hash(&[case, near, 2]),
            hash(&[case, exact, 3]),
            hash(&[case, near >> 6, self.recent & 1, 4]),
        ];
        let set = (place.min(3) * 16 + (rule & 3) * 4 + (before & 3)) as usize;
        self.hits.code(coder, right, &contexts, set)
    }

    /// A signed distance of so many bits, not 0: its sign, how many bits it has, those below the highest.
    fn distance(&mut self, coder: &mut impl Coder, form: u32, bits: u32, distance: u64) -> io::Result<u64> {
        let limit = u64::MAX >> (64 - bits);
        let (length_before, before) = self.last[form as usize & 15];
        let again = {
            let contexts = [hash(&[form, 60]), hash(&[form, length_before, 61]), hash(&[form, self.recent & 7, 62])];
            self.distances.code(coder, distance == before, &contexts, 13)?
        };
        if again {
            return Ok(before);
        }
        let negative = distance >> (bits - 1) & 1 == 1;
        let contexts = [hash(&[form, 1]), hash(&[form, length_before, 2]), hash(&[3])];
        let negative = self.distances.code(coder, negative, &contexts, 14)?;
        let size = if negative { distance.wrapping_neg() & limit } else { distance };
        let length = u64::BITS - size.leading_zeros();
        let mut node = 1;
        for place in (0..7).rev() {
            let contexts =
                [hash(&[node, form, 4]), hash(&[node, form, length_before, 5]), hash(&[node, u32::from(negative), 6])];
            let bit = self.distances.code(coder, length >> place & 1 == 1, &contexts, place as usize)?;
            node = node << 1 | u32::from(bit);
        }
        let length = (node & 127).min(64);
        let mut made = u64::from(length > 0);
        for place in (0..length.saturating_sub(1)).rev() {
            let above = length - 2 - place;
            let known = if above < 4 { made as u32 } else { 0 };
            let contexts = [
                hash(&[length, place, known, form, 7]),
                hash(&[place, known, form, u32::from(above < 4), 8]),
                hash(&[place, form, made as u32 & 3, 9]),
            ];
            let bit = self.distances.code(coder, size >> place & 1 == 1, &contexts, 8 + place.min(3) as usize)?;
            made = made << 1 | u64::from(bit);
        }
        let made = if negative { made.wrapping_neg() & limit } else { made & limit };
        self.last[form as usize & 15] = (length, made);
        Ok(made)
    }
}
