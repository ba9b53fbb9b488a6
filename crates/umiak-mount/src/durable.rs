//! The one place where this crate makes and removes names: mount points and the files that keep namespaces.
//!
//! Nothing of it must survive: it lies in the run directory, and is made again when the device starts anew.

#![allow(clippy::disallowed_methods)]

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::error::{At, MountError};

/// Makes a directory and those above it. Repeatable.
pub(crate) fn point(path: &Path) -> Result<(), MountError> {
    fs::create_dir_all(path).at("make", path)
}

/// Removes an empty directory; one that is not stays.
pub(crate) fn remove_point(path: &Path) {
    // A directory that stays is used again.
    let _ = fs::remove_dir(path);
}

/// Makes a file that something can be bound to. Repeatable.
pub(crate) fn keeper(path: &Path) -> Result<(), MountError> {
    File::options().write(true).create(true).truncate(false).open(path).map(|_| ()).at("make", path)
}

/// Removes such a file. Absent is removed.
pub(crate) fn remove_keeper(path: &Path) -> Result<(), MountError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(MountError::refused("remove", path, error)),
        _ => Ok(()),
    }
}
