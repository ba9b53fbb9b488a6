//! `bench pkg`: one real image for six platforms to six signed packages, a package onto a device, deltas between releases.
//!
//! The peer of the build is what scripts do: one platform after another, `tar -x` of the layers, `mksquashfs` with the same
//! compressor and all cores, and a package of `tar` and `gzip`. It signs nothing, verifies nothing and keeps nothing. Ours
//! starts with an empty cache and nothing made, resolves the image, verifies the layers, signs, and keeps a device directory
//! with its pool beside each package.

mod deltas;
mod images;
mod install;
mod make;

use std::path::PathBuf;

use super::table::{self, Row};
use super::{Options, machine, program};
use crate::{Failure, peers};

/// What the measures need to know, and the rows so far.
struct Bench<'a> {
    options: &'a Options,
    /// The program.
    umiak: PathBuf,
    /// Cargo's target directory.
    target: PathBuf,
    rows: Vec<Row>,
}

/// Runs the measures that the options choose; prints the table and writes it down if asked.
///
/// # Errors
/// A peer is missing; a command failed.
pub fn bench(options: &Options) -> Result<(), Failure> {
    let packages = [
        "busybox-static",
        "e2fsprogs",
        "git",
        "gzip",
        "mmdebstrap",
        "mount",
        "runc",
        "squashfs-tools",
        "tar",
        "time",
        "util-linux",
        "xdelta3",
        "zstd",
    ];
    let missing = peers::install(&packages.map(str::to_owned).into())?;
    if !missing.is_empty() {
        return Err(format!("the bench needs Debian packages: apt-get install {}", Vec::from_iter(missing).join(" ")));
    }
    let machine = machine::describe(&["mksquashfs", "tar", "gzip", "xdelta3", "zstd"]);
    let (umiak, target) = program(options)?;
    let mut bench = Bench { options, umiak, target, rows: Vec::new() };
    if ["six", "unchanged", "same"].iter().any(|measure| options.wants(measure)) {
        let images = images::six(options)?;
        make::measure(&mut bench, &images)?;
    }
    if options.wants("install") {
        install::measure(&mut bench)?;
    }
    if options.wants("delta") {
        deltas::measure(&mut bench)?;
    }
    let how = if options.write { format!("cargo xtask bench pkg --runs {}", options.runs) } else { "a part".into() };
    let text = format!(
        "`{how}`; medians of {}, ours and the peer in turn; {machine}.\n\n{}",
        options.runs,
        table::markdown(&bench.rows)
    );
    println!("{text}");
    if options.write { table::write("pkg", &text) } else { Ok(()) }
}

impl Bench<'_> {
    /// Adds a row and shows it at once: the whole takes long.
    fn row(&mut self, row: Row) {
        eprint!("{}", table::line(&row));
        self.rows.push(row);
    }
}
