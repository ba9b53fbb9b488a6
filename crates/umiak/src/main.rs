//! umiak, the developer's command: device apps from container images, and the device directory they live in.
//!
//! This program parses, wires and prints. What is done is in the libraries; what is said goes through one printer
//! (`umiak-ui`); the environment is read in one module ([`environment`]); errors become kind, exit code and hint in
//! one module ([`error`]).

mod bug;
mod cli;
mod clock;
mod commands;
mod context;
mod demo;
mod environment;
mod error;
mod interrupt;

use std::process::ExitCode;

use clap::error::ErrorKind;
use umiak_ui::{Diagnostic, Printer};

use crate::cli::{Cli, Parsed, TalkArgs};
use crate::context::Context;
use crate::environment::Environment;
use crate::error::Failure;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let guessed = Printer::new(environment::setup(&TalkArgs::guess(&arguments), false));
    let exit = bug::caught(|| match cli::parse(arguments) {
        Parsed::Run(cli) => run(&cli),
        Parsed::Page(page) => ended(&guessed, guessed.data(&page).map_err(Failure::from)),
        Parsed::Later(talk, verb) => told(&Printer::new(environment::setup(&talk, false)), &verb.answer()),
        Parsed::Wrong(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            guessed.page(&error.render().to_string());
            cli::USAGE
        }
        Parsed::Wrong(error) => told(&guessed, &cli::usage_diagnostic(&error)),
    });
    ExitCode::from(exit.unwrap_or_else(|diagnostic| told(&guessed, &diagnostic)))
}

/// Runs a command that was understood; gives the exit code.
fn run(cli: &Cli) -> u8 {
    let environment = Environment::read(&cli.world);
    let printer = Printer::new(environment::setup(&cli.talk, cli.world.debug));
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
