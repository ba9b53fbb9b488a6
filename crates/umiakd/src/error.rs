//! Errors of the libraries as people and scripts get them: kind, exit code, hint. The type is each program's own, so that
//! `?` can make it of the libraries' errors; what it tells is `umiak-ui`'s.

use std::io;
use std::path::Path;

use umiak_agent::{AgentError, Class};
use umiak_ui::{Diagnostic, Kind, Printer};

use crate::settings::SettingsError;

/// What a command gives when it fails.
#[derive(Debug)]
pub enum Failure {
    /// Something to tell.
    Told(Box<Diagnostic>),
    /// Whoever read our stdout went away: nothing is wrong and nobody listens.
    OutputGone,
}

impl Failure {
    /// A failure that has a library's error behind it.
    pub fn from_error(error: &(dyn std::error::Error + 'static), kind: Kind) -> Self {
        Self::Told(Box::new(Diagnostic::caused(error, kind)))
    }

    /// A failure that the command line itself found.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self::Told(Box::new(Diagnostic::new(kind, message)))
    }

    /// A file operation of the program's own: `cannot read x: …`.
    pub fn of_io(action: &str, path: &Path, error: &io::Error) -> Self {
        Self::Told(Box::new(Diagnostic::of_io(action, path, error, Kind::Environment)))
    }

    /// Tells it; gives the exit code.
    pub fn told(&self, printer: &Printer) -> u8 {
        match self {
            Self::Told(diagnostic) => printer.failed(diagnostic),
            Self::OutputGone => 0,
        }
    }

    /// The same with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Self::Told(diagnostic) = &mut self {
            diagnostic.hints.push(hint.into());
        }
        self
    }

    /// The same with this advice in place of any other.
    #[must_use]
    pub fn advice(mut self, hint: impl Into<String>) -> Self {
        if let Self::Told(diagnostic) = &mut self {
            diagnostic.hints = vec![hint.into()];
        }
        self
    }

    /// The same, with what is the case afterwards.
    #[must_use]
    pub fn outcome(mut self, outcome: impl Into<String>) -> Self {
        if let Self::Told(diagnostic) = &mut self {
            diagnostic.outcome = Some(outcome.into());
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

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        let kind = match &error {
            SettingsError::Read { .. } => Kind::Environment,
            SettingsError::Malformed { .. } => Kind::Usage,
        };
        Self::from_error(&error, kind)
    }
}

impl From<umiak_registry::Error> for Failure {
    fn from(error: umiak_registry::Error) -> Self {
        let kind = match error.kind() {
            umiak_registry::ErrorKind::Network => Kind::Network,
            umiak_registry::ErrorKind::Corrupt => Kind::Untrusted,
            _ => Kind::Environment,
        };
        Self::from_error(&error, kind)
    }
}

/// The agent says of what class its errors are and what to do; what runs goes on unless its words say otherwise.
impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        let kind = match error.class() {
            Class::Environment => Kind::Environment,
            Class::Usage => Kind::Usage,
            Class::DoesNotFit => Kind::DoesNotFit,
            Class::Corrupt => Kind::Untrusted,
            Class::Network => Kind::Network,
            Class::RolledBack => Kind::RolledBack,
        };
        let failure = Self::from_error(&error, kind).outcome("what ran goes on running");
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
