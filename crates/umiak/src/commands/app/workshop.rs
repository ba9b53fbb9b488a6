//! What making an app needs, put together from flags, environment and the device's own settings.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use umiak_build::{BuildError, Workshop};
use umiak_pvr::app::SourceKind;
use umiak_pvr::{Entry, Value};
use umiak_registry::Context as Sources;
use umiak_repository::{Lock, Repository};
use umiak_spec::{ImageReference, Limits, Platform};

use crate::cli::SourceArgs;
use crate::commands::sources::sources;
use crate::context::Context;
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
        let sources = sources(context, &arguments.images)?;
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
