//! Docker: the daemon that many devices have, told over its API, with Compose to make what a compose file asks for.
//!
//! ```text
//! ready:  images from our store (load) -> the project as one file (project) -> Compose makes containers, none is started
//! start:  restart policy as asked, start      stop: restart policy away, stop      observe: by our labels
//! ```
//!
//! Guarantees: images come from our store and no registry is asked; a copy in the daemon that is missing or damaged is
//! filled from ours. Everything that is made has labels of ours, and nothing without them is stopped or removed. The
//! containers of a revision are made beside those that run. A revision that is stopped stays so when the daemon starts
//! anew: the restart policy is given at the start and taken at the stop. Persistent volumes have the same names in every revision.
//!
//! What it does not do: watch. The daemon restarts and probes; a service whose process hangs is its business.

mod client;
mod compose;
mod container;
mod image;
mod load;
mod logs;
mod name;
mod project;
mod time;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use umiak_spec::Digest;
use umiak_spec::service::{MountKind, Persistence, Probe, Restart, Service, key};

use crate::{Deployment, Engine, EngineError, Images, LogQuery, LogSink, Observed, Refused};
use client::{Client, escaped};
use compose::Compose;
use container::{Container, Inspected};
use load::Parts;

/// How long the daemon may take to answer a simple question.
const PATIENCE: Duration = Duration::from_secs(30);

/// How Docker is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerOptions {
    /// The daemon's socket: `/var/run/docker.sock`.
    pub socket: PathBuf,
    /// Compose; none: where distributions put the plugin, and `docker-compose`.
    pub compose: Option<PathBuf>,
    /// The device's variables, as when the services were read.
    pub environment: BTreeMap<String, String>,
    /// How long the daemon may take to answer a simple question; none: 30 s.
    pub patience: Option<Duration>,
}

/// The engine.
pub struct Docker {
    client: Client,
    compose: Option<Compose>,
    environment: BTreeMap<String, String>,
}

impl Docker {
    /// Nothing is asked yet: the daemon may come later.
    #[must_use]
    pub fn new(options: DockerOptions) -> Self {
        let compose = Compose::find(options.compose.as_deref(), &options.socket);
        let client = Client { socket: options.socket, patience: options.patience.unwrap_or(PATIENCE) };
        Self { client, compose, environment: options.environment }
    }

    /// The daemon's version, if it answers.
    ///
    /// # Errors
    /// There is none, or it hangs.
    pub fn version(&self) -> Result<String, EngineError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Version {
            version: String,
        }
        self.client.get::<Version>("/version", "say its version").map(|version| version.version)
    }

    fn containers(&self, app: &str, revision: &str, service: Option<&str>) -> Result<Vec<Container>, EngineError> {
        let mut all = container::ours(&self.client)?;
        let wanted = |one: &Container| service.is_none_or(|service| one.label(name::SERVICE) == service);
        all.retain(|one| one.is_of(app, revision) && wanted(one));
        Ok(all)
    }

    /// Every image of the deployment is there and whole.
    fn fill(&self, deployment: &Deployment, images: &dyn Images) -> Result<(), EngineError> {
        let wanted: BTreeSet<&Digest> = deployment.services.iter().map(|placed| &placed.image).collect();
        for config in wanted {
            let parts = Parts::of(config, images)?;
            if let image::Copy::Damaged(why) = image::look(&self.client, &parts)? {
                self.free(config, &why)?;
            }
            image::ensure(&self.client, &parts, images)?;
        }
        Ok(())
    }

    /// Our containers on a damaged image go, as long as none of them runs.
    fn free(&self, config: &Digest, why: &str) -> Result<(), EngineError> {
        let mut users = container::ours(&self.client)?;
        users.retain(|one| one.label(name::IMAGE) == config.to_string());
        if let Some(running) = users.iter().find(|one| one.runs()) {
            let why = format!(
                "the engine's copy of its image is damaged ({why}); it is filled again once the service is stopped"
            );
            return Err(EngineError::Service { service: running.label(name::SERVICE).to_owned(), why });
        }
        users.iter().try_for_each(|one| self.remove_container(&one.id))
    }

    /// Has Compose make what is not there as it must be. What runs is left as it is.
    fn make(&self, deployment: &Deployment) -> Result<(), EngineError> {
        let text = project::text(deployment, &self.environment)?;
        let present = self.containers(&deployment.app, &deployment.revision, None)?;
        let of = |service: &str| present.iter().filter(|one| one.label(name::SERVICE) == service).collect::<Vec<_>>();
        let missing = deployment.services.iter().any(|placed| of(&placed.service.name).is_empty());
        let other = present.iter().any(|one| one.label(name::MADE_FROM) != text.digest);
        let running = present.iter().any(Container::runs);
        if !(missing || (other && !running)) {
            return Ok(());
        }
        let compose = self.compose.as_ref();
        let compose =
            compose.ok_or_else(|| EngineError::Absent("Docker Compose (the plugin, or docker-compose)".into()))?;
        let project = name::project(&deployment.app, &deployment.revision);
        compose.create(&project, &text.directory, &text.file, &self.environment)?;
        let present = self.containers(&deployment.app, &deployment.revision, None)?;
        let absent = |service: &&str| !present.iter().any(|one| one.label(name::SERVICE) == *service);
        match deployment.services.iter().map(|placed| placed.service.name.as_str()).find(absent) {
            None => Ok(()),
            Some(service) => Err(EngineError::NotReady { app: deployment.app.clone(), service: service.to_owned() }),
        }
    }

    fn set_restart(&self, id: &str, restart: Restart) -> Result<(), EngineError> {
        let (name, most) = match restart {
            Restart::No => ("no", 0),
            Restart::Always => ("always", 0),
            Restart::UnlessStopped => ("unless-stopped", 0),
            Restart::OnFailure { most } => ("on-failure", most.unwrap_or(0)),
        };
        let policy = serde_json::json!({ "RestartPolicy": { "Name": name, "MaximumRetryCount": most } }).to_string();
        let path = format!("/containers/{id}/update");
        self.client.tell("POST", &path, Some(&policy), "set a restart policy", &[200, 404], Duration::ZERO).map(drop)
    }

    fn remove_container(&self, id: &str) -> Result<(), EngineError> {
        // 409: it is being removed already.
        let path = format!("/containers/{id}?force=1");
        self.client.tell("DELETE", &path, None, "remove a container", &[204, 404, 409], PATIENCE).map(drop)
    }

    /// Names of networks or volumes with these labels.
    fn labelled(&self, kind: &str, labels: &[(&str, &str)]) -> Result<Vec<String>, EngineError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Named {
            name: String,
            labels: Option<BTreeMap<String, String>>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Volumes {
            volumes: Option<Vec<Named>>,
        }
        let wanted: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let filters = escaped(&serde_json::json!({ "label": wanted }).to_string());
        let (path, act) = (format!("/{kind}?filters={filters}"), format!("list its {kind}"));
        let mut found: Vec<Named> = match kind {
            "volumes" => self.client.get::<Volumes>(&path, &act)?.volumes.unwrap_or_default(),
            _ => self.client.get(&path, &act)?,
        };
        // The filter is the daemon's; what is removed is ours to be sure of.
        found.retain(|one| {
            let have = one.labels.clone().unwrap_or_default();
            labels.iter().all(|(key, value)| have.get(*key).is_some_and(|text| text == value))
        });
        Ok(found.into_iter().map(|one| one.name).collect())
    }

    fn remove_named(&self, kind: &str, name: &str) -> Result<(), EngineError> {
        let (path, act) = (format!("/{kind}/{}", escaped(name)), format!("remove one of its {kind}"));
        self.client.tell("DELETE", &path, None, &act, &[204, 404], Duration::ZERO).map(drop)
    }

    /// Our images that no container of ours uses.
    fn remove_images(&self) -> Result<(), EngineError> {
        let containers = container::ours(&self.client)?;
        let used: Vec<Digest> = containers.iter().filter_map(|one| one.label(name::IMAGE).parse().ok()).collect();
        image::unused(&self.client, &used)?.iter().try_for_each(|config| image::discard(&self.client, config))
    }
}

impl Engine for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn refuses(&self, service: &Service) -> Vec<Refused> {
        let mut refused = vec![];
        if service.health.as_ref().is_some_and(|health| !matches!(health.probe, Probe::Exec(_))) {
            refused.push(Refused::new(key::HEALTHCHECK, "Docker's probes are programs in the service (`test`)"));
        }
        for mount in &service.mounts {
            let MountKind::Volume(volume) = &mount.kind else { continue };
            if volume.persistence == Persistence::Boot {
                let why = format!("Docker keeps volume {} over a reboot; use a tmpfs", volume.name);
                refused.push(Refused::new(key::VOLUMES, why));
            }
            if volume.above {
                let why = format!("Docker lays volume {} above nothing", volume.name);
                refused.push(Refused::new(key::VOLUMES, why));
            }
        }
        refused
    }

    fn ready(&self, deployment: &Deployment, images: &dyn Images) -> Result<(), EngineError> {
        for placed in &deployment.services {
            let refused = self.refuses(&placed.service);
            if !refused.is_empty() {
                return Err(EngineError::Refused { service: placed.service.name.clone(), refused });
            }
        }
        self.fill(deployment, images)?;
        self.make(deployment)
    }

    fn start(&self, deployment: &Deployment, service: &str) -> Result<(), EngineError> {
        let placed = deployment.placed(service)?;
        let containers = self.containers(&deployment.app, &deployment.revision, Some(service))?;
        if containers.is_empty() {
            return Err(EngineError::NotReady { app: deployment.app.clone(), service: service.to_owned() });
        }
        for one in containers {
            // First: one that ends at once is to be started again as well.
            self.set_restart(&one.id, placed.service.restart)?;
            let path = format!("/containers/{}/start", one.id);
            self.client.tell("POST", &path, None, "start a container", &[204, 304], PATIENCE)?;
        }
        Ok(())
    }

    fn stop(&self, app: &str, revision: &str, service: &str) -> Result<(), EngineError> {
        for one in self.containers(app, revision, Some(service))? {
            // First: the daemon must not start it again, now or after a reboot. One that just ended, and is being started
            // again, cannot be told (`cannot update a stopped container`) until it is stopped.
            let told = match self.set_restart(&one.id, Restart::No) {
                Err(EngineError::Program { .. }) => false,
                other => other.map(|()| true)?,
            };
            let grace = one.label(name::GRACE).parse().unwrap_or(umiak_spec::service::STOP_GRACE.as_secs());
            let path = format!("/containers/{}/stop?t={grace}", one.id);
            let more = Duration::from_secs(grace);
            self.client.tell("POST", &path, None, "stop a container", &[204, 304, 404], more)?;
            if !told {
                self.set_restart(&one.id, Restart::No)?;
            }
        }
        Ok(())
    }

    fn stop_together(&self, app: &str, services: &[(&str, &str)]) -> Result<(), EngineError> {
        std::thread::scope(|scope| {
            let stop = |(revision, service): &(&'_ str, &'_ str)| self.stop(app, revision, service);
            let all: Vec<_> = services.iter().map(|one| scope.spawn(move || stop(one))).collect();
            let failed = || client::said("stop a container", "a thread failed");
            all.into_iter().map(|one| one.join().unwrap_or_else(|_| Err(failed()))).fold(Ok(()), Result::and)
        })
    }

    fn observe(&self) -> Result<Vec<Observed>, EngineError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Info {
            #[serde(default)]
            system_time: String,
        }
        let containers = container::ours(&self.client)?;
        if containers.is_empty() {
            return Ok(vec![]);
        }
        let info: Info = self.client.get("/info", "say what time it has")?;
        let mut all = vec![];
        for one in &containers {
            // What went away meanwhile is not there.
            if let Some(inspected) = Inspected::find(&self.client, &one.id)? {
                all.push(inspected.observed(one, &info.system_time));
            }
        }
        Ok(all)
    }

    fn remove(&self, app: &str, revision: &str) -> Result<(), EngineError> {
        for one in self.containers(app, revision, None)? {
            self.remove_container(&one.id)?;
        }
        let labels = [(name::APP, app), (name::REVISION, revision)];
        for kind in ["networks", "volumes"] {
            for name in self.labelled(kind, &labels)? {
                self.remove_named(kind, &name)?;
            }
        }
        self.remove_images()
    }

    fn purge(&self, app: &str) -> Result<(), EngineError> {
        if container::ours(&self.client)?.iter().any(|one| one.label(name::APP) == app) {
            return Err(EngineError::Deployed(app.to_owned()));
        }
        for name in self.labelled("volumes", &[(name::APP, app)])? {
            self.remove_named("volumes", &name)?;
        }
        Ok(())
    }

    fn logs(
        &self,
        app: &str,
        service: Option<&str>,
        query: &LogQuery,
        sink: &mut dyn LogSink,
    ) -> Result<(), EngineError> {
        let mut containers = container::ours(&self.client)?;
        let wanted = |one: &Container| service.is_none_or(|service| one.label(name::SERVICE) == service);
        containers.retain(|one| one.label(name::APP) == app && wanted(one));
        logs::hand_out(&self.client, &containers, query, sink)
    }
}
