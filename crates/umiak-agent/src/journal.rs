//! The journal: the one document that decides what goes on after a cut.
//!
//! It is replaced whole with every transition, so that there is no half one. History is part of it, and therefore never
//! tells of what did not happen. Bounded: at most [`HISTORY`] entries of at most 2 KiB each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use umiak_plan::transition::State;
use umiak_spec::Digest;

use crate::clock::Boot;

/// Entries of the history that are kept.
pub const HISTORY: usize = 100;

/// Bytes of a journal that is read.
const MAX_DOCUMENT: usize = 4 << 20;

/// The version that is written and read.
const VERSION: u64 = 1;

/// The journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    version: u64,
    /// Counts up with each transition.
    pub serial: u64,
    /// Which start of the machine it was written in; none: before the first.
    pub boot: Option<Boot>,
    /// When the present phase was entered, in milliseconds of [`crate::Clock::running`]; holds for `boot` only.
    pub since: u64,
    /// The state of the device.
    pub state: State,
    /// How often each service had been started again by its restart policy when the testing window began:
    /// `app/service` to count.
    #[serde(default)]
    pub restarts: BTreeMap<String, u32>,
    /// What happened, the latest last.
    pub history: Vec<Entry>,
}

/// What happened to a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// It became whole in the store and ready.
    Staged,
    /// Its services began to be started.
    Switching,
    /// It passed its test.
    Committed,
    /// It failed; what ran before was to be started again.
    Failed,
    /// What ran before was started again.
    Returned,
    /// A person went back from it.
    Disliked,
    /// The machine was started in the middle of it.
    Boot,
}

/// One line of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The journal's serial with it.
    pub serial: u64,
    /// Seconds since 1970, where the clock was right.
    pub at: Option<u64>,
    /// What happened.
    pub what: What,
    /// To which revision.
    pub revision: Digest,
    /// Why, where there is a reason to tell.
    pub why: Option<String>,
}

/// Why bytes are no journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Not JSON of this shape, or too long.
    #[error("its document cannot be read: {0}")]
    Document(String),
    /// Another version.
    #[error("its document is of version {0}, and only version {VERSION} is known")]
    Version(u64),
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            version: VERSION,
            serial: 0,
            boot: None,
            since: 0,
            state: State::default(),
            restarts: BTreeMap::new(),
            history: vec![],
        }
    }
}

impl Journal {
    /// Its document.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers can always be written as JSON")
    }

    /// Reads a document.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, JournalError> {
        if bytes.len() > MAX_DOCUMENT {
            return Err(JournalError::Document(format!("it has more than {MAX_DOCUMENT} bytes")));
        }
        let journal: Self = serde_json::from_slice(bytes).map_err(|error| JournalError::Document(error.to_string()))?;
        if journal.version == VERSION { Ok(journal) } else { Err(JournalError::Version(journal.version)) }
    }

    /// Adds a line to the history, and drops the oldest where there are too many.
    pub fn note(&mut self, at: Option<u64>, what: What, revision: Digest, why: Option<String>) {
        self.history.push(Entry { serial: self.serial, at, what, revision, why });
        let excess = self.history.len().saturating_sub(HISTORY);
        self.history.drain(..excess);
    }
}
