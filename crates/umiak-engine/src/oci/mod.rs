//! Services straight from the store, with an OCI runtime (`crun` or `runc`) and a shim for each.
//!
//! ```text
//! ready:  images stacked (root) -> networks -> volumes -> files of names -> bundle and orders for the shim
//! start:  the shim: runtime, pipes, probes, restarts      stop: SIGTERM to the shim      observe: what shims wrote down
//! ```
//!
//! Guarantees: no second copy of an image; the root is read-only unless the service says otherwise; nothing lies outside
//! of [`Directories`] but mounts, network devices (`umiak<n>`, `um<n>v<m>`) and control groups (`/umiak/…`), and those are
//! found again after a crash. After the device started anew nothing is there, and `ready` makes everything again.
//! One lock serialises what changes mounts and networks, across processes.

mod bundle;
mod control;
mod host;
mod hosts;
mod inside;
mod makes;
mod network;
mod observe;
mod place;
mod prepare;
mod refuse;
mod resolver;
mod root;
mod runtime;
pub mod shim;
mod stamp;
mod user;
mod volumes;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;
use umiak_spec::service::Service;

pub use network::Pool;
pub use place::Directories;

use crate::error::At;
use crate::{Deployment, Engine, EngineError, Images, LogQuery, LogSink, Made, Observed, Refused, durable};
use host::Host;
use runtime::Runtime;

/// How long one call of a runtime may take: a weak device with cold flash is slow, but not for ever.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where runtimes are looked for, in this order: crun starts ten times faster and takes a tenth of the memory.
const RUNTIMES: [&str; 2] = ["crun", "runc"];

/// How the engine is set up on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OciOptions {
    /// Where everything lies.
    pub directories: Directories,
    /// `crun` or `runc`, an absolute path.
    pub runtime: PathBuf,
    /// How the shim is called: a program and its arguments (`/usr/bin/umiakd`, `shim`). Its program is shown in services
    /// that want a first process, so it must not need libraries.
    pub shim: Vec<String>,
    /// Control groups are made by systemd and not by the runtime itself.
    pub systemd_cgroups: bool,
    /// Addresses of private networks.
    pub pool: Pool,
    /// How long one call of the runtime may take: [`PATIENCE`].
    pub patience: Duration,
}

/// The engine.
#[derive(Debug)]
pub struct Oci {
    options: OciOptions,
    host: Host,
    runtime: Runtime,
}

impl Oci {
    /// The engine of this device.
    ///
    /// # Errors
    /// The runtime is not there; a directory cannot be made; there is no way to call the shim.
    pub fn new(options: OciOptions) -> Result<Self, EngineError> {
        if !options.runtime.is_file() {
            return Err(EngineError::Absent(options.runtime.display().to_string()));
        }
        if options.shim.is_empty() {
            return Err(EngineError::Absent("shim".to_owned()));
        }
        let Directories { run, volumes, logs } = &options.directories;
        // The daemon's socket is there as well, and not for root alone.
        durable::open_directory(run)?;
        [volumes, logs].into_iter().try_for_each(|directory| durable::directory(directory))?;
        let host = Host::look();
        let is_crun = options.runtime.file_name().is_some_and(|name| name == "crun");
        let runtime = Runtime {
            program: options.runtime.clone(),
            root: run.join("runtime"),
            systemd: options.systemd_cgroups,
            hide: host.cgroups.hybrid.as_ref().filter(|_| is_crun).map(PathBuf::from),
            shim: options.shim.clone(),
            patience: options.patience,
        };
        Ok(Self { options, host, runtime })
    }

    /// Held while mounts and networks are changed.
    fn lock(&self) -> Result<File, EngineError> {
        let path = self.options.directories.run.join("lock");
        let file = durable::lock_file(&path).at("open", &path)?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive).at("lock", &path)?;
        Ok(file)
    }

    fn directories(&self) -> &Directories {
        &self.options.directories
    }
}

impl Engine for Oci {
    fn name(&self) -> &'static str {
        "oci"
    }

    fn networks_last(&self) -> bool {
        true
    }

    fn refuses(&self, service: &Service) -> Vec<Refused> {
        refuse::all(service, &self.host)
    }

    fn ready(&self, deployment: &Deployment, _images: &dyn Images) -> Result<(), EngineError> {
        for placed in &deployment.services {
            let refused = self.refuses(&placed.service);
            if !refused.is_empty() {
                return Err(EngineError::Refused { service: placed.service.name.clone(), refused });
            }
        }
        let _lock = self.lock()?;
        // One that does not answer is found out before anything is stopped for it.
        self.runtime.answer(&self.directories().run.join("runtime.log"))?;
        prepare::all(self, deployment)
    }

    fn makes(&self, deployment: &Deployment) -> Result<Made, EngineError> {
        makes::all(self.directories(), deployment)
    }

    fn start(&self, deployment: &Deployment, service: &str) -> Result<(), EngineError> {
        let placed = deployment.placed(service)?;
        let instance = place::Instance::of(self.directories(), deployment, placed)?;
        control::start(self, &instance)
    }

    fn stop(&self, app: &str, revision: &str, service: &str) -> Result<(), EngineError> {
        control::stop(self, &control::instance(self, app, revision, service)?)
    }

    fn stop_together(&self, app: &str, services: &[(&str, &str)]) -> Result<(), EngineError> {
        let instance = |(revision, service): &(&str, &str)| control::instance(self, app, revision, service);
        let instances = services.iter().map(instance).collect::<Result<Vec<_>, _>>()?;
        instances.iter().for_each(control::tell_to_stop);
        instances.iter().map(|instance| control::stop(self, instance)).fold(Ok(()), Result::and)
    }

    fn observe(&self) -> Result<Vec<Observed>, EngineError> {
        Ok(observe::all(self.directories()))
    }

    fn release(&self, app: &str, revision: &str, service: &str) -> Result<(), EngineError> {
        control::release(self, app, revision, service)
    }

    fn remove(&self, app: &str, revision: &str) -> Result<(), EngineError> {
        control::remove(self, app, revision)
    }

    fn purge(&self, app: &str) -> Result<(), EngineError> {
        control::purge(self, app)
    }

    fn logs(
        &self,
        app: &str,
        service: Option<&str>,
        query: &LogQuery,
        sink: &mut dyn LogSink,
    ) -> Result<(), EngineError> {
        place::check_name(app)?;
        let base = self.directories().logs.join(app);
        let names = match service {
            Some(name) => {
                place::check_name(name)?;
                vec![name.to_owned()]
            }
            None => sorted_names(&base),
        };
        let logs: Vec<(String, PathBuf)> = names.into_iter().map(|name| (name.clone(), base.join(name))).collect();
        shim::read_logs(&logs, query, sink);
        Ok(())
    }
}

/// The names of directories in a directory, sorted; none when it is not there.
fn sorted_names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut names: Vec<String> = directories.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// The runtime of a device: crun, else runc, in one of these directories.
#[must_use]
pub fn find_runtime<'a>(directories: impl IntoIterator<Item = &'a Path> + Clone) -> Option<PathBuf> {
    RUNTIMES.iter().find_map(|name| {
        directories.clone().into_iter().map(|directory| directory.join(name)).find(|path| path.is_file())
    })
}
