//! Transcripts: the ledger of the steps, the use of each file system, the verdict.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use umiak_plan::{Amount, Answer, Device, Resource, Verdict};

type Names = BTreeMap<String, String>;

pub(super) fn update(device: &Device, names: &Names, apps: &[&str], answer: &Answer) -> String {
    let mut text = format!("update {}\n", apps.join(" "));
    for choice in &answer.choices {
        let (layer, why) = (called(&choice.layer.short(), names), called(&choice.why, names));
        let _ = writeln!(text, "  {layer} of {}: {why}", choice.whose);
    }
    for note in &answer.notes {
        let _ = writeln!(text, "  {note}");
    }
    for step in &answer.steps {
        let mut line = format!("  {:8}{:38}", step.action.word(), called(&step.what, names));
        for (index, file_system) in device.file_systems.iter().enumerate() {
            let here = || step.changes.iter().filter(|change| change.file_system == index);
            let (mut taken, mut freed) = (Amount::default(), Amount::default());
            for change in here() {
                (taken.bytes, taken.inodes) = (taken.bytes + change.taken.bytes, taken.inodes + change.taken.inodes);
                (freed.bytes, freed.inodes) = (freed.bytes + change.freed.bytes, freed.inodes + change.freed.inodes);
            }
            let bound = if here().any(|change| change.bound) { " at most" } else { "" };
            for (sign, amount) in [('+', taken), ('-', freed)] {
                if amount != Amount::default() {
                    let size = size(i128::from(amount.bytes));
                    let _ = write!(line, " {} {sign}{size} {sign}{}i{bound}", file_system.name, amount.inodes);
                }
            }
        }
        text += line.trim_end();
        text.push('\n');
    }
    text + &uses(device, answer) + &verdict(device, names, answer)
}

pub(super) fn explain(device: &Device, names: &Names, apps: &[&str], answer: &Answer) -> String {
    let mut text = format!("explain {}\n", apps.join(" "));
    for row in answer.explain() {
        let net = i128::from(row.taken.bytes) - i128::from(row.freed.bytes);
        let bound = if row.bound { " at most" } else { "" };
        let (what, place) = (called(&row.what, names), &device.file_systems[row.file_system].name);
        let _ = writeln!(text, "  {:8}{what:38} {place:8} {:>12}{bound}  {}", row.action.word(), size(net), row.why);
    }
    text
}

fn uses(device: &Device, answer: &Answer) -> String {
    let mut text = String::new();
    for (file_system, found) in device.file_systems.iter().zip(&answer.uses) {
        let bound = if found.bound { " (a bound)" } else { "" };
        let inodes_bound = if found.inodes_bound { " (a bound)" } else { "" };
        let peak = size(i128::from(found.peak));
        let available = size(i128::from(found.available));
        let _ = writeln!(
            text,
            "  {}: peak {peak} of {available}, afterwards {}{bound}; inodes {} of {}, afterwards {}{inodes_bound}",
            file_system.name,
            size(found.last),
            found.inodes_peak,
            found.inodes_available.map_or("no limit".into(), |limit| limit.to_string()),
            found.inodes_last,
        );
    }
    text
}

fn verdict(device: &Device, names: &Names, answer: &Answer) -> String {
    let mut text = String::new();
    let download = size(i128::from(answer.download));
    match &answer.verdict {
        Verdict::Fits => {
            let pruned = if answer.reclaims { ", when what no app uses is removed first" } else { "" };
            let reserve = size(i128::from(answer.reserve));
            let _ = writeln!(text, "  fits{pruned}; download {download}; reserves {reserve}");
        }
        Verdict::Shortfall(all) => {
            for shortfall in all {
                let step = &answer.steps[shortfall.step];
                let missing = match shortfall.resource {
                    Resource::Bytes => size(i128::from(shortfall.missing())),
                    Resource::Inodes => format!("{} inodes", shortfall.missing()),
                };
                let (name, what) = (&device.file_systems[shortfall.file_system].name, called(&step.what, names));
                let _ =
                    writeln!(text, "  does not fit: {name} lacks {missing}, first in {} {what}", step.action.word());
            }
            for sentence in answer.refusal(device) {
                let _ = writeln!(text, "  {}", called(&sentence, names));
            }
            if answer.fits_when_pruned {
                text += "  fits when what no app uses is removed first\n";
            }
        }
    }
    text
}

/// Digests by name.
fn called(what: &str, names: &Names) -> String {
    let word = |word: &str| {
        let bare = word.trim_end_matches([':', '`']);
        names.get(bare).map_or_else(|| word.to_owned(), |name| format!("{name}{}", &word[bare.len()..]))
    };
    what.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// Whole KiB where that is exact.
fn size(bytes: i128) -> String {
    if bytes % 1024 == 0 { format!("{}K", bytes / 1024) } else { format!("{bytes}B") }
}
