//! One lock per device directory: `.pvr/umiak.lock`, shared by queries, exclusive for changes.
//!
//! It keeps processes of umiak apart; pvr knows no lock and ignores the file. Within one [`crate::Repository`] value it
//! is re-entrant: who holds the lock can call every method. A directory that cannot be written to is not locked for
//! queries, since nothing can change it from here.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use umiak_spec::Observer;

use crate::durable;
use crate::error::{Error, IoContext};

/// Keeps other processes of umiak from changing the device directory until it is dropped.
#[derive(Debug, Clone)]
pub struct Lock(#[allow(dead_code)] Arc<Held>);

#[derive(Debug)]
struct Held {
    exclusive: bool,
    /// Unlocked when it is closed.
    _file: Option<File>,
}

/// The lock that this process holds, if any.
#[derive(Debug, Default)]
pub(crate) struct Current(Mutex<Weak<Held>>);

const RETRY: Duration = Duration::from_millis(50);

impl Current {
    pub(crate) fn take(&self, path: &Path, exclusive: bool, observer: &dyn Observer) -> Result<Lock, Error> {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = current.upgrade().filter(|held| held.exclusive || !exclusive) {
            return Ok(Lock(held));
        }
        let file = match durable::open_lock(path) {
            Ok(file) => Some(wait_for(file, path, exclusive, observer)?),
            Err(error) if !exclusive && is_read_only(&error) => None,
            Err(error) => return Err(error).at("lock", path),
        };
        let held = Arc::new(Held { exclusive, _file: file });
        *current = Arc::downgrade(&held);
        Ok(Lock(held))
    }
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// Waits until the lock is free, saying so once, and stops waiting when cancelled.
fn wait_for(file: File, path: &Path, exclusive: bool, observer: &dyn Observer) -> Result<File, Error> {
    let mut told = false;
    loop {
        match if exclusive { file.try_lock() } else { file.try_lock_shared() } {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error).at("lock", path),
            Err(TryLockError::WouldBlock) => {
                if !told {
                    observer.note("Waiting for another umiak that works on this directory");
                    told = true;
                }
                observer.check()?;
                std::thread::sleep(RETRY);
            }
        }
    }
}
