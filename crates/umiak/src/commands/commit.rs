//! `umiak commit`: records the tracked files.

use umiak_repository::{ChangeKind, CommitReport, Repository};
use umiak_ui::Size;

use crate::cli::CommitArgs;
use crate::clock;
use crate::context::Context;
use crate::error::Outcome;

/// Records the tracked files and says what changed.
pub fn run(context: &Context<'_>, arguments: &CommitArgs) -> Outcome {
    let repository = context.repository()?;
    if context.talk.dry_run {
        return preview(context, &repository);
    }
    let checkpoint = arguments.checkpoint.then(|| clock::rfc3339_now(context.environment.fixed_time));
    let report = repository.commit(&arguments.message, checkpoint.as_deref(), &context.progress())?;
    tell(context, &report);
    if report.is_empty() {
        hint_at_untracked(context, &repository)?;
    }
    Ok(())
}

fn tell(context: &Context<'_>, report: &CommitReport) {
    let printer = context.printer;
    if report.is_empty() {
        return printer.note("Nothing to commit");
    }
    let listed = [('A', &report.added), ('C', &report.changed), ('D', &report.removed)];
    for (letter, paths) in listed {
        paths.iter().for_each(|path| printer.detail(&format!("{letter} {path}")));
    }
    let counted = [("added", &report.added), ("changed", &report.changed), ("removed", &report.removed)];
    let counted = counted.iter().filter(|(_, paths)| !paths.is_empty());
    let mut parts: Vec<_> = counted.map(|(word, paths)| format!("{} {word}", paths.len())).collect();
    if report.stored.objects > 0 {
        parts.push(format!("{} new in the object pool", Size(report.stored.bytes)));
    }
    printer.fact("Committed", &parts.join(", "));
}

fn hint_at_untracked(context: &Context<'_>, repository: &Repository) -> Outcome {
    let changes = repository.status(&context.progress())?;
    if changes.iter().any(|change| change.kind == ChangeKind::Untracked) {
        context.printer.hint("there are files that are not tracked: `umiak add` tracks them");
    }
    Ok(())
}

fn preview(context: &Context<'_>, repository: &Repository) -> Outcome {
    let changes = repository.status(&context.progress())?;
    let tracked: Vec<_> = changes.iter().filter(|change| change.kind != ChangeKind::Untracked).collect();
    for change in &tracked {
        context.printer.detail(&format!("{} {}", change.kind.letter(), change.path));
    }
    context.would(&format!("commit {} changes", tracked.len()));
    Ok(())
}
