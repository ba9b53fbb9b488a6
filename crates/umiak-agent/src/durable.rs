//! The durable file operations of the agent that do not go through the store's records: the inbox, and unpacked projects.
//!
//! Each goes through the same [`Disk`] as the store's, so that one wrapper counts and cuts them all.

#![allow(clippy::disallowed_methods)]

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use umiak_store::Disk;

/// Takes the lock of a directory, made where it is missing; held until the answer is dropped.
pub(crate) fn lock(disk: &dyn Disk, directory: &Path) -> io::Result<File> {
    make_directory(disk, directory)?;
    let path = directory.join("lock");
    // Opened and not made through the seam: it holds nothing, and is of no use after a crash.
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    file.lock()?;
    Ok(file)
}

/// A directory, and its name durable; also where whoever made it was killed before he had made sure of that.
pub(crate) fn make_directory(disk: &dyn Disk, directory: &Path) -> io::Result<()> {
    match disk.mkdir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    directory.parent().map_or(Ok(()), |parent| disk.sync_dir(parent))
}

/// Gives the file `name` other bytes; the caller has the directory's lock.
pub(crate) fn replace(disk: &dyn Disk, directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let beside = directory.join(format!("{name}.new"));
    match disk.unlink(&beside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => other?,
    }
    let file = disk.create(&beside)?;
    file.write_all_at(bytes, 0)?;
    file.sync()?;
    disk.rename(&beside, &directory.join(name))?;
    disk.sync_dir(directory)
}

/// A file's bytes; `None` where there is no such file.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has more than {limit} bytes")));
    }
    Ok(Some(bytes))
}

/// Makes a directory anew: what was there of that name goes.
pub(crate) fn fresh_directory(disk: &dyn Disk, directory: &Path) -> io::Result<()> {
    remove_directory(directory)?;
    if let Some(parent) = directory.parent() {
        for above in parent.ancestors().collect::<Vec<_>>().into_iter().rev().filter(|above| !above.exists()) {
            make_directory(disk, above)?;
        }
    }
    make_directory(disk, directory)
}

/// Makes everything on the file system of `directory` durable, then says so with a marker beside it.
pub(crate) fn seal_directory(disk: &dyn Disk, directory: &Path, marker: &Path) -> io::Result<()> {
    disk.sync_all(directory)?;
    let file = disk.create(marker)?;
    file.sync()?;
    marker.parent().map_or(Ok(()), |parent| disk.sync_dir(parent))
}

/// A directory and those above it; durable once [`seal_directory`] says so, like all that is unpacked.
pub(crate) fn make_directories(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)
}

/// A file that is not there yet, with these permissions.
pub(crate) fn write_file(path: &Path, mode: u32, content: &mut dyn io::Read) -> io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    io::copy(content, &mut file)?;
    file.set_permissions(fs::Permissions::from_mode(mode & 0o777))
}

/// A symbolic link.
pub(crate) fn symbolic_link(target: &str, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

/// Another name of a file.
pub(crate) fn hard_link(target: &Path, path: &Path) -> io::Result<()> {
    fs::hard_link(target, path)
}

/// Removes a directory with all that is in it, or a file; nothing there is no error.
pub(crate) fn remove_directory(path: &Path) -> io::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if metadata.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// The names in a directory, sorted; none where there is no directory.
pub(crate) fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        other => other?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}
