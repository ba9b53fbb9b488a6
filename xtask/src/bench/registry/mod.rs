//! `bench registry`: copies between two registries on loopback, against skopeo; and what is fetched twice after a cut.
//!
//! Both registries are Debian's docker-registry. The one that is copied to is empty before every run, and so are the
//! caches of both programs: each sends every blob.

pub(super) mod image;
pub(super) mod line;
pub(super) mod server;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use self::line::Line;
use self::server::Server;
use super::measure::{Run, Runs};
use super::shell::Shell;
use super::table::{self, Row};
use super::{Options, machine, program};
use crate::{Failure, peers};

/// Debian packages that the bench needs.
const PACKAGES: [&str; 5] = ["docker-registry", "gzip", "skopeo", "tar", "time"];

/// Wall time against skopeo's.
const WALL_BAR: f64 = 0.8;

/// The most memory that ours may take, in MiB.
const MEMORY_BAR: f64 = 64.0;

/// Bytes that may come twice.
const AGAIN_BAR: u64 = 1 << 20;

/// Cuts and kills that are tried; the worst counts.
const TRIES: u64 = 5;

/// What happens at a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// All connections are cut.
    Cut,
    /// The program is killed.
    Kill,
}

struct Bench<'a> {
    options: &'a Options,
    umiak: PathBuf,
    shell: Shell,
    from: Server,
    /// Bytes of all blobs.
    size: u64,
    rows: Vec<Row>,
}

/// Runs the measures that the options choose; prints the table and writes it down if asked.
///
/// # Errors
/// A peer is missing; a command failed.
pub fn bench(options: &Options) -> Result<(), Failure> {
    let missing = peers::install(&PACKAGES.map(str::to_owned).into())?;
    if !missing.is_empty() {
        return Err(format!("the bench needs: {}", peers::advice(&missing).join("; ")));
    }
    let machine = machine::describe(&["skopeo", "docker-registry"]);
    let (umiak, target) = program(options)?;
    let mut shell = Shell::new(&target, "registry")?;
    shell.set("UMIAK", umiak.as_os_str());
    shell.set("HOME", shell.directory().join("home").as_os_str());
    eprintln!("making the image");
    let size = image::make(&shell, 100)?;
    let from = Server::start(&shell.directory().join("from"))?;
    shell.set("FROM", from.address());
    shell.prepare("mkdir home; $UMIAK -q copy oci:layout:1 $FROM/team/app:1; rm -r layout home")?;
    let mut bench = Bench { options, umiak, shell, from, size, rows: Vec::new() };
    if options.wants("copy") {
        bench.copies()?;
    }
    if options.wants("again") {
        bench.cuts()?;
        bench.kills()?;
    }
    let how =
        if options.write { format!("cargo xtask bench registry --runs {}", options.runs) } else { "a part".into() };
    let text = format!(
        "`{how}`; an image of {} in {} layers; medians of {}, ours and the peer in turn; {machine}.\n\n{}",
        table::bytes(size),
        image::LAYERS.len(),
        options.runs,
        table::markdown(&bench.rows)
    );
    println!("{text}");
    if options.write { table::write("registry", &text) } else { Ok(()) }
}

impl Bench<'_> {
    fn row(&mut self, row: Row) {
        eprint!("{}", table::line(&row));
        self.rows.push(row);
    }

    /// One copy into an empty registry.
    fn copy(&mut self, script: &str) -> Result<Run, Failure> {
        let _ = std::fs::remove_dir_all(self.shell.directory().join("to"));
        let to = Server::start(&self.shell.directory().join("to"))?;
        self.shell.set("TO", to.address());
        self.shell.prepare("rm -rf home; mkdir home")?;
        self.shell.measure(script)
    }

    fn copies(&mut self) -> Result<(), Failure> {
        const OURS: &str = "$UMIAK -q copy $FROM/team/app:1 $TO/team/app:1";
        const PEERS: &str = "skopeo copy -q --src-tls-verify=false --dest-tls-verify=false --preserve-digests \
             docker://$FROM/team/app:1 docker://$TO/team/app:1";
        let (mut ours, mut peers) = (Runs::default(), Runs::default());
        for _ in 0..self.options.runs {
            ours.push(self.copy(OURS)?);
            peers.push(self.copy(PEERS)?);
        }
        let (Some(ours), Some(peer)) = (ours.median(), peers.median()) else { return Ok(()) };
        self.row(Row::times("copy from registry to registry".into(), ours, peer, WALL_BAR));
        self.row(Row::costs("the same, with peak memory".into(), ours, peer, None));
        self.row(Row::memory("peak memory of ours".into(), ours.memory, MEMORY_BAR));
        Ok(())
    }

    /// Pulls all of it over a line that stops once, and then what is left; returns what came twice.
    fn again(&mut self, stop: Stop, at: u64) -> Result<u64, Failure> {
        self.shell.prepare("rm -rf home layout; mkdir home")?;
        let line = Line::start(self.from.port())?;
        if stop == Stop::Cut {
            line.cut_after(at);
        }
        let pull = || {
            let mut umiak = Command::new(&self.umiak);
            umiak.args(["-q", "copy"]).arg(format!("{}/team/app:1", line.address())).arg("oci:layout:1");
            umiak.current_dir(self.shell.directory()).env("HOME", self.shell.directory().join("home"));
            umiak.stdin(Stdio::null()).stderr(Stdio::null());
            umiak
        };
        let failed = |error: std::io::Error| format!("cannot run umiak: {error}");
        let mut child = pull().spawn().map_err(failed)?;
        if stop == Stop::Kill {
            while line.passed() < at {
                std::thread::yield_now();
            }
            child.kill().map_err(failed)?;
        }
        let done = child.wait().map_err(failed)?.success();
        line.heal();
        if !done && !pull().status().map_err(failed)?.success() {
            return Err("the pull does not succeed although the line is whole".into());
        }
        Ok(line.passed().saturating_sub(self.size))
    }

    fn worst(&mut self, stop: Stop) -> Result<u64, Failure> {
        let mut worst = 0;
        for number in 1..=TRIES {
            // Anywhere in it, the same in every run of the bench.
            let at = (number * 0x9e37_79b9).wrapping_mul(0x85eb_ca6b) % self.size;
            worst = worst.max(self.again(stop, at)?);
        }
        Ok(worst)
    }

    fn cuts(&mut self) -> Result<(), Failure> {
        let worst = self.worst(Stop::Cut)?;
        self.row(Row::size(
            format!("fetched twice, all connections cut at some byte, worst of {TRIES}"),
            worst,
            AGAIN_BAR,
        ));
        Ok(())
    }

    fn kills(&mut self) -> Result<(), Failure> {
        let worst = self.worst(Stop::Kill)?;
        self.row(Row::size(format!("fetched twice, killed at some byte, worst of {TRIES}"), worst, AGAIN_BAR));
        Ok(())
    }
}
