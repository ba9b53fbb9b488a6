//! The commands, one file each: arguments in, a library called, facts out.

mod add;
mod app;
pub mod beside;
mod checkout;
mod clone;
mod commit;
mod completion;
mod compose;
mod copy;
mod delta;
mod deploy;
mod diff;
mod elsewhere;
mod export;
mod get;
mod image;
mod import;
mod init;
mod json;
mod keys;
mod pkg;
mod post;
mod preview;
mod sig;
pub mod signing;
mod sources;
mod status;
mod together;
mod version;

use crate::cli::Command;
use crate::context::Context;
use crate::demo;
use crate::error::Outcome;

/// Runs one command.
///
/// # Errors
/// What the command says.
pub fn run(context: &Context<'_>, command: &Command) -> Outcome {
    match command {
        Command::App(command) => app::run(context, command),
        Command::Init(arguments) => init::run(context, arguments),
        Command::Status => status::run(context),
        Command::Diff => diff::run(context),
        Command::Add(arguments) => add::run(context, arguments),
        Command::Commit(arguments) => commit::run(context, arguments),
        Command::Checkout(arguments) => checkout::run(context, arguments),
        Command::Json(arguments) => json::run(context, arguments),
        Command::Clone(arguments) => clone::run(context, arguments),
        Command::Get(arguments) => get::run(context, arguments, get::Way::Replace),
        Command::Merge(arguments) => get::run(context, arguments, get::Way::Merge),
        Command::Post(arguments) => post::run(context, arguments),
        Command::Export(arguments) => export::run(context, arguments),
        Command::Import(arguments) => import::run(context, arguments),
        Command::Deploy(arguments) => deploy::run(context, arguments),
        Command::Sig(arguments) => sig::run(context, arguments),
        Command::Keys(command) => keys::run(context, command),
        Command::Image(command) => image::run(context, command),
        Command::Copy(arguments) => copy::run(context, arguments),
        Command::Compose(command) => compose::run(context, command),
        Command::Pkg(command) => pkg::run(context, command),
        Command::Delta(command) => delta::run(context, command),
        Command::Demo(arguments) => demo::run(context, arguments),
        Command::Kiosk(arguments) => demo::kiosk(context, arguments),
        Command::Completion(arguments) => completion::run(context, arguments),
        Command::Version => version::run(context),
    }
}
