//! What was done to an app, in the past tense with numbers.

use serde_json::json;
use umiak_build::{AppReport, Cost, Costs, Outcome};
use umiak_tree::ChangeReport;
use umiak_ui::{Align, Size, Table};

use crate::context::Context;

/// Which command reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `app add`
    Added,
    /// `app update`
    Updated,
    /// `app install`
    Installed,
}

/// Says what was done to the app and to those that extend it.
pub fn tell(context: &Context<'_>, report: &AppReport, verb: Verb) {
    let printer = context.printer;
    report.warnings.iter().for_each(|warning| printer.warning(warning));
    if let Some(costs) = &report.costs {
        tell_costs(context, report, costs);
    }
    if let Some(changes) = &report.changes {
        tell_changes(context, changes);
    }
    let word = match (verb, report.outcome) {
        (_, Outcome::Unchanged) => return printer.note(&format!("{} is up to date", report.app)),
        (_, Outcome::Planned) => return,
        (Verb::Added, _) => "Added",
        (Verb::Updated, _) => "Updated",
        (Verb::Installed, _) => "Installed",
    };
    printer.fact(word, &format!("{}: {}", report.app, what(report)));
    let (copied, all) = report.copied_blocks;
    if copied > 0 {
        printer.detail(&format!("{copied} of {all} blocks were copied from the image before, not compressed again"));
    }
    printer.detail(&format!("image {}", report.image));
    report.dependents.iter().for_each(|dependent| tell(context, dependent, Verb::Updated));
    if report.outcome == Outcome::Patch && report.costs.is_some_and(|costs| costs.patch_has_grown()) {
        printer.warning("the patch has grown past half of a new base");
        printer.hint(&format!("`umiak app update --newbase {}` folds it into a fresh root.squashfs", report.app));
    }
}

/// Which file the app got, and its size.
fn what(report: &AppReport) -> String {
    let size = report.written.map(|bytes| format!(", {}", Size(bytes))).unwrap_or_default();
    match report.outcome {
        Outcome::Root => format!("root.squashfs{size}"),
        Outcome::Patch => format!("root.ovl.squashfs{size}, a patch of its root.squashfs"),
        Outcome::Extension => format!("root.ovl.squashfs{size}, above the app it extends"),
        Outcome::PatchDropped => "the image is that of root.squashfs again, the patch is gone".to_owned(),
        Outcome::Documents => "run.json and lxc.container.conf".to_owned(),
        Outcome::Unchanged | Outcome::Planned => String::new(),
    }
}

/// Both ways to deliver the change, side by side.
fn tell_costs(context: &Context<'_>, report: &AppReport, costs: &Costs) {
    let mut table = Table::new(&[Align::Left, Align::Left, Align::Right, Align::Left, Align::Right, Align::Left]);
    let mut row = |name: &str, flag: &str, cost: Cost| {
        let size = |bytes| if cost.exact { Size(bytes).to_string() } else { format!("about {}", Size(bytes)) };
        table.row([name, flag, &size(cost.send), "to send", &size(cost.keep), "on the device"]);
    };
    row("patch", "--patch", costs.patch);
    row("new base", "--newbase", costs.new_base);
    let document = |cost: Cost| json!({ "send_bytes": cost.send, "keep_bytes": cost.keep, "exact": cost.exact });
    let value = json!({
        "app": report.app,
        "image": report.image,
        "patch": document(costs.patch),
        "new_base": document(costs.new_base),
    });
    context.printer.plan(&table, &value);
}

/// What a patch or an extension carries; what times alone cost is said out loud.
fn tell_changes(context: &Context<'_>, changes: &ChangeReport) {
    let printer = context.printer;
    let tallies = [
        ("new", changes.added),
        ("with other content", changes.content),
        ("with other mode, owner or attributes", changes.metadata),
        ("with another time only", changes.mtime),
        ("linked otherwise", changes.links),
        ("gone", changes.removed),
    ];
    for (word, tally) in tallies.iter().filter(|(_, tally)| tally.names > 0) {
        printer.detail(&format!("{} {word}, {}", tally.names, Size(tally.bytes)));
    }
    let (mtime, carried) = (changes.mtime.bytes, changes.carried_bytes());
    if mtime > 0 && mtime >= carried / 4 {
        let text = format!(
            "{} files differ from the base in their time alone; they are {} of the {} that the patch carries before compression",
            changes.mtime.names,
            Size(mtime),
            Size(carried)
        );
        printer.note(&text);
        printer.hint("--ignore-mtime leaves them out");
    }
    if changes.mtime_ignored.names > 0 {
        printer.note(&format!("{} files keep the base's time, as asked", changes.mtime_ignored.names));
    }
}
