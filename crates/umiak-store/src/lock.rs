//! Who may do what at a time, across processes: two files with `flock`, which the kernel releases whatever becomes of us.
//!
//! `updater` is held by the one process that changes the store. `lock` is shared by readers, and taken alone while
//! objects are removed, so that nothing goes away under a reader. Neither file is ever removed; what is in them is for
//! people. Who only brings something needs neither: see [`crate::Incoming`].

use std::fs::{File, TryLockError};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::durable;
use crate::error::{IoContext as _, StoreError};
use crate::store::{Access, StoreOptions};

const READERS: &str = "lock";
const UPDATER: &str = "updater";

/// How often a lock that somebody else has is tried.
const RETRY: Duration = Duration::from_millis(20);

/// The locks of an open store; given up when it is dropped.
pub(crate) struct Locks {
    root: PathBuf,
    _held: Option<File>,
}

impl Locks {
    /// The lock that `options.access` needs.
    pub(crate) fn take(root: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        let held = match options.access {
            Access::Read => shared(root, options.wait)?,
            Access::Update => Some(updater(root, options.wait)?),
        };
        Ok(Self { root: root.to_owned(), _held: held })
    }

    /// Waits until nobody reads; nobody will until the answer is dropped.
    pub(crate) fn exclude_readers(&self, wait: Duration) -> Result<File, StoreError> {
        alone(&self.root.join(READERS), &self.root, wait)
    }
}

/// `None` where there is no such file: nobody has changed this store, and nobody can without making it.
fn shared(root: &Path, wait: Duration) -> Result<Option<File>, StoreError> {
    let path = root.join(READERS);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.at("open", &path)?,
    };
    take(&path, wait, || file.try_lock_shared(), || StoreError::Busy { path: root.to_owned(), holder: None })?;
    Ok(Some(file))
}

fn updater(root: &Path, wait: Duration) -> Result<File, StoreError> {
    let readers = root.join(READERS);
    durable::open_lock(&readers).at("create", &readers)?;
    let path = root.join(UPDATER);
    let file = durable::open_lock(&path).at("create", &path)?;
    take(&path, wait, || file.try_lock(), || StoreError::Busy { path: root.to_owned(), holder: holder(&path) })?;
    durable::note_holder(&file); // a courtesy: the lock is what counts
    Ok(file)
}

fn take(
    path: &Path,
    wait: Duration,
    attempt: impl Fn() -> Result<(), TryLockError>,
    busy: impl Fn() -> StoreError,
) -> Result<(), StoreError> {
    let mut waited = Duration::ZERO;
    loop {
        match attempt() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error).at("lock", path),
            Err(TryLockError::WouldBlock) if waited >= wait => return Err(busy()),
            Err(TryLockError::WouldBlock) => {
                std::thread::sleep(RETRY);
                waited += RETRY;
            }
        }
    }
}

/// Takes a lock that is nobody's for long, of a file that is made where it is missing. `store` is what messages name.
pub(crate) fn alone(path: &Path, store: &Path, wait: Duration) -> Result<File, StoreError> {
    let file = durable::open_lock(path).at("open", path)?;
    take(path, wait, || file.try_lock(), || StoreError::Busy { path: store.to_owned(), holder: None })?;
    Ok(file)
}

fn holder(path: &Path) -> Option<u32> {
    let mut text = String::new();
    File::open(path).ok()?.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
