//! The table of a bench: printed, and kept in docs/benchmarks.md between its markers.

use std::fmt::Write as _;

use crate::{Failure, command};

/// One figure against its bar.
pub struct Row {
    /// What was measured, on what.
    pub measure: String,
    /// Our figure with its unit.
    pub ours: String,
    /// The peer's, or what it is compared with.
    pub peer: String,
    /// Ours by the peer's, when that is the measure.
    pub ratio: Option<f64>,
    /// The bar in words.
    pub bar: String,
    /// Whether it was met.
    pub met: bool,
}

impl Row {
    /// A row whose measure is a ratio.
    pub fn ratio(measure: String, ours: (f64, String), peer: (f64, String), bar: f64) -> Self {
        let ratio = ours.0 / peer.0;
        Self { measure, ours: ours.1, peer: peer.1, ratio: Some(ratio), bar: format!("≤ {bar}x"), met: ratio <= bar }
    }

    /// A row whose measure is a figure.
    pub fn limit(measure: String, ours: (f64, String), bar: &(f64, String)) -> Self {
        let met = ours.0 <= bar.0;
        Self { measure, ours: ours.1, peer: String::new(), ratio: None, bar: format!("≤ {}", bar.1), met }
    }
}

/// The rows as Markdown.
pub fn markdown(rows: &[Row]) -> String {
    let mut text = String::from("| measure | ours | peer | ratio | bar | |\n|---|---:|---:|---:|---|---|\n");
    for row in rows {
        let ratio = row.ratio.map(|ratio| format!("{ratio:.3}")).unwrap_or_default();
        let verdict = if row.met { "met" } else { "**missed**" };
        let _ = writeln!(text, "| {} | {} | {} | {ratio} | {} | {verdict} |", row.measure, row.ours, row.peer, row.bar);
    }
    text
}

/// What the figures were measured on: cores, kernel, versions of the peers.
pub fn machine(peers: &[&str]) -> String {
    let first = |program: &str, arguments: &[&str]| {
        let output = std::process::Command::new(program).args(arguments).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).lines().next().map(|line| line.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let kernel = first("uname", &["-r"]).unwrap_or_default();
    let versions: Vec<String> = peers
        .iter()
        .filter_map(|peer| first(peer, &[if *peer == "mksquashfs" { "-version" } else { "--version" }]))
        .collect();
    format!("{cores} cores, Linux {kernel}; {}.", versions.join("; "))
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
        let rows = [Row::ratio("wall".into(), (3.0, "3 s".into()), (2.0, "2 s".into()), 1.0)];
        assert!(markdown(&rows).contains("| wall | 3 s | 2 s | 1.500 | ≤ 1x | **missed** |"));
    }
}
