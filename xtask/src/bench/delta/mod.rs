//! `bench delta`: deltas of real images, against bsdiff, xdelta3, zstd, ostree and what balena sends.
//!
//! Every result of every program is applied again and compared before its figure counts. Ours and the peer's runs that are
//! timed alternate. A peer's size may come from an earlier run of the same program on the same bytes
//! (`--peers-cache`), its time never does.

mod cache;
mod cost;
mod figures;
mod ours;
mod recipes;
mod squashfs;
mod streams;

use std::path::{Path, PathBuf};

use super::pairs::{self, Layout};
use super::shell::Shell;
use super::{Options, machine, program, table};
use crate::{Failure, peers};
use cache::Cache;
use figures::{Figures, Report};

/// What the peers are in.
const PACKAGES: [&str; 8] = ["bsdiff", "ostree", "rdiff", "squashfs-tools", "tar", "time", "xdelta3", "zstd"];

/// What `--measure` chooses from. Our delta is made, applied and compared in any case.
const MEASURES: [&str; 6] = ["sizes", "make", "apply", "streams", "identical", "squashfs"];

/// Runs the measures that the options choose; prints the tables and writes them down if asked.
///
/// # Errors
/// A peer is missing; a command failed; a result is not the target.
pub fn bench(options: &Options) -> Result<(), Failure> {
    if let Some(stranger) = options.measures.iter().find(|measure| !MEASURES.contains(&measure.as_str())) {
        return Err(format!("bench delta has no measure `{stranger}`; it has {}", MEASURES.join(", ")));
    }
    let missing = peers::install(&PACKAGES.map(str::to_owned).into())?;
    if !missing.is_empty() {
        return Err(format!("the bench needs Debian packages: apt-get install {}", Vec::from_iter(missing).join(" ")));
    }
    let layouts = pairs::chosen(options)?;
    let machine = machine::describe(&["bsdiff", "xdelta3", "zstd", "ostree", "rdiff"]);
    let (umiak, target) = program(options)?;
    let mut report = Report::default();
    let mut remembered = 0;
    for layout in &layouts {
        let pair = Pair::new(&umiak, &target, layout)?;
        let cache = Cache::open(options.peers_cache.as_deref(), &pair)?;
        let figures = measure(options, &pair, &cache)?;
        remembered += cache.hits();
        report.add(figures);
    }
    let how = if options.write { format!("cargo xtask bench delta --runs {}", options.runs) } else { "a part".into() };
    let mut text = format!("`{how}`; medians of {}, ours and the peer in turn; {machine}.", options.runs);
    if remembered > 0 {
        text.push_str(&format!(
            " {remembered} sizes of peers are from an earlier run of the same programs on the same bytes."
        ));
    }
    let text = format!("{text}\n\n{}", report.markdown());
    println!("{text}");
    if options.write { table::write("delta", &text) } else { Ok(()) }
}

fn measure(options: &Options, pair: &Pair, cache: &Cache) -> Result<Figures, Failure> {
    let mut figures = Figures::new(&pair.name);
    cost::measure(options, pair, cache, &mut figures)?;
    if options.wants("sizes") {
        recipes::measure(pair, cache, &mut figures)?;
        ours::fast(pair, &mut figures)?;
    }
    if options.wants("streams") && pair.shell.has("ours/delta") {
        figures.streams = streams::of(&pair.shell)?;
    }
    if options.wants("identical") {
        figures.identical = Some(ours::identical(&pair.shell)?);
    }
    if options.wants("squashfs") {
        figures.squashfs = Some(squashfs::measure(&pair.shell)?);
    }
    Ok(figures)
}

/// A pair and where scripts run on it. They see `BASE` and `TARGET`, the uncompressed tars; `PAIR`, the layout;
/// `UMIAK`, and `FORMAT` for squashfs images.
struct Pair {
    name: String,
    base: PathBuf,
    target: PathBuf,
    shell: Shell,
}

impl Pair {
    fn new(umiak: &Path, target: &Path, layout: &Layout) -> Result<Self, Failure> {
        let mut shell = Shell::new(target, &format!("delta-{}", layout.name))?;
        let (base, target) = (layout.tar("base")?, layout.tar("target")?);
        shell.set("PVR_CONFIG_DIR", shell.directory().join("config"));
        shell.set("UMIAK", umiak);
        shell.set("PAIR", &layout.directory);
        shell.set("BASE", &base);
        shell.set("TARGET", &target);
        shell.set("FORMAT", super::FORMAT);
        shell.prepare("mkdir ours peer")?;
        Ok(Self { name: layout.name.clone(), base, target, shell })
    }
}
