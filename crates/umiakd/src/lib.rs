//! umiakd, the device's command: what it should run, updates, ways back, and the daemon that does so by itself.
//!
//! This program parses, wires and prints. What is done is in `umiak-agent`; what is said goes through one printer
//! (`umiak-ui`); the environment is read in one module (`environment`); errors become exit code and hint in one module
//! (`error`). The same program is the command line, the daemon and, hidden, the watcher over one service.
//!
//! It is a library for one reason: `umiak demo` has a device, and so the developer's program is this one as well, under
//! the name `umiakd` (docs/decisions/0014-the-demo-has-a-device.md).

mod cli;
mod clock;
mod commands;
mod context;
mod daemon;
mod device;
mod environment;
mod error;
mod settings;
mod show;

use std::process::ExitCode;

use clap::error::ErrorKind;
use umiak_ui::bug::{self, Program};
use umiak_ui::{Diagnostic, Printer, TalkArgs, USAGE, setup, usage_diagnostic};

use crate::cli::{Cli, Parsed};
use crate::environment::Environment;
use crate::error::Failure;

const PROGRAM: Program = Program {
    name: "umiakd",
    version: env!("CARGO_PKG_VERSION"),
    intact: "what runs goes on running; `umiakd status` says where the device stands, the same command goes on from there",
};

/// The whole program: reads its arguments, does what they say, gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let guessed = Printer::new(setup(&TalkArgs::guess(&arguments), false));
    let exit = bug::caught(PROGRAM, || match cli::parse(arguments) {
        Parsed::Run(cli) => run(&cli),
        Parsed::Page(page) => ended(&guessed, guessed.data(&page).map_err(Failure::from)),
        Parsed::Wrong(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            guessed.page(&error.render().to_string());
            USAGE
        }
        Parsed::Wrong(error) => told(&guessed, &usage_diagnostic(&error)),
    });
    ExitCode::from(exit.unwrap_or_else(|diagnostic| told(&guessed, &diagnostic)))
}

/// Runs a command that was understood; gives the exit code.
fn run(cli: &Cli) -> u8 {
    let printer = Printer::new(setup(&cli.talk, false));
    let environment = Environment::read();
    match commands::run(&printer, &environment, cli) {
        Ok(exit) => exit,
        Err(failure) => ended(&printer, Err(failure)),
    }
}

fn ended(printer: &Printer, outcome: Result<(), Failure>) -> u8 {
    match outcome {
        Ok(()) | Err(Failure::OutputGone) => 0,
        Err(Failure::Told(diagnostic)) => told(printer, &diagnostic),
    }
}

fn told(printer: &Printer, diagnostic: &Diagnostic) -> u8 {
    printer.diagnostic(diagnostic);
    diagnostic.exit
}
