//! `umiak image`: ls, inspect, diff, measure.

mod diff;
mod inspect;
mod ls;
mod measure;
mod sight;

use std::path::Path;

use umiak_build::BuildError;
use umiak_spec::{ImageReference, Platform};

use crate::cli::{ImageArgs, ImageCommand, plain_file};
use crate::context::Context;
use crate::error::{Failure, Outcome};

/// Runs one of the verbs.
///
/// # Errors
/// What the verb says.
pub fn run(context: &Context<'_>, command: &ImageCommand) -> Outcome {
    match command {
        ImageCommand::Ls(arguments) => ls::run(context, arguments),
        ImageCommand::Inspect(arguments) => inspect::run(context, arguments),
        ImageCommand::Diff(arguments) => diff::run(context, arguments),
        ImageCommand::Measure(arguments) => measure::run(context, arguments),
    }
}

/// An image's reference; a path without a transport is an archive of a layout, or a layout.
pub fn reference(text: &str) -> Result<ImageReference, Failure> {
    let is_path = plain_file(text).is_some() || text.starts_with(['/', '.']);
    let reference = match is_path {
        true if Path::new(text).is_dir() => format!("oci:{text}"),
        true => format!("oci-archive:{text}"),
        false => text.to_owned(),
    };
    Ok(reference.parse().map_err(BuildError::Reference)?)
}

/// The platform that was asked for.
pub fn platforms(arguments: &ImageArgs) -> Result<Vec<Platform>, Failure> {
    let platform = arguments.platform.as_deref().map(str::parse).transpose().map_err(BuildError::Platform)?;
    Ok(platform.into_iter().collect())
}

/// What a place said, as the commands tell it.
pub fn fetching(error: umiak_registry::Error) -> Failure {
    BuildError::from(error).into()
}
