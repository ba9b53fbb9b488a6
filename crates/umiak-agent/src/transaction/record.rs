//! The record of a transaction: what was put together so far, and where its objects are.
//!
//! One record, replaced whole: after a cut it is the one before a verb or the one after it.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use serde::{Deserialize, Serialize};
use umiak_pvr::State;
use umiak_pvr::merge::Changed;
use umiak_repository::package::Contents;
use umiak_spec::target::{Carrier, MAX_OBJECTS};
use umiak_spec::{Digest, Limits};
use umiak_store::{Name, Store};

use super::rules::rules;
use crate::error::AgentError;

/// The version that is written and read.
const VERSION: u64 = 1;

/// A state that is being put together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transaction {
    /// What tells it from every other one; none in records of umiak before it was there.
    pub(super) id: Option<Id>,
    /// The revision that it began with; `None`: with nothing.
    pub base: Option<Digest>,
    /// What was put together so far.
    pub state: State,
    /// Where objects are that are not in the store, the latest first.
    pub objects: Vec<Carrier>,
    /// Objects of the packages that were added.
    pub(super) brought: BTreeSet<Digest>,
    /// Those that are in the store and nowhere else.
    pub(super) held: BTreeSet<Digest>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    base: Option<Digest>,
    state: String,
    objects: Vec<String>,
    brought: BTreeSet<Digest>,
    held: BTreeSet<Digest>,
}

/// What the record and the ref of what it holds are called.
pub(super) fn name() -> Name {
    "transaction".parse().expect("a word is a name")
}

/// A number that no other transaction has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id(u64);

impl Id {
    /// By chance: nothing counts transactions, and the clock of a device stands still or jumps.
    pub(super) fn new() -> Self {
        Self(RandomState::new().build_hasher().finish())
    }

    fn parse(text: &str) -> Result<Self, String> {
        let id = u64::from_str_radix(text, 16).map(Self).ok();
        id.filter(|id| id.to_string() == text).ok_or_else(|| format!("its id `{text}` is not 16 hexadecimal digits"))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Transaction {
    /// The one that is open.
    pub(super) fn read(store: &Store) -> Result<Option<Self>, AgentError> {
        let Some(bytes) = store.record(&name())? else { return Ok(None) };
        Self::parse(&bytes).map(Some).map_err(AgentError::Transaction)
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if document.version != VERSION {
            return Err(format!("it is of version {}, and only version {VERSION} is known", document.version));
        }
        let state = State::parse(document.state.as_bytes(), Limits::default().document);
        let objects: Option<_> = document.objects.iter().map(|text| Carrier::parse(text)).collect();
        Ok(Self {
            id: document.id.as_deref().map(Id::parse).transpose()?,
            base: document.base,
            state: state.map_err(|error| error.to_string())?,
            objects: objects.ok_or("it names a file without a name")?,
            brought: document.brought,
            held: document.held,
        })
    }

    pub(super) fn write(&self, store: &Store) -> Result<(), AgentError> {
        let document = Document {
            version: VERSION,
            id: self.id.map(|id| id.to_string()),
            base: self.base,
            state: self.state.canonical(),
            objects: self.objects.iter().map(ToString::to_string).collect(),
            brought: self.brought.clone(),
            held: self.held.clone(),
        };
        let bytes = serde_json::to_vec(&document).expect("texts and numbers can always be written as JSON");
        Ok(store.put_record(&name(), &bytes)?)
    }

    /// Lays a package into the state, whose objects are where `carrier` says.
    pub(super) fn install(&mut self, package: &Contents, carrier: Carrier) -> Result<Installed, AgentError> {
        let Changed { state, removed } = self.state.install(&package.state, &rules).map_err(AgentError::Unfit)?;
        let installed = Installed {
            parts: package.state.parts(),
            files: package.state.entries().len(),
            bytes: package.objects.values().fold(0, |sum, size| sum.saturating_add(*size)),
            removed: removed.len(),
        };
        self.state = state;
        self.objects.retain(|known| *known != carrier);
        if carrier == Carrier::Stored {
            self.held.extend(package.objects.keys());
        }
        self.objects.insert(0, carrier);
        // The oldest may be forgotten: what it brought is most likely replaced, and else it is told what is missing.
        self.objects.truncate(MAX_OBJECTS);
        self.brought.extend(package.objects.keys());
        Ok(installed)
    }

    /// Takes a part out of the state; the keys that went.
    pub(super) fn take_out(&mut self, part: &str) -> Result<usize, AgentError> {
        let Changed { state, removed } = self.state.without(part, &rules)?;
        self.state = state;
        Ok(removed.len())
    }

    /// The first object that is neither in the store nor in a package, with a key that it is for.
    pub(super) fn missing(&self, store: &Store) -> Option<(Digest, String)> {
        self.state.entries().iter().find_map(|(key, entry)| match entry {
            umiak_pvr::Entry::Object(digest) if !self.brought.contains(digest) && !store.has_blob(digest) => {
                Some((*digest, key.to_string()))
            }
            _ => None,
        })
    }
}

/// What a package did to a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Its parts.
    pub parts: Vec<String>,
    /// Its files.
    pub files: usize,
    /// Bytes of its objects.
    pub bytes: u64,
    /// Files that were there before and are not in it.
    pub removed: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = r##"{"version":1,"base":null,"state":"{\"#spec\":\"pantavisor-service-system@1\"}","objects":[],"brought":[],"held":[]}"##;

    #[test]
    fn a_record_without_an_id_is_read_and_one_with_another_form_is_not() {
        assert_eq!(Transaction::parse(BEFORE.as_bytes()).unwrap().id, None);
        let with = |id: &str| {
            Transaction::parse(BEFORE.replacen(",", &format!(",\"id\":\"{id}\","), 1).as_bytes()).map(|read| read.id)
        };
        let id = Id::new();
        assert_eq!(with(&id.to_string()), Ok(Some(id)));
        assert_ne!(id, Id::new());
        for other in ["", "7", "+000000000000007", "00000000000000000", "000000000000000G"] {
            assert!(with(other).unwrap_err().contains("16 hexadecimal digits"), "{other}");
        }
    }
}
