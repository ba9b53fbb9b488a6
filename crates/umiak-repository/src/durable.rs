//! Every operation of this crate that changes what is on disk: the only place that creates, renames, links, unlinks
//! and syncs below a device directory or an object pool.
//!
//! New content is written into a *staging directory* of ours first ([`Staging`]), made durable there, and then renamed
//! to its place. What a crash leaves behind is in staging directories only, and the next change sweeps them away, as
//! soon as no other process uses them (each user holds a shared `flock` on the directory).
//!
//! Many files are made durable with one `syncfs`, few with an `fsync` each.
#![allow(clippy::disallowed_methods)]

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, IoContext};

/// From this many files on, one `syncfs` is cheaper than so many `fsync`s.
const SYNCFS_FROM: usize = 32;

/// A directory for files that do not have their place yet.
pub(crate) struct Staging {
    directory: PathBuf,
    next: AtomicU64,
    /// Holds the shared lock.
    _handle: File,
}

/// A file in a [`Staging`]; removed again unless it is published.
pub(crate) struct Staged {
    path: PathBuf,
    published: bool,
}

impl Staging {
    /// Opens (and creates) the staging directory `directory`; sweeps it when nobody else uses it.
    pub(crate) fn open(directory: &Path) -> Result<Self, Error> {
        create_directories(directory)?;
        let handle = File::open(directory).at("open", directory)?;
        match handle.try_lock() {
            Ok(()) => sweep(directory)?,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error).at("lock", directory),
        }
        handle.lock_shared().at("lock", directory)?;
        Ok(Self { directory: directory.to_owned(), next: AtomicU64::new(0), _handle: handle })
    }

    fn name(&self) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.directory.join(format!("{}-{number}", std::process::id()))
    }

    /// A new empty file.
    pub(crate) fn create(&self, mode: u32) -> Result<(Staged, File), Error> {
        let path = self.name();
        step().at("create", &path)?;
        let file = OpenOptions::new().write(true).read(true).create_new(true).mode(mode).open(&path);
        Ok((Staged { path: path.clone(), published: false }, file.at("create", &path)?))
    }

    /// A new file with the content `bytes`.
    pub(crate) fn write(&self, bytes: &[u8], mode: u32) -> Result<Staged, Error> {
        let (staged, mut file) = self.create(mode)?;
        file.write_all(bytes).at("write", &staged.path)?;
        Ok(staged)
    }

    /// Another name for `existing`.
    pub(crate) fn link(&self, existing: &Path) -> io::Result<Staged> {
        let path = self.name();
        step()?;
        fs::hard_link(existing, &path)?;
        Ok(Staged { path, published: false })
    }

    /// Moves a whole directory here, out of the way, and then deletes it.
    pub(crate) fn discard_directory(&self, directory: &Path) -> Result<(), Error> {
        let path = self.name();
        rename(directory, &path)?;
        sync_directory(parent(directory))?;
        step().at("remove", directory)?;
        fs::remove_dir_all(&path).at("remove", &path)
    }
}

impl Staged {
    /// Where it is now.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its place, replacing what is there. Its content must be durable (see [`sync`]); that of the
    /// directory entry is the caller's affair.
    pub(crate) fn publish(mut self, place: &Path) -> Result<(), Error> {
        rename(&self.path, place)?;
        // Renaming one name of a file over another name of the same file does nothing: the first one stays.
        self.published = !self.path.exists();
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.published && step().is_ok() {
            let _ = fs::remove_file(&self.path); // what is left behind is swept by the next user
        }
    }
}

/// Makes the contents of `files`, which are on one file system, durable.
pub(crate) fn sync<'a>(files: impl ExactSizeIterator<Item = &'a Staged>) -> Result<(), Error> {
    let many = files.len() >= SYNCFS_FROM;
    for staged in files {
        step().at("sync", &staged.path)?;
        let file = File::open(&staged.path).at("open", &staged.path)?;
        if many {
            return rustix::fs::syncfs(&file).at("sync", &staged.path);
        }
        file.sync_all().at("sync", &staged.path)?;
    }
    Ok(())
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), Error> {
    step().at("sync", directory)?;
    File::open(directory).and_then(|handle| handle.sync_all()).at("sync", directory)
}

/// Makes everything on the file system of `directory` durable.
pub(crate) fn sync_file_system(directory: &Path) -> Result<(), Error> {
    step().at("sync", directory)?;
    let handle = File::open(directory).at("open", directory)?;
    rustix::fs::syncfs(handle).at("sync", directory)
}

/// Replaces the file `place` by one with the content `bytes`: afterwards, and after a crash at any moment, it is the
/// old or the new one.
pub(crate) fn replace(staging: &Staging, place: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let staged = staging.write(bytes, mode)?;
    sync([&staged].into_iter())?;
    staged.publish(place)?;
    sync_directory(parent(place))
}

/// Removes the file `path`, if there is one.
pub(crate) fn remove_file(path: &Path) -> Result<(), Error> {
    step().at("remove", path)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.at("remove", path),
    }
}

/// Removes the directory `path` if it is empty.
pub(crate) fn remove_empty_directory(path: &Path) -> bool {
    step().is_ok() && fs::remove_dir(path).is_ok()
}

/// Removes a directory that umiak has made for itself, with all that is in it.
pub(crate) fn remove_tree(path: &Path) {
    if step().is_ok() {
        let _ = fs::remove_dir_all(path); // the caller has failed already; that is what it reports
    }
}

/// Creates `path` and what is missing above it, mode 0755 less the umask.
pub(crate) fn create_directories(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Ok(());
    }
    step().at("create", path)?;
    DirBuilder::new().recursive(true).mode(0o755).create(path).at("create", path)
}

/// Creates the directory `path`, which must not exist.
pub(crate) fn create_directory(path: &Path) -> Result<(), Error> {
    step().at("create", path)?;
    fs::create_dir(path).at("create", path)
}

/// Renames.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    step().at("rename", from)?;
    fs::rename(from, to).at("replace", to)
}

/// Makes a file read-only for everyone.
pub(crate) fn make_read_only(path: &Path) -> Result<(), Error> {
    step().at("protect", path)?;
    fs::set_permissions(path, Permissions::from_mode(0o444)).at("protect", path)
}

/// Opens (and creates) a file to lock on.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o644).open(path)
}

/// The directory that holds `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Makes the directory `prefix` and our process's number in `parent`, which is ours until the file is dropped. Others of the
/// prefix whose processes are gone are removed.
pub(crate) fn claim_directory(parent: &Path, prefix: &str) -> Result<(PathBuf, File), Error> {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(prefix));
        if number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())) {
            remove_abandoned(&entry.path());
        }
    }
    let directory = parent.join(format!("{prefix}{}", std::process::id()));
    loop {
        create_directory(&directory)?;
        // Until it is locked somebody else may take it for abandoned, and remove it.
        let handle = match File::open(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened.at("open", &directory)?,
        };
        handle.lock().at("lock", &directory)?;
        if directory.is_dir() {
            return Ok((directory, handle));
        }
    }
}

/// Removes a directory that nobody has locked. What stays is no harm.
fn remove_abandoned(directory: &Path) {
    if let Ok(handle) = File::open(directory)
        && handle.try_lock().is_ok()
    {
        remove_tree(directory);
    }
}

fn sweep(directory: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(directory).at("list", directory)? {
        let path = entry.at("list", directory)?.path();
        step().at("remove", &path)?;
        let removed =
            if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.at("remove", &path)?;
    }
    Ok(())
}

/// Asked before every change. In tests it can end the world: from the n-th change on, nothing is changed any more.
#[cfg(not(test))]
#[allow(clippy::unnecessary_wraps)]
fn step() -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(crate) use test_hook::{changes_until_death, step};

#[cfg(test)]
mod test_hook {
    use std::cell::Cell;
    use std::io;

    thread_local! {
        static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// How many more changes this thread may make; `None` for no limit. Returns what was left.
    pub(crate) fn changes_until_death(changes: Option<u64>) -> Option<u64> {
        LEFT.replace(changes)
    }

    pub(crate) fn step() -> io::Result<()> {
        LEFT.with(|left| match left.get() {
            None => Ok(()),
            Some(0) => Err(io::Error::other("the power is cut")),
            Some(changes) => {
                left.set(Some(changes - 1));
                Ok(())
            }
        })
    }
}
