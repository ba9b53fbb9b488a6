//! What the shim is told (`shim.json`), what it tells (`state.json`), and the lock that says that it lives.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use umiak_spec::service::{Health, Logs, Protocol, Restart};

use crate::oci::place;
use crate::oci::runtime::Runtime;

/// What the shim is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Orders {
    pub service: String,
    /// As it is in names.
    #[serde(default)]
    pub revision: String,
    pub container: String,
    pub runtime: Runtime,
    pub stop_signal: i32,
    pub stop_grace: Duration,
    pub restart: Restart,
    pub health: Option<Health>,
    /// The network that probes are made in; none: the device's.
    pub network: Option<PathBuf>,
    pub logs: Logs,
    pub log_directory: PathBuf,
    pub ports: Vec<Forward>,
    /// Whether standard input stays open.
    pub stdin: bool,
    /// Files that say how often memory ran out (`oom_kill N`).
    pub memory_events: PathBuf,
    /// The device's name servers and the service's file that follows them.
    pub resolver: Option<PathBuf>,
}

/// A port that is passed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Forward {
    pub protocol: Protocol,
    pub listen: std::net::SocketAddr,
    pub to: std::net::SocketAddr,
}

/// How far a service is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    #[default]
    Starting,
    Running,
    Waiting,
    Stopping,
    Ended,
    Failed,
}

/// How healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Wellness {
    Starting,
    Healthy,
    Unhealthy,
}

/// What the shim saw last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub phase: Phase,
    pub pid: Option<i32>,
    /// Of the last end.
    pub code: Option<i32>,
    /// Whether it was asked to stop.
    pub stopped: bool,
    pub restarts: u32,
    /// Milliseconds on the clock that counts from the start of the device.
    pub since: Option<u64>,
    pub health: Option<Wellness>,
    pub detail: Option<String>,
    /// Nothing of the container is left.
    pub clean: bool,
}

impl Orders {
    pub(crate) fn read(directory: &Path) -> io::Result<Self> {
        place::read(&directory.join("shim.json"))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("no orders in {}", directory.display())))
    }
}

impl Seen {
    pub(crate) fn read(directory: &Path) -> Option<Self> {
        place::read(&directory.join("state.json"))
    }
}

/// Milliseconds since the start of the device, sleep included.
pub(crate) fn uptime() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    seconds.unwrap_or(0) * 1000 + nanos.unwrap_or(0) / 1_000_000
}

/// The process that holds an instance's lock: its shim lives. None: nobody does. Whoever looks shares the lock with others
/// who do, so that none is taken for a shim whose number the file has no more.
pub(crate) fn locked(directory: &Path) -> Option<i32> {
    let mut file = File::options().read(true).write(true).open(directory.join("lock")).ok()?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => None,
        Err(_) => {
            let mut text = String::new();
            file.by_ref().take(20).read_to_string(&mut text).ok()?;
            // Locked, but the number is not written yet: it is being started.
            Some(text.trim().parse().unwrap_or(0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_only_looks_is_no_shim() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("lock");
        // What a shim left that was killed: the number may be anybody's by now.
        std::fs::write(&path, "1").unwrap();
        let looker = File::open(&path).unwrap();
        rustix::fs::flock(&looker, FlockOperation::LockShared).unwrap();
        assert_eq!(locked(scratch.path()), None);
        drop(looker);
        let shim = File::open(&path).unwrap();
        rustix::fs::flock(&shim, FlockOperation::LockExclusive).unwrap();
        assert_eq!(locked(scratch.path()), Some(1));
    }
}
