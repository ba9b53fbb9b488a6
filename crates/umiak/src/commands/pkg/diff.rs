//! `umiak pkg diff`: what differs between two packages.

use serde_json::json;
use umiak_release::{Difference, compare};
use umiak_repository::package;
use umiak_spec::Limits;
use umiak_ui::{Align, Size, Table};

use crate::cli::PkgDiffArgs;
use crate::context::Context;
use crate::error::Outcome;

/// Reads both and says what differs. Nothing is said of packages with the same contents.
pub fn run(context: &Context<'_>, arguments: &PkgDiffArgs) -> Outcome {
    let progress = context.progress();
    let base = package::verify(&arguments.base, &Limits::default(), &progress)?;
    let target = package::verify(&arguments.target, &Limits::default(), &progress)?;
    drop(progress);
    let found = compare(&base, &target);
    if context.printer.is_json() {
        let differences = found.iter().map(|difference| {
            let Difference { path, base, target } = difference;
            json!({ "path": path, "kind": letter(difference), "base_bytes": base, "target_bytes": target })
        });
        return Ok(context.printer.document(&json!({ "differences": differences.collect::<Vec<_>>() }))?);
    }
    if found.is_empty() {
        context.printer.note("they hold the same");
    }
    let mut table = Table::new(&[Align::Left, Align::Right, Align::Right, Align::Left]).flush();
    for difference in &found {
        let size = |bytes: Option<u64>| bytes.map(|bytes| Size(bytes).to_string()).unwrap_or_default();
        table.row([letter(difference), &size(difference.base), &size(difference.target), &difference.path]);
    }
    Ok(context.printer.data(&table.to_string())?)
}

fn letter(difference: &Difference) -> &'static str {
    match (difference.base, difference.target) {
        (None, _) => "A",
        (Some(_), Some(_)) => "C",
        (Some(_), None) => "D",
    }
}
