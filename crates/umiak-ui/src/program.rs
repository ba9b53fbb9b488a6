//! How a program of umiak begins and ends: its line is read, its command run, what came of it told; a panic is our bug.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::ArgMatches;
use clap::error::ErrorKind;

use crate::bug::{self, Program};
use crate::{Diagnostic, Printer, TalkArgs, USAGE, setup, usage_diagnostic};

/// Exit codes, for the end of a program's first page of help.
pub const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 environment, 2 usage, 3 does not fit, 4 not trusted or corrupt, 5 network, 6 rolled back, \
70 our bug.";

/// What a command line turned out to be.
#[derive(Debug)]
pub enum Parsed<C> {
    /// A command to run.
    Run(C),
    /// Help or version, for stdout.
    Page(String),
    /// Not understood.
    Wrong(clap::Error),
}

/// Reads a command line, which begins with the program's name; `understand` makes a command of what the grammar found.
pub fn parse<C>(
    grammar: clap::Command,
    arguments: impl IntoIterator<Item = OsString>,
    understand: impl FnOnce(&ArgMatches) -> Result<C, clap::Error>,
) -> Parsed<C> {
    match grammar.try_get_matches_from(arguments).and_then(|matches| understand(&matches)) {
        Ok(command) => Parsed::Run(command),
        Err(error) if !error.use_stderr() => Parsed::Page(error.render().to_string()),
        Err(error) => Parsed::Wrong(error),
    }
}

/// The whole of a program: `arguments` read by `parse`, and run; `run` gives the exit code.
pub fn main<C>(
    program: Program,
    arguments: Vec<OsString>,
    parse: impl FnOnce(Vec<OsString>) -> Parsed<C>,
    run: impl FnOnce(C) -> u8,
) -> ExitCode {
    let guessed = Printer::new(setup(&TalkArgs::guess(&arguments), false));
    let exit = bug::caught(program, || match parse(arguments) {
        Parsed::Run(command) => run(command),
        Parsed::Page(page) => {
            let gone = guessed.data(&page).err().and_then(|error| Diagnostic::of_stdout(&error));
            gone.map_or(0, |diagnostic| guessed.failed(&diagnostic))
        }
        Parsed::Wrong(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            guessed.page(&error.render().to_string());
            USAGE
        }
        Parsed::Wrong(error) => guessed.failed(&usage_diagnostic(&error)),
    });
    ExitCode::from(exit.unwrap_or_else(|diagnostic| guessed.failed(&diagnostic)))
}
