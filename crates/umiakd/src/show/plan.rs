//! A plan in the words of an update: one line an app, one line on the fit.

use umiak_agent::{Change, How, Planned};
use umiak_ui::{Align, Size, Table};

/// One line an app: what it is, what it becomes, how it comes.
pub fn changes(changes: &[Change]) -> Table {
    let columns = [Align::Left, Align::Left, Align::Left, Align::Right, Align::Left];
    let mut table = Table::new(&columns).flush();
    for change in changes {
        let (way, full) = match change.how {
            How::Unchanged => ("unchanged", false),
            How::Delta => ("delta", true),
            How::Mixed => ("delta, full", true),
            How::Full => ("full", false),
            How::Removed => ("removed", false),
        };
        let release = match (&change.from, &change.to) {
            (Some(from), Some(to)) if from != to => format!("{from} -> {to}"),
            (from, to) => to.as_ref().or(from.as_ref()).cloned().unwrap_or_default(),
        };
        let download = if change.download == 0 { String::new() } else { Size(change.download).to_string() };
        let full = if full { format!("(full {})", Size(change.full)) } else { String::new() };
        table.row([change.app.as_str(), &release, way, &download, &full]);
    }
    table
}

/// What it needs, what there is, what is left: of the file system that it is tightest on.
pub fn fit(planned: &Planned) -> String {
    if let Some(why) = &planned.refusal {
        return why.clone();
    }
    let tightest = planned.answer.uses.iter().min_by_key(|found| found.available.saturating_sub(found.peak));
    let Some(found) = tightest else { return format!("{} to fetch", Size(planned.download)) };
    let left = i128::from(found.available) - found.last;
    let left = Size(u64::try_from(left).unwrap_or_default());
    let bound = if found.bound { "at most " } else { "" };
    format!("needs {bound}{} at peak, {} may be taken, {left} afterwards", Size(found.peak), Size(found.available))
}
