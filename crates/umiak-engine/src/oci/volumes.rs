//! Volumes: directories that are kept for an app, filled at first with what its image has there.
//!
//! Filling follows Docker: while a volume is empty, the image's directory at the mount point is copied into it, with
//! owners, permissions, times, extended attributes, links between names and special files. The copy is made beside and
//! named when it is whole and synced, so a cut leaves an empty volume or a full one.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use umiak_spec::service::{Persistence, Volume};

use super::bundle::Source;
use super::inside;
use super::place::{Instance, check_name};
use crate::error::At;
use crate::{EngineError, durable};

/// Directories below one another that are copied.
const DEPTH_MAX: usize = 128;

/// Bytes copied at a time.
const CHUNK: usize = 1 << 20;

/// Bytes of the names or the value of extended attributes of one file: the kernel's own limit.
const ATTRIBUTES_MAX: usize = 64 << 10;

/// Makes the volume, fills it if it is new, and returns the directory to mount.
pub(crate) fn ready(
    instance: &Instance,
    volume: &Volume,
    root: &OwnedFd,
    target: &str,
) -> Result<PathBuf, EngineError> {
    let directory = directory(instance, volume)?;
    let parent = directory.parent().unwrap_or(&directory).to_owned();
    durable::directory(&parent)?;
    if is_empty(&directory)? {
        fill(&directory, volume, root, target)?;
    }
    match &volume.subpath {
        None => Ok(directory),
        Some(subpath) => below(&directory, subpath, &instance.key.service),
    }
}

/// Makes a volume that lies above what the image has at `target`. It has two directories of its own.
pub(crate) fn above(instance: &Instance, volume: &Volume, root: &OwnedFd, target: &str) -> Result<Source, EngineError> {
    let plain = Volume { copy: false, subpath: None, ..volume.clone() };
    let directory = ready(instance, &plain, root, target)?;
    let [upper, work] = ["upper", "work"].map(|name| directory.join(name));
    durable::open_directory(&upper)?;
    durable::directory(&work)?;
    let service = || instance.key.service.clone();
    let refused = |why: String| EngineError::Service { service: service(), why };
    // Found as the service would find it: a link in the image leads to nothing of the device's.
    let found = inside::make_directories(root, Path::new(target), (0, 0))
        .and_then(|()| inside::open(root, Path::new(target), OFlags::PATH | OFlags::DIRECTORY))
        .and_then(|found| rustix::fs::readlink(format!("/proc/self/fd/{}", found.as_raw_fd()), Vec::new()));
    let found = found.map_err(|error| refused(format!("{target} is no directory of the image: {error}")))?;
    let lower = PathBuf::from(OsStr::from_bytes(found.as_bytes()));
    let written = [&lower, &upper].into_iter().map(|path| path.to_string_lossy());
    if written.into_iter().any(|path| path.contains([':', ',', '\\', '"'])) {
        return Err(refused(format!("overlayfs cannot be told of {target}")));
    }
    Ok(Source::Above { lower, upper, work })
}

/// Where a volume lies.
pub(crate) fn directory(instance: &Instance, volume: &Volume) -> Result<PathBuf, EngineError> {
    check_name(&volume.name)?;
    let directories = instance.directories();
    let base = match volume.persistence {
        Persistence::Boot => directories.run.join("volumes").join(&instance.key.app),
        Persistence::Revision => instance.kept_for_revision().join("volumes"),
        Persistence::Persistent => directories.volumes.join(&instance.key.app).join("volumes"),
    };
    Ok(base.join(&volume.name))
}

/// A directory in a volume; services may have put links there, so it is looked up inside the volume only.
fn below(directory: &Path, subpath: &str, service: &str) -> Result<PathBuf, EngineError> {
    let plain = Path::new(subpath).components().all(|part| matches!(part, Component::Normal(_)));
    let path = directory.join(subpath);
    let inside = path.canonicalize().is_ok_and(|real| directory.canonicalize().is_ok_and(|top| real.starts_with(top)));
    if plain && inside {
        return Ok(path);
    }
    let why = format!("the volume has no directory {subpath}");
    Err(EngineError::Service { service: service.to_owned(), why })
}

fn is_empty(directory: &Path) -> Result<bool, EngineError> {
    match std::fs::read_dir(directory) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error).at("read", directory),
    }
}

fn fill(directory: &Path, volume: &Volume, root: &OwnedFd, target: &str) -> Result<(), EngineError> {
    let filled = durable::beside(directory);
    durable::remove_tree(&filled)?;
    durable::open_directory(&filled)?;
    let from = inside::open(root, Path::new(target), OFlags::RDONLY | OFlags::DIRECTORY);
    if let (true, Ok(from)) = (volume.copy, from) {
        let to = inside::root(&filled).at("open", &filled)?;
        Copy::default().directory(&from, &to, 0).at("fill the volume", &filled)?;
    }
    // An empty directory in the place is replaced by rename.
    durable::name_directory(&filled, directory)
}

/// One copying: remembers files with several names.
#[derive(Default)]
struct Copy {
    links: BTreeMap<(u64, u64), OwnedFd>,
}

impl Copy {
    /// Everything in `from` and its own attributes, into the empty `to`.
    fn directory(&mut self, from: &OwnedFd, to: &OwnedFd, depth: usize) -> Result<(), Errno> {
        if depth > DEPTH_MAX {
            return Err(Errno::LOOP);
        }
        for entry in Dir::read_from(from)? {
            let entry = entry?;
            let name = OsStr::new(<OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(entry.file_name().to_bytes()));
            if name != "." && name != ".." {
                self.entry(from, to, name, depth)?;
            }
        }
        let opened = rustix::fs::openat(to, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        attributes(from, &opened)
    }

    fn entry(&mut self, from: &OwnedFd, to: &OwnedFd, name: &OsStr, depth: usize) -> Result<(), Errno> {
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                rustix::fs::mkdirat(to, name, Mode::RWXU)?;
                let below = rustix::fs::openat(from, name, read | OFlags::DIRECTORY, Mode::empty())?;
                let target = rustix::fs::openat(to, name, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
                self.directory(&below, &target, depth + 1)
            }
            FileType::RegularFile => {
                #[allow(clippy::unnecessary_cast)] // The kernel's types differ by architecture.
                let key = (stat.st_dev as u64, stat.st_ino as u64);
                if let Some(first) = self.links.get(&key) {
                    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(first));
                    return rustix::fs::linkat(CWD, path, to, name, AtFlags::SYMLINK_FOLLOW);
                }
                let source = rustix::fs::openat(from, name, read, Mode::empty())?;
                let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let target = rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR)?;
                contents(&source, &target)?;
                attributes(&source, &target)?;
                if stat.st_nlink > 1 {
                    self.links.insert(key, target);
                }
                Ok(())
            }
            FileType::Symlink => {
                let link = rustix::fs::readlinkat(from, name, Vec::new())?;
                rustix::fs::symlinkat(link.as_c_str(), to, name)?;
                own(to, name, &stat)
            }
            kind @ (FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo | FileType::Socket) => {
                rustix::fs::mknodat(to, name, kind, Mode::from_raw_mode(stat.st_mode & 0o7777), stat.st_rdev)?;
                own(to, name, &stat)?;
                rustix::fs::chmodat(to, name, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())
            }
            FileType::Unknown => Ok(()),
        }
    }
}

fn own(directory: &OwnedFd, name: &OsStr, stat: &Stat) -> Result<(), Errno> {
    let (user, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::chownat(directory, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
    rustix::fs::utimensat(directory, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
}

#[allow(clippy::unnecessary_cast, clippy::cast_possible_wrap)] // The kernel's types differ by architecture.
fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanos| Timespec { tv_sec: seconds, tv_nsec: nanos };
    Timestamps {
        last_access: time(stat.st_atime as i64, stat.st_atime_nsec as _),
        last_modification: time(stat.st_mtime as i64, stat.st_mtime_nsec as _),
    }
}

fn contents(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    loop {
        match rustix::fs::copy_file_range(from, None, to, None, CHUNK) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => break,
            Err(error) => return Err(error),
        }
    }
    let mut bytes = vec![0u8; CHUNK];
    loop {
        let length = rustix::io::read(from, &mut bytes)?;
        let mut rest = &bytes[..length];
        if rest.is_empty() {
            return Ok(());
        }
        while !rest.is_empty() {
            let written = rustix::io::write(to, rest)?;
            rest = &rest[written..];
        }
    }
}

/// Owner, permissions, extended attributes and times; in an order in which none takes another away.
fn attributes(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    let stat = rustix::fs::fstat(from)?;
    rustix::fs::fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    let mut names = vec![0u8; ATTRIBUTES_MAX];
    let length = match rustix::fs::flistxattr(from, &mut names[..]) {
        Err(Errno::OPNOTSUPP) => 0,
        other => other?,
    };
    let mut value = vec![0u8; ATTRIBUTES_MAX];
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        // What overlayfs notes for itself is nothing of the image's.
        if name.starts_with(b"trusted.overlay.") {
            continue;
        }
        let length = rustix::fs::fgetxattr(from, name, &mut value[..])?;
        match rustix::fs::fsetxattr(to, name, &value[..length], rustix::fs::XattrFlags::empty()) {
            // A file system that has none: as Docker, the file is copied without.
            Err(Errno::OPNOTSUPP) => {}
            other => other?,
        }
    }
    rustix::fs::futimens(to.as_fd(), &times(&stat))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::place::{Directories, Key};
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn instance(scratch: &Path) -> Instance {
        let path = |name: &str| scratch.join(name);
        let directories = Directories { run: path("run"), volumes: path("volumes"), logs: path("logs") };
        let key = Key { app: "shop".into(), revision: "sha256:0123456789abcdef".into(), service: "db".into() };
        Instance::new(&directories, key).unwrap()
    }

    fn volume(persistence: Persistence) -> Volume {
        Volume { name: "stock".into(), persistence, copy: true, subpath: None, above: false }
    }

    #[test]
    fn a_volume_begins_with_what_the_image_has() {
        let scratch = tempfile::tempdir().unwrap();
        let image = scratch.path().join("image");
        fs::create_dir_all(image.join("var/db/deep")).unwrap();
        fs::write(image.join("var/db/one"), vec![7u8; 3_000_000]).unwrap();
        fs::hard_link(image.join("var/db/one"), image.join("var/db/deep/two")).unwrap();
        symlink("/nowhere", image.join("var/db/link")).unwrap();
        fs::set_permissions(image.join("var/db/one"), fs::Permissions::from_mode(0o4711)).unwrap();
        fs::set_permissions(image.join("var/db"), fs::Permissions::from_mode(0o1770)).unwrap();
        let root = inside::root(&image).unwrap();
        let instance = instance(scratch.path());
        let kept = ready(&instance, &volume(Persistence::Persistent), &root, "/var/db").unwrap();
        assert_eq!(kept, scratch.path().join("volumes/shop/volumes/stock"));
        let meta = |name: &str| fs::symlink_metadata(kept.join(name)).unwrap();
        assert_eq!(meta("").mode() & 0o7777, 0o1770);
        assert_eq!(meta("one").mode() & 0o7777, 0o4711);
        assert_eq!(meta("one").ino(), meta("deep/two").ino());
        assert_eq!(meta("one").mtime(), fs::metadata(image.join("var/db/one")).unwrap().mtime());
        assert_eq!(fs::read_link(kept.join("link")).unwrap(), Path::new("/nowhere"));
        assert_eq!(fs::read(kept.join("one")).unwrap().len(), 3_000_000);
        // What the app wrote stays, and is not filled up again.
        fs::remove_file(kept.join("one")).unwrap();
        ready(&instance, &volume(Persistence::Persistent), &root, "/var/db").unwrap();
        assert!(!kept.join("one").exists());
    }

    #[test]
    fn a_copy_that_was_cut_is_made_again() {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir_all(scratch.path().join("image/data")).unwrap();
        fs::write(scratch.path().join("image/data/new"), "whole").unwrap();
        let root = inside::root(&scratch.path().join("image")).unwrap();
        let instance = instance(scratch.path());
        let half = scratch.path().join("volumes/shop/volumes/.stock.new");
        fs::create_dir_all(&half).unwrap();
        fs::write(half.join("half"), "half").unwrap();
        let kept = ready(&instance, &volume(Persistence::Persistent), &root, "/data").unwrap();
        assert!(kept.join("new").exists() && !kept.join("half").exists() && !half.exists());
    }

    #[test]
    fn each_kind_has_its_place_and_nothing_leads_out() {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir_all(scratch.path().join("image")).unwrap();
        let root = inside::root(&scratch.path().join("image")).unwrap();
        let instance = instance(scratch.path());
        let place = |persistence| ready(&instance, &volume(persistence), &root, "/absent").unwrap();
        assert!(place(Persistence::Boot).starts_with(scratch.path().join("run/volumes/shop")));
        let revision = place(Persistence::Revision);
        assert!(revision.starts_with(scratch.path().join("volumes/shop/revisions/0123456789ab/volumes")));
        fs::create_dir(revision.join("sub")).unwrap();
        symlink("/etc", revision.join("out")).unwrap();
        let sub = |path: &str| Volume { subpath: Some(path.into()), ..volume(Persistence::Revision) };
        assert!(ready(&instance, &sub("sub"), &root, "/absent").unwrap().ends_with("stock/sub"));
        for wrong in ["out", "../..", "absent"] {
            assert!(ready(&instance, &sub(wrong), &root, "/absent").is_err(), "{wrong}");
        }
        let named = Volume { name: "../x".into(), ..volume(Persistence::Boot) };
        assert!(ready(&instance, &named, &root, "/absent").is_err());
    }
}
