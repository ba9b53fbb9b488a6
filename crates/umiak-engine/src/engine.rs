//! What every engine does, and what it is told and tells.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use umiak_spec::Digest;
use umiak_spec::service::Service;

use crate::{EngineError, LogQuery, LogSink};

/// A service with the image that it runs from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// What to run.
    pub service: Service,
    /// Digest of the image's configuration.
    pub image: Digest,
    /// Squashfs images to stack, topmost first; empty for an engine that keeps images itself.
    pub lowers: Vec<PathBuf>,
}

/// One app of a revision, placed on this device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// The app.
    pub app: String,
    /// The revision, as its digest is written.
    pub revision: String,
    /// Its services, in an order in which each comes after those it depends on.
    pub services: Vec<Placed>,
    /// Directory of the unpacked project: what relative bind mounts mean.
    pub project: Option<PathBuf>,
}

impl Deployment {
    /// The service of that name.
    ///
    /// # Errors
    /// [`EngineError::NoService`].
    pub fn placed(&self, service: &str) -> Result<&Placed, EngineError> {
        let found = self.services.iter().find(|placed| placed.service.name == service);
        found.ok_or_else(|| EngineError::NoService { app: self.app.clone(), service: service.to_owned() })
    }
}

/// What a deployment gets on the device that is there after its next start, too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Made {
    /// Directories; those above them are made where they are missing.
    pub directories: BTreeSet<PathBuf>,
    /// Files, and how long they are at first. The directories above them are made, too.
    pub files: BTreeMap<PathBuf, u64>,
}

/// Images as the store has them, for engines that keep their own copy.
pub trait Images: Sync {
    /// The text of an image's configuration.
    ///
    /// # Errors
    /// It is not there, or not as its digest says.
    fn config(&self, image: &Digest) -> io::Result<Vec<u8>>;

    /// The uncompressed tar of a layer, by its diff ID.
    ///
    /// # Errors
    /// It is not there, or not as its digest says.
    fn layer(&self, diff_id: &Digest) -> io::Result<Box<dyn Read + Send + '_>>;

    /// Bytes of a layer's uncompressed tar. Unless the store knows them, they are counted.
    ///
    /// # Errors
    /// As [`Images::layer`].
    fn layer_size(&self, diff_id: &Digest) -> io::Result<u64> {
        io::copy(&mut self.layer(diff_id)?, &mut io::sink())
    }
}

/// Something that a service asks and an engine does not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The key, as in a compose file (`umiak_spec::service::key`).
    pub key: String,
    /// Why not, in a short sentence without a full stop.
    pub why: String,
}

impl Refused {
    /// A refusal.
    #[must_use]
    pub fn new(key: &str, why: impl Into<String>) -> Self {
        Self { key: key.to_owned(), why: why.into() }
    }
}

/// How healthy a service is that has a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Not known yet.
    Starting,
    /// The last probe was good.
    Healthy,
    /// So many probes in a row were not, as many as the service allows or more.
    Unhealthy,
}

/// What a service is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It is ready to be started and was not.
    Created,
    /// It runs.
    Running {
        /// For so long, by a clock that does not jump.
        since: Duration,
    },
    /// It ended and is started again soon.
    Restarting {
        /// With what code; a signal is 128 and its number.
        code: i32,
    },
    /// It ended and stays so: by itself, or because it was stopped.
    Exited {
        /// With what code; a signal is 128 and its number.
        code: i32,
        /// Whether [`Engine::stop`] ended it.
        stopped: bool,
    },
    /// It could not be started.
    Failed {
        /// What the runtime said.
        why: String,
    },
    /// It may run, but nobody watches it any more: its supervisor was killed. Starting it makes this good.
    Unwatched,
}

/// A service of ours, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The app.
    pub app: String,
    /// The revision.
    pub revision: String,
    /// The service.
    pub service: String,
    /// Digest of the image's configuration.
    pub image: Option<Digest>,
    /// What it does.
    pub condition: Condition,
    /// How it is, if it has a probe.
    pub health: Option<Health>,
    /// How often it was started again after it ended by itself.
    pub restarts: u32,
    /// What a person should know besides: the last words of a failed probe, that memory ran out.
    pub detail: Option<String>,
}

impl Observed {
    /// Whether it runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.condition, Condition::Running { .. })
    }

    /// Whether it runs and, if it has a probe, the probe is good.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.is_running() && matches!(self.health, None | Some(Health::Healthy))
    }
}

/// Something that runs services.
///
/// Every call can be repeated: what is done already is left as it is.
pub trait Engine: Send + Sync {
    /// `oci` or `docker`.
    fn name(&self) -> &'static str;

    /// Whether an app's networks go on over its revisions: services that stay find those that were changed, and are found
    /// by them. Else services that share a network live under one revision.
    fn networks_last(&self) -> bool {
        false
    }

    /// What this engine, on this device, does not do of what the service asks. Empty: it runs it as described.
    fn refuses(&self, service: &Service) -> Vec<Refused>;

    /// Everything but starting: mounts, volumes, images loaded. What runs is not disturbed.
    ///
    /// # Errors
    /// Something cannot be made; what was made stays and is used by the next try, or taken away by [`Engine::remove`].
    fn ready(&self, deployment: &Deployment, images: &dyn Images) -> Result<(), EngineError>;

    /// What [`Engine::ready`] and [`Engine::start`] make for a deployment that outlasts the next start of the device,
    /// whether it is there already or not: touches nothing. Without what services write and what images put into new
    /// volumes; nothing for engines with a store of their own.
    ///
    /// # Errors
    /// A name in the deployment can be no part of a path.
    fn makes(&self, _deployment: &Deployment) -> Result<Made, EngineError> {
        Ok(Made::default())
    }

    /// Starts one service and returns when its process runs. It does not wait for others nor for health.
    ///
    /// # Errors
    /// It does not start, with what the runtime said; [`Engine::ready`] was not called.
    fn start(&self, deployment: &Deployment, service: &str) -> Result<(), EngineError>;

    /// Stops one service: its signal, its grace, then death. Returns when it is gone. Nothing to stop is no error.
    ///
    /// # Errors
    /// It cannot be killed.
    fn stop(&self, app: &str, revision: &str, service: &str) -> Result<(), EngineError>;

    /// Stops several services of an app at the same time, each by its revision and name, as [`Engine::stop`] does: together
    /// they take as long as the one that takes longest. Returns when all are gone.
    ///
    /// # Errors
    /// The first that cannot be killed; the others are stopped all the same.
    fn stop_together(&self, app: &str, services: &[(&str, &str)]) -> Result<(), EngineError> {
        services.iter().map(|(revision, service)| self.stop(app, revision, service)).fold(Ok(()), Result::and)
    }

    /// Every service that umiak made ready here, in order of app, revision, service.
    ///
    /// # Errors
    /// The engine does not answer.
    fn observe(&self) -> Result<Vec<Observed>, EngineError>;

    /// Lets go of what a service that does not run holds of its image, which may then be kept in another form.
    /// [`Engine::ready`] takes it again. Nothing for one that runs, and for engines with a store of their own.
    ///
    /// # Errors
    /// It cannot be let go.
    fn release(&self, _app: &str, _revision: &str, _service: &str) -> Result<(), EngineError> {
        Ok(())
    }

    /// Takes an app's revision away: containers (which must be stopped, or are killed), mounts, what was kept for the
    /// revision only. Persistent volumes and logs stay.
    ///
    /// # Errors
    /// Something cannot be removed.
    fn remove(&self, app: &str, revision: &str) -> Result<(), EngineError>;

    /// Removes persistent volumes and logs of an app that no revision needs any more. Never called by an update.
    ///
    /// # Errors
    /// Something cannot be removed; a revision of the app is still there.
    fn purge(&self, app: &str) -> Result<(), EngineError>;

    /// Hands lines of a service's output (none: of all services of the app) to `sink`, oldest first.
    ///
    /// # Errors
    /// The output cannot be read.
    fn logs(
        &self,
        app: &str,
        service: Option<&str>,
        query: &LogQuery,
        sink: &mut dyn LogSink,
    ) -> Result<(), EngineError>;
}
