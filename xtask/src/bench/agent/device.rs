//! A device: a file system of its own, umiakd's configuration on it, and umiakd's verbs.
//!
//! What lasts until the next start of a device lies elsewhere, as it does on devices: beside the file system. What runs when
//! the value is dropped is ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use umiak_testkit::volume::{FileSystem, Volume};

use super::super::fit::watch::{InUse, look};
use super::super::measure::Run;
use super::gap::Gap;
use super::room::Room;
use crate::{Failure, command};

/// Bytes of the file system.
const SIZE: u64 = 3 << 30;

/// Where Debian has it.
pub const RUNC: &str = "/usr/sbin/runc";

/// How long a process may take until it does what it is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at a process.
const MOMENT: Duration = Duration::from_millis(20);

/// How long a daemon has nothing to do before its memory is looked at.
const IDLE: Duration = Duration::from_secs(3);

/// A device; its file system is unmounted when it is dropped.
pub struct Device {
    umiakd: PathBuf,
    run: PathBuf,
    /// In use when nothing was stored.
    empty: InUse,
    volume: Volume,
}

/// What an update said, and took.
pub struct Update {
    /// What `check --json` said before.
    pub said: Value,
    /// In use when it was said.
    pub before: InUse,
    /// The most in use while it was fetched and staged, without what was only held.
    pub most: u64,
    pub last: InUse,
    /// What the device keeps now more than an empty one.
    pub kept: u64,
    /// Processor and memory of setting the target.
    pub setting: Run,
    /// Of fetching and staging.
    pub staging: Run,
    /// And of switching.
    pub switching: Run,
    /// Seconds that the service did not run at most, where somebody looked.
    pub stopped: f64,
}

impl Device {
    /// An ext4 with an umiakd that runs containers with runc, reaches registries on loopback, and verifies signatures if it is
    /// given a policy.
    ///
    /// # Errors
    /// No root; the file system cannot be made.
    pub fn new(scratch: &Path, name: &str, umiakd: &Path, policy: Option<&Path>) -> Result<Self, Failure> {
        let volume = Volume::make(scratch, &format!("device-{name}"), FileSystem::Ext4, 4096, SIZE).map_err(said)?;
        let run = scratch.join(format!("run-{name}"));
        let policy = policy.map(|policy| format!("policy = \"{}\"\n", policy.display())).unwrap_or_default();
        let text = format!(
            "store = \"{}/store\"\nengine = \"oci\"\nruntime = \"{RUNC}\"\n{policy}\n[registry]\ninsecure = true\n\n\
             [space]\nwatermark = 99\n\n[testing]\nwindow = \"1 s\"\n\n[daemon]\nsocket = \"{}/umiakd.sock\"\n",
            volume.path().display(),
            run.display()
        );
        fs::create_dir_all(&run).map_err(said)?;
        fs::write(run.join("umiakd.toml"), text).map_err(said)?;
        let empty = look(volume.path())?;
        Ok(Self { umiakd: umiakd.to_owned(), run, empty, volume })
    }

    /// Where what lasts until the next start lies.
    pub fn run(&self) -> &Path {
        &self.run
    }

    fn command(&self, verb: &[&str]) -> Command {
        self.with(Command::new(&self.umiakd), verb)
    }

    fn with(&self, mut command: Command, verb: &[&str]) -> Command {
        command.arg("--config").arg(self.run.join("umiakd.toml")).arg("--json").args(verb);
        command.env("HOME", &self.run).stdin(Stdio::null());
        command
    }

    fn verb(&self, verb: &[&str]) -> Result<Value, Failure> {
        let mut command = self.command(verb);
        let text = finished(&command.output().map_err(said)?, &command)?;
        // What a verb says is one document; facts on the way are on the other stream.
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).map_err(|error| format!("{} printed no JSON: {error}", command::typed(&command)))
    }

    /// A verb, and what it took.
    fn costs(&self, verb: &[&str]) -> Result<Run, Failure> {
        let report = self.run.join("measured");
        let mut time = Command::new("time");
        time.args(["-q", "-f", "%U %S %M", "-o"]).arg(&report).arg(&self.umiakd);
        let mut command = self.with(time, verb);
        let start = Instant::now();
        finished(&command.output().map_err(said)?, &command)?;
        let wall = start.elapsed().as_secs_f64();
        let text = fs::read_to_string(&report).map_err(said)?;
        Run::parse(wall, &text).ok_or_else(|| format!("cannot understand the times `{text}`"))
    }

    /// Brings the device to an app's release or to a package, first all but the switch, and watches; also a service that has `word` on
    /// its command line.
    ///
    /// # Errors
    /// umiakd fails.
    pub fn update(&self, app: &str, word: Option<String>) -> Result<Update, Failure> {
        let setting = self.costs(&["target", "set", app])?;
        let said = self.verb(&["check"])?;
        let before = look(self.volume.path())?;
        let room = Room::watch(self.volume.path().to_owned(), self.volume.path().join("store/store/reserve"));
        let staging = self.costs(&["update", "--stage-only"]);
        let gap = word.map(Gap::watch);
        let switching = staging.is_ok().then(|| self.costs(&["update", "--yes"])).transpose();
        let stopped = gap.map_or(Ok(0.0), |gap| gap.longest().map(|found| found.most))?;
        let most = room.most()?;
        let staging = staging?;
        let switching = switching?.unwrap_or(staging);
        let last = look(self.volume.path())?;
        let (most, kept) = (most.max(last.bytes), last.bytes - self.empty.bytes);
        Ok(Update { said, before, most, last, kept, setting, staging, switching, stopped })
    }

    /// Sets what the device is to be brought to.
    ///
    /// # Errors
    /// umiakd fails.
    pub fn aim(&self, app: &str) -> Result<(), Failure> {
        self.verb(&["target", "set", app]).map(drop)
    }

    /// Fetches and stages the target.
    ///
    /// # Errors
    /// umiakd fails: the line was cut.
    pub fn stage(&self) -> Result<Run, Failure> {
        self.costs(&["update", "--stage-only"])
    }

    /// The same, killed when `reached` says so; whether it was.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn killed(&self, reached: impl Fn() -> bool) -> Result<bool, Failure> {
        let mut command = self.command(&["update", "--stage-only"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(said)?;
        while child.try_wait().map_err(said)?.is_none() {
            if reached() {
                child.kill().map_err(said)?;
                child.wait().map_err(said)?;
                return Ok(true);
            }
            std::thread::yield_now();
        }
        Ok(false)
    }

    /// Resident memory of a daemon that has nothing to do, in MiB: all of it, and what is its own.
    ///
    /// # Errors
    /// It ends, or does not listen in time.
    pub fn idle(&self) -> Result<(f64, f64), Failure> {
        let mut command = self.command(&["daemon"]);
        let mut daemon = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(said)?);
        let socket = self.run.join("umiakd.sock");
        let deadline = Instant::now() + PATIENCE;
        while !socket.exists() {
            if let Some(status) = daemon.0.try_wait().map_err(said)? {
                return Err(format!("umiakd daemon ended: {status}"));
            }
            if Instant::now() > deadline {
                return Err("umiakd daemon does not listen".into());
            }
            std::thread::sleep(MOMENT);
        }
        std::thread::sleep(IDLE);
        let status = fs::read_to_string(format!("/proc/{}/status", daemon.0.id())).map_err(said)?;
        let mib = |key: &str| -> Result<f64, Failure> {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).ok_or("a figure is missing")?;
            line.trim().trim_end_matches(" kB").parse::<f64>().map(|kib| kib / 1024.0).map_err(said)
        };
        Ok((mib("VmRSS:")?, mib("RssAnon:")?))
    }

    /// Ends what watches over services, which ends them, and unmounts what they ran from.
    fn end(&self) {
        let words = self.run.display().to_string();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if !String::from_utf8_lossy(&line).contains(&words) {
                continue;
            }
            let _ = command::run_quietly(Command::new("kill").arg(entry.file_name()));
            let deadline = Instant::now() + PATIENCE;
            while entry.path().join("exe").exists() && Instant::now() < deadline {
                std::thread::sleep(MOMENT);
            }
        }
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = table.lines().filter_map(|line| line.split(' ').nth(4));
        let mut ours: Vec<&str> = points.filter(|point| Path::new(point).starts_with(&self.run)).collect();
        // What was mounted last may lie on what was mounted before.
        ours.reverse();
        for point in ours {
            let _ = command::run_quietly(Command::new("umount").arg("-l").arg(point));
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a command printed, if it succeeded.
fn finished(output: &Output, command: &Command) -> Result<String, Failure> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {}: {why}", command::typed(command), output.status))
}

/// A process that is ended when it is no longer needed.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn said(error: impl std::fmt::Display) -> Failure {
    error.to_string()
}
