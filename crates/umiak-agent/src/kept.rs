//! What is written down of each revision that the device keeps: the target that it was, its services, where they live.
//!
//! Services are written down as they were read, so that what runs can be started again whatever became of the documents
//! that they were read from. Where a later umiak cannot read them here any more, it reads the documents again.
//!
//! Names in the store: the record and the ref of a revision are both called `revision-` and 64 digits.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use umiak_spec::target::Target;
use umiak_spec::{Digest, Limits};
use umiak_store::{Name, Store};

use crate::arrangement::{Arrangement, Places};
use crate::error::AgentError;

const PREFIX: &str = "revision-";

/// The version that is written and read.
const VERSION: u64 = 1;

/// A revision on this device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    /// The target that it was when it was staged: its apps with where they came from.
    pub target: Target,
    /// Where its services live.
    pub places: Places,
    /// Its services; `None` where they cannot be read here.
    pub arrangement: Option<Arrangement>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u64,
    target: String,
    places: Places,
    services: Value,
}

/// The name of a revision's record and ref.
pub(crate) fn name(revision: &Digest) -> Name {
    format!("{PREFIX}{}", revision.hex()).parse().expect("hex digits behind a word are a name")
}

/// The revision that a record or ref is of.
pub(crate) fn revision(name: &Name) -> Option<Digest> {
    Digest::from_hex(name.as_str().strip_prefix(PREFIX)?).ok()
}

/// The revisions that have a record.
pub(crate) fn list(store: &Store) -> Result<Vec<Digest>, AgentError> {
    Ok(store.records(PREFIX)?.iter().filter_map(revision).collect())
}

/// Reads what was written down of a revision; `None` where nothing was.
pub(crate) fn read(store: &Store, revision: &Digest) -> Result<Option<Kept>, AgentError> {
    let Some(bytes) = store.record(&name(revision))? else { return Ok(None) };
    parse(&bytes).map(Some).map_err(|why| AgentError::Unreadable { revision: *revision, why })
}

/// The same, where it must be there.
pub(crate) fn must(store: &Store, revision: &Digest) -> Result<Kept, AgentError> {
    let why = || "it is not written down on this device".to_owned();
    read(store, revision)?.ok_or_else(|| AgentError::Unreadable { revision: *revision, why: why() })
}

fn parse(bytes: &[u8]) -> Result<Kept, String> {
    let document: Document = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if document.version != VERSION {
        return Err(format!("its document is of version {}, and only version {VERSION} is known", document.version));
    }
    let target = Target::parse(document.target.as_bytes(), &Limits::default()).map_err(|error| error.to_string())?;
    let arrangement = serde_json::from_value(document.services).ok();
    Ok(Kept { target, places: document.places, arrangement })
}

/// Bytes of what is written down.
pub(crate) fn size(kept: &Kept) -> u64 {
    to_bytes(kept).len() as u64
}

fn to_bytes(kept: &Kept) -> Vec<u8> {
    let target = String::from_utf8(kept.target.to_bytes()).expect("JSON is text");
    let services = serde_json::to_value(&kept.arrangement).expect("services can be written as JSON");
    let document = Document { version: VERSION, target, places: kept.places.clone(), services };
    serde_json::to_vec(&document).expect("texts and numbers can always be written as JSON")
}

/// Writes a revision down.
pub(crate) fn write(store: &Store, revision: &Digest, kept: &Kept) -> Result<(), AgentError> {
    let bytes = to_bytes(kept);
    // Told again with every try: nothing is written where nothing changed.
    if store.record(&name(revision))?.as_deref() != Some(&bytes) {
        store.put_record(&name(revision), &bytes)?;
    }
    Ok(())
}
