//! One process at work: the store opened for changes, and the journal.
//!
//! The journal on disk is ahead of what is done towards a target, never behind: [`Session::tell`] writes before anything
//! is done about it.

use std::collections::BTreeSet;

use umiak_plan::transition::{Event, Phase};
use umiak_spec::Digest;
use umiak_store::{Name, Store, StoreOptions};

use crate::agent::Agent;
use crate::error::AgentError;
use crate::journal::{Journal, What};
use crate::rebuild;

/// The store opened for changes, with the journal as it is on disk.
pub(crate) struct Session<'a> {
    pub agent: &'a Agent,
    pub store: Store,
    pub journal: Journal,
}

/// The name of the journal's record.
pub(crate) fn journal_name() -> Name {
    "journal".parse().expect("a word is a name")
}

/// The journal; an empty one where nothing has happened yet.
pub(crate) fn read_journal(store: &Store) -> Result<Journal, AgentError> {
    let Some(bytes) = store.record(&journal_name())? else { return Ok(Journal::default()) };
    Journal::parse(&bytes).map_err(|error| AgentError::Journal(error.to_string()))
}

impl<'a> Session<'a> {
    /// Opens the store for changes, and counts a start of the machine where that matters.
    pub(crate) fn open(agent: &'a Agent) -> Result<Self, AgentError> {
        let store = Store::open(&agent.root, agent.disk.clone(), &StoreOptions::UPDATE)?;
        let (journal, lost) = match read_journal(&store) {
            Err(error) if rebuild::is_lost(&error) => (rebuild::journal(agent, &store, error)?, true),
            journal => (journal?, false),
        };
        let mut session = Self { agent, store, journal };
        if lost {
            session.write_again()?;
        }
        let same = session.journal.boot.as_ref() == Some(&agent.clock.boot());
        if session.journal.state.is_exposed() && !same {
            session.tell(&Event::Boot)?;
        }
        Ok(session)
    }

    /// Writes the state after an event. What is returned as done is durable.
    pub(crate) fn tell(&mut self, event: &Event) -> Result<(), AgentError> {
        let state = self.journal.state.after(event, &self.agent.policy.rules())?;
        let mut next = self.journal.clone();
        next.serial = next.serial.saturating_add(1);
        let boot = Some(self.agent.clock.boot());
        if next.boot != boot || std::mem::discriminant(&state.phase) != std::mem::discriminant(&next.state.phase) {
            next.since = milliseconds(self.agent.clock.running());
        }
        next.boot = boot;
        let before = std::mem::replace(&mut next.state, state);
        if let Some((what, revision, why)) = line(event, &before.phase, &next.state.phase) {
            next.note(self.agent.clock.plausible_date(), what, revision, why);
        }
        self.write(next)?;
        if let (Event::Good, Some(current)) = (event, &self.journal.state.current) {
            rebuild::note(&self.store, current);
        }
        Ok(())
    }

    /// Writes the journal as it is: fails where a step towards a target could not be written down either.
    pub(crate) fn write_again(&mut self) -> Result<(), AgentError> {
        self.write(self.journal.clone())
    }

    pub(crate) fn write(&mut self, journal: Journal) -> Result<(), AgentError> {
        self.store.put_record(&journal_name(), &journal.to_bytes())?;
        self.journal = journal;
        Ok(())
    }

    /// The revisions that must stay.
    pub(crate) fn kept(&self) -> BTreeSet<Digest> {
        self.journal.state.kept(&self.agent.policy.rules())
    }
}

/// Milliseconds, as documents have them.
pub(crate) fn milliseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What the history says of an event; nothing where nothing changed.
fn line(event: &Event, before: &Phase, after: &Phase) -> Option<(What, Digest, Option<String>)> {
    match (event, before, after) {
        (Event::Staged, Phase::Staging { target }, _) => Some((What::Staged, *target, None)),
        (Event::Go, Phase::Staged { target }, _) => Some((What::Switching, *target, None)),
        (Event::Good, Phase::Testing { target, .. }, _) => Some((What::Committed, *target, None)),
        (Event::Boot, Phase::Switching { target, .. } | Phase::Testing { target, .. }, Phase::Switching { .. }) => {
            Some((What::Boot, *target, None))
        }
        (_, Phase::Switching { .. } | Phase::Testing { .. }, Phase::Returning { failed, why }) => {
            Some((What::Failed, *failed, Some(why.clone())))
        }
        (Event::Returned, Phase::Returning { failed, why }, _) => Some((What::Returned, *failed, Some(why.clone()))),
        (Event::Disliked { revision, why }, _, _) => Some((What::Disliked, *revision, Some(why.clone()))),
        _ => None,
    }
}
