//! The most that an update takes of a file system, looked at all the time while it runs.
//!
//! umiakd holds what it will need in a file of its own and gives it back as it writes: what is only held is taken off, so
//! that the figure is what was written, not what was foretold.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::super::fit::watch::glance;
use crate::Failure;

/// Between two looks.
const MOMENT: Duration = Duration::from_micros(300);

/// Bytes of a block of `stat`.
const BLOCK: u64 = 512;

/// Looks again and again until it is asked.
pub struct Room {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64, Failure>>,
}

impl Room {
    /// Watches the file system at `place`, on which `held` is the file that holds space.
    pub fn watch(place: PathBuf, held: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut most = 0;
            loop {
                let (before, used, after) = (blocks(&held), glance(&place)?.bytes, blocks(&held));
                // What was given back between two looks would be counted as written.
                if before == after {
                    most = most.max(used.saturating_sub(after));
                }
                if stopped.load(Ordering::Relaxed) {
                    return Ok(most);
                }
                std::thread::sleep(MOMENT);
            }
        });
        Self { stop, thread }
    }

    /// The most bytes that were in use.
    ///
    /// # Errors
    /// The file system could not be looked at.
    pub fn most(self) -> Result<u64, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the watch ended".to_owned())?
    }
}

fn blocks(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |found| found.blocks() * BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_is_seen() {
        let room = Room::watch(std::env::temp_dir(), "/nonexistent".into());
        assert!(room.most().unwrap() > 0);
    }
}
