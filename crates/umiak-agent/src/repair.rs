//! fsck: everything verified, what is damaged had again from wherever it can be had, what cannot be named.
//!
//! A damaged blob or layer is brought again by the supply (out of what else is stored, or from where it came) and replaces the
//! damaged one in place. A ref is made again from what was written down of its revision. Then the engine's own copy, where it
//! has one, is compared and refilled from the store, without network.

use umiak_store::{Damage, Depth, Fault, Object};

use crate::agent::Agent;
use crate::error::AgentError;
use crate::kept;
use crate::outcome::Watcher;
use crate::place::Manner;
use crate::revision::Revision;
use crate::session::Session;

/// What became of a damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It was only looked for.
    Found,
    /// It is as it should be again.
    Repaired,
    /// It could not be repaired, and why.
    Left(String),
}

/// A damage and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The damage.
    pub damage: Damage,
    /// What became of it.
    pub fate: Fate,
}

/// What fsck found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repairs {
    /// All damages of the store.
    pub findings: Vec<Finding>,
    /// What opening the store had put right already.
    pub mended: Vec<String>,
    /// Why the current revision could not be made ready in the engine again.
    pub engine: Option<String>,
}

impl Repairs {
    /// Whether nothing is wrong now.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.engine.is_none() && self.findings.iter().all(|finding| finding.fate == Fate::Repaired)
    }
}

impl Agent {
    /// Looks at everything, and with `repair` puts right what it can.
    ///
    /// # Errors
    /// The store cannot be opened or listed. What cannot be repaired is a finding.
    pub fn fsck(&self, depth: Depth, repair: bool, watcher: &dyn Watcher) -> Result<Repairs, AgentError> {
        self.work("fsck", |session| session.fsck(depth, repair, watcher))
    }
}

impl Session<'_> {
    fn fsck(&mut self, depth: Depth, repair: bool, watcher: &dyn Watcher) -> Result<Repairs, AgentError> {
        let mut repairs = Repairs { mended: self.store.recovered().mended.clone(), ..Repairs::default() };
        let targets = self.kept_targets()?;
        for damage in self.store.check(depth, watcher)? {
            let fate = match damage.fault {
                Fault::Foreign => Fate::Left("it is left as it is".to_owned()),
                _ if !repair => Fate::Found,
                _ if matches!(damage.object, Object::Format | Object::Stray(_)) => {
                    Fate::Left("it cannot be made again".to_owned())
                }
                _ => match self.mend(&damage, &targets, watcher) {
                    Ok(()) => Fate::Repaired,
                    Err(error) => Fate::Left(error.line()),
                },
            };
            repairs.findings.push(Finding { damage, fate });
        }
        if repair {
            repairs.engine = self.refill(watcher).err().map(|error| error.line());
        }
        Ok(repairs)
    }

    fn mend(
        &self,
        damage: &Damage,
        targets: &[umiak_spec::target::Target],
        watcher: &dyn Watcher,
    ) -> Result<(), AgentError> {
        match &damage.object {
            Object::Blob(digest) if self.remake_document(digest)? => Ok(()),
            Object::Blob(_) | Object::Layer(_) | Object::Chain(_) => {
                Ok(self.agent.supply.repair(&self.store, &damage.object, targets, watcher)?)
            }
            Object::Partial(digest) => Ok(self.store.forget_partial(digest)?),
            Object::Ref(name) => match kept::revision(name) {
                Some(revision) => self.remake_ref(&revision),
                None => Ok(self.store.remove_ref(name)?),
            },
            Object::Record(name) => match kept::revision(name) {
                Some(revision) => self.remake_record(&revision),
                None => Ok(self.store.remove_record(name)?),
            },
            // Nobody has these but the store itself: see `fsck`.
            Object::Format | Object::Stray(_) => Ok(()),
        }
    }

    /// A revision's own document is made again from what was written down of it; whether the blob was one.
    fn remake_document(&self, digest: &umiak_spec::Digest) -> Result<bool, AgentError> {
        let Some(kept) = kept::read(&self.store, digest)? else { return Ok(false) };
        self.store.put_blob(digest, &Revision::of(&kept.target).to_bytes())?;
        Ok(true)
    }

    /// A ref is its revision's closure, which the documents say.
    fn remake_ref(&self, revision: &umiak_spec::Digest) -> Result<(), AgentError> {
        if !self.kept().contains(revision) {
            return Ok(self.store.remove_ref(&kept::name(revision))?);
        }
        let target = kept::must(&self.store, revision)?.target;
        let mut closure = self.read(&target)?.closure;
        closure.blobs.insert(*revision);
        Ok(self.store.set_ref(&kept::name(revision), &closure)?)
    }

    /// What was written down of a revision is lost where both of its files are: it can only be had by staging it again.
    fn remake_record(&self, revision: &umiak_spec::Digest) -> Result<(), AgentError> {
        if self.kept().contains(revision) {
            let why = "what was written down of it is lost: update to it again".to_owned();
            return Err(AgentError::Unreadable { revision: *revision, why });
        }
        Ok(self.store.remove_record(&kept::name(revision))?)
    }

    /// The engine is made ready for the current revision again: what it lost it is given.
    fn refill(&self, watcher: &dyn Watcher) -> Result<(), AgentError> {
        let arrangement = self.arrangement(self.journal.state.runs())?;
        self.placing(watcher, Manner::Stubborn).ready(&arrangement, &[])
    }
}
