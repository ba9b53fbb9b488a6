//! How much of a file system is in use, now and at most while something runs.
//!
//! A look at it is taken between freezing and thawing: then everything is written out, nothing is reserved for what
//! is still to be written, and what was removed is gone. XFS alone would otherwise show many times what is taken: it
//! reserves for the worst case, and gives back when space runs out. ext4 reserves what it will take and is looked at
//! without freezing as well, far more often.

use std::path::{Path, PathBuf};
use std::process::Command;
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

/// Looks again and again until it is asked.
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<InUse, Failure>>,
}

impl Watch {
    pub fn start(path: PathBuf, freezing: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut most = look(&path)?;
            while !stopped.load(Ordering::Relaxed) {
                let found = if freezing { look(&path)? } else { glance(&path)? };
                most = InUse { bytes: most.bytes.max(found.bytes), inodes: most.inodes.max(found.inodes) };
                std::thread::sleep(Duration::from_micros(if freezing { 5000 } else { 300 }));
            }
            Ok(most)
        });
        Self { stop, thread }
    }

    /// The most that was in use.
    pub fn most(self) -> Result<InUse, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the watch ended".to_owned())?
    }
}
