//! Blobs that come while others change the store: they wait aside until somebody who may change it takes them in.
//!
//! ```text
//! incoming/lock           whoever makes or clears away a directory here
//!          <number>/      one sender's; locked as long as he is there
//!                   coming        the blob that is being written
//!                   <64 digits>   blobs that are whole
//! ```
//!
//! A sender may be slow: a package over a serial line takes hours. He holds neither of the store's locks meanwhile, so that
//! updates go on and things are pruned. Guarantees: a blob has its digits for a name once its length and digest were found
//! right and its bytes are durable, and only such are taken in; what a sender leaves behind who was killed goes when the
//! store is opened for changes. What is waiting is no blob: no ref can hold it, no query finds it.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use umiak_spec::{Digest, Observer, Sha256};

use crate::disk::{Disk, DiskFile};
use crate::durable;
use crate::error::{IoContext as _, StoreError};
use crate::lock;
use crate::store::{Store, StoreOptions};

/// The directory of all of them, in a store.
pub(crate) const DIRECTORY: &str = "incoming";

const LOCK: &str = "lock";

/// What a blob is called that is not whole.
const COMING: &str = "coming";

/// How long another sender may take to begin, or an opening store to clear away what was left behind.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long somebody who prunes is waited for: what came in hours is not given up for him.
const LOOK: Duration = Duration::from_secs(600);

/// How long is waited at a time.
const TURN: Duration = Duration::from_millis(200);

/// What one sender brings. Dropped, all of it is gone that was not taken in.
pub struct Incoming {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    /// Locked: what it says is that somebody is still there.
    _here: File,
}

/// A blob that is being written. Dropped unfinished, it is gone.
pub struct Coming<'i> {
    incoming: &'i Incoming,
    digest: Digest,
    size: u64,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    hash: Sha256,
    offset: u64,
    named: bool,
}

impl Store {
    /// A place for what comes now and is taken in later. It outlives this store, which may be open for reading only.
    ///
    /// # Errors
    /// The file system; `observer` says to stop; another sender takes too long to begin.
    pub fn incoming(&self, observer: &dyn Observer) -> Result<Incoming, StoreError> {
        let (root, disk) = (self.root.clone(), Arc::clone(&self.disk));
        let all = self.place(DIRECTORY);
        durable::make_directories(&*disk, &all)?;
        let _alone = patiently(PATIENCE, observer, |wait| lock::alone(&all.join(LOCK), &all, wait))?;
        let mut number = 0_u64;
        let directory = loop {
            let directory = all.join(number.to_string());
            match disk.mkdir(&directory) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                made => break made.at("create", &directory).map(|()| directory)?,
            }
        };
        let here = be_here(&directory).inspect_err(|_| {
            let _ = durable::remove_tree(&*disk, &directory); // cleared away when the store is opened, else
        });
        let here = here.at("lock", &directory)?;
        Ok(Incoming { root, disk, directory, _here: here })
    }

    /// Makes blobs of what came. Those that are here already stay as they are.
    ///
    /// # Errors
    /// The file system. What was taken in by then is whole, and held by nothing yet.
    pub fn take_in(&self, incoming: &Incoming) -> Result<(), StoreError> {
        self.updating()?;
        for digest in incoming.whole()? {
            if !self.has_blob(&digest) {
                let place = self.blob_path(&digest);
                self.disk.rename(&incoming.path(&digest), &place).at("create", &place)?;
            }
        }
        self.sync_names(&self.blobs())
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Incoming {
    /// The store, for a query: hold it no longer than that.
    ///
    /// # Errors
    /// As [`Store::open`]; `observer` says to stop; somebody prunes for minutes.
    pub fn look(&self, observer: &dyn Observer) -> Result<Store, StoreError> {
        patiently(LOOK, observer, |wait| {
            Store::open(&self.root, Arc::clone(&self.disk), &StoreOptions { wait, ..StoreOptions::READ })
        })
    }

    /// Keeps a blob that the store has from going, and gives whether it does: not where the store has it not, nor where the
    /// file system gives a file no second name. It takes no room as long as the store has the blob: it is the same file.
    /// One that is pruned meanwhile gives its room back only when this is dropped.
    ///
    /// # Errors
    /// The file system.
    pub fn keep(&self, digest: &Digest) -> Result<bool, StoreError> {
        let path = self.path(digest);
        match self.disk.link(&self.root.join("blobs").join("sha256").join(digest.hex()), &path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound || has_no_links(&error) => Ok(false),
            Err(error) => Err(error).at("create", &path),
        }
    }

    /// Begins the blob `digest` of `size` bytes; one at a time.
    ///
    /// # Errors
    /// The file system.
    pub fn begin(&self, digest: &Digest, size: u64) -> Result<Coming<'_>, StoreError> {
        let path = self.directory.join(COMING);
        let file = self.disk.create(&path).at("create", &path)?;
        let (digest, hash) = (*digest, Sha256::new());
        Ok(Coming { incoming: self, digest, size, path, file, hash, offset: 0, named: false })
    }

    /// What is here whole.
    fn whole(&self) -> Result<Vec<Digest>, StoreError> {
        let names = durable::entries(&self.directory)?;
        Ok(names.iter().filter_map(|name| Digest::from_hex(name).ok()).collect())
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.directory.join(digest.hex())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let _ = durable::remove_tree(&*self.disk, &self.directory); // cleared away when the store is opened, else
    }
}

impl fmt::Debug for Coming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coming").field("digest", &self.digest).field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl Coming<'_> {
    /// Adds bytes.
    ///
    /// # Errors
    /// [`StoreError::WrongLength`] for more than the blob's size; the file system.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let end = self.offset.saturating_add(bytes.len() as u64);
        if end > self.size {
            return Err(self.wrong_length(self.size + 1));
        }
        self.file.write_all_at(bytes, self.offset).at("write", &self.path)?;
        self.hash.update(bytes);
        self.offset = end;
        Ok(())
    }

    /// Verifies length and digest; then the blob is whole and its bytes are durable.
    ///
    /// # Errors
    /// [`StoreError::WrongLength`], [`StoreError::WrongDigest`]; the file system. Nothing of it stays.
    pub fn finish(mut self) -> Result<(), StoreError> {
        if self.offset != self.size {
            return Err(self.wrong_length(self.offset));
        }
        let found = std::mem::replace(&mut self.hash, Sha256::new()).finish();
        if found != self.digest {
            return Err(StoreError::WrongDigest { wanted: self.digest, found });
        }
        self.file.sync().at("sync", &self.path)?;
        let place = self.incoming.path(&self.digest);
        self.incoming.disk.rename(&self.path, &place).at("create", &place)?;
        self.named = true;
        Ok(())
    }

    fn wrong_length(&self, found: u64) -> StoreError {
        StoreError::WrongLength { digest: self.digest, wanted: self.size, found }
    }
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        if !self.named {
            let _ = self.incoming.disk.unlink(&self.path); // goes with its directory, else
        }
    }
}

/// Removes what senders left behind who are there no more; gives its names. Where one is just beginning, nothing: the next
/// opening does it. One who leaves meanwhile takes his own away.
pub(crate) fn clear(store: &Store) -> Result<Vec<String>, StoreError> {
    let all = store.place(DIRECTORY);
    let mut removed = Vec::new();
    let Ok(_alone) = lock::alone(&all.join(LOCK), &all, Duration::ZERO) else { return Ok(removed) };
    for name in durable::entries(&all)?.into_iter().filter(|name| name != LOCK) {
        let path = all.join(&name);
        if is_here(&path) {
            continue;
        }
        match durable::remove_tree(&*store.disk, &path) {
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            gone => gone.map(|()| removed.push(format!("{DIRECTORY}/{name}")))?,
        }
    }
    Ok(removed)
}

/// Says that its sender is there, as long as the answer is kept.
fn be_here(directory: &Path) -> io::Result<File> {
    let here = File::open(directory)?;
    here.try_lock()?;
    Ok(here)
}

/// Whether its sender is there. Only who can be asked is known to be gone.
fn is_here(directory: &Path) -> bool {
    be_here(directory).is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
}

/// Waits for somebody else, a little at a time, so that a request to stop is heard.
fn patiently<T>(
    patience: Duration,
    observer: &dyn Observer,
    attempt: impl Fn(Duration) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut waited = Duration::ZERO;
    loop {
        observer.check()?;
        match attempt(TURN) {
            Err(StoreError::Busy { .. }) if waited < patience => waited += TURN,
            other => return other,
        }
    }
}

/// Whether this is how a file system says that it gives no second name to a file: it knows none (vfat), this file has
/// as many as it can have, or it belongs to somebody else (`fs.protected_hardlinks`).
fn has_no_links(error: &io::Error) -> bool {
    let known = [Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS, Errno::MLINK, Errno::XDEV];
    known.iter().any(|known| error.raw_os_error() == Some(known.raw_os_error()))
}
