//! What can go wrong in the agent, by what a person can do about it.

use std::error::Error;
use std::path::PathBuf;
use std::{fmt, io};

use umiak_engine::EngineError;
use umiak_plan::transition::Refusal;
use umiak_pvr::StateError;
use umiak_pvr::merge::NoPart;
use umiak_spec::{Cancelled, Digest};
use umiak_store::StoreError;

/// What kind of failure it is: decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The device: a disk, an engine, a permission.
    Environment,
    /// What was asked makes no sense.
    Usage,
    /// There is not enough space.
    DoesNotFit,
    /// Not trusted, or damaged.
    Corrupt,
    /// The network or a server.
    Network,
    /// The revision failed, and what ran before runs.
    RolledBack,
}

/// Why a target could not be resolved, planned, fetched or read.
#[derive(Debug)]
pub struct SupplyError {
    /// What kind of failure.
    pub class: Class,
    /// What failed, for people.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Why.
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl SupplyError {
    /// An error that says it all itself.
    #[must_use]
    pub fn new(class: Class, what: impl Into<String>) -> Self {
        Self { class, what: what.into(), hint: None, source: None }
    }

    /// The work was stopped on request.
    pub(crate) fn cancelled() -> Self {
        Self::new(Class::Environment, Cancelled.to_string()).because(Cancelled)
    }

    /// The same with its cause.
    #[must_use]
    pub fn because(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for SupplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for SupplyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// Why the agent did not do what it was asked. What ran keeps running unless a variant says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Nothing was asked of this device yet.
    #[error("no target is set")]
    NoTarget,
    /// The revision is not on this device.
    #[error("there is no revision {0} on this device")]
    NoSuchRevision(String),
    /// No kept revision runs such an image.
    #[error("no image of a revision that is kept here is called {0}")]
    NoSuchImage(String),
    /// No transaction is open.
    #[error("no transaction is begun")]
    NoTransaction,
    /// The one that something was meant for was ended, and another one is open.
    #[error("the transaction that this was begun for was ended, and another one is open")]
    OtherTransaction,
    /// One is open.
    #[error("a transaction is begun already")]
    InTransaction,
    /// The record of a transaction.
    #[error("the record of the transaction cannot be read: {0}")]
    Transaction(String),
    /// There is no such part of the state.
    #[error(transparent)]
    NoPart(#[from] NoPart),
    /// A package that does not go together with what is there.
    #[error("the package cannot be laid into the state of this device")]
    Unfit(#[source] StateError),
    /// Several images are called so.
    #[error("several images are called {0}: say APP/SERVICE, or more digits")]
    SeveralImages(String),
    /// It is made of squashfs images.
    #[error("{0} is not made of layers: it came in a package, and goes out as one")]
    NoLayers(String),
    /// Several revisions begin like this.
    #[error("several revisions begin with {0}")]
    Ambiguous(String),
    /// There is nothing to go back to.
    #[error("there is no revision to go back to")]
    NothingBefore,
    /// The transition table refuses it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Resolving, planning, fetching or reading a target failed.
    #[error(transparent)]
    Supply(#[from] SupplyError),
    /// The engine will not or cannot run a service: refused before anything was fetched, where that is possible.
    #[error("{app}: {service} asks for what the engine {engine} does not do: {keys}")]
    Unsupported {
        /// The app.
        app: String,
        /// The service.
        service: String,
        /// The engine.
        engine: &'static str,
        /// The keys that it names, with reasons.
        keys: String,
    },
    /// The update does not fit.
    #[error("the update does not fit: {0}")]
    DoesNotFit(String),
    /// What ran before does not run completely: the agent goes on trying.
    #[error("what ran before could not be started again: {why}")]
    StillReturning {
        /// The revision that failed.
        failed: Digest,
        /// Why what ran before does not.
        why: String,
    },
    /// The journal names a revision whose documents are not in the store.
    #[error("revision {} cannot be read: {why}", .revision.short())]
    Unreadable {
        /// The revision.
        revision: Digest,
        /// Why.
        why: String,
    },
    /// The journal cannot be read, nor its copy.
    #[error("the agent's journal cannot be read: {0}")]
    Journal(String),
    /// A service waits for another that does not get as far as it has to.
    #[error("{app}/{service} waits for {why}")]
    Dependency {
        /// The app.
        app: String,
        /// The service that waits.
        service: String,
        /// For what, and why in vain.
        why: String,
    },
    /// Targets were set faster than they could be turned to.
    #[error("other targets were set again and again while this ran")]
    Restless,
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was asked for cannot be read or written.
    #[error("the target cannot be written down or read")]
    Inbox(#[source] io::Error),
    /// A project cannot be unpacked or removed.
    #[error("the project in {} cannot be made or removed", path.display())]
    Project {
        /// Its directory.
        path: PathBuf,
        /// Why.
        #[source]
        reason: io::Error,
    },
    /// The work was stopped on request.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl AgentError {
    /// What kind of failure it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Supply(error) => error.class,
            Self::DoesNotFit(_) => Class::DoesNotFit,
            Self::Unreadable { .. } | Self::Journal(_) | Self::Transaction(_) | Self::Unfit(_) => Class::Corrupt,
            Self::NoTarget
            | Self::NoSuchRevision(_)
            | Self::NoSuchImage(_)
            | Self::SeveralImages(_)
            | Self::NoLayers(_)
            | Self::Ambiguous(_)
            | Self::NoTransaction
            | Self::OtherTransaction
            | Self::InTransaction
            | Self::NoPart(_)
            | Self::NothingBefore => Class::Usage,
            Self::Refused(Refusal::Failed { .. }) => Class::RolledBack,
            Self::Store(error) => store_class(error),
            Self::Refused(_)
            | Self::Unsupported { .. }
            | Self::StillReturning { .. }
            | Self::Dependency { .. }
            | Self::Restless
            | Self::Engine(_)
            | Self::Inbox(_)
            | Self::Project { .. }
            | Self::Cancelled(_) => Class::Environment,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NoTarget => "set one: umiakd target set NAME…",
            Self::NoSuchRevision(_) | Self::Ambiguous(_) | Self::NothingBefore => "umiakd status lists the revisions",
            Self::NoTransaction => "umiakd tx begin",
            Self::OtherTransaction => "umiakd tx show, then send it again",
            Self::InTransaction => "umiakd tx commit, or umiakd tx abort",
            Self::Transaction(_) => "umiakd tx abort gives it up",
            Self::NoSuchImage(_) => "umiakd status lists apps and services",
            Self::Refused(Refusal::Failed { .. }) => "publish another release, or try this one again: --again",
            Self::NoLayers(_) => "umiakd export APP pvr:FILE",
            Self::Unreadable { .. } => "umiakd fsck --repair",
            Self::Store(StoreError::Busy { .. }) => "wait until it is done: umiakd status",
            Self::Store(error) if error.is_full() => "make room on the disk: umiakd prune",
            Self::Store(error) if error.is_read_only() => "the disk cannot be written to: dmesg may say why",
            Self::Store(StoreError::DamagedDocument { .. }) => "umiakd fsck --repair",
            error if error.is_cancelled() => "the same command goes on where this stopped",
            Self::Supply(error) => return error.hint.clone(),
            _ => return None,
        };
        Some(text.to_owned())
    }

    /// Whether it is about what was asked for and not about the device: nothing is wrong with that.
    pub(crate) fn is_asking(&self) -> bool {
        !matches!(self, Self::Supply(_)) && self.class() == Class::Usage
    }

    /// Whether it comes of having been told to stop.
    pub(crate) fn is_cancelled(&self) -> bool {
        match self {
            Self::Cancelled(_) | Self::Store(StoreError::Cancelled(_)) => true,
            Self::Supply(error) => error.source.as_ref().is_some_and(|source| source.is::<Cancelled>()),
            _ => false,
        }
    }

    /// Whether another process is at work on the store: nothing was changed, and it can be tried again.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        matches!(self, Self::Store(StoreError::Busy { .. }))
    }

    /// The error and all its causes in one line, for a record.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        line
    }
}

/// The class of what the store said.
pub(crate) fn store_class(error: &StoreError) -> Class {
    match error {
        StoreError::DamagedDocument { .. } | StoreError::WrongDigest { .. } | StoreError::WrongLength { .. } => {
            Class::Corrupt
        }
        StoreError::Incomplete(_) => Class::Corrupt,
        error if error.is_full() => Class::DoesNotFit,
        StoreError::DamagedBase { .. } | StoreError::BlobDelta { .. } | StoreError::BlobImage { .. } => Class::Corrupt,
        StoreError::Exceeds { .. } => Class::Corrupt,
        _ => Class::Environment,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::FetchError;
    use crate::target::ResolveError;

    #[test]
    fn whoever_was_told_to_stop_says_so_and_nothing_else() {
        let fetched = || FetchError::from(Cancelled);
        let errors = [
            AgentError::from(Cancelled),
            StoreError::from(Cancelled).into(),
            SupplyError::from(fetched()).into(),
            SupplyError::from(ResolveError::from(fetched())).into(),
            SupplyError::from(ResolveError::from(StoreError::from(Cancelled))).into(),
        ];
        for error in errors {
            assert!(error.is_cancelled(), "{error:?}");
            assert_eq!(error.to_string(), "cancelled");
        }
        assert!(!AgentError::NoTarget.is_cancelled());
    }
}
