//! `umiakd history`: one line for each thing that happened.

use umiak_agent::{Entry, What};
use umiak_ui::{Align, Table};

use super::moment;

/// The text of a history; empty when nothing happened yet.
#[must_use]
pub fn history(entries: &[Entry]) -> String {
    let mut table = Table::new(&[Align::Left, Align::Left, Align::Left, Align::Left]).flush();
    for entry in entries {
        let why = entry.why.as_deref().unwrap_or_default();
        table.row([moment(entry.at).as_str(), word(entry.what), &entry.revision.short(), why]);
    }
    table.to_string()
}

const fn word(what: What) -> &'static str {
    match what {
        What::Staged => "staged",
        What::Switching => "switching to",
        What::Committed => "committed",
        What::Failed => "failed",
        What::Returned => "went back from",
        What::Disliked => "left by hand",
        What::Boot => "started in",
    }
}
