//! Files that a delta's work leaves behind, and those that it does not.
//!
//! Guarantees: a result is written beside its place, synced, renamed, and its directory synced: after a power cut it
//! is there whole or not at all. Scratch files have no name. Only this module creates and renames files here.
#![allow(clippy::disallowed_methods)]

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Mode, OFlags};
use umiak_delta::{Scratch, Space};

use crate::error::{BuildError, IoContext as _};

/// The directory that `path` is in.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A result while it is being made; dropped without [`Beside::commit`] it vanishes.
#[derive(Debug)]
pub(crate) struct Beside {
    /// Empty at first; readable and writable.
    pub(crate) file: File,
    path: PathBuf,
    place: PathBuf,
    /// It has its place.
    named: bool,
}

impl Beside {
    /// Beside `place`. What a run that was killed left there is written over; a run that goes on keeps it.
    pub(crate) fn create(place: &Path) -> Result<Self, BuildError> {
        if place.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory)).at("write", place);
        }
        let mut name = std::ffi::OsString::from(".");
        name.push(place.file_name().ok_or(io::ErrorKind::InvalidInput.into()).at("write", place)?);
        name.push(".umiak");
        let path = parent(place).join(name);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o666);
        loop {
            let file: File = rustix::fs::open(&path, flags, mode).map_err(io::Error::from).at("create", &path)?.into();
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(BuildError::Busy(place.to_owned())),
                Err(TryLockError::Error(error)) => return Err(error).at("lock", &path),
            }
            // Another run may have ended between opening and locking: then this file has its place, or none.
            let same = |there: fs::Metadata, own: &fs::Metadata| (there.dev(), there.ino()) == (own.dev(), own.ino());
            let own = file.metadata().at("look at", &path)?;
            if fs::symlink_metadata(&path).is_ok_and(|there| same(there, &own)) {
                file.set_len(0).at("empty", &path)?;
                return Ok(Self { file, path, place: place.to_owned(), named: false });
            }
        }
    }

    /// Gives it its place.
    pub(crate) fn commit(mut self) -> Result<(), BuildError> {
        self.file.sync_all().at("write to disk", &self.path)?;
        fs::rename(&self.path, &self.place).at("rename into place", &self.place)?;
        self.named = true;
        let directory = parent(&self.place);
        File::open(directory).and_then(|directory| directory.sync_all()).at("write to disk", directory)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // After a commit, what has this name is another run's.
        if !self.named {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes files without a name in one directory.
#[derive(Debug, Clone)]
pub(crate) struct Nameless(PathBuf);

impl Nameless {
    pub(crate) fn new(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    pub(crate) fn file(&self) -> io::Result<File> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::open(&self.0, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => Ok(file.into()),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL) => self.unlinked(),
            Err(error) => Err(error.into()),
        }
    }

    /// Where the file system knows no nameless files.
    fn unlinked(&self) -> io::Result<File> {
        let path = self.0.join(format!(".umiak-scratch-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        fs::remove_file(&path)?;
        Ok(file)
    }
}

impl Scratch for Nameless {
    fn space(&self) -> io::Result<Box<dyn Space>> {
        Ok(Box::new(self.file()?))
    }
}

/// A directory of our own in the scratch directory, for a store; removed with all that is in it.
#[derive(Debug)]
pub(crate) struct ScratchStore {
    path: PathBuf,
    /// Locked for as long as we live: so others know that it is in use.
    _held: File,
}

/// What the directories of stores are called, before the process and a number.
const STORE: &str = ".umiak-store-";

/// The same before they are in use.
const BEGUN: &str = ".umiak-begun-";

/// Several in one process do not get in each other's way.
static STORES: AtomicU64 = AtomicU64::new(0);

impl ScratchStore {
    /// What runs that were killed left there is removed first.
    pub(crate) fn new(scratch: &Path) -> Result<Self, BuildError> {
        sweep(scratch)?;
        let number = STORES.fetch_add(1, Ordering::Relaxed);
        let name = |what: &str| scratch.join(format!("{what}{}-{number}", std::process::id()));
        // Locked before it has the name by which others look for what nobody uses.
        let (begun, path) = (name(BEGUN), name(STORE));
        let _ = fs::remove_dir_all(&begun);
        fs::create_dir(&begun).at("create", &begun)?;
        let held = File::open(&begun).and_then(|held| held.lock().map(|()| held)).at("lock", &begun)?;
        fs::rename(&begun, &path).at("create", &path)?;
        Ok(Self { path, _held: held })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchStore {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes stores that nobody uses any more. One that cannot be opened or removed is somebody else's.
fn sweep(scratch: &Path) -> Result<(), BuildError> {
    for entry in fs::read_dir(scratch).at("list", scratch)? {
        let entry = entry.at("list", scratch)?;
        let is_store = entry.file_name().to_str().is_some_and(|name| name.starts_with(STORE))
            && entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_store && File::open(entry.path()).is_ok_and(|held| held.try_lock().is_ok()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_of_a_run_that_was_killed_goes_and_one_in_use_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let there = |path: &Path| path.join("blob").exists();
        let one = ScratchStore::new(scratch.path()).unwrap();
        let killed = scratch.path().join(format!("{STORE}1-0"));
        fs::create_dir(&killed).unwrap();
        for path in [one.path(), &killed] {
            fs::write(path.join("blob"), "bytes").unwrap();
        }
        let other = ScratchStore::new(scratch.path()).unwrap();
        assert!(there(one.path()) && !there(&killed));
        assert_ne!(one.path(), other.path());
        drop((one, other));
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    }
}
