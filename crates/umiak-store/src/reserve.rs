//! Space that is held while an update runs, and given back as things land.
//!
//! The file `reserve` takes its blocks with `fallocate`. Before each write of the store as many bytes are cut off its end,
//! so what was reserved turns into what is written and nobody else can take it in between. Opening the store for changes
//! removes a reserve that a crash left behind.
//!
//! Not done: where the file system has no `fallocate`, the free space is compared and nothing is held.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use umiak_spec::ReadAt;

use crate::disk::{Disk, DiskFile};
use crate::error::{IoContext as _, StoreError};
use crate::store::Store;

/// Given back at a time at least, so that small writes do not each cut the reserve.
const STEP: u64 = 1 << 20;

/// Bytes that a directory takes when it is made.
const DIRECTORY: u64 = 4096;

/// The reserve of one store.
pub(crate) struct Space {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    file: Option<Arc<dyn DiskFile>>,
    bytes: u64,
    /// Given back and not written yet.
    credit: u64,
}

impl Space {
    pub(crate) fn new(path: PathBuf, disk: Arc<dyn Disk>) -> Self {
        Self { path, disk, held: Mutex::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives back what a write of `bytes` needs.
    fn written(&self, bytes: u64) -> io::Result<()> {
        let mut held = self.held();
        if held.file.is_none() || held.credit >= bytes {
            held.credit = held.credit.saturating_sub(bytes);
            return Ok(());
        }
        let needed = bytes - held.credit;
        let given = needed.max(STEP).min(held.bytes);
        shrink(&mut held, given)?;
        held.credit = given.saturating_sub(needed);
        Ok(())
    }
}

fn shrink(held: &mut Held, by: u64) -> io::Result<()> {
    let left = held.bytes.saturating_sub(by);
    if let Some(file) = held.file.as_ref().filter(|_| left < held.bytes) {
        file.set_len(left)?;
    }
    held.bytes = left;
    Ok(())
}

fn is_no_space(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Space that is held for us. What is left of it is given back when this is dropped.
#[must_use]
pub struct Reservation<'s> {
    store: &'s Store,
}

impl fmt::Debug for Reservation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("remaining", &self.remaining()).finish_non_exhaustive()
    }
}

impl Reservation<'_> {
    /// Bytes that are still held.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.store.space.held().bytes
    }

    /// Holds `bytes` from now on, whatever was held before: more is taken from the file system, less is given back.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`], and as much as before is held; the file system.
    pub fn hold(&self, bytes: u64) -> Result<(), StoreError> {
        let space = &self.store.space;
        let mut held = space.held();
        held.credit = 0;
        if bytes <= held.bytes {
            let by = held.bytes - bytes;
            return shrink(&mut held, by).at("shrink", &space.path);
        }
        let Some(file) = held.file.clone() else {
            // The file system cannot hold space: what is free is compared.
            let free = self.store.free()?.bytes;
            return if free < bytes { Err(StoreError::NoSpace { wanted: bytes, free }) } else { Ok(()) };
        };
        let before = held.bytes;
        match file.allocate(bytes) {
            Ok(()) => {
                held.bytes = bytes;
                Ok(())
            }
            Err(error) if is_no_space(&error) => {
                file.set_len(before).at("shrink", &space.path)?;
                let free = self.store.free()?.bytes;
                Err(StoreError::NoSpace { wanted: bytes - before, free })
            }
            Err(error) => Err(error).at("reserve space in", &space.path),
        }
    }

    /// Gives back `bytes` for a use that does not go through the store.
    ///
    /// # Errors
    /// The file system.
    pub fn release(&self, bytes: u64) -> Result<(), StoreError> {
        let space = &self.store.space;
        shrink(&mut space.held(), bytes).at("shrink", &space.path)
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let space = &self.store.space;
        *space.held() = Held::default();
        let _ = space.disk.unlink(&space.path); // removed when the store is opened, else
    }
}

impl Store {
    /// Holds `bytes` of the file system's space until they are written through the store or given back.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`]; [`StoreError::AlreadyReserved`]; the file system.
    pub fn reserve(&self, bytes: u64) -> Result<Reservation<'_>, StoreError> {
        self.updating()?;
        let space = &self.space;
        let mut held = space.held();
        if held.file.is_some() {
            return Err(StoreError::AlreadyReserved);
        }
        if space.path.exists() {
            // An earlier one that could not be removed.
            space.disk.unlink(&space.path).at("remove", &space.path)?;
        }
        let file = space.disk.create(&space.path).at("create", &space.path)?;
        match file.allocate(bytes) {
            Ok(()) => *held = Held { file: Some(file), bytes, credit: 0 },
            Err(error) => {
                drop(file);
                space.disk.unlink(&space.path).at("remove", &space.path)?;
                let free = self.free()?.bytes;
                if is_no_space(&error) || (error.kind() == io::ErrorKind::Unsupported && free < bytes) {
                    return Err(StoreError::NoSpace { wanted: bytes, free });
                }
                if error.kind() != io::ErrorKind::Unsupported {
                    return Err(error).at("reserve space in", &space.path);
                }
            }
        }
        drop(held);
        Ok(Reservation { store: self })
    }

    /// What the store's file system has left for those without privileges.
    ///
    /// # Errors
    /// The file system.
    pub fn free(&self) -> Result<Free, StoreError> {
        let stat = rustix::fs::statvfs(&self.root).map_err(io::Error::from).at("measure", &self.root)?;
        Ok(Free { bytes: stat.f_bavail.saturating_mul(stat.f_frsize), inodes: stat.f_favail, block: stat.f_frsize })
    }
}

/// What a file system has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Free {
    /// Bytes, in whole blocks.
    pub bytes: u64,
    /// Inodes; 0 where the file system does not count them.
    pub inodes: u64,
    /// Bytes of a block.
    pub block: u64,
}

/// A disk that gives reserved space back before each write.
pub(crate) struct Reserving {
    inner: Arc<dyn Disk>,
    space: Arc<Space>,
}

impl Reserving {
    pub(crate) fn new(inner: Arc<dyn Disk>, space: Arc<Space>) -> Self {
        Self { inner, space }
    }

    fn file(&self, inner: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(ReservingFile { inner, space: Arc::clone(&self.space) })
    }
}

impl Disk for Reserving {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.inner.create(path)?))
    }

    fn edit(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.inner.edit(path)?))
    }

    fn mkdir(&self, path: &Path) -> io::Result<()> {
        self.space.written(DIRECTORY)?;
        self.inner.mkdir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        self.inner.exchange(one, other)
    }

    fn link(&self, existing: &Path, name: &Path) -> io::Result<()> {
        self.inner.link(existing, name)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.inner.unlink(path)
    }

    fn rmdir(&self, path: &Path) -> io::Result<()> {
        self.inner.rmdir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.sync_dir(path)
    }

    fn sync_all(&self, path: &Path) -> io::Result<()> {
        self.inner.sync_all(path)
    }
}

struct ReservingFile {
    inner: Arc<dyn DiskFile>,
    space: Arc<Space>,
}

impl ReadAt for ReservingFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.read_exact_at(buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
}

impl DiskFile for ReservingFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.space.written(bytes.len() as u64)?;
        self.inner.write_all_at(bytes, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.inner.set_len(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.space.written(length)?;
        self.inner.allocate(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }
}
