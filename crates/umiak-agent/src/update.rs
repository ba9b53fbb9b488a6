//! The update: what was under way first, then the target that was set last, from look-up to verdict.

use serde::{Deserialize, Serialize};
use umiak_plan::transition::{Event, Phase, Refusal};
use umiak_spec::target::Target;
use umiak_spec::{Digest, Limits};
use umiak_store::Name;

use crate::error::{AgentError, Class, SupplyError};
use crate::inbox::Asking;
use crate::outcome::{Happening, Outcome, UpdateOptions, Watcher};
use crate::revision::Revision;
use crate::session::Session;
use crate::stage::Turning;
use crate::supply::{Occasion, Planned};
use crate::{concerns, hold, target, trouble};

/// How often an update turns to a target that was set while it ran, before it leaves the rest to the next one.
const TURNS: usize = 64;

/// What [`crate::Agent::check`] found.
#[derive(Debug)]
pub struct Checked {
    /// The revision that the target is now.
    pub revision: Digest,
    /// The target, pinned.
    pub target: Target,
    /// The current revision.
    pub current: Option<Digest>,
    /// What the update takes; `None` where the revision is current, or staged and whole.
    pub planned: Option<Planned>,
    /// Why the revision would not be begun: it failed before.
    pub failed: Option<String>,
    /// What the policy would refuse of it, were it strict where it only looks.
    pub concerns: Vec<String>,
}

/// The target as it was looked up last.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pinned {
    /// Which asking it was looked up for.
    asking: Digest,
    /// [`Target`] as text.
    target: String,
}

/// What is written down of a target that was looked up.
pub(crate) fn to_bytes(asking: Digest, target: &Target) -> Vec<u8> {
    let target = String::from_utf8(target.to_bytes()).expect("JSON is text");
    serde_json::to_vec(&Pinned { asking, target }).expect("texts can always be written as JSON")
}

pub(crate) fn pinned_name() -> Name {
    "pinned".parse().expect("a word is a name")
}

/// How one turn of an update ended.
enum Turn {
    Done(Outcome),
    /// Another target was set meanwhile.
    Again,
}

impl Session<'_> {
    /// See [`crate::Agent::check`].
    pub(crate) fn check(&mut self, watcher: &dyn Watcher) -> Result<Checked, AgentError> {
        let asking = self.asking()?;
        let (target, _) = self.look_up(&asking, watcher)?;
        let revision = Revision::of(&target).digest();
        let state = &self.journal.state;
        let failed = state.failed.get(&revision).map(|failure| failure.why.clone());
        let concerns = self.agent.supply.concerns(&self.store, &target, watcher);
        let mut checked = Checked { revision, current: state.current, planned: None, failed, concerns, target };
        let read = self.read(&checked.target)?;
        self.refuse(&read.described)?;
        if checked.current != Some(revision) && !self.store.missing(&read.closure).is_empty() {
            let (kept, arrangement) = self.settled(&revision, &checked.target, &read.described)?;
            let own = self.own(&checked.target, &kept, &arrangement)?;
            let occasion = Occasion { own, ..self.occasion(&checked.target)? };
            checked.planned = Some(self.agent.supply.plan(&self.store, &checked.target, &occasion, watcher)?);
        }
        Ok(checked)
    }

    /// See [`crate::Agent::update`].
    pub(crate) fn update(&mut self, options: &UpdateOptions, watcher: &dyn Watcher) -> Result<Outcome, AgentError> {
        self.go_on(watcher)?;
        for _ in 0..TURNS {
            match self.turn(options, watcher)? {
                Turn::Done(outcome) => return Ok(outcome),
                Turn::Again => watcher.note("another target was set meanwhile: turning to it"),
            }
        }
        Err(AgentError::Restless)
    }

    /// See [`crate::Agent::resume`].
    pub(crate) fn resume(&mut self, watcher: &dyn Watcher) -> Result<Option<Outcome>, AgentError> {
        if let Some(outcome) = self.go_on(watcher)? {
            return Ok(Some(outcome));
        }
        self.start_current(watcher)?;
        Ok(None)
    }

    /// Brings what services of a target may be running for to its end.
    fn go_on(&mut self, watcher: &dyn Watcher) -> Result<Option<Outcome>, AgentError> {
        if let Some((revision, phase)) = self.underway() {
            watcher.happened(&Happening::Resumed { revision, phase: phase.to_owned() });
        }
        self.finish(watcher)
    }

    fn underway(&self) -> Option<(Digest, &'static str)> {
        match &self.journal.state.phase {
            Phase::Switching { target, .. } => Some((*target, "services are being switched")),
            Phase::Testing { target, .. } => Some((*target, "a revision is being tested")),
            Phase::Returning { failed, .. } => Some((*failed, "a failed revision is being taken back")),
            Phase::Rest | Phase::Staging { .. } | Phase::Staged { .. } => None,
        }
    }

    fn asking(&self) -> Result<Asking, AgentError> {
        self.agent.target()?.ok_or(AgentError::NoTarget)
    }

    /// One target from look-up to verdict.
    fn turn(&mut self, options: &UpdateOptions, watcher: &dyn Watcher) -> Result<Turn, AgentError> {
        let asking = self.asking()?;
        let turning = Turning::new(watcher, self.agent, asking.id);
        let (target, before) = self.look_up(&asking, watcher)?;
        self.accept(&asking, &target, before.as_ref())?;
        concerns::keep(&self.store, &self.agent.supply.concerns(&self.store, &target, watcher), watcher)?;
        let revision = Revision::of(&target).digest();
        if let Some(done) = self.begin(revision, options, watcher)? {
            return Ok(done);
        }
        if let Err(error) = self.prepare(&target, &turning) {
            let turned = turning.is_turned();
            self.tell(&if turned { Event::Dropped } else { Event::GaveUp })?;
            return if turned && error.is_cancelled() { Ok(Turn::Again) } else { Err(error) };
        }
        if turning.is_turned() {
            return Ok(Turn::Again);
        }
        if options.stage_only {
            trouble::clear(self.agent, &self.store);
            return Ok(Turn::Done(Outcome::Staged { revision }));
        }
        if !options.now
            && let Some((app, left)) =
                hold::asked(self.agent, self.waited(), &self.current_places()?, &self.places(&revision)?)
        {
            watcher.happened(&Happening::Holding { app: app.clone() });
            return Ok(Turn::Done(Outcome::Held { revision, app, seconds: left.as_secs() }));
        }
        watcher.check()?;
        self.tell(&Event::Go)?;
        let outcome = self.finish(watcher)?.unwrap_or(Outcome::UpToDate { revision });
        Ok(if turning.is_turned() { Turn::Again } else { Turn::Done(outcome) })
    }

    /// Begins with a revision, unless there is nothing to do.
    fn begin(
        &mut self,
        revision: Digest,
        options: &UpdateOptions,
        watcher: &dyn Watcher,
    ) -> Result<Option<Turn>, AgentError> {
        let event = Event::Begin { target: revision, again: options.again };
        match self.journal.state.after(&event, &self.agent.policy.rules()) {
            Ok(state) if state == self.journal.state => Ok(None),
            Ok(_) => self.tell(&event).map(|()| None),
            Err(Refusal::Current(_)) => {
                if self.journal.state.target().is_some() {
                    self.tell(&Event::Dropped)?;
                }
                self.start_current(watcher)?;
                trouble::clear(self.agent, &self.store);
                self.tidy_up(watcher);
                self.settle_forms(watcher);
                Ok(Some(Turn::Done(Outcome::UpToDate { revision })))
            }
            Err(refusal) => {
                // Its removal may have been cut off: what failed takes no space while it is not wanted.
                if matches!(refusal, Refusal::Failed { .. }) {
                    self.tidy_up(watcher);
                }
                Err(refusal.into())
            }
        }
    }

    /// Stages a target, also one that is staged already: what is done is not done again.
    fn prepare(&mut self, target: &Target, watcher: &Turning<'_>) -> Result<(), AgentError> {
        self.stage(target, watcher)?;
        match self.journal.state.phase {
            Phase::Staged { .. } => Ok(()),
            _ => self.tell(&Event::Staged),
        }
    }

    /// Looks the target up; where the network is gone, what it was when it was looked up last counts. Also what that was.
    fn look_up(&self, asking: &Asking, watcher: &dyn Watcher) -> Result<(Target, Option<Target>), AgentError> {
        let before = self.pinned().filter(|(id, _)| *id == asking.id).map(|(_, target)| target);
        match self.agent.supply.resolve(&self.store, &asking.asked, watcher) {
            Ok(target) => Ok((target, before)),
            Err(SupplyError { class: Class::Network, what, .. }) if before.is_some() => {
                watcher.note(&format!("{what}: going on with what was found before"));
                Ok((before.clone().expect("it was just seen to be there"), before))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// From here on the device goes towards this target: what it was found to be is written down, and none of an older
    /// generation is taken any more.
    fn accept(&self, asking: &Asking, target: &Target, before: Option<&Target>) -> Result<(), AgentError> {
        if before != Some(target) {
            self.store.put_record(&pinned_name(), &to_bytes(asking.id, target))?;
        }
        Ok(target::accept(&self.store, target.generation).map_err(SupplyError::from)?)
    }

    /// The target as it was looked up last, and for which asking.
    pub(crate) fn pinned(&self) -> Option<(Digest, Target)> {
        pinned(&self.store)
    }
}

/// The target as it was looked up last, and for which asking.
pub(crate) fn pinned(store: &umiak_store::Store) -> Option<(Digest, Target)> {
    let bytes = store.record(&pinned_name()).ok()??;
    let pinned: Pinned = serde_json::from_slice(&bytes).ok()?;
    let target = Target::parse(pinned.target.as_bytes(), &Limits::default()).ok()?;
    Some((pinned.asking, target))
}
