//! Every operation that changes a layout or an archive for others: the only place, beside the cache, that creates,
//! renames and removes files.
//!
//! Guarantees: a file is written beside its place, synced, renamed, and its directory synced: after a power cut it is
//! there whole or not at all. What is written beside begins with `.umiak-` and is removed when it did not get its place;
//! what a crash left of it is in nobody's way, and removed by the next run that writes there. Whoever is at work holds a
//! lock on what is its own.
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
    let (scratch, file) = Scratch::file(directory)?;
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
    /// The lock of a directory. A file is its own.
    _lock: Option<File>,
}

/// In a scratch directory, what its owner holds a lock on.
const LOCK: &str = ".umiak-lock";

impl Scratch {
    /// A directory of its own beside others.
    pub(crate) fn directory(above: &Path) -> Result<Self, Error> {
        loop {
            let path = beside(above);
            fs::create_dir(&path).at("create", &path)?;
            match File::create_new(path.join(LOCK)) {
                Ok(lock) if lock.try_lock().is_ok() => return Ok(Self { path, _lock: Some(lock) }),
                // Somebody swept it before it was locked.
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).at("create", &path),
            }
        }
    }

    /// A file to be written.
    fn file(directory: &Path) -> Result<(Self, File), Error> {
        loop {
            let path = beside(directory);
            let file = File::options().write(true).create_new(true).open(&path).at("create", &path)?;
            let scratch = Self { path, _lock: None };
            // Otherwise somebody swept it before it was locked.
            if file.try_lock().is_ok() && scratch.path.exists() {
                return Ok((scratch, file));
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Removes what runs that were killed left in `directory`. What cannot be removed is in nobody's way.
pub(crate) fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|entry| is_ours(&entry.file_name().to_string_lossy())) {
        let path = entry.path();
        let is = |wanted: fn(&fs::FileType) -> bool| entry.file_type().is_ok_and(|kind| wanted(&kind));
        if is(fs::FileType::is_file) {
            // Locked until it is gone, or its owner might lock it in between.
            if let Some(_lock) = File::open(&path).ok().filter(|file| file.try_lock().is_ok()) {
                let _ = fs::remove_file(&path);
            }
        } else if is(fs::FileType::is_dir) {
            let _ = match File::open(path.join(LOCK)) {
                Ok(lock) if lock.try_lock().is_ok() => remove_directory(&path),
                Ok(_) => Ok(()),
                // Its owner was killed, or has just begun: then it makes another.
                Err(_) => fs::remove_dir(&path),
            };
        }
    }
}

/// Removes a scratch directory, its lock last: if that is cut off, the next run knows what it is.
fn remove_directory(path: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_name() == LOCK {
            continue;
        }
        if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
    }
    fs::remove_file(path.join(LOCK))?;
    fs::remove_dir(path)
}

/// Whether [`beside`] gives such names.
fn is_ours(name: &str) -> bool {
    let numbers = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.is_some_and(|(process, number)| is_number(process) && is_number(number))
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is in nobody's way.
        if self.path.is_dir() {
            let _ = remove_directory(&self.path);
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
    fn what_killed_runs_left_is_swept_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        let held = Scratch::directory(place.path()).unwrap();
        let (written, _file) = Scratch::file(place.path()).unwrap();
        fs::create_dir_all(path(".umiak-1-0/blobs")).unwrap();
        File::create(path(".umiak-1-0").join(LOCK)).unwrap();
        fs::create_dir(path(".umiak-1-1")).unwrap();
        fs::create_dir_all(path(".umiak-1-2/not/ours")).unwrap();
        for name in [".umiak-2-0", ".umiak-scratch-1", ".umiak-tmp", ".umiak-1-", "file"] {
            fs::write(path(name), "x").unwrap();
        }
        std::os::unix::fs::symlink("file", path(".umiak-3-0")).unwrap();
        sweep(place.path());
        let mut left: Vec<_> = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        left.sort();
        let mut wanted: Vec<_> = [".umiak-1-", ".umiak-1-2", ".umiak-3-0", ".umiak-scratch-1", ".umiak-tmp", "file"]
            .map(path)
            .into_iter()
            .chain([held.path.clone(), written.path.clone()])
            .collect();
        wanted.sort();
        assert_eq!(left, wanted);
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
