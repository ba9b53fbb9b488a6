//! The reason of the last failure: kept in the store, and in a directory that needs no disk.

#![allow(clippy::disallowed_methods)]

use std::fs;

use umiak_store::{Name, Store, StoreError};

use crate::agent::Agent;
use crate::error::AgentError;
use crate::status::Trouble;

/// Bytes of a reason.
const LONGEST: usize = 4096;

fn record() -> Name {
    "trouble".parse().expect("a word is a name")
}

/// Keeps the reason of a failure. Does what it can: the failure itself is what the caller hears of.
pub(crate) fn keep(agent: &Agent, store: Option<&Store>, doing: &str, error: &AgentError) {
    // Somebody else is at work: his reasons count. A person who stopped it, or asked for what is not there, knows why.
    if matches!(error, AgentError::Store(StoreError::Busy { .. })) || error.is_cancelled() || error.is_asking() {
        return;
    }
    let mut why = error.line();
    while why.len() > LONGEST {
        why.pop();
    }
    put(agent, store, Trouble { doing: doing.to_owned(), why, hint: error.hint(), at: agent.clock.plausible_date() });
}

/// Keeps a trouble.
pub(crate) fn put(agent: &Agent, store: Option<&Store>, trouble: Trouble) {
    // The same trouble at each look costs no write.
    let same = |before: &Trouble| before.doing == trouble.doing && before.why == trouble.why;
    if read(agent, store).as_ref().is_some_and(same) {
        return;
    }
    let bytes = serde_json::to_vec(&trouble).expect("texts and numbers can always be written as JSON");
    let _ = fs::create_dir_all(&agent.run).and_then(|()| fs::write(agent.run.join("trouble.json"), &bytes));
    if let Some(store) = store {
        let _ = store.put_record(&record(), &bytes);
    }
}

/// Forgets it.
pub(crate) fn clear(agent: &Agent, store: &Store) {
    let _ = fs::remove_file(agent.run.join("trouble.json"));
    if matches!(store.record(&record()), Ok(None)) {
        return;
    }
    let _ = store.remove_record(&record());
}

/// The trouble that is kept, if any. A file that was cut short, in a run directory that is full, hides no record.
pub(crate) fn read(agent: &Agent, store: Option<&Store>) -> Option<Trouble> {
    let parse = |bytes: Vec<u8>| serde_json::from_slice(&bytes).ok();
    let run = fs::read(agent.run.join("trouble.json")).ok().and_then(parse);
    run.or_else(|| store?.record(&record()).ok()?.and_then(parse))
}
