//! How a program of umiak talks, as flags that all of them have, and what the terminal makes of them.
//!
//! The one place that looks at `NO_COLOR`, `TERM` and the terminal.

use std::ffi::OsString;
use std::io::IsTerminal;

use clap::{Args, ValueEnum};

use crate::{Setup, Verbosity};

/// How a program talks; anywhere on the line.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Talk (anywhere on the line)")]
pub struct TalkArgs {
    /// Print JSON: a document on stdout, one object per line on stderr
    #[arg(long, global = true)]
    pub json: bool,
    /// Say each step, and digests in full
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Say warnings and errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say what would be done, and change nothing
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// Colour: `auto` (on a terminal, unless NO_COLOR is set), `always` or `never`
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    pub color: ColorWhen,
}

impl TalkArgs {
    /// How to talk about a line that may not be understood at all.
    #[must_use]
    pub fn guess(arguments: &[OsString]) -> Self {
        let json = arguments.iter().any(|argument| argument == "--json");
        Self { json, verbose: false, quiet: false, dry_run: false, color: ColorWhen::Auto }
    }
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How to talk, from the flags, `NO_COLOR`, `TERM` and the terminal on stderr.
#[must_use]
pub fn setup(talk: &TalkArgs, debug: bool) -> Setup {
    let verbosity = match (talk.quiet, talk.verbose || debug) {
        (true, _) => Verbosity::Quiet,
        (false, true) => Verbosity::Verbose,
        (false, false) => Verbosity::Normal,
    };
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let terminal = std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    let colour = match talk.color {
        ColorWhen::Always => true,
        ColorWhen::Never => false,
        ColorWhen::Auto => terminal && !set("NO_COLOR"),
    };
    Setup { verbosity, json: talk.json, colour: colour && !talk.json, width: terminal.then(terminal_width) }
}

/// Columns of the terminal on stderr; 80 when it does not say.
fn terminal_width() -> usize {
    let columns = rustix::termios::tcgetwinsize(std::io::stderr()).map_or(0, |size| size.ws_col);
    if columns == 0 { 80 } else { columns.into() }
}
