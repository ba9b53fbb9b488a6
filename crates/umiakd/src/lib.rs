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

use umiak_ui::bug::Program;
use umiak_ui::{Printer, program, setup};

use crate::cli::Cli;
use crate::environment::Environment;

const PROGRAM: Program = Program {
    name: "umiakd",
    version: env!("CARGO_PKG_VERSION"),
    intact: "what runs goes on running; `umiakd status` says where the device stands, the same command goes on from there",
};

/// The whole program: reads its arguments, does what they say, gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    program::main(PROGRAM, std::env::args_os().collect(), cli::parse, |cli| run(&cli))
}

/// Runs a command that was understood; gives the exit code.
fn run(cli: &Cli) -> u8 {
    let printer = Printer::new(setup(&cli.talk, false));
    let environment = Environment::read();
    commands::run(&printer, &environment, cli).unwrap_or_else(|failure| failure.told(&printer))
}
