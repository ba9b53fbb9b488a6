//! From the switch to the verdict, and back: the phases in which services of a target may run.
//!
//! No step towards a target without the journal written first; the way back does not wait for it. Whoever comes here next,
//! after whatever cut, looks at journal and engine and goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use umiak_plan::transition::{Duty, Event, Phase};
use umiak_spec::Digest;

use crate::arrangement::{Arrangement, Places};
use crate::error::AgentError;
use crate::kept;
use crate::outcome::{AppStopped, Happening, Outcome, Watcher};
use crate::place::Manner;
use crate::session::{Session, milliseconds};
use crate::status::Trouble;
use crate::supply::Planned;
use crate::trouble;
use crate::verdict::{self, Limits, Verdict};
use umiak_engine::{Condition as Doing, Observed};
use umiak_spec::{Cancelled, Observer};

/// The longest testing window that a target may ask for.
const LONGEST_WINDOW: u64 = 24 * 3600;

/// What is said of an engine that fails to tell what runs.
const DEAF: &str = "the engine does not answer";

impl Session<'_> {
    /// Brings a switch, a test or a way back to its end; `None` where there is none under way.
    pub(crate) fn finish(&mut self, watcher: &dyn Watcher) -> Result<Option<Outcome>, AgentError> {
        let mut stopped = Vec::new();
        let mut outcome = None;
        loop {
            match self.journal.state.duty() {
                Duty::Switch(target) => stopped = self.switch(target, watcher)?,
                Duty::Watch(target) => {
                    let previous = self.journal.state.current;
                    if self.watch(target, watcher)? {
                        watcher.happened(&Happening::Committed { revision: target, previous });
                        trouble::clear(self.agent, &self.store);
                        let stopped = std::mem::take(&mut stopped);
                        outcome = Some(Outcome::Committed { revision: target, previous, stopped });
                        self.tidy_up(watcher);
                        self.settle_forms(watcher);
                    }
                }
                Duty::Return(failed) => outcome = Some(self.take_back(failed, watcher)?),
                Duty::Rest | Duty::Stage(_) | Duty::Hold(_) => return Ok(outcome),
            }
        }
    }

    /// Starts the target in place of what runs. Afterwards the journal says that it is tested, or that it failed.
    fn switch(&mut self, target: Digest, watcher: &dyn Watcher) -> Result<Vec<AppStopped>, AgentError> {
        if let Err(error) = self.write_again() {
            self.run_current(watcher);
            return Err(error);
        }
        match self.place_target(target, watcher) {
            Ok(stopped) => {
                self.journal.restarts = self.restarts(target);
                self.tell(&Event::Switched)?;
                Ok(stopped)
            }
            Err(error) => {
                self.condemn(target, error.line(), watcher)?;
                Ok(vec![])
            }
        }
    }

    fn place_target(&self, target: Digest, watcher: &dyn Watcher) -> Result<Vec<AppStopped>, AgentError> {
        let to = self.arrangement(Some(target))?;
        // What stops in which order is nice to know, no more.
        let from = self.arrangement(self.journal.state.current).unwrap_or_default();
        self.placing(&Unstoppable(watcher), Manner::Strict).run(&to, &from)
    }

    /// How often each service that the target leaves as it is was started again until now; the others begin with none.
    fn restarts(&self, target: Digest) -> BTreeMap<String, u32> {
        let current = self.current_places().unwrap_or_default();
        let places = kept::read(&self.store, &target).ok().flatten().map(|kept| kept.places).unwrap_or_default();
        let observed = self.agent.engine.observe().unwrap_or_default();
        let stays = |found: &&Observed| {
            let place = |places: &Places| places.get(&found.app).and_then(|all| all.get(&found.service)).cloned();
            place(&places).is_some_and(|there| there.revision == found.revision && place(&current) == Some(there))
        };
        observed.iter().filter(stays).map(|found| (verdict::key(&found.app, &found.service), found.restarts)).collect()
    }

    /// Watches the target until there is a verdict; whether it is committed.
    fn watch(&mut self, target: Digest, watcher: &dyn Watcher) -> Result<bool, AgentError> {
        let to = match self.arrangement(Some(target)) {
            Ok(to) => to,
            Err(error) => return self.condemn(target, error.line(), watcher).map(|()| false),
        };
        let limits = self.limits(target);
        let mut told = None;
        loop {
            match self.look(&to, &limits, watcher) {
                Verdict::Good => {
                    // Before the journal says it: a cut between the two leaves the stricter of both.
                    if let Some(kept) = kept::read(&self.store, &target).ok().flatten() {
                        self.agent.supply.committed(&self.store, &kept.target)?;
                    }
                    return self.tell(&Event::Good).map(|()| true);
                }
                Verdict::Bad(why) => return self.condemn(target, why, watcher).map(|()| false),
                Verdict::Wait { healthy } => {
                    if told != Some(healthy) {
                        told = Some(healthy);
                        let services = to.expected().len();
                        let window = limits.window.as_secs();
                        watcher.happened(&Happening::Testing { healthy, services, window });
                    }
                }
            }
            watcher.check()?;
            self.agent.clock.wait(self.agent.policy.look);
        }
    }

    fn limits(&self, target: Digest) -> Limits {
        let policy = &self.agent.policy;
        let asked = kept::read(&self.store, &target).ok().flatten().and_then(|kept| kept.target.testing_seconds);
        let window = asked.map_or(policy.window, |seconds| Duration::from_secs(seconds.min(LONGEST_WINDOW)));
        Limits { window, patience: policy.patience, restarts: policy.restarts }
    }

    /// One look at the target.
    fn look(&self, to: &Arrangement, limits: &Limits, watcher: &dyn Watcher) -> Verdict {
        let since = Duration::from_millis(self.journal.since);
        let elapsed = self.agent.clock.running().saturating_sub(since);
        let observed = match self.agent.engine.observe() {
            Ok(observed) => observed,
            Err(error) if elapsed >= limits.window.saturating_add(limits.patience) => {
                return Verdict::Bad(format!("{DEAF}: {error}"));
            }
            Err(error) => {
                watcher.note(&format!("{DEAF}: {error}"));
                return Verdict::Wait { healthy: 0 };
            }
        };
        if observed.iter().any(|found| matches!(found.condition, Doing::Unwatched)) {
            // Starting it makes it watched again; what cannot be is found by the verdict.
            let _ = self.placing(&Unstoppable(watcher), Manner::Stubborn).run(to, to);
        }
        verdict::verdict(&to.expected(), &observed, elapsed, &self.journal.restarts, limits)
    }

    /// The verdict is bad. Where that cannot be written down what ran before is started all the same.
    pub(crate) fn condemn(&mut self, target: Digest, why: String, watcher: &dyn Watcher) -> Result<(), AgentError> {
        watcher.happened(&Happening::Failed { revision: target, why: why.clone() });
        if let Err(error) = self.tell(&Event::Bad { why }) {
            self.run_current(watcher);
            return Err(error);
        }
        Ok(())
    }

    /// Starts what ran before the target, and says so in the journal.
    fn take_back(&mut self, failed: Digest, watcher: &dyn Watcher) -> Result<Outcome, AgentError> {
        let why = match &self.journal.state.phase {
            Phase::Returning { why, .. } => why.clone(),
            _ => String::new(),
        };
        self.start_current(watcher).map_err(|error| AgentError::StillReturning { failed, why: error.line() })?;
        self.tell(&Event::Returned)?;
        let current = self.journal.state.current;
        watcher.happened(&Happening::Returned { revision: current });
        let now = if current.is_some() { "what ran before runs again" } else { "nothing ran before" };
        let text = format!("revision {} failed and {now}: {why}", failed.short());
        let hint = Some("umiakd logs; it is not tried again until another release is published".to_owned());
        let at = self.agent.clock.plausible_date();
        trouble::put(self.agent, Some(&self.store), Trouble { doing: "update".into(), why: text, hint, at });
        self.tidy_up(watcher);
        Ok(Outcome::RolledBack { failed, current, why })
    }

    /// Makes the current revision run, whatever else does.
    pub(crate) fn start_current(&self, watcher: &dyn Watcher) -> Result<(), AgentError> {
        let to = self.arrangement(self.journal.state.current)?;
        let target = match self.journal.state.phase {
            Phase::Returning { failed, .. } => Some(failed),
            _ => self.journal.state.target(),
        };
        let from = self.arrangement(target).unwrap_or_default();
        self.placing(&Unstoppable(watcher), Manner::Stubborn).run(&to, &from).map(drop)
    }

    /// The same, where there is a worse error to tell of.
    fn run_current(&self, watcher: &dyn Watcher) {
        if let Err(error) = self.start_current(watcher) {
            watcher.note(&format!("what ran before could not be started: {}", error.line()));
        }
    }

    /// For how long the staged target has been waiting.
    pub(crate) fn waited(&self) -> Duration {
        let now = milliseconds(self.agent.clock.running());
        let same = self.journal.boot.as_ref() == Some(&self.agent.clock.boot());
        Duration::from_millis(if same { now.saturating_sub(self.journal.since) } else { now })
    }
}

/// Passes on what is told, and does not stop half way: a switch is brought to its end.
struct Unstoppable<'a>(&'a dyn Watcher);

impl Observer for Unstoppable<'_> {
    fn expect(&self, phase: &'static str, bytes: u64) {
        self.0.expect(phase, bytes);
    }

    fn advance(&self, phase: &'static str, bytes: u64) {
        self.0.advance(phase, bytes);
    }

    fn note(&self, text: &str) {
        self.0.note(text);
    }

    fn check(&self) -> Result<(), Cancelled> {
        Ok(())
    }
}

impl Watcher for Unstoppable<'_> {
    fn happened(&self, happening: &Happening) {
        self.0.happened(happening);
    }

    fn planned(&self, planned: &Planned) {
        self.0.planned(planned);
    }
}
