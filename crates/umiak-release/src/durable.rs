//! Every operation of this crate that changes files: beside, synced, renamed.
//!
//! What images and documents of apps become belongs to other crates, which have such a module of their own; here are the
//! project's documents, signatures, files that go along, the packages, and what is taken away.
#![allow(clippy::disallowed_methods)]

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{IoContext as _, ReleaseError};

/// Between a file's name and the number of the process that writes it.
const NEW: &str = ".new-";

/// Where a file of a device directory is while it is written, one at a time.
const STAGED: &str = ".pvr/umiak-release.new";

/// A file while it is being written: gone unless it is published.
pub(crate) struct Beside {
    path: PathBuf,
    pub(crate) file: BufWriter<File>,
}

impl Beside {
    /// Beside `place`; what is missing above it is made.
    pub(crate) fn new(place: &Path) -> Result<Self, ReleaseError> {
        let mut name = place.file_name().unwrap_or_default().to_owned();
        name.push(format!("{NEW}{}", std::process::id()));
        Self::at(place.with_file_name(name), place)
    }

    /// For `place` in the device directory `release`, but where no file of a device is: whoever is stopped leaves nothing
    /// that could be taken for one. The caller holds the directory's lock.
    fn within(release: &Path, place: &Path) -> Result<Self, ReleaseError> {
        Self::at(release.join(STAGED), place)
    }

    fn at(path: PathBuf, place: &Path) -> Result<Self, ReleaseError> {
        for parent in [parent(&path), parent(place)] {
            fs::create_dir_all(parent).at("create", parent)?;
        }
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

/// Writes a small file of a device directory.
pub(crate) fn put_within(release: &Path, place: &Path, bytes: &[u8]) -> Result<(), ReleaseError> {
    let mut staged = Beside::within(release, place)?;
    staged.file.write_all(bytes).at("write", place)?;
    staged.publish(place)
}

/// Writes a file of a device directory with the bytes of another file.
pub(crate) fn copy_within(release: &Path, place: &Path, from: &Path) -> Result<(), ReleaseError> {
    let mut source = File::open(from).at("open", from)?;
    let mut staged = Beside::within(release, place)?;
    io::copy(&mut source, &mut staged.file).at("write", place)?;
    staged.publish(place)
}

/// Keeps other runs out of a directory, which is made if need be, until the result is dropped: for as long as a moment
/// takes.
pub(crate) fn alone(directory: &Path) -> Result<File, ReleaseError> {
    fs::create_dir_all(directory).at("create", directory)?;
    let handle = File::open(directory).at("open", directory)?;
    handle.lock().at("lock", directory)?;
    Ok(handle)
}

/// Removes what runs that were killed left of files whose names end so. The caller keeps other runs from writing such.
pub(crate) fn sweep(directory: &Path, end: &str) -> Result<(), ReleaseError> {
    let end = format!("{end}{NEW}");
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => result.at("list", directory)?,
    };
    for entry in entries {
        let path = entry.at("list", directory)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        let process = name.rsplit_once(&*end).map_or("", |(_, process)| process);
        if !process.is_empty() && process.bytes().all(|byte| byte.is_ascii_digit()) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Removes what runs that were killed left of deltas of this architecture. Who writes one keeps it locked.
pub(crate) fn sweep_deltas(directory: &Path, arch: &str) -> Result<(), ReleaseError> {
    let end = format!(".{arch}.delta.umiak");
    for entry in fs::read_dir(directory).at("list", directory)? {
        let entry = entry.at("list", directory)?;
        let name = entry.file_name();
        let is_delta = name.to_str().is_some_and(|name| name.starts_with('.') && name.ends_with(&end));
        if is_delta && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let held = File::open(entry.path());
            if held.as_ref().is_ok_and(|held| held.try_lock().is_ok()) {
                remove(&entry.path())?;
            }
        }
    }
    Ok(())
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

/// Removes the directories above `path` that hold nothing, up to `root`.
pub(crate) fn remove_empty(path: &Path, root: &Path) {
    let above = path.ancestors().skip(1).take_while(|directory| *directory != root);
    // One that holds something stays, and so do those above it.
    let _ = above.map(fs::remove_dir).take_while(Result::is_ok).count();
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
