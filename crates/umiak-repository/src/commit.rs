//! Recording the tracked files as the committed state.
//!
//! Order: objects into the pool (as a whole), then `.pvr/json`, then the message, then `.pvr/new` goes. A crash in
//! between leaves the old state or the new one; the pool may hold objects that no state needs.

use umiak_pvr::{Entry, State, StatePath, Value};
use umiak_spec::{Digest, Observer};

use crate::durable;
use crate::error::Error;
use crate::pool::{PoolStage, Stored};
use crate::repository::{MESSAGE, NEW, Repository};
use crate::working::Found;

const CHECKPOINT: &str = "checkpoint.json";

/// What a commit did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommitReport {
    /// Files that are new in the state.
    pub added: Vec<StatePath>,
    /// Files with another content.
    pub changed: Vec<StatePath>,
    /// Files that left the state.
    pub removed: Vec<StatePath>,
    /// What the pool did not have yet.
    pub stored: Stored,
}

impl CommitReport {
    /// Whether the state is the same as before.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

impl Repository {
    /// Records the tracked files. With `checkpoint`, an RFC 3339 time, `checkpoint.json` is written anew and tracked.
    ///
    /// When nothing changed and no checkpoint is asked for, nothing is written.
    ///
    /// # Errors
    /// [`Error::NotJson`], [`Error::Io`], [`Error::Cancelled`], …: the committed state and the pool are as they were.
    pub fn commit(
        &self,
        message: &str,
        checkpoint: Option<&str>,
        observer: &dyn Observer,
    ) -> Result<CommitReport, Error> {
        let _lock = self.lock(observer)?;
        let pristine = self.pristine()?;
        let pending = self.pending()?;
        let working = self.scan(&pristine, &pending, observer)?;
        let mut objects: Option<PoolStage<'_>> = None;
        let mut state = State::with_spec(pristine.spec());
        for (path, found) in &working.tracked {
            let entry = match found {
                Found::Object(digest) if self.must_store(path, digest, &pristine) => {
                    let stage = match &mut objects {
                        Some(stage) => stage,
                        none => none.insert(self.pool().stage()?),
                    };
                    Some(Entry::Object(stage.add_file(&self.root().join(path), observer)?))
                }
                found => self.entry(path, found, &pristine)?,
            };
            if let Some(entry) = entry {
                state.insert(path.clone(), entry);
            }
        }
        let checkpoint = checkpoint.map(|time| Value::object([("major", Value::from(time))]));
        if let Some(document) = &checkpoint {
            state.insert(StatePath::new(CHECKPOINT)?, Entry::Inline(document.clone()));
        }
        state.check().map_err(Error::Result)?;
        let mut report = compare(&pristine, &state);
        if let Some(stage) = objects {
            let digests = state.objects();
            report.stored = stage.publish(|digest| digests.contains(digest), observer)?;
        }
        observer.check()?;
        if let Some(document) = checkpoint {
            let place = self.root().join(CHECKPOINT);
            durable::replace(&self.staging()?, &place, document.canonical().as_bytes(), 0o644)?;
        }
        if !report.is_empty() {
            let staging = self.staging()?;
            self.write_state(&staging, &state)?;
            durable::replace(&staging, &self.root().join(MESSAGE), message.as_bytes(), 0o644)?;
        }
        if !pending.is_empty() {
            durable::remove_file(&self.root().join(NEW))?;
        }
        Ok(report)
    }

    /// Whether a file's content has to go into the pool: it is new, or the pool has lost it.
    fn must_store(&self, path: &StatePath, digest: &Digest, pristine: &State) -> bool {
        pristine.get(path.as_str()) != Some(&Entry::Object(*digest)) || !self.pool().contains(digest)
    }
}

pub(crate) fn compare(before: &State, after: &State) -> CommitReport {
    let mut report = CommitReport::default();
    for (path, entry) in after.entries() {
        match before.get(path.as_str()) {
            None => report.added.push(path.clone()),
            Some(old) if old != entry => report.changed.push(path.clone()),
            Some(_) => {}
        }
    }
    let gone = before.entries().keys().filter(|path| after.get(path.as_str()).is_none());
    report.removed = gone.cloned().collect();
    report
}
