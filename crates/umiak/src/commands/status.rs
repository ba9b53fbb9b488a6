//! `umiak status`: one line per file that differs, with pvr's letters. Nothing when nothing differs.

use serde_json::json;
use umiak_repository::ChangeKind;
use umiak_ui::printable;

use crate::context::Context;
use crate::error::Outcome;

/// The word of a kind in JSON.
pub const fn word(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Added => "added",
        ChangeKind::Changed => "changed",
        ChangeKind::Removed => "removed",
        ChangeKind::Untracked => "untracked",
    }
}

/// Prints what differs from the committed state.
pub fn run(context: &Context<'_>) -> Outcome {
    let repository = context.repository()?;
    let changes = repository.status(&context.progress())?;
    if context.printer.is_json() {
        let changes: Vec<_> =
            changes.iter().map(|change| json!({ "kind": word(change.kind), "path": change.path })).collect();
        return Ok(context.printer.document(&json!({ "changes": changes }))?);
    }
    let line = |change: &umiak_repository::Change| format!("{} {}\n", change.kind.letter(), printable(&change.path));
    Ok(context.printer.data(&changes.iter().map(line).collect::<String>())?)
}
