//! `umiak version`.

use serde_json::json;

use crate::context::Context;
use crate::error::Outcome;

/// Prints name and release.
pub fn run(context: &Context<'_>) -> Outcome {
    let release = env!("CARGO_PKG_VERSION");
    if context.printer.is_json() {
        return Ok(context.printer.document(&json!({ "name": "umiak", "release": release }))?);
    }
    Ok(context.printer.data(&format!("umiak {release}\n"))?)
}
