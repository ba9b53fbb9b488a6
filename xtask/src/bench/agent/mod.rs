//! `bench agent`: what an update takes on a device: disk, network, time, memory; against Docker and skopeo in the same run.
//!
//! The device is a file system of its own with umiakd on it; the registry is Debian's docker-registry on loopback behind a
//! line that counts. Each pair of releases is a Compose App of one service, published with the delta between them. umiakd
//! is the program that is handed out (`cargo xtask dist`).

mod again;
pub mod device;
pub mod figures;
mod gap;
mod load;
mod own;
mod peers;
mod releases;
mod room;

use std::path::PathBuf;

use self::device::{Device, Update};
use self::releases::Releases;
use super::registry::image;
use super::registry::line::Line;
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

/// The pair whose update is cut.
const CUT: &str = "d";

/// CPU seconds to take a layer in, against `docker load`.
const LOAD_BAR: f64 = 2.0;

/// MiB in an update, and of a daemon that waits.
const MEMORY_BARS: (f64, f64) = (96.0, 12.0);

/// Bytes of the program.
const PROGRAM_BAR: u64 = 15 << 20;

/// Seconds that services are stopped more than their own stop and start take.
const STOPPED_BAR: f64 = 1.0;

/// Percent of the registry bench's image that is fetched and cut: about 100 MB in six layers.
const CUT_IMAGE: u64 = 33;

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
    let releases = Releases::start(&mut shell, &umiak, options.peers_cache.as_deref())?;
    let mut bench = Bench { options, shell, releases, umiakd, rows: Vec::new() };
    for pair in pairs::chosen(options)?.iter().filter(|pair| PAIRS.contains(&&*pair.name)) {
        bench.pair(pair)?;
    }
    if options.wants("again") {
        bench.again()?;
    }
    if options.wants("load") {
        bench.load()?;
    }
    if options.wants("size") {
        let bytes = std::fs::metadata(&bench.umiakd).map_err(|error| error.to_string())?.len();
        bench.row(Row::size("the device's program, static and stripped".into(), bytes, PROGRAM_BAR));
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
        Device::new(self.shell.directory(), name, &self.umiakd, None)
    }

    /// From a pair's base to its target.
    fn pair(&mut self, pair: &pairs::Layout) -> Result<(), Failure> {
        let name = &pair.name;
        let line = self.releases.publish(&self.shell, pair)?;
        let app = |tag: &str| format!("{}/team/app-{name}:{tag}", line.address());
        if ["disk", "fetch", "said", "memory", "stopped"].iter().any(|measure| self.options.wants(measure)) {
            let device = self.device(&format!("update-{name}"))?;
            let first = device.update(&app("base"), None)?;
            let before = line.passed();
            let second = device.update(&app("target"), Some(releases::word(name)))?;
            let fetched = line.passed() - before;
            self.own(name, &device, &first, &second)?;
            drop(device);
            self.against(pair, &line, fetched, second.kept)?;
        }
        if self.options.wants("again") && name == CUT {
            let ready = || {
                let device = self.device("cut")?;
                device.aim(&app("base"))?;
                device.stage()?;
                Ok(device)
            };
            let what = format!("{name}, update by delta");
            again::rows(&what, &line, &app("target"), &ready)?.into_iter().for_each(|row| self.row(row));
        }
        Ok(())
    }

    /// What was said and taken, memory, time.
    fn own(&mut self, name: &str, device: &Device, first: &Update, second: &Update) -> Result<(), Failure> {
        let releases = [("base, whole", first), ("target, by delta", second)];
        if self.options.wants("said") {
            let rows: Vec<Row> =
                releases.iter().flat_map(|(what, update)| figures::said(&format!("{name}, {what}"), update)).collect();
            rows.into_iter().for_each(|row| self.row(row));
        }
        if self.options.wants("memory") {
            for (what, update) in releases {
                let most = update.staging.memory.max(update.switching.memory);
                self.row(Row::memory(format!("{name}, {what}: peak memory"), most, MEMORY_BARS.0));
            }
            let (all, own) = device.idle()?;
            let what = format!("{name}: memory of a daemon that waits, {own:.1} MiB of it its own");
            self.row(Row::limit(what, all, "MiB", MEMORY_BARS.1));
        }
        if self.options.wants("stopped") {
            let times = (0..self.options.runs).map(|_| own::stop_and_start(device, self.shell.directory(), name));
            let own = figures::median(times.collect::<Result<_, _>>()?);
            let what = format!("{name}: service not running in the switch, against its own stop and start with runc");
            self.row(Row::more(what, second.stopped, own, STOPPED_BAR));
        }
        Ok(())
    }

    /// What is fetched and kept, against others.
    fn against(&mut self, pair: &pairs::Layout, line: &Line, fetched: u64, kept: u64) -> Result<(), Failure> {
        let name = &pair.name;
        if !self.options.wants("fetch") && !self.options.wants("disk") {
            return Ok(());
        }
        let whole = peers::skopeo(&self.shell, line, name)?;
        let docker = peers::docker(&self.shell, line, pair)?;
        if self.options.wants("fetch") {
            let bar = if name == MOST { FETCHED_BARS.0 } else { FETCHED_BARS.1 };
            let what = format!("{name}: fetched for the update");
            self.row(Row::sizes(format!("{what}, against skopeo copy"), fetched, whole, bar));
            self.row(Row::sizes(format!("{what}, against docker pull above the base"), fetched, docker.fetched, bar));
        }
        if self.options.wants("disk") {
            let what = format!("{name}: current and previous kept");
            self.row(Row::sizes(format!("{what}, against blobs and overlay2"), kept, docker.with_blobs, KEPT_BARS.0));
            self.row(Row::sizes(format!("{what}, against dockerd alone"), kept, docker.alone, KEPT_BARS.1));
        }
        Ok(())
    }

    /// A whole image of six layers, fetched and cut.
    fn again(&mut self) -> Result<(), Failure> {
        image::make(&self.shell, CUT_IMAGE)?;
        self.shell.prepare("$UMIAK -q copy oci:layout:1 $REGISTRY/team/cut:1; rm -r layout tree")?;
        let line = Line::start(self.releases.port())?;
        let app = format!("{}/team/cut:1", line.address());
        let rows = again::rows("six layers, whole", &line, &app, &|| self.device("cut"))?;
        rows.into_iter().for_each(|row| self.row(row));
        Ok(())
    }

    /// One layer of about 300 MB into the store and into Docker: processor and memory.
    fn load(&mut self) -> Result<(), Failure> {
        load::prepare(&self.shell)?;
        let (mut ours, mut peers) = (Vec::new(), Vec::new());
        let mut memory: f64 = 0.0;
        for _ in 0..self.options.runs {
            let device = self.device("load")?;
            device.aim(&format!("{}/team/large:1", self.releases.address()))?;
            let run = device.stage()?;
            ours.push(run.cpu);
            memory = memory.max(run.memory);
            peers.push(load::docker(&self.shell)?);
        }
        let (ours, peer) = (figures::median(ours), figures::median(peers));
        self.row(Row::seconds("a layer of 300 MB taken in, against docker load".into(), ours, peer, LOAD_BAR));
        self.row(Row::memory("the same: peak memory".into(), memory, MEMORY_BARS.0));
        Ok(())
    }
}
