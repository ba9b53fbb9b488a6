//! `bench apps`: device apps from real images, against tar, mksquashfs, unsquashfs and rsync.
//!
//! Every measured run of ours starts with an empty cache and an empty object pool, but for what it presumes: a new base
//! and a patch presume that the app was made from the base before.

mod images;
mod one_file;
mod patch;
mod prepared;
mod status;

use std::path::PathBuf;

use super::measure::Run;
use super::table::{self, Row};
use super::{Options, machine, pairs, program};
use crate::{Failure, peers};
use prepared::Prepared;

/// The most memory that any of ours may take, in MiB.
const MEMORY_BAR: f64 = 300.0;

/// The pair with the largest image.
const LARGEST: &str = "b";

/// What the measures need to know, and the rows so far.
struct Bench<'a> {
    options: &'a Options,
    /// The program.
    umiak: PathBuf,
    /// Cargo's target directory.
    target: PathBuf,
    rows: Vec<Row>,
    /// Peak memory of any run of ours, in MiB.
    memory: f64,
}

/// Runs the measures that the options choose; prints the table and writes it down if asked.
///
/// # Errors
/// A peer is missing; a command failed.
pub fn bench(options: &Options) -> Result<(), Failure> {
    let missing = peers::install(&["time", "squashfs-tools", "rsync", "tar"].map(str::to_owned).into())?;
    if !missing.is_empty() {
        return Err(format!("the bench needs Debian packages: apt-get install {}", Vec::from_iter(missing).join(" ")));
    }
    let layouts = pairs::chosen(options)?;
    let machine = machine::describe(&["mksquashfs", "tar", "rsync"]);
    let (umiak, target) = program(options)?;
    let mut bench = Bench { options, umiak, target, rows: Vec::new(), memory: 0.0 };
    for layout in &layouts {
        bench.pair(layout)?;
    }
    if options.wants("status") {
        status::measure(&mut bench)?;
    }
    if bench.memory > 0.0 {
        bench.row(Row::memory("peak memory of ours, all of these".into(), bench.memory, MEMORY_BAR));
    }
    let how = if options.write { format!("cargo xtask bench apps --runs {}", options.runs) } else { "a part".into() };
    let text = format!(
        "`{how}`; medians of {}, ours and the peer in turn; {machine}.\n\n{}",
        options.runs,
        table::markdown(&bench.rows)
    );
    println!("{text}");
    if options.write { table::write("apps", &text) } else { Ok(()) }
}

impl Bench<'_> {
    fn pair(&mut self, layout: &pairs::Layout) -> Result<(), Failure> {
        let one_file = self.options.wants("one-file") && layout.name == LARGEST;
        if !one_file && !self.options.wants("images") && !self.options.wants("patch") {
            return Ok(());
        }
        eprintln!("pair {}: preparing", layout.name);
        let prepared = Prepared::new(&self.umiak, &self.target, layout)?;
        if self.options.wants("images") {
            images::measure(self, &prepared)?;
        }
        if self.options.wants("patch") {
            patch::measure(self, &prepared)?;
        }
        if one_file {
            one_file::measure(self, &prepared, layout)?;
        }
        Ok(())
    }

    /// Adds a row and shows it at once: the whole takes long.
    fn row(&mut self, row: Row) {
        eprint!("{}", table::line(&row));
        self.rows.push(row);
    }

    /// Notes the memory of a run of ours.
    fn ours(&mut self, run: Run) -> Run {
        self.memory = self.memory.max(run.memory);
        run
    }
}
