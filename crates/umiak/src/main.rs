//! umiak, the developer's command: device apps from container images, and the device directory they live in.
//!
//! This program parses, wires and prints. What is done is in the libraries; what is said goes through one printer
//! (`umiak-ui`); the environment is read in one module ([`environment`]); errors become kind, exit code and hint in
//! one module ([`error`]). Under the name `umiakd` it is the device's program instead.

mod cli;
mod clock;
mod commands;
mod context;
mod demo;
mod environment;
mod error;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use clap::error::ErrorKind;
use umiak_ui::bug::{self, Program};
use umiak_ui::{Diagnostic, Printer, TalkArgs, USAGE, interrupt, setup, usage_diagnostic};

use crate::cli::{Cli, Parsed};
use crate::context::Context;
use crate::environment::Environment;
use crate::error::Failure;

const PROGRAM: Program = Program {
    name: "umiak",
    version: env!("CARGO_PKG_VERSION"),
    intact: "files are written beside and renamed, so the device directory is as it was before or after the command",
};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if is_device(&arguments) {
        return umiakd::main();
    }
    let guessed = Printer::new(setup(&TalkArgs::guess(&arguments), false));
    let exit = bug::caught(PROGRAM, || match cli::parse(arguments) {
        Parsed::Run(cli) => run(&cli),
        Parsed::Page(page) => ended(&guessed, guessed.data(&page).map_err(Failure::from)),
        Parsed::Later(talk, verb) => told(&Printer::new(setup(&talk, false)), &verb.answer()),
        Parsed::Wrong(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            guessed.page(&error.render().to_string());
            USAGE
        }
        Parsed::Wrong(error) => told(&guessed, &usage_diagnostic(&error)),
    });
    ExitCode::from(exit.unwrap_or_else(|diagnostic| told(&guessed, &diagnostic)))
}

/// Whether this was started under the name of the device's program: `umiak demo` has a device.
fn is_device(arguments: &[OsString]) -> bool {
    arguments.first().is_some_and(|program| Path::new(program).file_name() == Some(OsStr::new("umiakd")))
}

/// Runs a command that was understood; gives the exit code.
fn run(cli: &Cli) -> u8 {
    let environment = Environment::read(&cli.world);
    let printer = Printer::new(setup(&cli.talk, cli.world.debug));
    let interrupted = interrupt::listen().unwrap_or_else(|_| {
        printer.warning("signals cannot be handled here: Ctrl-C ends umiak at once");
        interrupt::never()
    });
    let context =
        Context { printer: &printer, environment: &environment, talk: &cli.talk, world: &cli.world, interrupted };
    ended(&printer, commands::run(&context, &cli.command))
}

fn ended(printer: &Printer, outcome: error::Outcome) -> u8 {
    match outcome {
        Ok(()) | Err(Failure::OutputGone) => 0,
        Err(Failure::Told(diagnostic)) => told(printer, &diagnostic),
    }
}

fn told(printer: &Printer, diagnostic: &Diagnostic) -> u8 {
    printer.diagnostic(diagnostic);
    diagnostic.exit
}
