//! `umiak app …`: device apps from container images.

mod add;
pub mod document;
mod info;
mod install;
mod list;
mod remove;
mod report;
mod update;
mod workshop;

use crate::cli::AppCommand;
use crate::context::Context;
use crate::error::Outcome;

/// Runs one of the app commands.
///
/// # Errors
/// What the command says.
pub fn run(context: &Context<'_>, command: &AppCommand) -> Outcome {
    match command {
        AppCommand::Add(arguments) => add::run(context, arguments),
        AppCommand::Update(arguments) => update::run(context, arguments),
        AppCommand::Install(arguments) => install::run(context, arguments),
        AppCommand::Ls => list::run(context),
        AppCommand::Info(arguments) => info::run(context, &arguments.name),
        AppCommand::Rm(arguments) => remove::run(context, &arguments.name),
    }
}
