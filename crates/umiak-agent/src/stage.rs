//! Staging: a target becomes whole in the store and ready to start, beside what runs.
//!
//! Nothing of the current revision is touched. Done again it does only what is missing. An error leaves what came in the
//! store, for the next try, and the current revision as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use umiak_plan::{Action, Own};
use umiak_spec::target::Target;
use umiak_spec::{Cancelled, Digest, Observer, Size};
use umiak_store::{Closure, PruneRequest, Reservation, StoreError};

use crate::agent::Agent;
use crate::arrangement::{Arrangement, Places};
use crate::error::{AgentError, Class, SupplyError};
use crate::hold;
use crate::kept::{self, Kept};
use crate::outcome::{Happening, Watcher};
use crate::place::{Manner, Placing};
use crate::revision::Revision;
use crate::session::{Session, milliseconds};
use crate::supply::{Described, Fetched, Occasion, Planned};
use crate::{sources, started};

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

    /// The targets of the revisions that stay, as far as they can be read; the current one first.
    pub(crate) fn kept_targets(&self) -> Result<Vec<Target>, AgentError> {
        let current = self.journal.state.current;
        let others = self.kept().into_iter().filter(|revision| Some(*revision) != current);
        let mut targets = Vec::new();
        for revision in current.into_iter().chain(others) {
            targets.extend(kept::read(&self.store, &revision)?.map(|kept| kept.target));
        }
        Ok(targets)
    }

    /// What an update to a target is planned beside.
    pub(crate) fn occasion(&self, target: &Target) -> Result<Occasion, AgentError> {
        let read = |revision: &Digest| Ok::<_, AgentError>(kept::read(&self.store, revision)?.map(|kept| kept.target));
        let (current, wanted) = (self.journal.state.current, Revision::of(target).digest());
        let others = self.kept().into_iter().filter(|revision| Some(*revision) != current && *revision != wanted);
        let mut occasion = Occasion::default();
        if let Some(current) = &current {
            occasion.current = read(current)?;
        }
        for revision in others {
            occasion.others.extend(read(&revision)?);
        }
        Ok(occasion)
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
        let (kept, arrangement) = self.settled(&digest, target, &described)?;
        let brought = match self.store.missing(&closure).is_empty() {
            true => None,
            false => Some(self.bring(target, &closure, self.own(target, &kept, &arrangement)?, watcher)?),
        };
        if let Some(brought) = &brought {
            brought.hold(Action::Name)?;
        }
        kept::write(&self.store, &digest, &kept)?;
        if self.store.closure(&kept::name(&digest))?.as_ref() != Some(&closure) {
            self.store.set_ref(&kept::name(&digest), &closure)?;
        }
        if let Some(brought) = brought {
            // What engine and projects need is seen to be there; they write past the store, so it is given back to them.
            brought.hold(Action::Load)?;
            brought.hold(Action::Switch)?;
        }
        let observed = self.agent.engine.observe()?;
        self.placing(watcher, Manner::Strict).ready(&arrangement, &observed)?;
        let milliseconds = milliseconds(self.agent.clock.running().saturating_sub(begun));
        watcher.happened(&Happening::Staged { revision: digest, milliseconds });
        Ok(())
    }

    /// What is written down of a target, with its services as they are to be placed.
    pub(crate) fn settled(
        &self,
        revision: &Digest,
        target: &Target,
        described: &BTreeMap<String, Described>,
    ) -> Result<(Kept, Arrangement), AgentError> {
        let networks = self.agent.engine.networks_last();
        let arrangement = Arrangement::settle(revision, described, &self.current_places()?, networks);
        let places = arrangement.places();
        Ok((Kept { target: target.clone(), places, arrangement: Some(arrangement.clone()) }, arrangement))
    }

    /// Plans and fetches; again without them where parts of deltas are of no use.
    fn bring(
        &self,
        target: &Target,
        closure: &Closure,
        own: Own,
        watcher: &dyn Watcher,
    ) -> Result<Brought<'_>, AgentError> {
        let supply = &self.agent.supply;
        let mut occasion = Occasion { own, ..self.occasion(target)? };
        loop {
            let planned = supply.plan(&self.store, target, &occasion, watcher)?;
            if let Some(refusal) = &planned.refusal {
                return Err(AgentError::DoesNotFit(refusal.clone()));
            }
            watcher.planned(&planned);
            if planned.reclaim {
                self.reclaim(&planned, closure)?;
            }
            watcher.check()?;
            let space = match self.store.reserve(planned.reserve) {
                Ok(space) => space,
                Err(StoreError::NoSpace { wanted, free }) => {
                    let text = format!("{} were to be reserved, {} are free", Size(wanted), Size(free));
                    return Err(AgentError::DoesNotFit(text));
                }
                Err(error) => return Err(error.into()),
            };
            let useless = match supply.fetch(&self.store, target, &planned, &space, watcher)? {
                Fetched::All => return Ok(Brought { space, planned }),
                Fetched::Without(useless) => useless,
            };
            let known = occasion.useless.len();
            occasion.useless.extend(useless);
            if occasion.useless.len() == known {
                return Err(SupplyError::new(Class::Environment, "the same part of a delta was of no use twice").into());
            }
        }
    }

    /// Makes room: what no kept revision and not this update needs.
    fn reclaim(&self, planned: &Planned, closure: &Closure) -> Result<(), AgentError> {
        let mut keep: BTreeSet<Digest> = planned.uses.clone();
        keep.extend(&closure.blobs);
        keep.extend(closure.all_layers());
        let refs = self.let_go(&self.obsolete()?)?;
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

/// All that the plan's steps fetch and make is in the store; what is held goes when this does.
struct Brought<'s> {
    space: Reservation<'s>,
    planned: Planned,
}

impl Brought<'_> {
    /// Holds what the first step of this kind and those after it need.
    fn hold(&self, action: Action) -> Result<(), AgentError> {
        let answer = &self.planned.answer;
        let mut steps = answer.steps.iter().zip(&answer.holds);
        match steps.find(|(step, _)| step.action == action) {
            Some((step, hold)) => Ok(sources::hold(&self.space, hold.before, &step.what)?),
            None => Ok(()),
        }
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
