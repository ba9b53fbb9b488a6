//! What was measured, against the bars, and the tables of it.

use std::collections::{BTreeMap, BTreeSet};

use super::recipes::BALENA;
use crate::bench::measure::Run;
use crate::bench::table::{self, Row};

/// The most that the peaks of `make` and `apply` may be, in MiB.
const MAKE_MEMORY: f64 = 1536.0;
const APPLY_MEMORY: f64 = 64.0;

/// The most that walls may be, as a part of bsdiff's and bspatch's.
const WALL: f64 = 1.0;

/// The most that a delta of squashfs images may have, as a part of the delta of the tars.
const SQUASHFS: f64 = 1.2;

/// The most bytes for an image that has not changed.
const IDENTICAL: u64 = 2 * 1024;

/// Pair; the most that its delta may have as a part of the best peer's, and of what balena sends. Pairs that are not
/// here are measured without a bar.
const SIZES: [(&str, f64, f64); 5] =
    [("a", 0.88, 0.25), ("b", 0.40, 0.125), ("c", 0.30, 0.125), ("d", 0.58, 0.2), ("e", 0.50, 0.125)];

/// Ours and the peer's.
pub type Cost = (Run, Run);

/// How large something is that a device would download.
pub struct Size {
    /// What made it.
    pub method: String,
    /// Its length.
    pub bytes: u64,
    /// Whether it needs the base.
    pub delta: bool,
    /// Whether it is umiak's.
    pub ours: bool,
}

/// What was measured of one pair.
pub struct Figures {
    name: String,
    sizes: Vec<Size>,
    /// `delta make` and bsdiff.
    pub make: Option<Cost>,
    /// `delta apply` and bspatch.
    pub apply: Option<Cost>,
    /// Making and applying the quick way.
    pub fast: Option<(Run, Run)>,
    /// Bytes of the delta of squashfs images.
    pub squashfs: Option<u64>,
    /// Bytes of the delta of the target to itself.
    pub identical: Option<u64>,
    /// Bytes of the delta by stream.
    pub streams: BTreeMap<String, u64>,
}

impl Figures {
    /// Nothing measured yet.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            sizes: Vec::new(),
            make: None,
            apply: None,
            fast: None,
            squashfs: None,
            identical: None,
            streams: BTreeMap::new(),
        }
    }

    /// Adds a size.
    pub fn note(&mut self, size: Size) {
        eprintln!("{}: {}: {}", self.name, size.method, table::bytes(size.bytes));
        self.sizes.push(size);
    }

    /// What a method's result has, if it was noted.
    pub fn size(&self, method: &str) -> Option<u64> {
        self.sizes.iter().find(|size| size.method == method).map(|size| size.bytes)
    }

    /// The rows of this pair that have a bar, or could have one.
    fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        let name = &self.name;
        let bars = SIZES.iter().find(|(pair, ..)| pair == name);
        let ours = self.size("ours").unwrap_or_default();
        let best = self.sizes.iter().filter(|size| size.delta && !size.ours).min_by_key(|size| size.bytes);
        if let Some(best) = best {
            let measure = format!("{name}: size; the best peer is {}", best.method);
            rows.push(Row::sizes_if(measure, ours, best.bytes, bars.map(|(_, bar, _)| *bar)));
        }
        if let Some(balena) = self.size(BALENA.name) {
            let measure = format!("{name}: size, against what balena sends");
            rows.push(Row::sizes_if(measure, ours, balena, bars.map(|(.., bar)| *bar)));
        }
        if let Some(squashfs) = self.squashfs {
            let measure = format!("{name}: size between squashfs images, against that between tars");
            rows.push(Row::sizes(measure, squashfs, ours, SQUASHFS));
        }
        if let Some(identical) = self.identical {
            rows.push(Row::size(format!("{name}: size when nothing changed"), identical, IDENTICAL));
        }
        if let Some((ours, peer)) = self.make {
            rows.push(Row::costs(format!("{name}: make, against bsdiff"), ours, peer, None));
            rows.push(Row::memory(format!("{name}: make, peak memory"), ours.memory, MAKE_MEMORY));
        }
        if let Some((ours, peer)) = self.apply {
            rows.push(Row::costs(format!("{name}: apply, against bspatch"), ours, peer, Some(WALL)));
            rows.push(Row::memory(format!("{name}: apply, peak memory"), ours.memory, APPLY_MEMORY));
        }
        if let (Some((make, apply)), Some((_, bsdiff)), Some((_, bspatch))) = (self.fast, self.make, self.apply) {
            rows.push(Row::costs(format!("{name}: make --effort fast, against bsdiff"), make, bsdiff, None));
            rows.push(Row::costs(format!("{name}: apply of that, against bspatch"), apply, bspatch, None));
        }
        rows
    }
}

/// All pairs.
#[derive(Default)]
pub struct Report(Vec<Figures>);

impl Report {
    /// Adds a pair and shows its rows at once: the whole takes long.
    pub fn add(&mut self, figures: Figures) {
        for row in figures.rows() {
            eprint!("{}", table::line(&row));
        }
        self.0.push(figures);
    }

    /// The tables.
    pub fn markdown(&self) -> String {
        let mut rows: Vec<Row> = self.0.iter().flat_map(Figures::rows).collect();
        rows.extend(self.sum("make", "bsdiff", |figures| figures.make));
        rows.extend(self.sum("apply", "bspatch", |figures| figures.apply));
        let mut text = table::markdown(&rows);
        let methods: Vec<&str> = self.0.first().map(methods).unwrap_or_default();
        text.push_str("\nBytes that a device downloads:\n\n");
        text.push_str(&self.grid("method", &methods, Figures::size));
        let streams: BTreeSet<&str> =
            self.0.iter().flat_map(|figures| figures.streams.keys().map(String::as_str)).collect();
        if !streams.is_empty() {
            text.push_str("\nWhere the bytes of ours go:\n\n");
            let streams: Vec<&str> = streams.into_iter().collect();
            text.push_str(&self.grid("stream", &streams, |figures, stream| figures.streams.get(stream).copied()));
        }
        text
    }

    /// Wall times over all pairs.
    fn sum(&self, what: &str, peer: &str, of: impl Fn(&Figures) -> Option<Cost>) -> Option<Row> {
        let costs: Vec<Cost> = self.0.iter().filter_map(of).collect();
        let ours = total(costs.iter().map(|cost| cost.0))?;
        let measure = format!("{what}, all of these pairs, against {peer}");
        Some(Row::costs(measure, ours, total(costs.iter().map(|cost| cost.1))?, Some(WALL)))
    }

    /// A table with a column for each pair.
    fn grid(&self, head: &str, lines: &[&str], cell: impl Fn(&Figures, &str) -> Option<u64>) -> String {
        let heads = std::iter::once(head.to_owned()).chain(self.0.iter().map(|figures| figures.name.clone()));
        let lines = lines.iter().map(|line| {
            let cells = self.0.iter().map(|figures| cell(figures, line).map(table::bytes).unwrap_or_default());
            std::iter::once((*line).to_owned()).chain(cells).collect()
        });
        table::grid(heads.collect(), lines.collect())
    }
}

/// Methods in the order of the table: the peers, then ours.
fn methods(figures: &Figures) -> Vec<&str> {
    let (ours, peers): (Vec<&Size>, Vec<&Size>) = figures.sizes.iter().partition(|size| size.ours);
    peers.into_iter().chain(ours).map(|size| size.method.as_str()).collect()
}

/// The sum of the times, the largest of the memories.
fn total(runs: impl Iterator<Item = Run>) -> Option<Run> {
    runs.reduce(|one, other| Run {
        wall: one.wall + other.wall,
        cpu: one.cpu + other.cpu,
        memory: one.memory.max(other.memory),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(name: &str, ours: u64, peers: &[(&str, u64)]) -> Figures {
        let mut figures = Figures::new(name);
        figures.note(Size { method: "ours".into(), bytes: ours, delta: true, ours: true });
        figures.note(Size { method: "whole".into(), bytes: 1, delta: false, ours: false });
        for (method, bytes) in peers {
            figures.note(Size { method: (*method).into(), bytes: *bytes, delta: true, ours: false });
        }
        figures
    }

    #[test]
    fn the_best_peer_is_the_smallest_delta() {
        let mut report = Report::default();
        report.add(figures("d", 50, &[(BALENA.name, 1000), ("other", 100)]));
        report.add(figures("z", 50, &[("one", 40), ("other", 100)]));
        let text = report.markdown();
        assert!(text.contains("| d: size; the best peer is other | 50 B | 100 B | 0.500 | ≤ 0.58 | met |"), "{text}");
        assert!(
            text.contains("| d: size, against what balena sends | 50 B | 1 000 B | 0.050 | ≤ 0.2 | met |"),
            "{text}"
        );
        assert!(text.contains("| z: size; the best peer is one | 50 B | 40 B | 1.250 |  |  |"), "{text}");
        assert!(text.contains("| method | d | z |\n|---|---:|---:|\n| whole | 1 B | 1 B |"), "{text}");
        assert!(text.contains("| other | 100 B | 100 B |\n| ours | 50 B | 50 B |"), "{text}");
    }

    #[test]
    fn walls_are_added_up_and_peaks_are_not() {
        let run = |wall, memory| Run { wall, cpu: wall, memory };
        let mut report = Report::default();
        for (name, ours, peer) in [("a", run(1.0, 20.0), run(5.0, 1.0)), ("b", run(4.0, 90.0), run(3.0, 1.0))] {
            let mut figures = figures(name, 1, &[]);
            figures.apply = Some((ours, peer));
            report.add(figures);
        }
        let text = report.markdown();
        assert!(
            text.contains("| b: apply, against bspatch | 4.00 s, 90 MiB | 3.00 s, 1 MiB | 1.333 | ≤ 1 | **missed** |"),
            "{text}"
        );
        assert!(
            text.contains(
                "| apply, all of these pairs, against bspatch | 5.00 s, 90 MiB | 8.00 s, 1 MiB | 0.625 | ≤ 1 | met |"
            ),
            "{text}"
        );
        assert!(text.contains("| b: apply, peak memory | 90 MiB |  |  | ≤ 64 MiB | **missed** |"), "{text}");
        assert!(!text.contains("make"), "{text}");
    }
}
