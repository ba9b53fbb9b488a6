//! The open store: where things are, who may change them, and how it is opened.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use umiak_spec::Digest;

use crate::disk::Disk;
use crate::error::StoreError;
use crate::format;
use crate::lock::Locks;
use crate::recover::{self, Recovered};
use crate::reserve::{Reserving, Space};

/// What a store is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Queries. Nothing on the disk is changed, so it works where nothing can be; while it is open nothing is pruned. Hold
    /// it as long as one query takes.
    Read,
    /// Changes: one at a time, in whatever process. What a crash left behind is put right first.
    Update,
}

/// How a store is opened.
#[derive(Debug, Clone, Copy)]
pub struct StoreOptions {
    /// What for.
    pub access: Access,
    /// Make the store if there is none ([`Access::Update`] only).
    pub create: bool,
    /// How long to wait, when opening, for another process before [`StoreError::Busy`].
    pub wait: Duration,
    /// How long pruning waits for readers before [`StoreError::Busy`].
    pub wait_for_readers: Duration,
}

impl StoreOptions {
    /// For queries, waiting 5 s for a pruning to end.
    pub const READ: Self =
        Self { access: Access::Read, create: false, wait: Duration::from_secs(5), wait_for_readers: Duration::ZERO };
    /// For changes, made where it is missing; waits 5 s for readers, and 2 s for another updater: long enough for one that
    /// has little to do, and for a program that is just being started to give up our lock.
    pub const UPDATE: Self = Self {
        access: Access::Update,
        create: true,
        wait: Duration::from_secs(2),
        wait_for_readers: Duration::from_secs(5),
    };
}

/// A device store.
///
/// Threads may share it. What a method has returned `Ok` for is durable.
pub struct Store {
    pub(crate) root: PathBuf,
    /// Every durable operation goes through this; writes give reserved space back first.
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: StoreOptions,
    pub(crate) space: Arc<Space>,
    pub(crate) locks: Locks,
    /// Number of the next name in `staging`.
    pub(crate) staged: AtomicU64,
    /// Digests that are being ingested by a thread of this process.
    pub(crate) ingesting: Mutex<BTreeSet<Digest>>,
    /// A directory could not be made durable: something may be visible that a power cut takes away.
    pub(crate) unsure: AtomicBool,
    recovered: Recovered,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("root", &self.root).field("options", &self.options).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store at `root`; for [`Access::Update`] what a crash left behind is cleared away and what is visible is
    /// made durable.
    ///
    /// # Errors
    /// Not a store or one of a later umiak; another process has it; the file system.
    pub fn open(root: &Path, disk: Arc<dyn Disk>, options: &StoreOptions) -> Result<Self, StoreError> {
        let update = options.access == Access::Update;
        if update && options.create {
            format::make_root(root, &*disk)?;
        }
        let locks = Locks::take(root, options)?;
        let writable = format::check(root, &*disk, update && options.create)?;
        if update && !writable.is_empty() {
            return Err(StoreError::TooNew { path: root.to_owned(), needs: writable });
        }
        let space = Arc::new(Space::new(root.join("reserve"), Arc::clone(&disk)));
        let mut store = Self {
            root: root.to_owned(),
            disk: Arc::new(Reserving::new(disk, Arc::clone(&space))),
            options: *options,
            space,
            locks,
            staged: AtomicU64::new(0),
            ingesting: Mutex::default(),
            unsure: AtomicBool::new(false),
            recovered: Recovered::default(),
        };
        if update {
            store.recovered = recover::recover(&store)?;
        }
        Ok(store)
    }

    /// The directory of the store.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// What opening it found and put right.
    #[must_use]
    pub fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// Fails unless the store was opened for changes.
    pub(crate) fn updating(&self) -> Result<(), StoreError> {
        match self.options.access {
            Access::Update => Ok(()),
            Access::Read => Err(StoreError::OpenedForReading),
        }
    }

    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}
