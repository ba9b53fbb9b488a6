//! `umiak compose`: publish, show, check and carry Compose Apps.

mod bundle;
mod carrying;
mod check;
mod deltas;
mod fit;
mod offers;
mod project;
mod publish;
mod show;
mod unpack;

use std::num::NonZeroUsize;

use umiak_build::BuildError;
use umiak_build::compose::{Wanted, Work};
use umiak_registry::Context as Sources;
use umiak_spec::{ImageReference, Limits};
use umiak_ui::Progress;

use crate::cli::{ComposeCommand, RegistryArgs};
use crate::commands::sources::sources;
use crate::context::Context;
use crate::error::{Failure, Outcome};

/// Runs one of the verbs.
///
/// # Errors
/// What the verb says.
pub fn run(context: &Context<'_>, command: &ComposeCommand) -> Outcome {
    match command {
        ComposeCommand::Publish(arguments) => publish::run(context, arguments),
        ComposeCommand::Show(arguments) => show::run(context, arguments),
        ComposeCommand::Check(arguments) => check::run(context, arguments),
        ComposeCommand::Bundle(arguments) => bundle::run(context, arguments),
        ComposeCommand::Unpack(arguments) => unpack::run(context, arguments),
    }
}

/// What working on apps borrows.
struct Apps<'a> {
    sources: Sources,
    progress: Progress<'a>,
}

impl<'a> Apps<'a> {
    fn new(context: &Context<'a>, arguments: &RegistryArgs) -> Result<Self, Failure> {
        Ok(Self { sources: sources(context, &arguments.images())?, progress: context.progress() })
    }

    fn work(&self) -> Work<'_> {
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Work { sources: &self.sources, limits: Limits::default(), threads, device: true, observer: &self.progress }
    }
}

/// An app's reference: a bare name is a registry's.
fn reference(text: &str) -> Result<ImageReference, Failure> {
    Ok(text.parse().map_err(BuildError::Reference)?)
}

/// The architectures of a list.
fn wanted(list: &[String]) -> Result<Vec<Wanted>, Failure> {
    Ok(list.iter().map(|text| text.trim().parse()).collect::<Result<_, _>>().map_err(BuildError::Platform)?)
}
