//! What making an app needs, put together from flags, environment and the device's own settings.

use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use umiak_build::{BuildError, Workshop};
use umiak_pvr::app::SourceKind;
use umiak_pvr::{Entry, Value};
use umiak_registry::{Context as Sources, Credentials, Place, RegistrySettings};
use umiak_repository::{Lock, Repository};
use umiak_spec::{ImageReference, Limits, Platform};

use super::document::DEFAULT_SOURCE;
use crate::cli::SourceArgs;
use crate::context::Context;
use crate::environment::Environment;
use crate::error::{Failure, Kind};

/// The device's own list of platforms to pick from, as pvr has it.
const DEVICE_PLATFORMS: &str = "_hostconfig/pvr/docker.json";

/// Everything a [`Workshop`] borrows; keeps the device directory locked.
pub struct Shop {
    root: PathBuf,
    /// Where the command was given.
    directory: PathBuf,
    sources: Sources,
    platforms: Vec<Platform>,
    image_time: u32,
    _lock: Lock,
}

impl Shop {
    /// Locks the device directory and reads what the flags mean.
    ///
    /// # Errors
    /// Usage failures for flags that mean nothing; what locking says.
    pub fn new(context: &Context<'_>, repository: &Repository, arguments: &SourceArgs) -> Result<Self, Failure> {
        let environment = context.environment;
        let order = Place::parse_list(arguments.source.as_deref().unwrap_or(DEFAULT_SOURCE))
            .map_err(|error| Failure::from_error(&error, Kind::Usage, Vec::new()))?;
        let sources = Sources {
            cache: environment.cache_dir.clone(),
            order,
            docker_socket: docker_socket(environment)?,
            registry: registry(context, arguments)?,
            limits: Limits::default(),
        };
        Ok(Self {
            root: repository.root().to_owned(),
            directory: context.here()?,
            sources,
            platforms: device_platforms(repository)?,
            image_time: environment.fixed_time.and_then(|time| u32::try_from(time).ok()).unwrap_or(0),
            _lock: repository.lock(&context.progress())?,
        })
    }

    /// What `--from` means for src.json, where paths are relative to the device directory: the command may have been
    /// given in a directory below it.
    ///
    /// # Errors
    /// A usage failure for a reference that is none.
    pub fn from(&self, text: &str, kind: SourceKind) -> Result<String, Failure> {
        let below = self.directory.strip_prefix(&self.root).unwrap_or(&self.directory);
        if kind != SourceKind::Docker {
            return Ok(below.join(text).to_string_lossy().into_owned());
        }
        let reference: ImageReference = text.parse().map_err(BuildError::Reference)?;
        Ok(reference.below(below).to_string())
    }

    /// Runs `work` in the workshop, with progress. The device directory is then the current one: relative paths in
    /// src.json start there.
    ///
    /// # Errors
    /// What `work` says.
    pub fn with<T>(
        &self,
        context: &Context<'_>,
        work: impl FnOnce(&Workshop<'_>) -> Result<T, BuildError>,
    ) -> Result<T, Failure> {
        std::env::set_current_dir(&self.root).map_err(|error| Failure::of_io("enter", &self.root, &error))?;
        let progress = context.progress();
        let workshop = Workshop {
            repository: &self.root,
            cache: &context.environment.cache_dir,
            sources: &self.sources,
            platforms: &self.platforms,
            limits: Limits::default(),
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            image_time: self.image_time,
            observer: &progress,
        };
        Ok(work(&workshop)?)
    }
}

fn registry(context: &Context<'_>, arguments: &SourceArgs) -> Result<RegistrySettings, Failure> {
    let environment = context.environment;
    let credentials = match (&arguments.username, &arguments.password) {
        (Some(username), password) => {
            Some(Credentials { username: username.clone(), password: password.clone().unwrap_or_default() })
        }
        (None, Some(_)) => {
            return Err(Failure::new(Kind::Usage, "there is a password but no user name").hint("give both -u and -p"));
        }
        (None, None) => None,
    };
    let ca_certificates = match &environment.certificates {
        Some(path) => Some(fs::read(path).map_err(|error| Failure::of_io("read", path, &error))?),
        None => None,
    };
    Ok(RegistrySettings {
        credentials,
        docker_config: environment.registry_credentials.clone(),
        insecure: context.world.insecure,
        proxy: Some(context.world.http_proxy.clone()).filter(|proxy| proxy != "system"),
        ca_certificates,
        ..RegistrySettings::default()
    })
}

/// The daemon's socket; only a local one can be talked to.
fn docker_socket(environment: &Environment) -> Result<PathBuf, Failure> {
    match environment.docker_host.as_deref() {
        None => Ok(PathBuf::from("/var/run/docker.sock")),
        Some(host) => match host.strip_prefix("unix://") {
            Some(path) => Ok(PathBuf::from(path)),
            None => Err(Failure::new(Kind::Usage, format!("DOCKER_HOST is `{host}`; umiak talks to unix:// sockets"))
                .hint("unset DOCKER_HOST, or use --source remote")),
        },
    }
}

/// The platforms that the committed state names, best first; none when it names none.
fn device_platforms(repository: &Repository) -> Result<Vec<Platform>, Failure> {
    let state = repository.pristine()?;
    let Some(Entry::Inline(document)) = state.get(DEVICE_PLATFORMS) else { return Ok(Vec::new()) };
    let named = document.get("platforms").and_then(Value::as_array).unwrap_or_default();
    let parse = |name: &Value| {
        let text = name.as_str().unwrap_or_default();
        text.parse().map_err(|error| {
            Failure::new(Kind::Usage, format!("`{text}` in {DEVICE_PLATFORMS} is no platform: {error}"))
                .hint("platforms are written os/architecture or os/architecture/variant")
        })
    };
    named.iter().map(parse).collect()
}
