//! Every operation that changes a layout or an archive for others: the only place, beside the cache, that creates,
//! renames and removes files.
//!
//! Guarantees: a file is written beside its place, synced, renamed, and its directory synced: after a power cut it is
//! there whole or not at all. What is written beside begins with `.umiak-` and is removed when it did not get its place;
//! what a crash left of it is in nobody's way.
#![allow(clippy::disallowed_methods)]

use std::fs::{self, File, TryLockError};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use umiak_spec::Cancelled;

use crate::error::{Error, IoContext as _};

/// How names of files that are being written begin.
pub(crate) const PREFIX: &str = ".umiak-";

/// How they go on: with the process's number they are its own.
static NEXT: AtomicU64 = AtomicU64::new(0);

fn beside(directory: &Path) -> PathBuf {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    directory.join(format!("{PREFIX}{}-{number}", std::process::id()))
}

/// The directory that `path` is in.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes a directory and those above it.
pub(crate) fn create_directories(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Ok(());
    }
    if parent(path) != path {
        create_directories(parent(path))?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error).at("create", path),
        Ok(()) => sync_directory(parent(path)),
    }
}

/// Writes a file beside its place, in `directory` on the same file system, and gives it its place.
pub(crate) fn write(
    directory: &Path,
    place: &Path,
    content: impl FnOnce(&mut dyn Write, &Path) -> Result<(), Error>,
) -> Result<(), Error> {
    let scratch = Scratch { path: beside(directory) };
    let file = File::options().write(true).create_new(true).open(&scratch.path).at("create", &scratch.path)?;
    let mut out = BufWriter::with_capacity(256 << 10, file);
    content(&mut out, &scratch.path)?;
    let file = out.into_inner().map_err(std::io::IntoInnerError::into_error).at("write", &scratch.path)?;
    file.sync_all().at("write to disk", &scratch.path)?;
    fs::rename(&scratch.path, place).at("rename into place", place)?;
    sync_directory(parent(place))
}

/// A file or directory that is removed when it is not wanted any more.
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// A directory of its own beside others.
    pub(crate) fn directory(above: &Path) -> Result<Self, Error> {
        let path = beside(above);
        fs::create_dir(&path).at("create", &path)?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is in nobody's way.
        if self.path.is_dir() {
            let _ = fs::remove_dir_all(&self.path);
        } else {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Keeps others of us from changing a directory's lists at the same time, until it is dropped. `wait` is called again
/// and again while somebody else does.
pub(crate) fn lock(directory: &Path, mut wait: impl FnMut() -> Result<(), Cancelled>) -> Result<File, Error> {
    let handle = File::open(directory).at("open", directory)?;
    loop {
        match handle.try_lock() {
            Ok(()) => return Ok(handle),
            Err(TryLockError::WouldBlock) => wait()?,
            Err(TryLockError::Error(error)) => return Err(error).at("lock", directory),
        }
    }
}

fn sync_directory(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|directory| directory.sync_all()).at("write to disk", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gets_its_place_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("a/b/file");
        create_directories(parent(&place)).unwrap();
        let fails = write(directory.path(), &place, |out, path| {
            out.write_all(b"half").at("write", path)?;
            Err(Error::Cancelled(Cancelled))
        });
        assert!(fails.is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "only the directory a");
        for content in ["one", "other"] {
            write(directory.path(), &place, |out, path| out.write_all(content.as_bytes()).at("write", path)).unwrap();
            assert_eq!(fs::read_to_string(&place).unwrap(), content);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn one_at_a_time_holds_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let held = lock(directory.path(), || Err(Cancelled)).unwrap();
        assert!(matches!(lock(directory.path(), || Err(Cancelled)), Err(Error::Cancelled(_))));
        let mut held = Some(held);
        lock(directory.path(), || {
            held = None;
            Ok(())
        })
        .unwrap();
    }
}
