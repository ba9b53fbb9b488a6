//! `umiak diff`: the JSON merge patch that a commit would apply.

use crate::context::Context;
use crate::error::Outcome;

/// Prints the patch, indented by tabs as pvr does.
pub fn run(context: &Context<'_>) -> Outcome {
    let patch = context.repository()?.diff(&context.progress())?;
    Ok(context.printer.data(&format!("{}\n", patch.pretty("", "\t")))?)
}
