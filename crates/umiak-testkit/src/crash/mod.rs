//! A disk that can be cut off: it counts durable operations, stops at the n-th, and shows what would be found afterwards.
//!
//! Operations are done in a real directory, so that everybody can read it, and written down. After a cut
//! [`CrashDisk::find`] makes a second directory: what a machine finds that lost its power there and then, with all, nothing
//! or a part of what was not made durable. What POSIX promises is kept, and nothing more: a file's content after its `sync`,
//! names after `sync_dir` of a directory that they are in, everything after `sync_all`.
//!
//! Stricter than the kernel's file systems in this: names that were not synced come and go one by one, not in order.
//! What is changed below the directory around this disk is an error when the disk meets it, but for files that are made below a
//! directory and then all made durable by `sync_all` of it: before that none of them is there. Made for tests: everything that
//! is written is kept in memory.

mod model;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use umiak_spec::ReadAt;
use umiak_store::disk::{Disk, DiskFile, RealDisk};

use model::{Change, Model, NodeId};

/// What is lost of that which was not made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Nothing: the process was killed, the machine stayed up.
    Nothing,
    /// All of it.
    Everything,
    /// Contents, not names: files are there and empty, as after a cut of a file system that keeps a journal of names.
    Contents,
    /// Each operation with one chance in two, by this seed; a write may be torn.
    Some(u64),
}

/// A disk that can be cut off. Clones are the same disk.
#[derive(Clone)]
pub struct CrashDisk {
    state: Arc<Mutex<State>>,
}

struct State {
    model: Model,
    root: PathBuf,
    operations: u64,
    cut: Option<u64>,
    log: Vec<String>,
    lies: bool,
}

impl CrashDisk {
    /// A disk on the existing directory `root`. What is in it is durable, but for lock files (which nothing durable is in
    /// and which are left out).
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn new(root: &Path) -> io::Result<Self> {
        let state = State {
            model: Model::import(root)?,
            root: root.to_owned(),
            operations: 0,
            cut: None,
            log: Vec::new(),
            lies: false,
        };
        Ok(Self { state: Arc::new(Mutex::new(state)) })
    }

    /// From operation `number` on (the first is 1) nothing is done any more, and every operation fails.
    #[must_use]
    pub fn cut_at(self, number: u64) -> Self {
        self.state().cut = Some(number);
        self
    }

    /// It says that things are durable and does nothing for it: for seeing that a test would notice.
    #[must_use]
    pub fn lying(self) -> Self {
        self.state().lies = true;
        self
    }

    /// The process is started again; the machine had stayed up.
    pub fn revive(&self) {
        self.state().cut = None;
    }

    /// How many operations were done, or asked for after the cut.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Whether the cut came.
    #[must_use]
    pub fn was_cut(&self) -> bool {
        let state = self.state();
        state.cut.is_some_and(|cut| state.operations >= cut)
    }

    /// The operations so far, a line each, numbered from 1.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.state().log.clone()
    }

    /// Makes the directory `into` what would be found after a power cut now.
    ///
    /// # Errors
    /// `into` exists, or cannot be written to.
    pub fn find(&self, loss: Loss, into: &Path) -> io::Result<()> {
        self.state().model.materialize(loss, into)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `real` and, when it worked, writes down `change`.
    fn step<T>(
        &self,
        what: &str,
        path: &Path,
        real: impl FnOnce() -> io::Result<T>,
        change: impl FnOnce(&mut State) -> io::Result<Change>,
    ) -> io::Result<T> {
        let mut state = self.state();
        state.operations += 1;
        if state.cut.is_some_and(|cut| state.operations >= cut) {
            return Err(io::Error::other("the power is cut"));
        }
        let shown = path.strip_prefix(&state.root).unwrap_or(path).display().to_string();
        let line = format!("{} {what} {shown}", state.operations);
        state.log.push(line);
        let change = {
            let done = real()?;
            (done, change(&mut state)?)
        };
        state.model.add(change.1);
        Ok(change.0)
    }

    fn file(&self, path: &Path, file: Arc<dyn DiskFile>) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state();
        let node = state.model.node(&state.root, path)?;
        drop(state);
        Ok(Arc::new(CrashFile { disk: self.clone(), file, node, path: path.to_owned() }))
    }
}

impl Disk for CrashDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.step(
            "create",
            path,
            || RealDisk.create(path),
            |state| {
                let entry = state.model.entry(&state.root, path)?;
                Ok(Change::Add { entry, node: state.model.new_file() })
            },
        )?;
        self.file(path, file)
    }

    fn edit(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.step("edit", path, || RealDisk.edit(path), |_| Ok(Change::Nothing))?;
        self.file(path, file)
    }

    fn mkdir(&self, path: &Path) -> io::Result<()> {
        self.step(
            "mkdir",
            path,
            || RealDisk.mkdir(path),
            |state| {
                let entry = state.model.entry(&state.root, path)?;
                Ok(Change::Add { entry, node: state.model.new_directory() })
            },
        )
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(
            "rename",
            to,
            || RealDisk.rename(from, to),
            |state| {
                let node = state.model.node(&state.root, from)?;
                let (from, to) = (state.model.entry(&state.root, from)?, state.model.entry(&state.root, to)?);
                Ok(Change::Move { from, to, node })
            },
        )
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        self.step(
            "exchange",
            other,
            || RealDisk.exchange(one, other),
            |state| {
                let nodes = (state.model.node(&state.root, one)?, state.model.node(&state.root, other)?);
                let entries = (state.model.entry(&state.root, one)?, state.model.entry(&state.root, other)?);
                Ok(Change::Exchange { entries, nodes })
            },
        )
    }

    fn link(&self, existing: &Path, name: &Path) -> io::Result<()> {
        self.step(
            "link",
            name,
            || RealDisk.link(existing, name),
            |state| {
                let node = state.model.node(&state.root, existing)?;
                Ok(Change::Add { entry: state.model.entry(&state.root, name)?, node })
            },
        )
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.step("unlink", path, || RealDisk.unlink(path), |state| remove(state, path))
    }

    fn rmdir(&self, path: &Path) -> io::Result<()> {
        self.step("rmdir", path, || RealDisk.rmdir(path), |state| remove(state, path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.step(
            "sync_dir",
            path,
            || Ok(()),
            |state| {
                let node = state.model.node(&state.root, path)?;
                if !state.lies {
                    state.model.sync_directory(node);
                }
                Ok(Change::Nothing)
            },
        )
    }

    fn sync_all(&self, path: &Path) -> io::Result<()> {
        self.step(
            "sync_all",
            path,
            || Ok(()),
            |state| {
                if path.is_dir() {
                    let root = state.root.clone();
                    state.model.adopt(&root, path)?;
                }
                if !state.lies {
                    state.model.sync_all();
                }
                Ok(Change::Nothing)
            },
        )
    }
}

fn remove(state: &mut State, path: &Path) -> io::Result<Change> {
    let node = state.model.node(&state.root, path)?;
    Ok(Change::Remove { entry: state.model.entry(&state.root, path)?, node })
}

struct CrashFile {
    disk: CrashDisk,
    file: Arc<dyn DiskFile>,
    node: NodeId,
    path: PathBuf,
}

impl ReadAt for CrashFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

impl DiskFile for CrashFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let node = self.node;
        let change = |_: &mut State| Ok(Change::Write { node, offset, bytes: bytes.into() });
        self.disk.step("write", &self.path, || self.file.write_all_at(bytes, offset), change)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let node = self.node;
        self.disk.step("set_len", &self.path, || self.file.set_len(length), |_| Ok(Change::SetLen { node, length }))
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let node = self.node;
        self.disk.step("allocate", &self.path, || self.file.allocate(length), |_| Ok(Change::Allocate { node, length }))
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.step(
            "sync",
            &self.path,
            || Ok(()),
            |state| {
                if !state.lies {
                    state.model.sync_file(self.node);
                }
                Ok(Change::Nothing)
            },
        )
    }
}
