//! How much of a file system is in use, now and at most while something runs.
//!
//! A look at it is taken between freezing and thawing: then everything is written out, nothing is reserved for what
//! is still to be written, and what was removed is gone. XFS alone would otherwise show many times what is taken: it
//! reserves for the worst case, and gives back when space runs out. ext4 reserves what it will take and is looked at
//! without freezing as well, far more often.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::{Failure, command};

/// Bytes and inodes in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InUse {
    pub bytes: u64,
    pub inodes: u64,
}

/// A look without freezing.
pub fn glance(path: &Path) -> Result<InUse, Failure> {
    let found = rustix::fs::statvfs(path).map_err(|error| format!("cannot look at {}: {error}", path.display()))?;
    Ok(InUse { bytes: (found.f_blocks - found.f_bfree) * found.f_frsize, inodes: found.f_files - found.f_ffree })
}

/// A look at what is really taken.
pub fn look(path: &Path) -> Result<InUse, Failure> {
    let freeze = |what| command::run_quietly(Command::new("fsfreeze").arg(what).arg(path));
    freeze("-f")?;
    let found = glance(path);
    freeze("-u")?;
    found
}

/// Freezes, looks and thaws until its input ends, and prints the most that it saw: one process, because two of
/// `fsfreeze` for every look take longer than the peak lasts. The numbers are FIFREEZE and FITHAW.
const FREEZING: &str = r"
import fcntl, os, select, sys
path = sys.argv[1]
directory = os.open(path, os.O_RDONLY)
most, inodes = 0, 0
while True:
    fcntl.ioctl(directory, 0xC0045877, 0)
    try:
        found = os.statvfs(path)
    finally:
        fcntl.ioctl(directory, 0xC0045878, 0)
    most = max(most, (found.f_blocks - found.f_bfree) * found.f_frsize)
    inodes = max(inodes, found.f_files - found.f_ffree)
    if select.select([sys.stdin], [], [], 0.001)[0]:
        break
print(most, inodes)
";

/// Looks again and again until it is asked.
pub enum Watch {
    /// Without freezing.
    Glancing { stop: Arc<AtomicBool>, thread: JoinHandle<Result<InUse, Failure>> },
    /// With.
    Freezing(Child),
}

impl Watch {
    pub fn start(path: PathBuf, freezing: bool) -> Result<Self, Failure> {
        if freezing {
            let mut python = Command::new("python3");
            python.args(["-c", FREEZING]).arg(path).stdin(Stdio::piped()).stdout(Stdio::piped());
            return python.spawn().map(Self::Freezing).map_err(|error| format!("cannot start python3: {error}"));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut most = glance(&path)?;
            while !stopped.load(Ordering::Relaxed) {
                let found = glance(&path)?;
                most = InUse { bytes: most.bytes.max(found.bytes), inodes: most.inodes.max(found.inodes) };
                std::thread::sleep(Duration::from_micros(300));
            }
            Ok(most)
        });
        Ok(Self::Glancing { stop, thread })
    }

    /// The most that was in use.
    pub fn most(self) -> Result<InUse, Failure> {
        match self {
            Self::Glancing { stop, thread } => {
                stop.store(true, Ordering::Relaxed);
                thread.join().map_err(|_| "the watch ended".to_owned())?
            }
            Self::Freezing(mut python) => {
                drop(python.stdin.take());
                let output = python.wait_with_output().map_err(|error| format!("python3: {error}"))?;
                let text = String::from_utf8_lossy(&output.stdout);
                let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
                let [bytes, inodes] = numbers[..] else {
                    return Err(format!("python3 saw nothing: {}", output.status));
                };
                Ok(InUse { bytes, inodes })
            }
        }
    }
}
