//! What a service may use up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Limits of a service; none: no limit but the device's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of memory that it gets back to when memory is short.
    pub memory_reservation: Option<u64>,
    /// Bytes of memory and swap together; none: as much swap as memory.
    pub memory_swap: Option<Swap>,
    /// Processor time, in billionths of one processor.
    pub cpu_nanos: Option<u64>,
    /// Its weight against others, 2 to 262144; 1024 is usual.
    pub cpu_shares: Option<u64>,
    /// The processors that it may run on, as `0-1,3`.
    pub cpuset: Option<String>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Limits of each process, by names as `nofile`.
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Bytes of `/dev/shm`; none: 64 MiB.
    pub shm_size: Option<u64>,
    /// How soon it is killed when memory runs out, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// Whether it waits for memory in place of being killed.
    pub oom_kill_disable: bool,
}

/// A limit of memory and swap together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Swap {
    /// Bytes, memory included.
    Bytes(u64),
    /// As much as there is.
    Unlimited,
}

/// A limit of each process. None is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// What holds.
    pub soft: Option<u64>,
    /// What the process may raise it to.
    pub hard: Option<u64>,
}

/// Why a limit is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UlimitError {
    /// Not a limit that Linux has.
    #[error("there is no limit `{0}`")]
    Name(String),
    /// The soft one must not be above the hard one.
    #[error("the soft limit is above the hard one")]
    Order,
}

impl Ulimit {
    /// The names of limits, as Docker and `/etc/security/limits.conf` have them; in capitals with `RLIMIT_` in front they
    /// are the kernel's.
    pub const NAMES: [&'static str; 15] = [
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];

    /// Checks name and order.
    ///
    /// # Errors
    /// [`UlimitError`].
    pub fn check(self, name: &str) -> Result<Self, UlimitError> {
        if !Self::NAMES.contains(&name) {
            return Err(UlimitError::Name(name.chars().take(100).collect()));
        }
        let or_all = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
        if or_all(self.soft) > or_all(self.hard) { Err(UlimitError::Order) } else { Ok(self) }
    }
}
