//! Status: read from the store, the inbox and the engine; without network, without changing anything.

use std::collections::{BTreeMap, BTreeSet};

use umiak_engine::{Condition as Doing, Observed};
use umiak_plan::transition::{Phase, State};
use umiak_spec::Digest;
use umiak_spec::target::Target;
use umiak_store::Store;

use crate::agent::Agent;
use crate::arrangement::Arrangement;
use crate::error::AgentError;
use crate::journal::Journal;
use crate::kept::{self, Kept};
use crate::outcome::Watcher;
use crate::place::{Manner, Placing};
use crate::session::read_journal;
use crate::status::{AppStatus, Condition, RevisionStatus, Role, ServiceStatus, Space, Status, TargetStatus, Underway};
use crate::verdict::condition;
use crate::{concerns, started, trouble, update};

impl Agent {
    /// How the device is. Works without network, while an update runs, and where the disk cannot be written to.
    ///
    /// # Errors
    /// The store or its journal cannot be read.
    pub fn status(&self) -> Result<Status, AgentError> {
        let store = self.reading()?;
        let journal = store.as_ref().map_or(Ok(Journal::default()), read_journal)?;
        let state = &journal.state;
        let (observed, deaf) = match self.engine.observe() {
            Ok(observed) => (observed, None),
            Err(error) => (vec![], Some(error.to_string())),
        };
        let runs = state.runs();
        let kept = |revision: &Digest| store.as_ref().and_then(|store| kept::read(store, revision).ok().flatten());
        let apps = runs.as_ref().and_then(kept).map_or_else(Vec::new, |kept| apps(&kept, &observed));
        let revisions = order(state).iter().map(|revision| self.revision(revision, state, store.as_ref())).collect();
        let mut status = Status {
            sentence: String::new(),
            engine: self.engine.name().to_owned(),
            underway: underway(&state.phase),
            target: self.asked(store.as_ref()),
            apps,
            revisions,
            space: self.space(),
            trouble: trouble::read(self, store.as_ref()),
            audit: store.as_ref().map(concerns::read).unwrap_or_default(),
        };
        status.sentence = sentence(state, &status, deaf.as_deref());
        Ok(status)
    }

    /// Names of the apps that run, and of those that were looked up last: whose services may have printed something.
    ///
    /// # Errors
    /// The store or its journal cannot be read.
    pub fn apps(&self) -> Result<Vec<String>, AgentError> {
        let Some(store) = self.reading()? else { return Ok(vec![]) };
        let runs = read_journal(&store)?.state.runs();
        let runs = runs.and_then(|revision| kept::read(&store, &revision).ok().flatten()).map(|kept| kept.target);
        let asked = update::pinned(&store).map(|(_, target)| target);
        let apps = runs.into_iter().chain(asked).flat_map(|target| target.apps);
        Ok(apps.map(|app| app.name).collect::<BTreeSet<String>>().into_iter().collect())
    }

    fn asked(&self, store: Option<&Store>) -> Option<TargetStatus> {
        let asking = self.target().ok()??;
        let pinned = store.and_then(update::pinned).filter(|(id, _)| *id == asking.id);
        Some(TargetStatus {
            asked: asking.asked.apps.iter().map(|app| app.origin.to_string()).collect(),
            revision: pinned.map(|(_, target)| crate::Revision::of(&target).digest()),
            at: asking.at,
        })
    }

    fn revision(&self, revision: &Digest, state: &State, store: Option<&Store>) -> RevisionStatus {
        let kept = store.and_then(|store| kept::read(store, revision).ok().flatten());
        let stored = store.is_some_and(|store| {
            let closure = store.closure(&kept::name(revision)).ok().flatten();
            closure.is_some_and(|closure| store.missing(&closure).is_empty())
        });
        let why = match &state.phase {
            Phase::Returning { failed, why } if failed == revision => Some(why.clone()),
            _ => state.failed.get(revision).map(|failure| failure.why.clone()),
        };
        RevisionStatus {
            revision: *revision,
            roles: roles(revision, state),
            stored,
            apps: kept.map_or_else(Vec::new, |kept| names(&kept.target)),
            why,
        }
    }

    fn space(&self) -> Option<Space> {
        let found = rustix::fs::statvfs(&self.root).ok()?;
        let unit = found.f_frsize;
        Some(Space { size: found.f_blocks.saturating_mul(unit), free: found.f_bavail.saturating_mul(unit) })
    }

    /// Makes the current revision run where the store cannot be changed: what the journal says is read, nothing written.
    pub(crate) fn start_unwritten(&self, watcher: &dyn Watcher) -> Result<(), AgentError> {
        let Some(store) = self.reading()? else { return Ok(()) };
        let journal = read_journal(&store)?;
        let Some(current) = journal.state.current else { return Ok(()) };
        let Some(to) = kept::must(&store, &current)?.arrangement else { return Ok(()) };
        let placing =
            Placing { agent: self, store: &store, watcher, manner: Manner::Stubborn, first: started::is_first(self) };
        placing.run(&to, &Arrangement::default()).map(drop)
    }
}

fn names(target: &Target) -> Vec<(String, String)> {
    target.apps.iter().map(|app| (app.name.clone(), app.origin.to_string())).collect()
}

/// The revisions that a state names: current first, then what is under way, previous, pinned, older, failed.
fn order(state: &State) -> Vec<Digest> {
    let mut seen = BTreeSet::new();
    let under_way = match &state.phase {
        Phase::Returning { failed, .. } => Some(*failed),
        _ => state.target(),
    };
    let all = state.current.into_iter().chain(under_way).chain(state.previous);
    let all = all.chain(state.pinned.iter().copied()).chain(state.older.iter().copied());
    all.chain(state.failed.keys().copied()).filter(|revision| seen.insert(*revision)).collect()
}

fn roles(revision: &Digest, state: &State) -> Vec<Role> {
    let mut roles = Vec::new();
    let mut add = |is: bool, role| {
        if is {
            roles.push(role);
        }
    };
    add(state.current.as_ref() == Some(revision), Role::Current);
    add(state.previous.as_ref() == Some(revision), Role::Previous);
    let (what, role) = match &state.phase {
        Phase::Rest => (None, Role::Staging),
        Phase::Staging { target } => (Some(target), Role::Staging),
        Phase::Staged { target } => (Some(target), Role::Staged),
        Phase::Switching { target, .. } | Phase::Testing { target, .. } => (Some(target), Role::Testing),
        Phase::Returning { failed, .. } => (Some(failed), Role::Returning),
    };
    add(what == Some(revision), role);
    add(state.pinned.contains(revision), Role::Pinned);
    add(state.failed.contains_key(revision), Role::Failed);
    add(state.older.contains(revision), Role::Older);
    roles
}

fn underway(phase: &Phase) -> Underway {
    let (word, revision, why, boots) = match phase {
        Phase::Rest => ("rest", None, None, 0),
        Phase::Staging { target } => ("staging", Some(*target), None, 0),
        Phase::Staged { target } => ("staged", Some(*target), None, 0),
        Phase::Switching { target, boots } => ("switching", Some(*target), None, *boots),
        Phase::Testing { target, boots } => ("testing", Some(*target), None, *boots),
        Phase::Returning { failed, why } => ("returning", Some(*failed), Some(why.clone()), 0),
    };
    Underway { phase: word.to_owned(), revision, why, boots }
}

fn apps(kept: &Kept, observed: &[Observed]) -> Vec<AppStatus> {
    let empty = Arrangement::default();
    let arrangement = kept.arrangement.as_ref().unwrap_or(&empty);
    let mut services: BTreeMap<&str, Vec<ServiceStatus>> = BTreeMap::new();
    for one in arrangement.expected() {
        let found = crate::verdict::find(observed, &one);
        let why = found.and_then(|found| match &found.condition {
            Doing::Failed { why } => Some(why.clone()),
            Doing::Exited { code, .. } => Some(format!("ended with code {code}")),
            _ => None,
        });
        services.entry(one.app).or_default().push(ServiceStatus {
            name: one.service.name.clone(),
            condition: condition(one.service, found),
            detail: found.and_then(|found| found.detail.clone()).or(why),
            restarts: found.map_or(0, |found| found.restarts),
        });
    }
    let app = |app: &umiak_spec::target::TargetApp| {
        let mut services = services.remove(app.name.as_str()).unwrap_or_default();
        services.sort_by(|one, other| one.name.cmp(&other.name));
        AppStatus {
            name: app.name.clone(),
            digest: app.top.digest,
            reference: app.origin.to_string(),
            condition: services.iter().map(|service| service.condition).max().unwrap_or(Condition::Running),
            services,
        }
    };
    kept.target.apps.iter().map(app).collect()
}

/// The whole in one sentence.
fn sentence(state: &State, status: &Status, deaf: Option<&str>) -> String {
    if let Some(why) = deaf {
        return format!("The engine {} does not answer: {why}.", status.engine);
    }
    let doing = match &state.phase {
        Phase::Rest => String::new(),
        Phase::Staging { target } => format!(" Revision {} is being staged.", target.short()),
        Phase::Staged { target } => format!(" Revision {} is staged.", target.short()),
        Phase::Switching { target, .. } => format!(" Services are being switched to revision {}.", target.short()),
        Phase::Testing { target, .. } => format!(" Revision {} is being tested.", target.short()),
        Phase::Returning { failed, .. } => format!(" Revision {} failed and is being taken back.", failed.short()),
    };
    let trouble = if status.trouble.is_some() { " There was trouble, see below." } else { "" };
    let Some(current) = state.current else {
        let nothing = if status.target.is_some() { "Nothing runs yet." } else { "Nothing runs: no target is set." };
        return format!("{nothing}{doing}{trouble}");
    };
    let all: Vec<&ServiceStatus> = status.apps.iter().flat_map(|app| &app.services).collect();
    let good = all.iter().filter(|service| service.condition.is_good()).count();
    let services = if all.len() == 1 { "service" } else { "services" };
    let first = if state.is_exposed() {
        format!("Revision {} is current.", current.short())
    } else {
        format!("Revision {} runs, {good} of {} {services} well.", current.short(), all.len())
    };
    format!("{first}{doing}{trouble}")
}
