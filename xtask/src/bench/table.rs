//! The table of a bench: printed, and kept in docs/benchmarks.md between its markers.

use std::fmt::Write as _;

use super::measure::Run;
use crate::{Failure, command};

/// One figure against its bar.
#[derive(Debug)]
pub struct Row {
    measure: String,
    ours: String,
    peer: String,
    ratio: String,
    bar: String,
    /// Nothing to be met: `None`.
    met: Option<bool>,
}

impl Row {
    /// Wall times of ours and the peer; the bar is for their ratio.
    pub fn times(measure: String, ours: Run, peer: Run, bar: f64) -> Self {
        let cell = |run: Run| format!("{:.2} s ({:.1} s CPU)", run.wall, run.cpu);
        Self::ratio(measure, (ours.wall, cell(ours)), (peer.wall, cell(peer)), Some(bar))
    }

    /// Wall times and peak memory of ours and the peer; the bar, if there is one, is for the ratio of the times.
    pub fn costs(measure: String, ours: Run, peer: Run, bar: Option<f64>) -> Self {
        let cell = |run: Run| format!("{:.2} s, {:.0} MiB", run.wall, run.memory);
        Self::ratio(measure, (ours.wall, cell(ours)), (peer.wall, cell(peer)), bar)
    }

    /// Lengths in bytes of ours and the peer's; the bar is for their ratio.
    pub fn sizes(measure: String, ours: u64, peer: u64, bar: f64) -> Self {
        Self::sizes_if(measure, ours, peer, Some(bar))
    }

    /// Lengths in bytes of ours and the peer's; the bar, if there is one, is for their ratio.
    #[expect(clippy::cast_precision_loss, reason = "lengths of files, far below 2^53")]
    pub fn sizes_if(measure: String, ours: u64, peer: u64, bar: Option<f64>) -> Self {
        Self::ratio(measure, (ours as f64, bytes(ours)), (peer as f64, bytes(peer)), bar)
    }

    fn ratio(measure: String, ours: (f64, String), peer: (f64, String), bar: Option<f64>) -> Self {
        let ratio = ours.0 / peer.0;
        let text = bar.map(|bar| format!("≤ {}", (bar * 1000.0).round() / 1000.0)).unwrap_or_default();
        let met = bar.map(|bar| ratio <= bar);
        Self { measure, ours: ours.1, peer: peer.1, ratio: format!("{ratio:.3}"), bar: text, met }
    }

    /// A length in bytes against an absolute bar.
    pub fn size(measure: String, ours: u64, bar: u64) -> Self {
        let bar_text = format!("≤ {}", bytes(bar));
        Self {
            measure,
            ours: bytes(ours),
            peer: String::new(),
            ratio: String::new(),
            bar: bar_text,
            met: Some(ours <= bar),
        }
    }

    /// CPU seconds of ours and the peer; the bar is for their ratio.
    pub fn seconds(measure: String, ours: f64, peer: f64, bar: f64) -> Self {
        let cell = |seconds: f64| format!("{seconds:.2} s CPU");
        Self::ratio(measure, (ours, cell(ours)), (peer, cell(peer)), Some(bar))
    }

    /// Seconds of ours and the peer; the bar is for what ours takes more.
    pub fn more(measure: String, ours: f64, peer: f64, bar: f64) -> Self {
        let (more, cell) = (ours - peer, |seconds: f64| format!("{seconds:.2} s"));
        let (ratio, bar_text) = (format!("{more:+.2} s"), format!("≤ {bar} s more"));
        Self { measure, ours: cell(ours), peer: cell(peer), ratio, bar: bar_text, met: Some(more <= bar) }
    }

    /// A number with a unit against an absolute bar.
    pub fn limit(measure: String, ours: f64, unit: &str, bar: f64) -> Self {
        let (text, bar_text) = (format!("{ours:.1} {unit}"), format!("≤ {bar:.1} {unit}"));
        Self { measure, ours: text, peer: String::new(), ratio: String::new(), bar: bar_text, met: Some(ours <= bar) }
    }

    /// What was said and what was taken, in bytes: never under, and at most one percent or `allowed` over.
    pub fn foretold(measure: String, said: i128, took: i128, allowed: u64) -> Self {
        let cell = |bytes: i128| {
            let digits = apart(u64::try_from(bytes.unsigned_abs()).unwrap_or(u64::MAX));
            if bytes < 0 { format!("-{digits} B") } else { format!("{digits} B") }
        };
        let most = i128::from(allowed).max(took / 100);
        Self {
            measure,
            ours: cell(said),
            peer: cell(took),
            ratio: format!("{:+} KiB", (said - took) / 1024),
            bar: "≥ 0, ≤ 1 % or 64 KiB".into(),
            met: Some((0..=most).contains(&(said - took))),
        }
    }

    /// Peak memory in MiB against an absolute bar.
    pub fn memory(measure: String, ours: f64, bar: f64) -> Self {
        let (text, bar_text) = (format!("{ours:.0} MiB"), format!("≤ {bar:.0} MiB"));
        Self { measure, ours: text, peer: String::new(), ratio: String::new(), bar: bar_text, met: Some(ours <= bar) }
    }
}

/// Bytes with thousands apart: figures that are compared are not rounded.
pub fn bytes(number: u64) -> String {
    apart(number) + " B"
}

/// A number with thousands apart.
pub fn apart(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// The rows as Markdown.
pub fn markdown(rows: &[Row]) -> String {
    let mut text = String::from("| measure | ours | peer | ratio | bar | |\n|---|---:|---:|---:|---|---|\n");
    for row in rows {
        text.push_str(&line(row));
    }
    text
}

/// One row as Markdown.
pub fn line(row: &Row) -> String {
    let mut text = String::new();
    let verdict = row.met.map_or("", |met| if met { "met" } else { "**missed**" });
    // Writing to a string cannot fail.
    let _ =
        writeln!(text, "| {} | {} | {} | {} | {} | {verdict} |", row.measure, row.ours, row.peer, row.ratio, row.bar);
    text
}

/// A table of words whose first column is text and whose others are numbers.
pub fn grid(heads: Vec<String>, lines: Vec<Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule = format!("|---{}|\n", "|---:".repeat(heads.len().saturating_sub(1)));
    std::iter::once(line(&heads) + &rule).chain(lines.iter().map(|cells| line(cells))).collect()
}

/// Puts `text` between the markers of bench `name` in docs/benchmarks.md.
///
/// # Errors
/// The document cannot be read or written, or has no such markers.
pub fn write(name: &str, text: &str) -> Result<(), Failure> {
    let path = command::root().join("docs/benchmarks.md");
    let document =
        std::fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let changed =
        between(&document, name, text).ok_or_else(|| format!("no markers for {name} in {}", path.display()))?;
    std::fs::write(&path, changed).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn between(document: &str, name: &str, text: &str) -> Option<String> {
    let (open, close) = (format!("<!-- bench:{name} -->\n"), format!("<!-- /bench:{name} -->"));
    let start = document.find(&open)? + open.len();
    let end = start + document[start..].find(&close)?;
    Some(format!("{}{text}{}", &document[..start], &document[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_markers_changes() {
        let document = "a\n<!-- bench:x -->\nold\n<!-- /bench:x -->\nb\n";
        assert_eq!(between(document, "x", "new\n").unwrap(), "a\n<!-- bench:x -->\nnew\n<!-- /bench:x -->\nb\n");
        assert_eq!(between(document, "y", "new\n"), None);
    }

    #[test]
    fn a_missed_bar_says_so() {
        let run = |wall| Run { wall, cpu: wall, memory: 1.0 };
        let rows = [
            Row::times("wall".into(), run(3.0), run(2.0), 1.0),
            Row::sizes("size".into(), 1_020_000, 1_000_000, 1.02),
            Row::memory("peak".into(), 301.0, 300.0),
        ];
        let text = markdown(&rows);
        assert!(
            text.contains("| wall | 3.00 s (3.0 s CPU) | 2.00 s (2.0 s CPU) | 1.500 | ≤ 1 | **missed** |"),
            "{text}"
        );
        assert!(text.contains("| size | 1 020 000 B | 1 000 000 B | 1.020 | ≤ 1.02 | met |"), "{text}");
        assert!(text.contains("| peak | 301 MiB |  |  | ≤ 300 MiB | **missed** |"), "{text}");
    }
}
