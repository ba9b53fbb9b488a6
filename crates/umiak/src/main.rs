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

use umiak_ui::bug::Program;
use umiak_ui::{Printer, interrupt, program, setup};

use crate::cli::{Asked, Cli};
use crate::context::Context;
use crate::environment::Environment;

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
    program::main(PROGRAM, arguments, cli::parse, |asked| match asked {
        Asked::Command(cli) => run(&cli),
        Asked::Later(talk, verb) => Printer::new(setup(&talk, false)).failed(&verb.answer()),
    })
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
    commands::run(&context, &cli.command).map_or_else(|failure| failure.told(&printer), |()| 0)
}
