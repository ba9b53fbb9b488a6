//! What making a blob may take of the disk, and a file that keeps to it.
//!
//! A delta says what it makes and what it needs meanwhile, and a plan counts that; whoever wrote the delta may have lied.
//! Guarantee: a byte beyond what was counted is an error before it is written.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use umiak_spec::ReadAt;

use crate::disk::DiskFile;

/// What making a blob may take of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes of the blob.
    pub size: u64,
    /// Bytes that may lie beside while it is made.
    pub spool: u64,
}

impl Room {
    /// As much as it takes: for who makes deltas, and finds out.
    pub const ANY: Self = Self { size: u64::MAX, spool: u64::MAX };
}

/// A file that never gets longer than it may.
pub(crate) struct Capped {
    file: Arc<dyn DiskFile>,
    limit: u64,
    over: AtomicBool,
}

impl Capped {
    pub(crate) fn new(file: Arc<dyn DiskFile>, limit: u64) -> Self {
        Self { file, limit, over: AtomicBool::new(false) }
    }

    /// Whether more was to be written than may be.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn check(&self, end: Option<u64>) -> io::Result<()> {
        if end.is_some_and(|end| end <= self.limit) {
            return Ok(());
        }
        self.over.store(true, Ordering::Relaxed);
        Err(beyond(self.limit))
    }
}

/// What a writer is told who goes beyond `limit`.
pub(crate) fn beyond(limit: u64) -> io::Error {
    io::Error::other(format!("it would take more than {limit} bytes"))
}

impl ReadAt for Capped {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

impl DiskFile for Capped {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.check(offset.checked_add(bytes.len() as u64))?;
        self.file.write_all_at(bytes, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.check(Some(length))?;
        self.file.set_len(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.check(Some(length))?;
        self.file.allocate(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}
