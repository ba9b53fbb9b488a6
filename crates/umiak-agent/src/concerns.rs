//! What a policy that only looks found: kept until the next look, for `status`.
//!
//! It refuses nothing and changes nothing; somebody reads it before he lets the policy refuse.

use umiak_spec::Observer;
use umiak_store::{Name, Store};

use crate::error::AgentError;

/// Concerns that are kept.
const MOST: usize = 64;
/// Letters of one.
const LONGEST: usize = 512;

fn record() -> Name {
    "audit".parse().expect("a word is a name")
}

/// Keeps what was found, and tells what was not found the last time.
pub(crate) fn keep(store: &Store, found: &[String], observer: &dyn Observer) -> Result<(), AgentError> {
    let before = read(store);
    let cut = |text: &String| text.chars().take(LONGEST).collect::<String>();
    let found: Vec<String> = found.iter().take(MOST).map(cut).collect();
    if found == before {
        return Ok(());
    }
    for concern in &found {
        observer.note(&format!("audit: {concern}"));
    }
    if found.is_empty() {
        return Ok(store.remove_record(&record())?);
    }
    let bytes = serde_json::to_vec(&found).expect("texts can always be written as JSON");
    Ok(store.put_record(&record(), &bytes)?)
}

/// What was found by the last update; nothing where that cannot be read.
pub(crate) fn read(store: &Store) -> Vec<String> {
    let bytes = store.record(&record()).ok().flatten();
    bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}
