//! Files that hold what is made while a delta is applied: in `staging`, gone when they are dropped, or with the next opening of
//! the store. Together they hold no more than they may: what goes beyond is refused before it is written.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use umiak_delta::{Scratch, Space};
use umiak_spec::{ReadAt, WriteAt};

use super::room::beyond;
use crate::disk::{Disk, DiskFile};
use crate::store::Store;

/// Makes the files, and knows how much all of them held at most at a time.
pub(crate) struct Scratches {
    disk: Arc<dyn Disk>,
    staging: PathBuf,
    next: AtomicU64,
    held: Arc<Held>,
}

struct Held {
    now: AtomicU64,
    most: AtomicU64,
    limit: u64,
    over: AtomicBool,
}

impl Held {
    /// A file is to get longer. What it is refused counts as well, until the file is dropped.
    fn grow(&self, by: u64) -> io::Result<()> {
        let now = self.now.fetch_add(by, Ordering::Relaxed).saturating_add(by);
        self.most.fetch_max(now, Ordering::Relaxed);
        if now <= self.limit {
            return Ok(());
        }
        self.over.store(true, Ordering::Relaxed);
        Err(beyond(self.limit))
    }
}

impl Scratches {
    /// Files that may hold `limit` bytes together.
    pub(crate) fn new(store: &Store, limit: u64) -> Self {
        let (now, most, over) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let held = Arc::new(Held { now, most, limit, over });
        Self { disk: Arc::clone(&store.disk), staging: store.staging_name(), next: AtomicU64::new(0), held }
    }

    /// An empty file.
    pub(crate) fn file(&self) -> io::Result<ScratchFile> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.staging.with_extension(number.to_string());
        let file = self.disk.create(&path)?;
        let (disk, held) = (Arc::clone(&self.disk), Arc::clone(&self.held));
        Ok(ScratchFile { disk, path, file, held, length: AtomicU64::new(0) })
    }

    /// Bytes in all files together, at the time when they were most.
    pub(crate) fn most(&self) -> u64 {
        self.held.most.load(Ordering::Relaxed)
    }

    /// Whether they were to hold more than they may.
    pub(crate) fn is_over(&self) -> bool {
        self.held.over.load(Ordering::Relaxed)
    }
}

impl Scratch for Scratches {
    fn space(&self) -> io::Result<Box<dyn Space>> {
        Ok(Box::new(self.file()?))
    }
}

/// One of them. It is never synced: after a crash it is worth nothing.
pub(crate) struct ScratchFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    held: Arc<Held>,
    length: AtomicU64,
}

impl ReadAt for ScratchFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

impl WriteAt for ScratchFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset.saturating_add(bytes.len() as u64);
        let before = self.length.fetch_max(end, Ordering::Relaxed);
        self.held.grow(end.saturating_sub(before))?;
        self.file.write_all_at(bytes, offset)
    }
}

impl Drop for ScratchFile {
    fn drop(&mut self) {
        self.held.now.fetch_sub(self.length.load(Ordering::Relaxed), Ordering::Relaxed);
        let _ = self.disk.unlink(&self.path); // removed when the store is opened, else
    }
}
