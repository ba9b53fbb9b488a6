//! `umiak delta`: make, apply, inspect, publish.

mod apply;
mod dearest;
mod inspect;
mod make;
mod publish;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use umiak_build::BuildError;
use umiak_build::delta::{DeltaFile, Work};
use umiak_delta::{DeltaError, Effort, MakeOptions};
use umiak_registry::Context as Sources;
use umiak_spec::{ImageReference, Limits, Platform};
use umiak_ui::Progress;

use crate::cli::{DeltaCommand, EffortArg, ImageArgs, plain_file};
use crate::commands::sources::sources;
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// Runs one of the verbs.
///
/// # Errors
/// What the verb says.
pub fn run(context: &Context<'_>, command: &DeltaCommand) -> Outcome {
    match command {
        DeltaCommand::Make(arguments) => make::run(context, arguments),
        DeltaCommand::Apply(arguments) => apply::run(context, arguments),
        DeltaCommand::Inspect(arguments) => inspect::run(context, arguments),
        DeltaCommand::Publish(arguments) => publish::run(context, arguments),
    }
}

/// How deltas are made.
pub fn options(effort: EffortArg) -> MakeOptions {
    let effort = match effort {
        EffortArg::Smallest => Effort::Smallest,
        EffortArg::Fast => Effort::Fast,
    };
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    MakeOptions { effort, threads, ..MakeOptions::default() }
}

/// What working on images borrows.
struct Images<'a> {
    sources: Sources,
    platforms: Vec<Platform>,
    scratch: PathBuf,
    options: MakeOptions,
    progress: Progress<'a>,
}

impl<'a> Images<'a> {
    fn new(
        context: &Context<'a>,
        arguments: &ImageArgs,
        scratch: &Path,
        options: MakeOptions,
    ) -> Result<Self, Failure> {
        let platform = arguments.platform.as_deref().map(str::parse).transpose().map_err(BuildError::Platform)?;
        Ok(Self {
            sources: sources(context, arguments)?,
            platforms: platform.into_iter().collect(),
            scratch: scratch.to_owned(),
            options,
            progress: context.progress(),
        })
    }

    fn work(&self) -> Work<'_> {
        Work {
            sources: &self.sources,
            platforms: &self.platforms,
            scratch: &self.scratch,
            options: &self.options,
            limits: Limits::default(),
            observer: &self.progress,
        }
    }
}

/// An image's reference; a path without a transport is an archive of a layout.
fn reference(text: &str) -> Result<ImageReference, Failure> {
    let is_path = plain_file(text).is_some() || text.starts_with(['/', '.']);
    let reference = if is_path && !Path::new(text).is_dir() { format!("oci-archive:{text}") } else { text.to_owned() };
    Ok(reference.parse().map_err(BuildError::Reference)?)
}

/// Where the result goes: what is no reference with a transport is a file.
fn output(text: &str) -> Result<ImageReference, Failure> {
    let has_transport = text.split_once(':').is_some_and(|(transport, rest)| {
        rest.starts_with("//") || ["oci", "oci-archive", "docker-archive", "docker-daemon"].contains(&transport)
    });
    let reference = if has_transport { text.to_owned() } else { format!("oci-archive:{text}") };
    Ok(reference.parse().map_err(BuildError::Reference)?)
}

/// Both arguments name files, or neither.
fn both_files(base: &str, other: &str, what: &str) -> Result<Option<(PathBuf, PathBuf)>, Failure> {
    match (plain_file(base), plain_file(other)) {
        (Some(base), Some(other)) => Ok(Some((base, other))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(mixed(base, other, what)),
        (None, Some(_)) => Err(mixed(other, base, what)),
    }
}

/// The file `delta` and what it is, when it is a delta between files; a base must then be one, too.
fn delta_file(base: Option<&str>, delta: &str) -> Result<Option<(PathBuf, DeltaFile)>, Failure> {
    let Some(file) = plain_file(delta) else {
        return match base.filter(|base| plain_file(base).is_some() && is_missing(delta)) {
            Some(base) => Err(mixed(base, delta, "delta")),
            None => Ok(None),
        };
    };
    let kind = DeltaFile::of(&file)?;
    match (kind, base) {
        (DeltaFile::Archive, _) => Ok(None),
        (DeltaFile::Unknown, _) => Err(BuildError::from(DeltaError::NotADelta).into()),
        (_, Some(base)) if !Path::new(base).exists() => Err(mixed(delta, base, "delta")),
        _ => Ok(Some((file, kind))),
    }
}

/// Whether `text` looks like a file's name, and there is none.
fn is_missing(text: &str) -> bool {
    !text.contains(':') && !Path::new(text).exists()
}

fn mixed(file: &str, image: &str, what: &str) -> Failure {
    if is_missing(image) {
        return Failure::new(Kind::Usage, format!("there is no file {image}"));
    }
    let text = format!("{file} is a file and {image} is not: base and {what} are both files or both images");
    Failure::new(Kind::Usage, text).hint("an archive of an image is named oci-archive:FILE or docker-archive:FILE")
}

/// The directory that a result's scratch files may go to.
fn scratch_for(context: &Context<'_>, output: &ImageReference) -> PathBuf {
    let path = match output {
        ImageReference::Layout { path, .. } | ImageReference::OciArchive { path, .. } => path.parent(),
        _ => None,
    };
    match path {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) if parent.is_dir() => parent.to_owned(),
        _ => context.environment.temporary_dir.clone(),
    }
}
