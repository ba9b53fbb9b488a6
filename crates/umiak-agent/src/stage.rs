//! Staging: a target becomes whole in the store and ready to start, beside what runs.
//!
//! Nothing of the current revision is touched. Done again it does only what is missing. An error leaves what came in the
//! store, for the next try, and the current revision as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use umiak_spec::target::Target;
use umiak_spec::{Cancelled, Digest, Observer};
use umiak_store::{Closure, PruneRequest, StoreError};

use crate::agent::Agent;
use crate::arrangement::{Arrangement, Places};
use crate::error::AgentError;
use crate::hold;
use crate::kept::{self, Kept};
use crate::outcome::{Happening, Watcher};
use crate::place::{Manner, Placing};
use crate::revision::Revision;
use crate::session::{Session, milliseconds};
use crate::started;
use crate::supply::{Described, Planned};

/// What the documents of a target say.
pub(crate) struct Read {
    pub closure: Closure,
    pub described: BTreeMap<String, Described>,
}

impl Session<'_> {
    /// Reads the documents of a target, which are in the store.
    pub(crate) fn read(&self, target: &Target) -> Result<Read, AgentError> {
        let mut closure = Closure::default();
        let mut described = BTreeMap::new();
        for app in &target.apps {
            closure.extend(&self.agent.supply.closure(&self.store, app)?);
            let mut found = self.agent.supply.describe(&self.store, app)?;
            for part in &mut found.parts {
                hold::equip(self.agent, &app.name, &mut part.service);
            }
            described.insert(app.name.clone(), found);
        }
        Ok(Read { closure, described })
    }

    /// Refuses what the engine does not do, all of it in one message.
    pub(crate) fn refuse(&self, described: &BTreeMap<String, Described>) -> Result<(), AgentError> {
        let engine = &self.agent.engine;
        for (app, described) in described {
            for part in &described.parts {
                let refused = engine.refuses(&part.service);
                if !refused.is_empty() {
                    let keys: Vec<String> = refused.iter().map(|one| format!("{} ({})", one.key, one.why)).collect();
                    return Err(AgentError::Unsupported {
                        app: app.clone(),
                        service: part.service.name.clone(),
                        engine: engine.name(),
                        keys: keys.join(", "),
                    });
                }
            }
        }
        Ok(())
    }

    /// The targets of the revisions that stay, as far as they can be read.
    pub(crate) fn kept_targets(&self) -> Result<Vec<Target>, AgentError> {
        let mut targets = Vec::new();
        for revision in self.kept() {
            targets.extend(kept::read(&self.store, &revision)?.map(|kept| kept.target));
        }
        Ok(targets)
    }

    /// Makes a target whole in the store and ready to start.
    pub(crate) fn stage(&mut self, target: &Target, watcher: &dyn Watcher) -> Result<(), AgentError> {
        let begun = self.agent.clock.running();
        let revision = Revision::of(target);
        let digest = revision.digest();
        let Read { mut closure, described } = self.read(target)?;
        self.refuse(&described)?;
        self.store.put_blob(&digest, &revision.to_bytes())?;
        closure.blobs.insert(digest);
        if !self.store.missing(&closure).is_empty() {
            self.bring(target, &closure, watcher)?;
        }
        let arrangement =
            Arrangement::settle(&digest, &described, &self.current_places()?, self.agent.engine.networks_last());
        let places = arrangement.places();
        let kept = Kept { target: target.clone(), places, arrangement: Some(arrangement.clone()) };
        kept::write(&self.store, &digest, &kept)?;
        if self.store.closure(&kept::name(&digest))?.as_ref() != Some(&closure) {
            self.store.set_ref(&kept::name(&digest), &closure)?;
        }
        let observed = self.agent.engine.observe()?;
        self.placing(watcher, Manner::Strict).ready(&arrangement, &observed)?;
        let milliseconds = milliseconds(self.agent.clock.running().saturating_sub(begun));
        watcher.happened(&Happening::Staged { revision: digest, milliseconds });
        Ok(())
    }

    /// Plans and fetches.
    fn bring(&self, target: &Target, closure: &Closure, watcher: &dyn Watcher) -> Result<(), AgentError> {
        let supply = &self.agent.supply;
        let planned = supply.plan(&self.store, target, &self.kept_targets()?, watcher)?;
        if let Some(refusal) = &planned.refusal {
            return Err(AgentError::DoesNotFit(refusal.clone()));
        }
        watcher.planned(&planned);
        if planned.reclaim {
            self.reclaim(&planned, closure)?;
        }
        watcher.check()?;
        let _held = match self.store.reserve(planned.reserve) {
            Ok(held) => held,
            Err(StoreError::NoSpace { wanted, free }) => {
                let text = format!("{wanted} bytes were to be reserved, {free} are free");
                return Err(AgentError::DoesNotFit(text));
            }
            Err(error) => return Err(error.into()),
        };
        Ok(supply.fetch(&self.store, target, &planned, watcher)?)
    }

    /// Makes room: what no kept revision and not this update needs.
    fn reclaim(&self, planned: &Planned, closure: &Closure) -> Result<(), AgentError> {
        let mut keep: BTreeSet<Digest> = planned.uses.clone();
        keep.extend(&closure.blobs);
        keep.extend(closure.all_layers());
        let refs = self.obsolete()?.iter().map(kept::name).collect();
        let plan = self.store.prune_plan(&PruneRequest { refs, keep })?;
        self.store.prune(&plan)?;
        Ok(())
    }

    /// Where the services of the current revision live.
    pub(crate) fn current_places(&self) -> Result<Places, AgentError> {
        match self.journal.state.current {
            Some(current) => Ok(kept::must(&self.store, &current)?.places),
            None => Ok(Places::new()),
        }
    }

    /// Where the services of a revision live.
    pub(crate) fn places(&self, revision: &Digest) -> Result<Places, AgentError> {
        Ok(kept::must(&self.store, revision)?.places)
    }

    /// A revision that was written down, placed on this device.
    pub(crate) fn arrangement(&self, revision: Option<Digest>) -> Result<Arrangement, AgentError> {
        let Some(revision) = revision else { return Ok(Arrangement::default()) };
        let kept = kept::must(&self.store, &revision)?;
        if let Some(arrangement) = kept.arrangement {
            return Ok(arrangement);
        }
        let described = self.read(&kept.target)?.described;
        Ok(Arrangement::settled(&revision, &described, &kept.places))
    }

    pub(crate) fn placing<'s>(&'s self, watcher: &'s dyn Watcher, manner: Manner) -> Placing<'s> {
        let first = started::is_first(self.agent);
        Placing { agent: self.agent, store: &self.store, watcher, manner, first }
    }
}

/// Stops staging when another target was set meanwhile, or when it was asked to stop.
pub(crate) struct Turning<'a> {
    pub inner: &'a dyn Watcher,
    agent: &'a Agent,
    id: Digest,
    turned: AtomicBool,
    looked: AtomicU64,
}

impl<'a> Turning<'a> {
    pub(crate) fn new(inner: &'a dyn Watcher, agent: &'a Agent, id: Digest) -> Self {
        let looked = AtomicU64::new(milliseconds(agent.clock.running()));
        Self { inner, agent, id, turned: AtomicBool::new(false), looked }
    }

    /// Whether another target was set.
    pub(crate) fn is_turned(&self) -> bool {
        let changed = || matches!(self.agent.inbox().read(), Ok(Some(asking)) if asking.id != self.id);
        self.turned.load(Ordering::Relaxed) || changed()
    }
}

impl Observer for Turning<'_> {
    fn expect(&self, phase: &'static str, bytes: u64) {
        self.inner.expect(phase, bytes);
    }

    fn advance(&self, phase: &'static str, bytes: u64) {
        self.inner.advance(phase, bytes);
    }

    fn note(&self, text: &str) {
        self.inner.note(text);
    }

    /// Looks at the file once a second at most.
    fn check(&self) -> Result<(), Cancelled> {
        self.inner.check()?;
        let now = milliseconds(self.agent.clock.running());
        let last = self.looked.load(Ordering::Relaxed);
        if now.saturating_sub(last) >= 1000 {
            self.looked.store(now, Ordering::Relaxed);
            if self.is_turned() {
                self.turned.store(true, Ordering::Relaxed);
            }
        }
        if self.turned.load(Ordering::Relaxed) { Err(Cancelled) } else { Ok(()) }
    }
}

impl Watcher for Turning<'_> {
    fn happened(&self, happening: &Happening) {
        self.inner.happened(happening);
    }

    fn planned(&self, planned: &Planned) {
        self.inner.planned(planned);
    }
}
