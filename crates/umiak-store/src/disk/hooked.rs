//! A disk that asks before each operation: for counting, for ending a process at the n-th one, for faults.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use umiak_spec::ReadAt;

use super::{Disk, DiskFile};

/// One durable operation that is about to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its place in the row, from 1.
    pub number: u64,
    /// `create`, `edit`, `write`, `set_len`, `allocate`, `sync`, `mkdir`, `rename`, `exchange`, `link`, `unlink`, `rmdir`,
    /// `sync_dir` or `sync_all`.
    pub operation: &'static str,
    /// What it changes: the new name where there are two.
    pub path: PathBuf,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.number, self.operation, self.path.display())
    }
}

type Hook = dyn Fn(&Step) -> io::Result<()> + Send + Sync;

/// Another disk, and a function that is called before each of its operations and can refuse it (the operation is then not
/// done and its error is what the hook returned).
#[derive(Clone)]
pub struct Hooked {
    inner: Arc<dyn Disk>,
    asked: Arc<Asked>,
}

struct Asked {
    steps: AtomicU64,
    hook: Box<Hook>,
}

impl Asked {
    fn step(&self, operation: &'static str, path: &Path) -> io::Result<()> {
        let number = self.steps.fetch_add(1, Ordering::Relaxed) + 1;
        (self.hook)(&Step { number, operation, path: path.to_owned() })
    }
}

impl Hooked {
    /// Puts `hook` before each operation of `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Disk>, hook: impl Fn(&Step) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self { inner, asked: Arc::new(Asked { steps: AtomicU64::new(0), hook: Box::new(hook) }) }
    }

    /// How many operations were asked for.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.asked.steps.load(Ordering::Relaxed)
    }

    fn file(&self, path: &Path, inner: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(HookedFile { inner, path: path.to_owned(), asked: Arc::clone(&self.asked) })
    }
}

impl Disk for Hooked {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.asked.step("create", path)?;
        Ok(self.file(path, self.inner.create(path)?))
    }

    fn edit(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.asked.step("edit", path)?;
        Ok(self.file(path, self.inner.edit(path)?))
    }

    fn mkdir(&self, path: &Path) -> io::Result<()> {
        self.asked.step("mkdir", path)?;
        self.inner.mkdir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.asked.step("rename", to)?;
        self.inner.rename(from, to)
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        self.asked.step("exchange", other)?;
        self.inner.exchange(one, other)
    }

    fn link(&self, existing: &Path, name: &Path) -> io::Result<()> {
        self.asked.step("link", name)?;
        self.inner.link(existing, name)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.asked.step("unlink", path)?;
        self.inner.unlink(path)
    }

    fn rmdir(&self, path: &Path) -> io::Result<()> {
        self.asked.step("rmdir", path)?;
        self.inner.rmdir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.asked.step("sync_dir", path)?;
        self.inner.sync_dir(path)
    }

    fn sync_all(&self, path: &Path) -> io::Result<()> {
        self.asked.step("sync_all", path)?;
        self.inner.sync_all(path)
    }
}

struct HookedFile {
    inner: Arc<dyn DiskFile>,
    path: PathBuf,
    asked: Arc<Asked>,
}

impl ReadAt for HookedFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.read_exact_at(buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
}

impl DiskFile for HookedFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.asked.step("write", &self.path)?;
        self.inner.write_all_at(bytes, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.asked.step("set_len", &self.path)?;
        self.inner.set_len(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.asked.step("allocate", &self.path)?;
        self.inner.allocate(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.asked.step("sync", &self.path)?;
        self.inner.sync()
    }
}
