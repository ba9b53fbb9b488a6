//! `bench agent`: what an update takes on a device: disk, network, time, memory; against Docker and skopeo in the same run.
//!
//! The device is a file system of its own with umiakd on it; the registry is Debian's docker-registry on loopback behind a
//! line that counts. Each pair of releases is a Compose App of one service, published with the delta between them.

mod device;
mod figures;
mod load;
mod peers;
mod releases;

use std::path::PathBuf;

use self::device::Device;
use self::releases::Releases;
use super::registry::line::{Line, Stop};
use super::shell::Shell;
use super::table::{self, Row};
use super::{Options, device_program, machine, pairs, program};
use crate::{Failure, command, peers as packages};

/// Debian packages that the bench needs.
const PACKAGES: [&str; 11] = [
    "docker-registry",
    "docker.io",
    "e2fsprogs",
    "gzip",
    "iproute2",
    "mount",
    "python3",
    "runc",
    "skopeo",
    "time",
    "util-linux",
];

/// Pairs whose releases are kept beside each other.
const PAIRS: [&str; 4] = ["a", "b", "c", "d"];

/// Current and previous release, against blobs and overlay2 as Compose Apps keep them elsewhere, and against Docker alone.
const KEPT_BARS: (f64, f64) = (0.30, 0.40);

/// What is fetched for an update against the whole target: for the pair that changes most, and for the others.
const FETCHED_BARS: (f64, f64) = (1.0 / 6.0, 1.0 / 25.0);

/// The pair that changes most.
const MOST: &str = "d";

/// Bytes that may be fetched twice after a cut.
const AGAIN_BAR: u64 = 1 << 20;

/// Cuts that are tried; the worst counts.
const TRIES: u64 = 3;

/// CPU seconds to take a layer in, against `docker load`.
const LOAD_BAR: f64 = 2.0;

/// MiB in an update, and of a daemon that waits.
const MEMORY_BARS: (f64, f64) = (96.0, 12.0);

/// Bytes of the stripped program.
const PROGRAM_BAR: u64 = 15 << 20;

/// Seconds that services are stopped more than their own stop and start take.
const STOPPED_BAR: f64 = 1.0;

struct Bench<'a> {
    options: &'a Options,
    shell: Shell,
    releases: Releases,
    umiakd: PathBuf,
    rows: Vec<Row>,
}

/// Runs the measures that the options choose; prints the table and writes it down if asked.
///
/// # Errors
/// A peer is missing; no root; a command failed.
pub fn bench(options: &Options) -> Result<(), Failure> {
    let missing = packages::install(&PACKAGES.map(str::to_owned).into())?;
    if !missing.is_empty() {
        return Err(format!("the bench needs: {}", packages::advice(&missing).join("; ")));
    }
    if !command::is_root() {
        return Err("the bench mounts file systems and runs containers: it needs root".into());
    }
    let machine = machine::describe(&["docker.io", "runc", "skopeo"]);
    let (umiak, target) = program(options)?;
    let umiakd = device_program(options, &umiak)?;
    let mut shell = Shell::new(&target, "agent")?;
    shell.set("UMIAK", umiak.as_os_str());
    shell.set("HOME", shell.directory().join("home").as_os_str());
    let releases = Releases::start(&mut shell)?;
    let mut bench = Bench { options, shell, releases, umiakd, rows: Vec::new() };
    for pair in pairs::chosen(options)?.iter().filter(|pair| PAIRS.contains(&&*pair.name)) {
        eprintln!("publishing {}", pair.name);
        bench.releases.publish(&bench.shell, pair)?;
        bench.update(pair)?;
        if options.wants("again") && pair.name == MOST {
            bench.again(pair)?;
        }
    }
    if options.wants("load") {
        bench.load()?;
    }
    if options.wants("size") {
        bench.size()?;
    }
    let how = if options.write { format!("cargo xtask bench agent --runs {}", options.runs) } else { "a part".into() };
    let text = format!("`{how}`; {machine}.\n\n{}", table::markdown(&bench.rows));
    println!("{text}");
    if options.write { table::write("agent", &text) } else { Ok(()) }
}

impl Bench<'_> {
    fn row(&mut self, row: Row) {
        eprint!("{}", table::line(&row));
        self.rows.push(row);
    }

    /// A device on which nothing is yet.
    fn device(&self, name: &str) -> Result<Device, Failure> {
        Device::new(self.shell.directory(), name, &self.umiakd)
    }

    /// From a pair's base to its target: what is kept, fetched, said and taken.
    fn update(&mut self, pair: &pairs::Layout) -> Result<(), Failure> {
        let name = &pair.name;
        let line = Line::start(self.releases.port(), Stop::Kill, u64::MAX)?;
        let device = self.device(&format!("update-{name}"))?;
        let app = |tag: &str| format!("{}/team/app-{name}:{tag}", line.address());
        let first = device.update(&app("base"))?;
        let before = line.passed();
        let second = device.update(&app("target"))?;
        let fetched = line.passed() - before;
        for (release, update) in [("base", &first), ("target", &second)] {
            for row in figures::said(&format!("{name}, {release}"), update) {
                self.row(row);
            }
        }
        self.row(figures::stopped(&format!("{name}: services stopped in the switch"), &second, STOPPED_BAR));
        if self.options.wants("fetch") {
            let whole = peers::skopeo(&self.shell, self.releases.port(), name)?;
            let bar = if name == MOST { FETCHED_BARS.0 } else { FETCHED_BARS.1 };
            self.row(Row::sizes(format!("{name}: fetched for the update, against skopeo copy"), fetched, whole, bar));
        }
        if self.options.wants("disk") {
            let kept = second.kept;
            let docker = peers::docker(&self.shell, pair)?;
            let what = format!("{name}: current and previous kept");
            self.row(Row::sizes(format!("{what}, against blobs and overlay2"), kept, docker.with_blobs, KEPT_BARS.0));
            self.row(Row::sizes(format!("{what}, against dockerd alone"), kept, docker.alone, KEPT_BARS.1));
        }
        Ok(())
    }

    /// The base in full over a line that is cut once: what comes twice.
    fn again(&mut self, pair: &pairs::Layout) -> Result<(), Failure> {
        let app = |line: &Line| format!("{}/team/app-{}:base", line.address(), pair.name);
        let fetch = |line: &Line, name: &str| -> Result<u64, Failure> {
            let device = self.device(name)?;
            let done = device.stage(&app(line));
            line.heal();
            done.or_else(|_| device.stage(&app(line)))?;
            Ok(line.passed())
        };
        let whole = fetch(&Line::start(self.releases.port(), Stop::Kill, u64::MAX)?, "whole")?;
        let mut worst = 0;
        for number in 1..=TRIES {
            let at = whole * number / (TRIES + 1);
            let passed = fetch(&Line::start(self.releases.port(), Stop::Cut, at)?, &format!("cut-{number}"))?;
            worst = worst.max(passed.saturating_sub(whole));
        }
        let what = format!("fetched twice, all connections cut in an update, worst of {TRIES}");
        self.row(Row::size(what, worst, AGAIN_BAR));
        Ok(())
    }

    /// One layer of about 300 MB into the store and into Docker: processor and memory.
    fn load(&mut self) -> Result<(), Failure> {
        load::prepare(&self.shell)?;
        let (mut ours, mut peers) = (Vec::new(), Vec::new());
        let mut memory: f64 = 0.0;
        for _ in 0..self.options.runs {
            let device = self.device("load")?;
            let run = device.measured(&self.shell, &format!("{}/team/large:1", self.releases.address()))?;
            ours.push(run.cpu);
            memory = memory.max(run.memory);
            peers.push(load::docker(&self.shell)?);
        }
        let (ours, peer) = (figures::median(ours), figures::median(peers));
        self.row(Row::seconds("a layer of 300 MB taken in, against docker load".into(), ours, peer, LOAD_BAR));
        self.row(Row::memory("peak memory of an update of 300 MB".into(), memory, MEMORY_BARS.0));
        let device = self.device("idle")?;
        self.row(Row::memory("memory of a daemon that waits".into(), device.idle()?, MEMORY_BARS.1));
        Ok(())
    }

    /// The program as it is given away: without symbols.
    fn size(&mut self) -> Result<(), Failure> {
        self.shell.prepare(&format!("cp {} umiakd; strip umiakd", self.umiakd.display()))?;
        let bytes = self.shell.size("umiakd")?;
        self.row(Row::size("the program, stripped".into(), bytes, PROGRAM_BAR));
        Ok(())
    }
}
