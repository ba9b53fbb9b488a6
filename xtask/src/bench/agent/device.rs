//! A device: a file system of its own, umiakd's configuration on it, and umiakd's verbs.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use umiak_testkit::volume::{FileSystem, Volume};

use super::super::fit::watch::{InUse, Watch, look};
use super::super::measure::Run;
use super::super::shell::Shell;
use crate::{Failure, command};

/// Bytes of the file system.
const SIZE: u64 = 3 << 30;

/// Where Debian has it.
const RUNC: &str = "/usr/sbin/runc";

/// How long a daemon may take until it waits.
const PATIENCE: Duration = Duration::from_secs(30);

/// A device; its file system is unmounted when it is dropped.
pub struct Device {
    umiakd: PathBuf,
    /// In use when nothing was stored.
    empty: InUse,
    volume: Volume,
}

/// What an update said, and took.
pub struct Update {
    /// What `check --json` said before.
    pub said: Value,
    /// What `update --json` said.
    pub outcome: Value,
    pub before: InUse,
    pub most: InUse,
    pub last: InUse,
    /// What the device keeps now more than an empty one.
    pub kept: u64,
}

impl Device {
    /// An ext4 with an umiakd that runs containers with runc and reaches registries on loopback.
    ///
    /// # Errors
    /// No root; the file system cannot be made.
    pub fn new(scratch: &Path, name: &str, umiakd: &Path) -> Result<Self, Failure> {
        let volume = Volume::make(scratch, &format!("device-{name}"), FileSystem::Ext4, 4096, SIZE).map_err(said)?;
        let text = format!(
            "store = \"{0}/store\"\nengine = \"oci\"\nruntime = \"{1}\"\n\n[registry]\ninsecure = true\n\n\
             [space]\nwatermark = 99\n\n[testing]\nwindow = \"1 s\"\n\n[daemon]\nsocket = \"{0}/run/umiakd.sock\"\n",
            volume.path().display(),
            RUNC
        );
        std::fs::write(volume.path().join("umiakd.toml"), text).map_err(said)?;
        std::fs::create_dir_all(volume.path().join("run")).map_err(said)?;
        let empty = look(volume.path())?;
        Ok(Self { umiakd: umiakd.to_owned(), empty, volume })
    }

    fn command(&self, verb: &[&str]) -> Command {
        let mut command = Command::new(&self.umiakd);
        command.arg("--config").arg(self.volume.path().join("umiakd.toml")).arg("--json").args(verb);
        command.env("HOME", self.volume.path()).stdin(Stdio::null());
        command
    }

    fn verb(&self, verb: &[&str]) -> Result<Value, Failure> {
        let mut command = self.command(verb);
        let output = command.output().map_err(said)?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{}: {}: {why}", command::typed(&command), output.status));
        }
        // What a verb says is one document; facts on the way are on the other stream.
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).map_err(|error| format!("{} printed no JSON: {error}", command::typed(&command)))
    }

    /// Brings the device to an app's release, and watches.
    ///
    /// # Errors
    /// umiakd fails.
    pub fn update(&self, app: &str) -> Result<Update, Failure> {
        self.verb(&["target", "set", app])?;
        let before = look(self.volume.path())?;
        let said = self.verb(&["check"])?;
        let watch = Watch::start(self.volume.path().to_owned(), false)?;
        let outcome = self.verb(&["update", "--yes"]);
        let most = watch.most()?;
        let outcome = outcome?;
        let last = look(self.volume.path())?;
        let most = InUse { bytes: most.bytes.max(last.bytes), inodes: most.inodes.max(last.inodes) };
        Ok(Update { said, outcome, before, most, last, kept: last.bytes - self.empty.bytes })
    }

    /// Fetches and stages an app's release.
    ///
    /// # Errors
    /// umiakd fails: the line was cut.
    pub fn stage(&self, app: &str) -> Result<(), Failure> {
        self.verb(&["target", "set", app])?;
        self.verb(&["update", "--stage-only"]).map(drop)
    }

    /// Fetches and stages a release; processor and memory of it.
    ///
    /// # Errors
    /// umiakd fails.
    pub fn measured(&self, shell: &Shell, app: &str) -> Result<Run, Failure> {
        self.verb(&["target", "set", app])?;
        let (program, place) = (self.umiakd.display(), self.volume.path().display());
        shell.measure(&format!("HOME={place} {program} --config {place}/umiakd.toml -q update --stage-only"))
    }

    /// Resident memory of a daemon that has nothing to do, in MiB.
    ///
    /// # Errors
    /// It ends, or does not listen within [`PATIENCE`].
    pub fn idle(&self) -> Result<f64, Failure> {
        let mut daemon =
            Running(self.command(&["daemon"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(said)?);
        let socket = self.volume.path().join("run/umiakd.sock");
        let deadline = Instant::now() + PATIENCE;
        while !socket.exists() {
            if let Some(status) = daemon.0.try_wait().map_err(said)? {
                return Err(format!("umiakd daemon ended: {status}"));
            }
            if Instant::now() > deadline {
                return Err("umiakd daemon does not listen".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.0.id())).map_err(said)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("there is no VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().map_err(said)?;
        Ok(kib / 1024.0)
    }
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
