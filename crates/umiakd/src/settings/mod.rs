//! The configuration file: what a device's keeper decides once. `/etc/umiak/umiakd.toml`, `docs/formats/umiakd-toml.md`.
//!
//! Guarantees: every value has a default, an absent file is all defaults; a key that is not known, or a value that makes
//! no sense, is refused with its line, never passed over. Nothing here is what the device should run: that is the target.

mod quantity;
mod window;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

pub use quantity::{Bytes, Time};
pub use window::{Window, until_open};

/// Where the file is unless `--config` says otherwise.
pub const PLACE: &str = "/etc/umiak/umiakd.toml";

/// The longest configuration that is read, in bytes.
const LONGEST: usize = 64 << 10;

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// The store's directory.
    pub store: PathBuf,
    /// What runs containers.
    pub engine: Engine,
    /// Program of the OCI runtime; the first of `crun` and `runc` that is there when it is not said.
    pub runtime: Option<PathBuf>,
    /// Socket of the Docker daemon.
    pub docker: PathBuf,
    /// The platform to run, as `linux/arm64`; the machine's own when it is not said.
    pub platform: Option<String>,
    /// A policy file: whose signatures are needed. None: `/etc/umiak/policy.json`, where it is there.
    pub policy: Option<PathBuf>,
    /// How registries are reached.
    pub registry: Registry,
    /// How much may be fetched, and how fast.
    pub fetch: Fetch,
    /// How full the disk may become, and what is kept.
    pub space: Space,
    /// How a new revision is judged.
    pub testing: Testing,
    /// How an app may ask to wait.
    pub wait: Wait,
    /// What the daemon does by itself.
    pub daemon: Daemon,
}

/// What runs containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// Docker where its socket is, else an OCI runtime.
    #[default]
    Auto,
    /// An OCI runtime: crun or runc.
    Oci,
    /// Docker with compose.
    Docker,
    /// None: the store is made for a device elsewhere.
    None,
}

/// How registries are reached.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Registry {
    /// Credentials in the form of Docker's `config.json`.
    pub credentials: Option<PathBuf>,
    /// Certificates to trust instead of the public ones, PEM.
    pub certificates: Option<PathBuf>,
    /// Accept registries without a valid certificate, and plain HTTP. Digests are verified all the same.
    pub insecure: bool,
    /// `no`, or the address of a proxy; what the environment says otherwise.
    pub proxy: Option<String>,
}

/// How much may be fetched, and how fast.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Fetch {
    /// Bytes a second, all connections together.
    pub limit_rate: Option<Bytes>,
    /// Most bytes of one update; what would take more is refused before the first byte.
    pub budget: Option<Bytes>,
    /// Blobs at once.
    pub jobs: u8,
}

impl Default for Fetch {
    fn default() -> Self {
        Self { limit_rate: None, budget: None, jobs: 3 }
    }
}

/// How full the disk may become, and what is kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Space {
    /// The most that the store may take; what the file system has when it is not said.
    pub limit: Option<Bytes>,
    /// Percent of the file system that may be in use, 20 to 99.
    pub watermark: u8,
    /// Revisions to keep beside current, previous and pinned ones.
    pub keep: u16,
    /// Prune after a commit.
    pub prune: bool,
}

impl Default for Space {
    fn default() -> Self {
        Self { limit: None, watermark: 80, keep: 0, prune: true }
    }
}

/// How a new revision is judged.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Testing {
    /// How long all services must be well before the revision is committed.
    pub window: Time,
    /// How long they may take to become well.
    pub patience: Time,
}

impl Default for Testing {
    fn default() -> Self {
        Self { window: Time(Duration::from_secs(60)), patience: Time(Duration::from_secs(300)) }
    }
}

/// How an app may ask to wait.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Wait {
    /// The longest that is waited for an app.
    pub longest: Time,
}

impl Default for Wait {
    fn default() -> Self {
        Self { longest: Time(Duration::from_secs(3600)) }
    }
}

/// What the daemon does by itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Daemon {
    /// How far it goes.
    pub mode: Mode,
    /// How often the target is looked at.
    pub poll: Time,
    /// Up to so much is added to each wait, so that a fleet does not ask all at once.
    pub jitter: Time,
    /// When it may fetch and switch; any time when there is none.
    pub windows: Vec<Window>,
    /// Its socket.
    pub socket: PathBuf,
    /// The group that may talk to it, beside root.
    pub group: String,
}

impl Default for Daemon {
    fn default() -> Self {
        Self {
            mode: Mode::Update,
            poll: Time(Duration::from_secs(300)),
            jitter: Time(Duration::from_secs(60)),
            windows: Vec::new(),
            socket: PathBuf::from("/run/umiak/umiakd.sock"),
            group: "umiak".to_owned(),
        }
    }
}

/// How far the daemon goes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It says what there is.
    Check,
    /// It fetches and stages; somebody else says when to switch.
    Stage,
    /// All of it: fetch, stage, switch, test, commit or go back.
    #[default]
    Update,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            store: PathBuf::from("/var/lib/umiak"),
            engine: Engine::Auto,
            runtime: None,
            docker: PathBuf::from("/var/run/docker.sock"),
            platform: None,
            policy: None,
            registry: Registry::default(),
            fetch: Fetch::default(),
            space: Space::default(),
            testing: Testing::default(),
            wait: Wait::default(),
            daemon: Daemon::default(),
        }
    }
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what a configuration looks like.
    #[error("{}:{line}: {message}", .path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
}

impl Settings {
    /// Reads the file at `named`, which must be there, or at [`PLACE`], which need not.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn read(named: Option<&Path>) -> Result<Self, SettingsError> {
        let path = named.unwrap_or(Path::new(PLACE));
        match std::fs::read(path) {
            Ok(bytes) => Self::parse(path, &bytes),
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(SettingsError::Read { path: path.to_owned(), source }),
        }
    }

    /// Reads a configuration's bytes; `path` is for errors.
    ///
    /// # Errors
    /// [`SettingsError::Malformed`].
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, SettingsError> {
        let wrong = |line, message: String| SettingsError::Malformed { path: path.to_owned(), line, message };
        if bytes.len() > LONGEST {
            return Err(wrong(1, format!("longer than {LONGEST} bytes")));
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|error| wrong(line_of(bytes, error.valid_up_to()), "not UTF-8".into()))?;
        let settings: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(bytes, span.start));
            wrong(line, error.message().to_owned())
        })?;
        settings.check().map_err(|(key, message)| wrong(line_with(text, key), message))?;
        Ok(settings)
    }

    /// What types cannot say.
    fn check(&self) -> Result<(), (&'static str, String)> {
        if !(20..=99).contains(&self.space.watermark) {
            return Err(("watermark", format!("a watermark of {} % is outside 20 to 99", self.space.watermark)));
        }
        if !(1..=32).contains(&self.fetch.jobs) {
            return Err(("jobs", format!("{} blobs at once are outside 1 to 32", self.fetch.jobs)));
        }
        if self.fetch.limit_rate.is_some_and(|rate| rate.0 < 1024) {
            return Err(("limit-rate", "a rate below 1 KiB a second would never end".into()));
        }
        if self.daemon.poll.0 < Duration::from_secs(1) {
            return Err(("poll", "polling more than once a second helps nobody".into()));
        }
        if let Some(window) = self.daemon.windows.iter().find(|window| window.lasts() <= self.daemon.jitter.0) {
            let (lasts, jitter) = (umiak_ui::span(window.lasts()), umiak_ui::span(self.daemon.jitter.0));
            return Err((
                "windows",
                format!("a window of {lasts} is over within the jitter of {jitter}: it might be missed"),
            ));
        }
        for (key, path) in [("store", &self.store), ("socket", &self.daemon.socket), ("docker", &self.docker)] {
            if !path.is_absolute() {
                return Err((key, format!("{} is not an absolute path", path.display())));
            }
        }
        Ok(())
    }
}

/// The line of a byte, from 1.
fn line_of(bytes: &[u8], at: usize) -> usize {
    1 + bytes.iter().take(at).filter(|byte| **byte == b'\n').count()
}

/// The first line that sets `key`; 1 when none does.
fn line_with(text: &str, key: &str) -> usize {
    let sets = |line: &str| line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='));
    text.lines().position(sets).map_or(1, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, String> {
        Settings::parse(Path::new("umiakd.toml"), text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_all_defaults() {
        assert_eq!(parse("").unwrap(), Settings::default());
        assert_eq!(
            Settings::read(Some(Path::new("/nonexistent/umiakd.toml"))).unwrap_err().to_string(),
            "cannot read /nonexistent/umiakd.toml"
        );
    }

    #[test]
    fn what_is_written_counts() {
        let text = "engine = \"oci\"\nstore = \"/data/umiak\"\n[fetch]\nlimit-rate = \"200 KiB\"\nbudget = 1048576\n\
                    [daemon]\nmode = \"stage\"\npoll = \"1 h\"\nwindows = [\"Mon-Fri 01:00-05:00\"]\n";
        let settings = parse(text).unwrap();
        assert_eq!(settings.engine, Engine::Oci);
        assert_eq!(settings.fetch.limit_rate, Some(Bytes(200 << 10)));
        assert_eq!(settings.fetch.budget, Some(Bytes(1 << 20)));
        assert_eq!((settings.daemon.mode, settings.daemon.windows.len()), (Mode::Stage, 1));
        assert_eq!(settings.space, Space::default());
    }

    #[test]
    fn what_makes_no_sense_is_told_with_its_line() {
        for (text, expected) in [
            ("[fetch]\nlimitrate = 5\n", "umiakd.toml:2: unknown field `limitrate`"),
            ("\n[space]\nwatermark = 5\n", "umiakd.toml:3: a watermark of 5 % is outside 20 to 99"),
            ("store = \"umiak\"\n", "umiakd.toml:1: umiak is not an absolute path"),
            ("[daemon]\nwindows = [\"noon\"]\n", "umiakd.toml:2: `noon` is no window"),
            ("[daemon]\npoll = \"soon\"\n", "umiakd.toml:2: `soon` is no time"),
            ("store = \n", "umiakd.toml:1: "),
            (
                "[daemon]\njitter = \"1 h\"\nwindows = [\"01:00-02:00\"]\n",
                "umiakd.toml:3: a window of 1 h is over within the jitter of 1 h: it might be missed",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
        assert_eq!(parse("[fetch]\njobs = 0").unwrap_err(), "umiakd.toml:2: 0 blobs at once are outside 1 to 32");
    }
}
