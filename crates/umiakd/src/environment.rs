//! The one place that reads the environment, and what it decides from it.

use std::ffi::OsString;
use std::path::PathBuf;

/// What umiakd knows of the world it was started in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// The program itself: it is started again for each verb of the daemon, and for each service.
    pub program: PathBuf,
    /// The words behind the program's name, for the daemon to run.
    pub words: Vec<String>,
    /// Whether this is root, who needs no daemon.
    pub root: bool,
    /// The service manager's socket (`NOTIFY_SOCKET`).
    pub notify: Option<OsString>,
    /// How often the service manager wants a sign of life, in microseconds (`WATCHDOG_USEC`).
    pub watchdog: Option<String>,
    /// In builds for tests: cut the power at this durable operation (`UMIAK_CRASH_AT`).
    pub crash_at: Option<u64>,
}

impl Environment {
    /// Reads the process's environment.
    #[must_use]
    pub fn read() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            program: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/usr/bin/umiakd")),
            words: std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect(),
            root: rustix::process::geteuid().is_root(),
            notify: std::env::var_os("NOTIFY_SOCKET").filter(|value| !value.is_empty()),
            watchdog: text("WATCHDOG_USEC"),
            crash_at: text("UMIAK_CRASH_AT").and_then(|count| count.parse().ok()),
        }
    }
}
