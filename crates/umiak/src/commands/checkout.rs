//! `umiak checkout` (also `reset`, `co`): writes the committed files back.

use umiak_repository::{ChangeKind, CheckoutOptions, CheckoutReport, Repository};

use crate::cli::CheckoutArgs;
use crate::context::Context;
use crate::error::Outcome;

/// Writes what differs and says how much that was.
pub fn run(context: &Context<'_>, arguments: &CheckoutArgs) -> Outcome {
    let repository = context.repository()?;
    if context.talk.dry_run {
        return preview(context, &repository);
    }
    let options = CheckoutOptions { canonical: arguments.canonical, hardlink: arguments.hardlink };
    let report = repository.checkout(options, &context.progress())?;
    tell(context, &report);
    Ok(())
}

/// Says what a checkout did; nothing when it had nothing to do.
pub fn tell(context: &Context<'_>, report: &CheckoutReport) {
    let CheckoutReport { written, unchanged, deleted } = *report;
    if written + deleted == 0 {
        return;
    }
    let mut text = format!("{written} files, {unchanged} unchanged");
    if deleted > 0 {
        text.push_str(&format!(", {deleted} deleted"));
    }
    context.printer.fact("Wrote", &text);
}

fn preview(context: &Context<'_>, repository: &Repository) -> Outcome {
    let changes = repository.status(&context.progress())?;
    let of = |kind| changes.iter().filter(move |change| change.kind == kind);
    let back: Vec<_> = of(ChangeKind::Changed).chain(of(ChangeKind::Removed)).collect();
    back.iter().for_each(|change| context.printer.detail(&change.path));
    let forgotten = of(ChangeKind::Added).count();
    context.would(&format!("write {} files back and forget {forgotten} that were added", back.len()));
    Ok(())
}
