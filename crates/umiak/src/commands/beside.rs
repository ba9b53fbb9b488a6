//! A file that a command writes: beside its place, made durable, then visible under its name.
#![allow(clippy::disallowed_methods, reason = "results are written beside, synced and renamed here")]

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::error::{Failure, Kind};

/// A file while it is being written: gone unless it is published.
pub struct Beside {
    path: PathBuf,
    /// Empty at first.
    pub file: File,
}

impl Beside {
    /// Beside `place`.
    ///
    /// # Errors
    /// A directory has the name, or the file cannot be created.
    pub fn new(place: &Path) -> Result<Self, Failure> {
        if place.is_dir() {
            return Err(Failure::new(Kind::Usage, format!("{} is a directory", place.display())).hint("name a file"));
        }
        let mut name = place.file_name().unwrap_or_default().to_owned();
        name.push(format!(".new-{}", std::process::id()));
        let path = place.with_file_name(name);
        let file = File::create(&path).map_err(|error| Failure::of_io("create", &path, &error))?;
        Ok(Self { path, file })
    }

    /// Makes the file durable, then visible at `place`; gives its length.
    ///
    /// # Errors
    /// What the system says.
    pub fn publish(&self, place: &Path) -> Result<u64, Failure> {
        let failed = |error| Failure::of_io("write", place, &error);
        self.file.sync_all().map_err(failed)?;
        let length = self.file.metadata().map_err(failed)?.len();
        fs::rename(&self.path, place).map_err(failed)?;
        Ok(length)
    }

    /// Writes a small file at once.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(place: &Path, bytes: &[u8]) -> Result<(), Failure> {
        let mut beside = Self::new(place)?;
        beside.file.write_all(bytes).map_err(|error| Failure::of_io("write", place, &error))?;
        beside.publish(place).map(drop)
    }
}

/// Makes a directory, if it is not there.
///
/// # Errors
/// What the system says.
pub fn directory(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(|error| Failure::of_io("create", path, &error))
}

impl Drop for Beside {
    fn drop(&mut self) {
        // After a rename there is nothing of this name, and nobody minds.
        let _ = fs::remove_file(&self.path);
    }
}
