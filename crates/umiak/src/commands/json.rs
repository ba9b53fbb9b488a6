//! `umiak json`: the state as the tracked files are now.

use crate::cli::JsonArgs;
use crate::context::Context;
use crate::error::Outcome;

/// Prints the state, indented by tabs as pvr does, or in canonical form.
pub fn run(context: &Context<'_>, arguments: &JsonArgs) -> Outcome {
    let state = context.repository()?.working_state(&context.progress())?;
    let text = if arguments.canonical { state.canonical() } else { state.to_value().pretty("", "\t") };
    Ok(context.printer.data(&format!("{text}\n"))?)
}
