//! `umiak completion`: a script that makes a shell complete commands, flags and files.

use crate::cli::{self, CompletionArgs, Shell};
use crate::context::Context;
use crate::error::Outcome;

/// Prints the script of one shell.
pub fn run(context: &Context<'_>, arguments: &CompletionArgs) -> Outcome {
    let shell = match arguments.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli::grammar(), "umiak", &mut script);
    Ok(context.printer.data(&String::from_utf8_lossy(&script))?)
}
