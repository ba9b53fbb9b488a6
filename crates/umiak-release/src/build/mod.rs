//! All platforms at once: container-ci's `build_exports`.
//!
//! ```text
//! look     each platform's image is pinned; what would be made of it is compared with what was made last
//! make     those that differ, N at a time, within a bound of memory: squashfs, documents, signature, package
//! ```
//!
//! A tag is followed once, so that all platforms are of one release even when it moves meanwhile; layers that platforms
//! share are fetched once, by digest, whoever comes first.

mod budget;
mod delta;
mod found;
mod job;
mod pins;
mod previous;
mod record;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use umiak_build::AppReport;
pub use umiak_delta::Effort;
use umiak_pvr::{State, Value};
use umiak_registry::{Context, in_parallel};
use umiak_spec::{Digest, Limits, Observer, Platform};

use crate::arch::Arch;
use crate::carried;
use crate::error::{IoContext as _, ReleaseError};
use crate::name::{BuildVersion, PackageName};
use crate::project::{Project, Source};
use budget::Budget;
use pins::Pins;

/// Signatures by their names, or why there are none.
pub type Sealed = Result<Vec<(String, Value)>, Box<dyn std::error::Error + Send + Sync>>;

/// Who signs.
pub struct Sealing<'a> {
    /// Everything that decides what a signature says besides the state: key, certificates, generation. Another one makes
    /// other packages.
    pub identity: String,
    /// The documents `_sigs/<name>.json` over a state with these apps.
    pub seal: &'a (dyn Fn(&State, &[String]) -> Sealed + Sync),
}

/// Where and with what packages are made.
pub struct Works<'a> {
    /// The project. Paths in references count from its root, which must be the current directory if they are relative.
    pub project: &'a Project,
    /// Directory for layer indexes; may be emptied at any time.
    pub cache: &'a Path,
    /// How registries, daemons and layouts are reached.
    pub sources: &'a Context,
    /// Bounds on input.
    pub limits: Limits,
    /// Threads for reading and compressing, of each platform.
    pub threads: NonZeroUsize,
    /// Platforms that are made at a time.
    pub jobs: NonZeroUsize,
    /// Bytes of memory that all of them may take together, by estimate; one alone may take more.
    pub memory: u64,
    /// Seconds since 1970 that images carry as their time of making.
    pub image_time: u32,
    /// Is told what happens, and may cancel.
    pub observer: &'a dyn Observer,
}

/// What is asked for.
pub struct Asked<'a> {
    /// Only these architectures; all when empty.
    pub only: &'a [Arch],
    /// `PACKAGE_NAME`
    pub name: &'a str,
    /// `PACKAGE_VERSION`
    pub version: &'a str,
    /// `BUILD_VERSION`
    pub build: &'a BuildVersion,
    /// Who signs; `None`: nobody.
    pub sealing: Option<Sealing<'a>>,
    /// The directory of an earlier release, to make deltas from, and how hard they are pressed.
    pub from: Option<(&'a Path, Effort)>,
    /// Private keys go along like any other file; otherwise they are refused before anything is made.
    pub private_keys: bool,
    /// Only look.
    pub dry_run: bool,
}

/// What became of one platform.
#[derive(Debug)]
pub struct Line {
    /// Which one.
    pub arch: Arch,
    /// What came of it.
    pub result: Result<Built, ReleaseError>,
}

/// A package.
#[derive(Debug)]
pub struct Built {
    /// Where it is, or would be.
    pub package: PathBuf,
    /// What was done.
    pub outcome: Outcome,
    /// Its length in bytes and its digest; unknown before it is made.
    pub file: Option<(u64, Digest)>,
    /// The images that it is of: the app, the pinned reference, the platform that the image is made for.
    pub images: Vec<(String, String, Platform)>,
    /// What was done to the apps.
    pub apps: Vec<AppReport>,
    /// Files of the device directory that were otherwise than the last build left them, by hand or because that build was
    /// stopped: made again, or going to be.
    pub replaced: Vec<String>,
    /// The delta that leads to it; `None` without an earlier release.
    pub delta: Option<Delta>,
}

/// The delta from an earlier release of a package.
#[derive(Debug, Clone)]
pub struct Delta {
    /// Where it is, or would be.
    pub path: PathBuf,
    /// The package that it starts from.
    pub base: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// What was done.
    pub state: DeltaState,
}

/// What was done about a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeltaState {
    /// It was made.
    Made,
    /// It is there, and leads to the very same package.
    Unchanged,
    /// It would be no smaller than the package's objects, so there is none.
    NotWorth,
}

/// What was done about a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was made.
    Made,
    /// It is there, of the very same.
    Unchanged,
    /// It would be made.
    Planned,
}

impl Works<'_> {
    /// Makes the packages. The lines are in the order of the architectures' names; each has its own result.
    ///
    /// # Errors
    /// Only what concerns all platforms: the project's documents, names, cancellation.
    pub fn build(&self, asked: &Asked<'_>) -> Result<Vec<Line>, ReleaseError> {
        let sources = self.project.sources(asked.only)?;
        if !asked.private_keys {
            carried::without_keys(&sources)?;
        }
        if let Some((from, _)) = asked.from {
            // Before anything is made.
            std::fs::read_dir(from).at("list", from)?;
        }
        let names = sources
            .iter()
            .map(|source| PackageName::new(asked.name, asked.version, asked.build, source.arch.as_str()))
            .collect::<Result<Vec<_>, _>>()?;
        let jobs: Vec<(&Source, &PackageName)> = sources.iter().zip(&names).collect();
        let pins = Pins::new(self.sources, self.observer);
        let budget = Budget::new(self.memory);
        let lines = in_parallel(&jobs, self.jobs.get(), |_, (source, name)| {
            let result = job::Job { works: self, asked, source, name, pins: &pins, budget: &budget }.run();
            match result {
                Err(ReleaseError::Cancelled(cancelled)) => Err(ReleaseError::Cancelled(cancelled)),
                result => Ok(Line { arch: source.arch, result }),
            }
        })?;
        self.observer.check()?;
        Ok(lines)
    }
}
