//! The agent of this device, put together from the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use umiak_agent::fetch::FetchOptions;
use umiak_agent::sources::Sources;
use umiak_agent::{Agent, PLAUSIBLE, Parts, Policy, Survey};
use umiak_engine::docker::{Docker, DockerOptions};
use umiak_engine::oci::{Directories, OciOptions, PATIENCE, Pool, find_runtime};
use umiak_engine::{Engine, Nothing, oci::Oci};
use umiak_registry::{Context as Reach, DEFAULT_BUDGET, Flow, Place, RegistrySettings};
use umiak_sign::Policy as Trust;
use umiak_spec::{Limits, Platform};
use umiak_store::{Disk, Hooked, LayerOptions, RealDisk};
use umiak_ui::{Kind, Monotonic};

use crate::clock::{Machine, since_1970};
use crate::context::Context;
use crate::environment::Environment;
use crate::error::Failure;
use crate::settings::{Engine as Chosen, Settings};

/// Where programs of the system are.
const PROGRAMS: [&str; 4] = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/bin"];

/// The most threads that compress: a device has other work.
const THREADS: usize = 4;

/// Puts it together. Nothing is touched yet.
///
/// # Errors
/// A file that the configuration names cannot be read, or there is no engine.
pub fn agent(context: &Context<'_>, stop: &'static AtomicBool) -> Result<Agent, Failure> {
    let settings = context.settings;
    let chosen = chosen(settings);
    Ok(Agent::new(Parts {
        root: settings.store.join("store"),
        run: run_directory(settings),
        projects: settings.store.join("projects"),
        disk: disk(context.environment.crash_at),
        engine: engine(context.environment, settings, chosen)?,
        supply: Arc::new(supply(settings, chosen)?),
        clock: Arc::new(Machine::new(stop)),
        policy: policy(settings),
    }))
}

/// Which engine it is to be.
fn chosen(settings: &Settings) -> Chosen {
    match settings.engine {
        Chosen::Auto if settings.docker.exists() => Chosen::Docker,
        Chosen::Auto => Chosen::Oci,
        named => named,
    }
}

fn engine(environment: &Environment, settings: &Settings, chosen: Chosen) -> Result<Arc<dyn Engine>, Failure> {
    if chosen == Chosen::None {
        return Ok(Arc::new(Nothing));
    }
    if chosen == Chosen::Docker {
        return Ok(Arc::new(Docker::new(DockerOptions {
            socket: settings.docker.clone(),
            compose: None,
            environment: BTreeMap::new(),
            patience: None,
        })));
    }
    let found = || find_runtime(PROGRAMS.iter().map(Path::new));
    let runtime = settings.runtime.clone().or_else(found).ok_or_else(|| {
        Failure::new(Kind::Environment, "there is nothing to run containers with: no Docker socket, no crun, no runc")
            .hint("install crun or runc, or name one in the configuration: runtime = \"/usr/bin/crun\"")
    })?;
    let oci = Oci::new(OciOptions {
        directories: Directories {
            run: run_directory(settings),
            volumes: settings.store.join("volumes"),
            logs: settings.store.join("logs"),
        },
        runtime,
        shim: vec![environment.program.to_string_lossy().into_owned(), "shim".to_owned()],
        systemd_cgroups: false,
        pool: Pool::default(),
        patience: PATIENCE,
    });
    let oci = oci.map_err(|error| Failure::from_error(&error, Kind::Environment))?;
    Ok(Arc::new(oci))
}

fn supply(settings: &Settings, chosen: Chosen) -> Result<Sources, Failure> {
    let platform = platform(settings)?;
    let survey = Survey {
        store: settings.store.join("store"),
        engine: if chosen == Chosen::Docker { umiak_plan::Engine::Docker } else { umiak_plan::Engine::Runtime },
        engine_root: (chosen == Chosen::Docker).then(|| PathBuf::from("/var/lib/docker")),
        watermark: watermark(settings)?,
        limit: settings.space.limit.map(|limit| limit.0),
        platform: platform.clone(),
    };
    let threads = thread::available_parallelism().map_or(NonZeroUsize::MIN, |count| count.min(threads()));
    Ok(Sources {
        context: reach(settings)?,
        platform,
        trust: trust(settings)?,
        date: Box::new(|| Some(since_1970().as_secs()).filter(|date| *date >= PLAUSIBLE)),
        limits: Limits::default(),
        fetch: FetchOptions {
            parallel: NonZeroUsize::new(settings.fetch.jobs.into()).unwrap_or(NonZeroUsize::MIN),
            most: settings.fetch.budget.map(|budget| budget.0),
        },
        layers: LayerOptions { limits: Limits::default(), threads },
        environment: BTreeMap::new(),
        profiles: BTreeSet::new(),
        runs_compose: chosen == Chosen::Docker,
        survey: Box::new(move |_| survey.look()),
    })
}

fn threads() -> NonZeroUsize {
    NonZeroUsize::new(THREADS).unwrap_or(NonZeroUsize::MIN)
}

fn platform(settings: &Settings) -> Result<Platform, Failure> {
    let Some(text) = &settings.platform else { return Ok(Platform::host()) };
    text.parse().map_err(|error| Failure::from_error(&error, Kind::Usage).hint("write it as linux/arm64"))
}

fn watermark(settings: &Settings) -> Result<umiak_plan::Watermark, Failure> {
    umiak_plan::Watermark::new(settings.space.watermark.into())
        .map_err(|error| Failure::from_error(&error, Kind::Usage))
}

/// The policy where the configuration names none, if it is there.
const POLICY: &str = "/etc/umiak/policy.json";

/// Whose signatures are needed; without a policy nobody's: digests alone count. One that is named has to be there.
fn trust(settings: &Settings) -> Result<Trust, Failure> {
    let path = settings.policy.as_deref().unwrap_or(Path::new(POLICY));
    let bytes = match std::fs::read(path) {
        Err(error) if settings.policy.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Trust::default());
        }
        read => read.map_err(|error| Failure::of_io("read", path, &error))?,
    };
    // A policy that cannot be read is no reason to trust everybody.
    Trust::parse(&bytes, &Limits::default()).map_err(|error| {
        Failure::from_error(&error, Kind::Usage)
            .hint(format!("{}: docs/formats/policy.md says how one looks", path.display()))
    })
}

/// How registries are reached.
///
/// # Errors
/// The certificates cannot be read.
pub fn reach(settings: &Settings) -> Result<Reach, Failure> {
    let registry = &settings.registry;
    let read = |path: &PathBuf| std::fs::read(path).map_err(|error| Failure::of_io("read", path, &error));
    let rate = settings.fetch.limit_rate;
    let flow = rate.map(|rate| Flow::new(DEFAULT_BUDGET).limited(rate.0, Arc::new(Monotonic::new())));
    let defaults = RegistrySettings::default();
    Ok(Reach {
        // The store keeps what comes.
        cache: PathBuf::new(),
        order: vec![Place::Remote],
        docker_socket: settings.docker.clone(),
        registry: RegistrySettings {
            docker_config: registry.credentials.clone(),
            insecure: registry.insecure,
            proxy: registry.proxy.clone(),
            ca_certificates: registry.certificates.as_ref().map(read).transpose()?,
            flow: flow.map_or_else(|| Arc::clone(&defaults.flow), Arc::new),
            ..defaults
        },
        limits: Limits::default(),
    })
}

/// Beside the socket: gone after a reboot.
fn run_directory(settings: &Settings) -> PathBuf {
    settings.daemon.socket.parent().map_or_else(|| "/run/umiak".into(), Path::to_owned)
}

/// The kernel's; in builds for tests one that cuts the power at an operation.
fn disk(crash_at: Option<u64>) -> Arc<dyn Disk> {
    let real: Arc<dyn Disk> = Arc::new(RealDisk);
    match crash_at.filter(|_| cfg!(debug_assertions)) {
        None => real,
        Some(number) => Arc::new(Hooked::new(real, move |step| {
            if step.number >= number {
                // As a power cut does: nothing is said, nothing is cleaned up.
                std::process::abort();
            }
            Ok(())
        })),
    }
}

fn policy(settings: &Settings) -> Policy {
    Policy {
        window: settings.testing.window.0,
        patience: settings.testing.patience.0,
        older: settings.space.keep.into(),
        hold: settings.wait.longest.0,
        prune: settings.space.prune,
        ..Policy::default()
    }
}
