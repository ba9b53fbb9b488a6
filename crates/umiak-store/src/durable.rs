//! The patterns that durable operations come in: write beside, sync, rename, sync the directory. The only module (with
//! the disk itself) that changes what is on disk.
//!
//! New things are made in `staging` and get their place in one step; what a crash leaves there is removed when the store
//! is opened again.
#![allow(clippy::disallowed_methods, reason = "lock files, which nothing durable depends on")]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::disk::{Disk, DiskFile};
use crate::error::{IoContext as _, StoreError};
use crate::store::Store;

/// Directories below each other that are removed at once: staging directories are as deep as what is staged.
const DEEPEST: usize = 64;

/// A file in `staging`; removed again unless it is published.
pub(crate) struct StagedFile<'s> {
    store: &'s Store,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    placed: bool,
}

/// A directory in `staging`; removed again, with what is in it, unless it is published.
pub(crate) struct StagedDirectory<'s> {
    store: &'s Store,
    path: PathBuf,
    placed: bool,
}

impl Store {
    pub(crate) fn staging_name(&self) -> PathBuf {
        let number = self.staged.fetch_add(1, Ordering::Relaxed);
        self.root.join("staging").join(number.to_string())
    }

    /// A new empty file.
    pub(crate) fn stage_file(&self) -> Result<StagedFile<'_>, StoreError> {
        self.updating()?;
        let path = self.staging_name();
        let file = self.disk.create(&path).at("create", &path)?;
        Ok(StagedFile { store: self, path, file, placed: false })
    }

    /// A new file with the content `bytes`, durable but for its name.
    pub(crate) fn stage_bytes(&self, bytes: &[u8]) -> Result<StagedFile<'_>, StoreError> {
        let staged = self.stage_file()?;
        staged.file.write_all_at(bytes, 0).at("write", &staged.path)?;
        staged.file.sync().at("sync", &staged.path)?;
        Ok(staged)
    }

    /// A new empty directory.
    pub(crate) fn stage_directory(&self) -> Result<StagedDirectory<'_>, StoreError> {
        self.updating()?;
        let path = self.staging_name();
        self.disk.mkdir(&path).at("create", &path)?;
        Ok(StagedDirectory { store: self, path, placed: false })
    }

    /// Makes names in `directory` durable. When that fails, nobody knows what is: [`Store::settle`] asks again before
    /// anything relies on it.
    pub(crate) fn sync_names(&self, directory: &Path) -> Result<(), StoreError> {
        self.disk.sync_dir(directory).inspect_err(|_| self.unsure.store(true, Ordering::SeqCst)).at("sync", directory)
    }

    /// After a directory could not be made durable: makes all of the file system durable. Nothing otherwise.
    pub(crate) fn settle(&self) -> Result<(), StoreError> {
        if self.unsure.load(Ordering::SeqCst) {
            self.disk.sync_all(&self.root).at("sync", &self.root)?;
            self.unsure.store(false, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Takes a file or a directory out of its place, in one step, and then deletes it.
    pub(crate) fn discard(&self, path: &Path) -> Result<(), StoreError> {
        if !path.is_dir() {
            self.disk.unlink(path).at("remove", path)?;
            return self.sync_names(parent(path));
        }
        let aside = self.staging_name();
        self.disk.rename(path, &aside).at("remove", path)?;
        self.sync_names(parent(path))?;
        remove_tree(&*self.disk, &aside)
    }
}

impl StagedFile<'_> {
    /// Where it is now.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The open file.
    pub(crate) fn file(&self) -> &Arc<dyn DiskFile> {
        &self.file
    }

    /// Syncs the file and gives it its place, replacing a file there. The caller makes the name durable.
    pub(crate) fn publish(mut self, place: &Path) -> Result<(), StoreError> {
        self.file.sync().at("sync", &self.path)?;
        self.rename(place)
    }

    /// Gives a file that is durable its place. The caller makes the name durable.
    pub(crate) fn rename(&mut self, place: &Path) -> Result<(), StoreError> {
        self.store.disk.rename(&self.path, place).at("create", place)?;
        self.placed = true;
        Ok(())
    }
}

impl Drop for StagedFile<'_> {
    fn drop(&mut self) {
        if !self.placed {
            let _ = self.store.disk.unlink(&self.path); // what is left behind is removed when the store is opened
        }
    }
}

impl StagedDirectory<'_> {
    /// Where it is now.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the directory its place, replacing a directory there; then its name is durable, and the contents that the
    /// caller has synced.
    pub(crate) fn publish(mut self, place: &Path) -> Result<(), StoreError> {
        let disk = &self.store.disk;
        disk.sync_dir(&self.path).at("sync", &self.path)?;
        if place.exists() {
            disk.exchange(&self.path, place).at("replace", place)?;
            self.store.sync_names(parent(place))?;
            return Ok(()); // what was there is removed with `self`
        }
        disk.rename(&self.path, place).at("create", place)?;
        self.placed = true;
        self.store.sync_names(parent(place))
    }
}

impl Drop for StagedDirectory<'_> {
    fn drop(&mut self) {
        if !self.placed {
            let _ = remove_tree(&*self.store.disk, &self.path); // removed when the store is opened, else
        }
    }
}

/// Removes a file, or a directory with all that is in it. Nothing is made durable.
pub(crate) fn remove_tree(disk: &dyn Disk, path: &Path) -> Result<(), StoreError> {
    remove_below(disk, path, DEEPEST)
}

fn remove_below(disk: &dyn Disk, path: &Path, depth: usize) -> Result<(), StoreError> {
    if !fs::symlink_metadata(path).at("read", path)?.is_dir() {
        return disk.unlink(path).at("remove", path);
    }
    let Some(depth) = depth.checked_sub(1) else {
        return Err(io::Error::other("directories are too deep")).at("remove", path);
    };
    for name in entries(path)? {
        remove_below(disk, &path.join(name), depth)?;
    }
    disk.rmdir(path).at("remove", path)
}

/// The names in a directory that are text (ours all are), sorted; none when there is no directory.
pub(crate) fn entries(directory: &Path) -> Result<Vec<String>, StoreError> {
    let listing = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.at("list", directory)?,
    };
    let mut names = Vec::new();
    for entry in listing {
        names.extend(entry.at("list", directory)?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// Makes `directory` and those missing above it, and makes their names durable.
pub(crate) fn make_directories(disk: &dyn Disk, directory: &Path) -> Result<(), StoreError> {
    if directory.is_dir() {
        return Ok(());
    }
    let above = parent(directory);
    if above != directory {
        make_directories(disk, above)?;
    }
    match disk.mkdir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
        other => other.at("create", directory)?,
    }
    disk.sync_dir(above).at("sync", above)
}

/// The directory that holds `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

/// Opens (and creates) a file to lock on.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o644).open(path)
}

/// Writes down, for people and for the message of whoever comes second, which process has the lock.
pub(crate) fn note_holder(file: &File) {
    let text = format!("{:<10}\n", std::process::id());
    let _ = file.write_all_at(text.as_bytes(), 0);
}
