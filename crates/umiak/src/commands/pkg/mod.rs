//! `umiak pkg`: packages for every platform, made, judged and looked into.

mod build;
mod diff;
mod git;
mod init;
mod list;
mod memory;
mod sealing;
mod verify;

use crate::cli::PkgCommand;
use crate::context::Context;
use crate::error::Outcome;

/// Runs one of the verbs.
///
/// # Errors
/// What the verb says.
pub fn run(context: &Context<'_>, command: &PkgCommand) -> Outcome {
    match command {
        PkgCommand::Init(arguments) => init::run(context, arguments),
        PkgCommand::Build(arguments) => build::run(context, arguments),
        PkgCommand::Verify(arguments) => verify::run(context, arguments),
        PkgCommand::Ls(arguments) => list::run(context, arguments),
        PkgCommand::Diff(arguments) => diff::run(context, arguments),
    }
}
