//! A journal that is lost with its copy, made again: what was committed last is current, the rest is older.
//!
//! What was committed is written down once more in a record of its own. Where that is lost as well, or its revision is not
//! whole, it is the revision of which most services run. Where there is nothing to lose, because nothing was ever committed
//! and nothing runs, the journal begins anew. History, pins and what failed are lost; what was under way is begun again by
//! the next update.

use std::collections::BTreeSet;

use umiak_spec::Digest;
use umiak_store::{Name, Store, StoreError};

use crate::agent::Agent;
use crate::error::AgentError;
use crate::journal::{Journal, What};
use crate::kept;

/// The name of the record of what was committed last.
pub(crate) fn record() -> Name {
    "current".parse().expect("a word is a name")
}

/// Writes down what was committed. That this fails fails nothing: it is read only where the journal is lost.
pub(crate) fn note(store: &Store, current: &Digest) {
    let _ = store.put_record(&record(), current.to_string().as_bytes());
}

/// Whether an error says that the journal is lost, and not that it could not be reached.
pub(crate) const fn is_lost(error: &AgentError) -> bool {
    matches!(error, AgentError::Journal(_) | AgentError::Store(StoreError::DamagedDocument { .. }))
}

/// The journal as far as it can be known.
pub(crate) fn journal(agent: &Agent, store: &Store, lost: AgentError) -> Result<Journal, AgentError> {
    let whole = |revision: &Digest| {
        let closure = store.closure(&kept::name(revision)).ok().flatten();
        closure.is_some_and(|closure| store.missing(&closure).is_empty())
    };
    let known = kept::list(store)?;
    let here: Vec<Digest> = known.iter().copied().filter(whole).collect();
    let noted = store.record(&record());
    if known.is_empty() && matches!(noted, Ok(None)) && is_idle(agent) {
        return Ok(Journal::default());
    }
    let noted = noted.ok().flatten().and_then(|bytes| String::from_utf8(bytes).ok()?.parse::<Digest>().ok());
    let current = noted.filter(|revision| here.contains(revision)).or_else(|| running(agent, store, &here));
    // What is not whole can be repaired, but only by an agent that knows what it runs.
    let Some(current) = current.or(noted.filter(|revision| known.contains(revision))) else { return Err(lost) };
    let mut journal = Journal::default();
    journal.state.current = Some(current);
    journal.state.older = here.into_iter().filter(|revision| *revision != current).collect();
    let why = Some(format!("the journal was lost and is made again: {}", lost.line()));
    journal.note(agent.clock.plausible_date(), What::Committed, current, why);
    Ok(journal)
}

/// Whether the engine has nothing of ours; what it does not tell may be something.
fn is_idle(agent: &Agent) -> bool {
    agent.engine.observe().is_ok_and(|observed| observed.is_empty())
}

/// The revision of which most services run; the only one there is, where none does.
fn running(agent: &Agent, store: &Store, here: &[Digest]) -> Option<Digest> {
    let observed = agent.engine.observe().unwrap_or_default();
    let running: BTreeSet<(String, String, String)> = observed
        .into_iter()
        .filter(umiak_engine::Observed::is_running)
        .map(|found| (found.app, found.revision, found.service))
        .collect();
    let count = |revision: &Digest| {
        let places = kept::read(store, revision).ok().flatten().map(|kept| kept.places).unwrap_or_default();
        let services = places.into_iter().flat_map(|(app, services)| {
            services.into_iter().map(move |(service, place)| (app.clone(), place.revision, service))
        });
        services.filter(|place| running.contains(place)).count()
    };
    match here {
        [only] => Some(*only),
        _ => here.iter().copied().max_by_key(count).filter(|revision| count(revision) > 0),
    }
}
