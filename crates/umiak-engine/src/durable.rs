//! The one place where files are made, renamed and removed: documents below the run directory, volumes below the state.
//!
//! Guarantees: a document is seen whole or not at all; a volume's first contents too. What must survive a power cut (what
//! lies below the state directory) is synced before it gets its name, and its directory after. What lies below the run
//! directory is gone with the next start of the device anyway and is not synced.

#![allow(clippy::disallowed_methods)]

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::EngineError;
use crate::error::At;

/// Makes a directory and those above it, for root alone where it is new. Repeatable.
pub(crate) fn directory(path: &Path) -> Result<(), EngineError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).at("make", path)
}

/// Makes a directory that others may enter: a service's user comes through here.
pub(crate) fn open_directory(path: &Path) -> Result<(), EngineError> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path).at("make", path)
}

/// Writes a document in place of the one that is there, at once.
pub(crate) fn document(path: &Path, bytes: &[u8]) -> Result<(), EngineError> {
    let beside = beside(path);
    fs::write(&beside, bytes).at("write", &beside)?;
    fs::rename(&beside, path).at("rename", &beside)
}

/// Writes into the file that is there, whose number must stay the same because it is mounted somewhere.
pub(crate) fn in_place(path: &Path, bytes: &[u8], mode: u32) -> Result<(), EngineError> {
    let write = || -> io::Result<()> {
        // Not emptied first: whoever reads meanwhile sees one text or the other.
        let mut file = File::options().write(true).create(true).truncate(false).open(path)?;
        io::Write::write_all(&mut file, bytes)?;
        file.set_len(bytes.len() as u64)?;
        file.set_permissions(fs::Permissions::from_mode(mode))
    };
    write().at("write", path)
}

/// Removes a file. Absent is removed.
pub(crate) fn remove_file(path: &Path) -> Result<(), EngineError> {
    absent_is_fine(fs::remove_file(path)).at("remove", path)
}

/// Removes a directory with what is in it, links themselves and never what they lead to. Absent is removed.
///
/// Nothing may be mounted below it: a directory on another file system is an error, not followed.
pub(crate) fn remove_tree(path: &Path) -> Result<(), EngineError> {
    absent_is_fine(fs::remove_dir_all(path)).at("remove", path)
}

/// Removes a directory that is empty; one that is not stays.
pub(crate) fn remove_empty(path: &Path) {
    // Not empty, or not there: both are as they should be.
    let _ = fs::remove_dir(path);
}

/// Gives a directory that was filled beside its place its name, durably.
pub(crate) fn name_directory(filled: &Path, name: &Path) -> Result<(), EngineError> {
    sync_tree(filled)?;
    fs::rename(filled, name).at("rename", filled)?;
    sync(name.parent().unwrap_or(name))
}

/// Renames within a directory that need not survive.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), EngineError> {
    fs::rename(from, to).at("rename", from)
}

/// All of the file system that `path` is on: cheaper and surer than every file of a tree by itself.
fn sync_tree(path: &Path) -> Result<(), EngineError> {
    let directory = File::open(path).at("open", path)?;
    rustix::fs::syncfs(&directory).at("write", path)
}

/// A directory's entries.
pub(crate) fn sync(path: &Path) -> Result<(), EngineError> {
    File::open(path).at("open", path)?.sync_all().at("write", path)
}

/// A name for what is on its way to `path`.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

/// Tells the kernel something through a file that is always there.
pub(crate) fn tell_kernel(path: &str, value: &str) -> io::Result<()> {
    io::Write::write_all(&mut File::options().write(true).open(path)?, value.as_bytes())
}

/// Opens a file to add to, making it.
pub(crate) fn append(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).open(path)
}

/// Opens a file to write and lock, making it.
pub(crate) fn lock_file(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).open(path)
}

fn absent_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
