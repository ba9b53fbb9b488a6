//! Going back by hand, and keeping revisions.

use umiak_plan::transition::{Event, Phase};
use umiak_spec::Digest;

use crate::error::AgentError;
use crate::kept;
use crate::outcome::{Outcome, Watcher};
use crate::place::Manner;
use crate::session::Session;
use crate::trouble;

/// Why a person's way back is one.
const BY_HAND: &str = "somebody went back from it by hand";

impl Session<'_> {
    /// See [`crate::Agent::rollback`].
    pub(crate) fn rollback(&mut self, revision: Option<&str>, watcher: &dyn Watcher) -> Result<Outcome, AgentError> {
        if let (None, Phase::Switching { target, .. } | Phase::Testing { target, .. }) =
            (revision, &self.journal.state.phase)
        {
            let target = *target;
            self.condemn(target, BY_HAND.to_owned(), watcher)?;
        }
        if let Some(outcome) = self.finish(watcher)?
            && revision.is_none()
            && matches!(outcome, Outcome::RolledBack { .. })
        {
            return Ok(outcome);
        }
        let target = self.way_back(revision)?;
        let current = self.journal.state.current;
        if current == Some(target) {
            self.start_current(watcher)?;
            return Ok(Outcome::UpToDate { revision: target });
        }
        self.tell(&Event::Begin { target, again: true })?;
        if let Err(error) = self.ready_again(target, watcher) {
            self.tell(&Event::GaveUp)?;
            return Err(error);
        }
        self.tell(&Event::Staged)?;
        // Not before there is something to go back to, nor after the switch began: then it would be updated to again.
        if let Some(revision) = current {
            self.tell(&Event::Disliked { revision, why: BY_HAND.to_owned() })?;
        }
        self.tell(&Event::Go)?;
        let outcome = self.finish(watcher)?.unwrap_or(Outcome::UpToDate { revision: target });
        if matches!(outcome, Outcome::Committed { .. }) {
            trouble::clear(self.agent, &self.store);
        }
        Ok(outcome)
    }

    /// See [`crate::Agent::way_back`].
    pub(crate) fn way_back(&self, revision: Option<&str>) -> Result<Digest, AgentError> {
        let target = match (revision, &self.journal.state.phase) {
            (Some(text), _) => self.named(text)?,
            // What is tested now is what is gone back from.
            (None, Phase::Switching { .. } | Phase::Testing { .. } | Phase::Returning { .. }) => {
                self.journal.state.current.ok_or(AgentError::NothingBefore)?
            }
            (None, _) => self.journal.state.previous.ok_or(AgentError::NothingBefore)?,
        };
        if self.journal.state.current != Some(target) {
            self.must_be_whole(target)?;
        }
        Ok(target)
    }

    fn must_be_whole(&self, revision: Digest) -> Result<(), AgentError> {
        let why = |why: String| AgentError::Unreadable { revision, why };
        let closure = self.store.closure(&kept::name(&revision))?;
        let closure = closure.ok_or_else(|| why("it is not in the store any more".to_owned()))?;
        let missing = self.store.missing(&closure);
        if missing.is_empty() {
            return Ok(());
        }
        Err(why(format!("{} of its objects are missing, the first is {}", missing.count(), missing.first())))
    }

    fn ready_again(&self, revision: Digest, watcher: &dyn Watcher) -> Result<(), AgentError> {
        let arrangement = self.arrangement(Some(revision))?;
        let observed = self.agent.engine.observe()?;
        self.placing(watcher, Manner::Strict).ready(&arrangement, &observed)
    }

    /// See [`crate::Agent::pin`].
    pub(crate) fn pin(&mut self, revision: Option<&str>) -> Result<Digest, AgentError> {
        let revision = self.named_or_current(revision)?;
        self.must_be_whole(revision)?;
        self.tell(&Event::Pin(revision)).map(|()| revision)
    }

    /// See [`crate::Agent::unpin`].
    pub(crate) fn unpin(&mut self, revision: Option<&str>) -> Result<Digest, AgentError> {
        let revision = self.named_or_current(revision)?;
        self.tell(&Event::Unpin(revision)).map(|()| revision)
    }

    fn named_or_current(&self, revision: Option<&str>) -> Result<Digest, AgentError> {
        match revision {
            Some(text) => self.named(text),
            None => self.journal.state.current.ok_or(AgentError::NothingBefore),
        }
    }

    /// The revision on this device whose digest begins like `text`.
    pub(crate) fn named(&self, text: &str) -> Result<Digest, AgentError> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let mut known = self.journal.state.named();
        known.extend(kept::list(&self.store)?);
        let mut found = known.into_iter().filter(|revision| !digits.is_empty() && revision.hex().starts_with(digits));
        match (found.next(), found.next()) {
            (Some(revision), None) => Ok(revision),
            (Some(_), Some(_)) => Err(AgentError::Ambiguous(text.to_owned())),
            (None, _) => Err(AgentError::NoSuchRevision(text.to_owned())),
        }
    }
}
