//! Engines made to run an arrangement: ready, stop, start; told what is, not what was done.
//!
//! Everything here looks first: what runs as it should is not touched, so that each call can be repeated after a cut, and
//! unchanged services never notice an update.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::time::Duration;

use umiak_engine::{Condition as Doing, Deployment, Health, Images, Observed};
use umiak_spec::Digest;
use umiak_spec::service::{Condition, Dependency, Service};
use umiak_store::Store;

use crate::agent::Agent;
use crate::arrangement::{Arrangement, Settled, hosts};
use crate::durable;
use crate::error::AgentError;
use crate::outcome::{AppStopped, Happening, Watcher};
use crate::session::milliseconds;
use crate::started;

/// Looks at a service that another waits for, in the time between two of the testing window.
const LOOKS_WHILE_STOPPED: u32 = 10;

/// Bytes of an image's configuration.
const MAX_CONFIG: u64 = 4 << 20;

/// How a failure is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// The first failure ends it: there is something to go back to.
    Strict,
    /// As much as can be is made to run, and the first failure told afterwards: there is nothing else to go back to.
    Stubborn,
}

/// An engine, with the store that it is given images from.
pub(crate) struct Placing<'a> {
    pub agent: &'a Agent,
    pub store: &'a Store,
    pub watcher: &'a dyn Watcher,
    pub manner: Manner,
    /// Nothing was started since the machine was.
    pub first: bool,
}

/// Images of the store, for engines that keep their own copy.
struct StoreImages<'a> {
    agent: &'a Agent,
    store: &'a Store,
}

impl Images for StoreImages<'_> {
    fn config(&self, image: &Digest) -> io::Result<Vec<u8>> {
        let found = self.store.document(image, MAX_CONFIG).map_err(io::Error::other)?;
        found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{} is not in the store", image.short())))
    }

    fn layer(&self, diff_id: &Digest) -> io::Result<Box<dyn Read + Send + '_>> {
        self.agent.supply.layer(self.store, diff_id)
    }
}

/// Whether a service has to be started to run as it should; `first`: nothing was started since the machine was.
fn wants_start(found: Option<&Observed>, first: bool) -> bool {
    match found.map(|found| &found.condition) {
        Some(Doing::Running { .. } | Doing::Restarting { .. }) => false,
        Some(Doing::Exited { stopped: false, .. }) => first,
        None | Some(Doing::Created | Doing::Failed { .. } | Doing::Unwatched | Doing::Exited { stopped: true, .. }) => {
            true
        }
    }
}

/// Whether something of a service may be running.
const fn is_alive(found: &Observed) -> bool {
    matches!(found.condition, Doing::Running { .. } | Doing::Restarting { .. } | Doing::Unwatched)
}

impl<'a> Placing<'a> {
    /// Everything but starting, for each group of services of which one does not run.
    pub(crate) fn ready(&self, to: &Arrangement, observed: &[Observed]) -> Result<(), AgentError> {
        for app in to.apps.keys() {
            for revision in to.groups(app) {
                let waits = |one: &Settled| one.place.revision == revision && self.waits(app, one, observed);
                if to.apps[app].iter().any(waits) {
                    let deployment = self.deployment(to, app, revision)?;
                    self.agent.engine.ready(&deployment, &StoreImages { agent: self.agent, store: self.store })?;
                }
            }
        }
        Ok(())
    }

    /// Whether a service has to be started.
    fn waits(&self, app: &str, one: &Settled, observed: &[Observed]) -> bool {
        wants_start(seen(observed, app, &one.place.revision, one.name()), self.first)
    }

    /// Makes the engine run `to` and nothing else, and says for how long each app that changed did not run.
    pub(crate) fn run(&self, to: &Arrangement, from: &Arrangement) -> Result<Vec<AppStopped>, AgentError> {
        let observed = self.agent.engine.observe()?;
        let mut first = self.ready(to, &observed).err();
        if self.manner == Manner::Strict
            && let Some(error) = first
        {
            return Err(error);
        }
        let mut stopped = Vec::new();
        let apps: BTreeSet<&str> =
            to.apps.keys().map(String::as_str).chain(observed.iter().map(|found| found.app.as_str())).collect();
        for app in apps {
            match self.run_app(app, to, from, &observed) {
                Ok(Some(time)) => {
                    let one = AppStopped { app: app.to_owned(), milliseconds: milliseconds(time) };
                    self.watcher.happened(&Happening::Switched(one.clone()));
                    stopped.push(one);
                }
                Ok(None) => {}
                Err(error) if self.manner == Manner::Strict => return Err(error),
                Err(error) => first = first.or(Some(error)),
            }
        }
        if let Some(error) = first {
            return Err(error);
        }
        started::note(self.agent);
        Ok(stopped)
    }

    /// Stops what is not wanted of an app, starts what is; `None` where nothing had to be done.
    fn run_app(
        &self,
        app: &str,
        to: &Arrangement,
        from: &Arrangement,
        observed: &[Observed],
    ) -> Result<Option<Duration>, AgentError> {
        let none = Vec::new();
        let wanted = to.apps.get(app).unwrap_or(&none);
        let begun = self.agent.clock.running();
        let mut touched = false;
        let mut first = None;
        for together in stop_order(app, wanted, from, observed) {
            touched = true;
            for found in &together {
                let what = Happening::Stopping { app: app.to_owned(), service: found.service.clone() };
                self.watcher.happened(&what);
            }
            let named: Vec<(&str, &str)> =
                together.iter().map(|found| (found.revision.as_str(), found.service.as_str())).collect();
            self.note(&mut first, self.agent.engine.stop_together(app, &named).map_err(Into::into))?;
        }
        for one in wanted.iter().filter(|one| self.waits(app, one, observed)) {
            touched = true;
            let started = self.start(app, one, to);
            self.note(&mut first, started)?;
        }
        first.map_or(Ok(touched.then(|| self.agent.clock.running().saturating_sub(begun))), Err)
    }

    /// Ends at the first failure, or remembers it.
    fn note(&self, first: &mut Option<AgentError>, result: Result<(), AgentError>) -> Result<(), AgentError> {
        match result {
            Err(error) if self.manner == Manner::Strict => Err(error),
            Err(error) => {
                first.get_or_insert(error);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn start(&self, app: &str, one: &Settled, to: &Arrangement) -> Result<(), AgentError> {
        for (name, dependency) in &one.part.service.depends_on {
            let waited = self.wait_for(app, one.name(), name, dependency, to);
            // What ran before is started even where one of its services is not well: it was not, or it may become so.
            if self.manner == Manner::Strict {
                waited?;
            }
        }
        self.watcher.happened(&Happening::Starting { app: app.to_owned(), service: one.name().to_owned() });
        let deployment = self.deployment(to, app, &one.place.revision)?;
        Ok(self.agent.engine.start(&deployment, one.name())?)
    }

    /// Waits until the service `name` is as far as `who` needs it to be.
    fn wait_for(
        &self,
        app: &str,
        who: &str,
        name: &str,
        dependency: &Dependency,
        to: &Arrangement,
    ) -> Result<(), AgentError> {
        let refused = |why: String| {
            let failed = AgentError::Dependency { app: app.to_owned(), service: who.to_owned(), why };
            if dependency.required { Err(failed) } else { Ok(()) }
        };
        let Some(other) = to.apps.get(app).and_then(|services| services.iter().find(|one| one.name() == name)) else {
            return refused(format!("{name}, which the app does not have"));
        };
        let begun = self.agent.clock.running();
        loop {
            let observed = self.agent.engine.observe()?;
            match far_enough(dependency.condition, seen(&observed, app, &other.place.revision, name)) {
                Far::Enough => return Ok(()),
                Far::Never(why) => return refused(format!("{name}, which {why}")),
                Far::NotYet if self.manner == Manner::Stubborn => return Ok(()),
                Far::NotYet => {}
            }
            let waited = self.agent.clock.running().saturating_sub(begun);
            if waited >= self.agent.policy.dependency {
                return refused(format!("{name}, which is not ready after {} s", waited.as_secs()));
            }
            // The app does not run meanwhile: it is looked at more often than in the testing window.
            self.agent.clock.wait(self.agent.policy.look / LOOKS_WHILE_STOPPED);
        }
    }

    /// What the engine is told of a group of services; the project is unpacked first.
    fn deployment(&self, to: &Arrangement, app: &str, revision: &str) -> Result<Deployment, AgentError> {
        let projects = &self.agent.projects;
        let lowers = |root: &_| self.agent.supply.lowers(self.store, root);
        let deployment = to.deployment(app, revision, lowers, |project| projects.join(project.hex()))?;
        let project = to.apps.get(app).and_then(|services| services.iter().find_map(|one| one.project));
        if let Some(project) = project {
            self.unpack(&project)?;
        }
        Ok(deployment)
    }

    /// Unpacks a project unless it is there whole, which a marker beside it says.
    fn unpack(&self, project: &Digest) -> Result<(), AgentError> {
        let directory = self.agent.projects.join(project.hex());
        let marker = self.agent.projects.join(format!("{}.whole", project.hex()));
        if marker.exists() {
            return Ok(());
        }
        let disk = &*self.agent.disk;
        let failed = |reason: io::Error| AgentError::Project { path: directory.clone(), reason };
        durable::fresh_directory(disk, &directory).map_err(failed)?;
        self.agent.supply.unpack(self.store, project, &directory)?;
        durable::seal_directory(disk, &directory, &marker).map_err(failed)
    }
}

/// What is not wanted of an app and may run: those that can be stopped at the same time together, each before those that it
/// depends on.
fn stop_order<'o>(
    app: &str,
    wanted: &[Settled],
    from: &Arrangement,
    observed: &'o [Observed],
) -> Vec<Vec<&'o Observed>> {
    let is_wanted =
        |found: &Observed| wanted.iter().any(|one| one.place.revision == found.revision && one.name() == found.service);
    let mut left: Vec<&Observed> =
        observed.iter().filter(|found| found.app == app && is_alive(found) && !is_wanted(found)).collect();
    let before = from.apps.get(app).map_or(&[][..], Vec::as_slice);
    let needs = |who: &Observed, other: &Observed| {
        let found = before.iter().find(|one| one.name() == who.service).map(|one| &one.part.service);
        let needs = |service: &Service| {
            service.depends_on.contains_key(&other.service) || hosts(service).any(|name| name == other.service)
        };
        who.service != other.service && found.is_some_and(needs)
    };
    let mut order = Vec::new();
    while !left.is_empty() {
        let (held, free): (Vec<&Observed>, Vec<&Observed>) =
            left.iter().partition(|found| left.iter().any(|other| needs(other, found)));
        // Those that wait for one another go together.
        let (next, rest) = if free.is_empty() { (held, free) } else { (free, held) };
        order.push(next);
        left = rest;
    }
    order
}

impl Settled {
    /// The service's name.
    pub(crate) fn name(&self) -> &str {
        &self.part.service.name
    }
}

fn seen<'o>(observed: &'o [Observed], app: &str, revision: &str, service: &str) -> Option<&'o Observed> {
    observed.iter().find(|found| found.app == app && found.revision == revision && found.service == service)
}

/// How far a service is, as one that depends on it sees it.
enum Far {
    Enough,
    NotYet,
    Never(String),
}

fn far_enough(condition: Condition, found: Option<&Observed>) -> Far {
    let Some(found) = found else { return Far::NotYet };
    match (&found.condition, condition) {
        (Doing::Failed { why }, _) => Far::Never(format!("cannot be started: {why}")),
        (Doing::Exited { code: 0, stopped: false }, Condition::Completed | Condition::Started)
        | (Doing::Running { .. } | Doing::Restarting { .. } | Doing::Unwatched, Condition::Started) => Far::Enough,
        (Doing::Exited { stopped: false, .. }, Condition::Started) => Far::Enough,
        (Doing::Exited { code, .. }, _) => Far::Never(format!("ended with code {code}")),
        (Doing::Running { .. }, Condition::Healthy) => match found.health {
            None | Some(Health::Healthy) => Far::Enough,
            Some(Health::Starting) => Far::NotYet,
            Some(Health::Unhealthy) => Far::Never("is unhealthy".to_owned()),
        },
        _ => Far::NotYet,
    }
}
