//! Errors of the libraries as people and scripts get them: kind, exit code, hint.
//!
//! A library says what failed; what to do about it is said here, the only place that knows both the command line and
//! the libraries. Exit codes: 0 done, 1 environment, 2 usage, 3 does not fit, 4 not trusted or corrupt, 5 network,
//! 6 rolled back, 70 our bug.

mod device;
mod kinds;
mod sealing;

use std::error::Error;
use std::io;
use std::path::Path;

use umiak_ui::{Diagnostic, Printer};

pub use sealing::hint_for_key;
pub use umiak_ui::Kind;

/// What a command gives when it fails.
#[derive(Debug)]
pub enum Failure {
    /// Something to tell.
    Told(Box<Diagnostic>),
    /// Whoever read our stdout went away: nothing is wrong and nobody listens.
    OutputGone,
}

/// What every command gives.
pub type Outcome = Result<(), Failure>;

impl Failure {
    /// A failure that has a library's error behind it. `nothing was changed` is the outcome: our writers guarantee it.
    pub fn from_error(error: &(dyn Error + 'static), kind: Kind, hints: Vec<String>) -> Self {
        Self::Told(Box::new(Diagnostic { hints, ..Diagnostic::caused(error, kind) }))
    }

    /// A file operation of the program's own: `cannot create x: …`.
    pub fn of_io(action: &str, path: &Path, error: &io::Error) -> Self {
        let (kind, hint) = kinds::of_io(error);
        let failure = Self::Told(Box::new(Diagnostic::of_io(action, path, error, kind)));
        if hint.is_empty() { failure } else { failure.hint(hint) }
    }

    /// A failure that the command line itself found.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self::Told(Box::new(Diagnostic::new(kind, message)))
    }

    /// Tells it; gives the exit code.
    pub fn told(&self, printer: &Printer) -> u8 {
        match self {
            Self::Told(diagnostic) => printer.failed(diagnostic),
            Self::OutputGone => 0,
        }
    }

    /// The same with further causes.
    #[must_use]
    pub fn because(mut self, causes: Vec<String>) -> Self {
        if let Self::Told(diagnostic) = &mut self {
            diagnostic.causes.extend(causes);
        }
        self
    }

    /// The same with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Self::Told(diagnostic) = &mut self {
            diagnostic.hints.push(hint.into());
        }
        self
    }
}

/// For writing to stdout.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Diagnostic::of_stdout(&error).map_or(Self::OutputGone, |diagnostic| Self::Told(Box::new(diagnostic)))
    }
}
