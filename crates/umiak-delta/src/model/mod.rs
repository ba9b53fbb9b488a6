//! The model of a lane: operations and corrections of all its contents, in one arithmetically coded stream.
//!
//! Both sides run this very code: the maker with an [`Encoder`], the applier with a [`Decoder`]. What is learned from one content
//! serves the next. The exact computation is in `docs/formats/delta-model.md`.

mod coder;
mod mixer;
mod number;
mod operations;
mod references;
mod residual;

use std::io;

pub use coder::{Coder, Decoder, Encoder};
pub use operations::{Operation, Operations, Progress};
pub use references::References;
pub use residual::Residual;

use crate::correct::{Correct, Guess, Others};

/// Bytes of a copy that are corrected at once when nothing else divides it.
pub const BLOCK: u64 = 4096;

/// Everything that a lane learns.
pub struct Model {
    /// Copies and literals.
    pub operations: Operations,
    /// Wrong bytes.
    pub residual: Residual,
    /// References of programs.
    pub references: References,
}

impl Model {
    /// Knows nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { operations: Operations::new(), residual: Residual::new(), references: References::new() }
    }
}

/// A model and its coder.
pub struct Lane<C> {
    /// Where bits go or come from.
    pub coder: C,
    /// What they mean.
    pub model: Model,
}

impl<C: Coder> Lane<C> {
    /// With nothing learned.
    pub fn new(coder: C) -> Self {
        Self { coder, model: Model::new() }
    }

    /// See [`Operations::code`].
    ///
    /// # Errors
    /// As there.
    pub fn operation(&mut self, operation: Option<Operation>, progress: &mut Progress) -> io::Result<Operation> {
        self.model.operations.code(&mut self.coder, operation, progress)
    }

    /// See [`Residual::code`].
    ///
    /// # Errors
    /// The decoder's source.
    pub fn correct(&mut self, predicted: &mut [u8], actual: Option<&[u8]>, hint: u32) -> io::Result<()> {
        self.model.residual.code(&mut self.coder, predicted, actual, hint)
    }
}

impl<C: Coder> Correct for Lane<C> {
    fn bytes(&mut self, predicted: &mut [u8], actual: Option<&[u8]>) -> io::Result<()> {
        self.correct(predicted, actual, 0)
    }

    fn reference(
        &mut self,
        guess: &Guess,
        others: &mut dyn FnMut(&mut Others),
        actual: Option<u64>,
    ) -> io::Result<u64> {
        self.model.references.code(&mut self.coder, guess, others, actual)
    }
}
