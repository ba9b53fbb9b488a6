//! Why a blob could not be fetched, and what of it is kept.

use umiak_registry::ErrorKind;
use umiak_spec::{Cancelled, Digest};
use umiak_store::StoreError;

use crate::error::{Class, SupplyError, store_class};
use crate::target::class_of;

/// Why a blob could not be fetched.
#[derive(Debug, thiserror::Error)]
#[error("cannot fetch {} ({kept} of {size} bytes are kept)", blob.short())]
pub struct FetchError {
    /// The blob.
    pub blob: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Bytes of it that are in the store and are not fetched again.
    pub kept: u64,
    /// Why.
    #[source]
    pub cause: Cause,
}

/// Why it did not come.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The registry, layout or archive.
    #[error(transparent)]
    Source(#[from] Box<umiak_registry::Error>),
    /// The store.
    #[error(transparent)]
    Store(Box<StoreError>),
    /// All of it came in one piece, and is something else.
    #[error("its bytes are wrong: their digest is {}", found.short())]
    Wrong {
        /// What came.
        found: Digest,
    },
    /// It came in pieces that do not belong together.
    #[error("its pieces do not belong together: their digest is {}", found.short())]
    Pieces {
        /// What they are together.
        found: Digest,
    },
    /// As much has come as may.
    #[error("{most} bytes have come, and no more may")]
    Budget {
        /// The budget in bytes.
        most: u64,
    },
}

impl From<StoreError> for Cause {
    fn from(error: StoreError) -> Self {
        Self::Store(Box::new(error))
    }
}

impl From<umiak_registry::Error> for Cause {
    fn from(error: umiak_registry::Error) -> Self {
        Self::Source(Box::new(error))
    }
}

impl From<Cancelled> for FetchError {
    fn from(cancelled: Cancelled) -> Self {
        Self { blob: Digest::of(b""), size: 0, kept: 0, cause: StoreError::Cancelled(cancelled).into() }
    }
}

impl FetchError {
    /// What kind of failure it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match &self.cause {
            Cause::Source(error) => class_of(error.kind()),
            Cause::Store(error) => store_class(error),
            Cause::Wrong { .. } | Cause::Pieces { .. } => Class::Corrupt,
            Cause::Budget { .. } => Class::Network,
        }
    }

    /// Whether trying again later may help.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match &self.cause {
            Cause::Source(error) => error.kind() == ErrorKind::Network,
            Cause::Budget { .. } => true,
            _ => false,
        }
    }

    /// Whether somebody asked to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        match &self.cause {
            Cause::Source(error) => error.kind() == ErrorKind::Cancelled,
            Cause::Store(error) => matches!(**error, StoreError::Cancelled(_)),
            _ => false,
        }
    }
}

impl From<FetchError> for SupplyError {
    fn from(error: FetchError) -> Self {
        if error.is_cancelled() {
            return Self::cancelled();
        }
        let supply = Self::new(error.class(), error.to_string());
        let supply = if error.is_passing() { supply.hint("what has come is kept: try again later") } else { supply };
        supply.because(error.cause)
    }
}
