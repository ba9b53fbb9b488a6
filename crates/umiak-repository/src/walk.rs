//! Lists the files of a device directory with what `stat` says of them, on all cores.
//!
//! Symlinks to regular files count as files, as in pvr; symlinks to directories are not entered; `.pvr` and `.pv` at the
//! top are not looked at. Devices, sockets, pipes and other symlinks are listed as not regular.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use umiak_spec::Observer;

use crate::error::{Error, IoContext};
use crate::hash::Stat;

/// A file below the walked directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    /// Relative, `/`-separated. Names that are not UTF-8 are shown with U+FFFD and `valid` is false.
    pub(crate) path: String,
    pub(crate) valid: bool,
    /// Whether it is a regular file or a symlink to one. Everything else cannot be tracked.
    pub(crate) regular: bool,
    pub(crate) stat: Stat,
}

#[derive(Default)]
struct Work {
    directories: Vec<(PathBuf, String)>,
    /// Threads that are reading a directory and may still find others.
    busy: usize,
    files: Vec<File>,
    failed: Option<Error>,
}

/// All files below `root`, sorted by the bytes of their paths.
pub(crate) fn files(root: &Path, observer: &dyn Observer) -> Result<Vec<File>, Error> {
    let start = Work { directories: vec![(root.to_owned(), String::new())], ..Work::default() };
    let (work, changed) = (Mutex::new(start), Condvar::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| walk(&work, &changed, observer));
        }
        walk(&work, &changed, observer);
    });
    let done = work.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = done.failed {
        return Err(error);
    }
    let mut files = done.files;
    files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn walk(work: &Mutex<Work>, changed: &Condvar, observer: &dyn Observer) {
    let lock = || -> MutexGuard<'_, Work> { work.lock().unwrap_or_else(PoisonError::into_inner) };
    let mut files = Vec::new();
    let mut found = Vec::new();
    let mut state = lock();
    loop {
        if state.failed.is_some() {
            break;
        }
        let Some((directory, prefix)) = state.directories.pop() else {
            if state.busy == 0 {
                break;
            }
            state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        state.busy += 1;
        drop(state);
        let result =
            observer.check().map_err(Error::from).and_then(|()| list(&directory, &prefix, &mut files, &mut found));
        state = lock();
        state.busy -= 1;
        state.directories.append(&mut found);
        if let Err(error) = result {
            state.failed.get_or_insert(error);
        }
        changed.notify_all();
    }
    state.files.append(&mut files);
}

fn list(
    directory: &Path,
    prefix: &str,
    files: &mut Vec<File>,
    found: &mut Vec<(PathBuf, String)>,
) -> Result<(), Error> {
    for entry in fs::read_dir(directory).at("list", directory)? {
        let entry = entry.at("list", directory)?;
        let name = entry.file_name();
        if prefix.is_empty() && (name == ".pvr" || name == ".pv") {
            continue;
        }
        let valid = name.to_str().is_some();
        let path = if prefix.is_empty() {
            name.to_string_lossy().into_owned()
        } else {
            format!("{prefix}/{}", name.to_string_lossy())
        };
        let kind = entry.file_type().at("read", &entry.path())?;
        if kind.is_dir() {
            found.push((entry.path(), path));
            continue;
        }
        let followed = kind.is_symlink().then(|| fs::metadata(entry.path()).ok()).flatten();
        let metadata = match followed.filter(fs::Metadata::is_file) {
            Some(metadata) => metadata,
            None => match entry.metadata() {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue, // gone since it was listed
                other => other.at("read", &entry.path())?,
            },
        };
        files.push(File { path, valid, regular: metadata.is_file(), stat: Stat::of(&metadata) });
    }
    Ok(())
}
