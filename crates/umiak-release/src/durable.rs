//! Every operation of this crate that changes files: beside, synced, renamed.
//!
//! What is below `releases/<arch>/.pvr` and the apps' directories belong to other crates, which have such a module of their
//! own; here are the project's documents, the packages, and what is taken away.
#![allow(clippy::disallowed_methods)]

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{IoContext as _, ReleaseError};

/// A file while it is being written: gone unless it is published.
pub(crate) struct Beside {
    path: PathBuf,
    pub(crate) file: BufWriter<File>,
}

impl Beside {
    /// Beside `place`; what is missing above it is made.
    pub(crate) fn new(place: &Path) -> Result<Self, ReleaseError> {
        let parent = parent(place);
        fs::create_dir_all(parent).at("create", parent)?;
        let mut name = place.file_name().unwrap_or_default().to_owned();
        name.push(format!(".new-{}", std::process::id()));
        let path = place.with_file_name(name);
        let file = File::create(&path).at("create", &path)?;
        Ok(Self { path, file: BufWriter::with_capacity(256 << 10, file) })
    }

    /// Makes it durable, then visible at `place`.
    pub(crate) fn publish(mut self, place: &Path) -> Result<(), ReleaseError> {
        self.file.flush().at("write", place)?;
        self.file.get_ref().sync_all().at("write", place)?;
        fs::rename(&self.path, place).at("write", place)?;
        let parent = parent(place);
        File::open(parent).and_then(|directory| directory.sync_all()).at("write to disk", parent)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // After a rename there is nothing of this name, and nobody minds.
        let _ = fs::remove_file(&self.path);
    }
}

/// Writes a small file, unless it has these bytes already.
pub(crate) fn put(place: &Path, bytes: &[u8]) -> Result<(), ReleaseError> {
    if fs::read(place).is_ok_and(|found| found == bytes) {
        return Ok(());
    }
    let mut beside = Beside::new(place)?;
    beside.file.write_all(bytes).at("write", place)?;
    beside.publish(place)
}

/// Removes a file or a directory with all that is in it, if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), ReleaseError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.at("remove", path),
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
