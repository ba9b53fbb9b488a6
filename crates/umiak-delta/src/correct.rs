//! Where a prediction becomes the truth: the one interface between the predictor of programs and the two sides of a delta.
//!
//! The maker knows the target and writes down where predictions differ; the applier reads that and corrects. The predictor sees only what
//! comes out and may learn from it, so both sides go through the very same states.

use std::io;

use crate::exe::Form;

/// Turns predictions into the target's bytes.
pub trait Correct {
    /// `predicted` bytes, which hold no references, become the target's; `actual` is known to the maker.
    ///
    /// # Errors
    /// Reading or writing the delta.
    fn bytes(&mut self, predicted: &mut [u8], actual: Option<&[u8]>) -> io::Result<()>;

    /// The word of a reference in the target. `others` gives what else it could be, if `guess` is wrong.
    ///
    /// # Errors
    /// Reading or writing the delta.
    fn reference(&mut self, guess: &Guess, others: &mut dyn FnMut(&mut Others), actual: Option<u64>)
    -> io::Result<u64>;
}

/// What a word may be.
#[derive(Debug, Clone, Copy)]
pub struct Guess {
    /// Which of its bits are the reference.
    pub form: Form,
    /// The word.
    pub word: u64,
    /// How it was found.
    pub rule: Rule,
    /// Where it points in the base.
    pub target: u64,
}

/// How a guess was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Rule {
    /// What it points to was pointed to before.
    Learned = 0,
    /// What lies near was.
    Nearby = 1,
    /// By the copies.
    Mapped = 2,
    /// As it is in the base.
    Unchanged = 3,
}

/// Further guesses, each word once.
#[derive(Debug, Default)]
pub struct Others {
    words: [(u64, u8); 4],
    count: usize,
}

impl Others {
    /// None but the first.
    pub fn beside(first: u64) -> Self {
        let mut others = Self::default();
        others.add(first, Rule::Learned);
        others
    }

    /// Adds a word if it is new.
    pub fn add(&mut self, word: u64, rule: Rule) {
        if self.count < self.words.len() && self.words[..self.count].iter().all(|(known, _)| *known != word) {
            self.words[self.count] = (word, rule as u8);
            self.count += 1;
        }
    }

    /// Those beside the first.
    pub fn words(&self) -> &[(u64, u8)] {
        self.words.get(1..self.count).unwrap_or_default()
    }
}
