//! Trees to and from real directories, for comparing with kernels and tools. Needs root and a file system with
//! extended attributes; both directions keep everything a [`Tree`] knows.
//!
//! Not made for hostile directories: nobody else may change them meanwhile.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use umiak_tree::{
    Builder, Device, Directory, Inode, InodeId, Kind, Metadata, Name, Timestamp, Tree, TreePath, WalkEntry, Xattrs,
};

use crate::random::Bytes;

/// Where `path` of a tree lies under `root`.
#[must_use]
pub fn place(root: &Path, path: &TreePath) -> PathBuf {
    if path.is_root() { root.into() } else { root.join(OsStr::from_bytes(path.as_bytes())) }
}

fn at<T, E: Into<io::Error>>(path: &Path, result: Result<T, E>) -> io::Result<T> {
    result.map_err(|error| {
        let error = error.into();
        io::Error::new(error.kind(), format!("{}: {error}", path.display()))
    })
}

/// Writes `tree` into the existing empty directory `root`, which gets the metadata of the tree's root.
///
/// # Errors
/// The first failed call, with its path.
pub fn write(tree: &Tree<Bytes>, root: &Path) -> io::Result<()> {
    let mut first_names: BTreeMap<InodeId, PathBuf> = BTreeMap::new();
    let mut directories = Vec::new();
    for entry in tree.walk() {
        let path = place(root, &entry.path);
        if let Some(first) = first_names.get(&entry.id) {
            at(&path, fs::hard_link(first, &path))?;
            continue;
        }
        make(&entry, &path)?;
        if entry.inode.kind.is_directory() {
            directories.push((path, &entry.inode.metadata));
        } else {
            set_metadata(&path, &entry.inode.metadata, matches!(entry.inode.kind, Kind::Symlink(_)))?;
            first_names.insert(entry.id, path);
        }
    }
    // Innermost first: making an entry changes the mtime of its directory.
    for (path, metadata) in directories.into_iter().rev() {
        set_metadata(&path, metadata, false)?;
    }
    Ok(())
}

fn make(entry: &WalkEntry<'_, Bytes>, path: &Path) -> io::Result<()> {
    let node = |kind, device: Device| {
        let device = rustix::fs::makedev(device.major, device.minor);
        at(path, rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o600), device))
    };
    match &entry.inode.kind {
        Kind::Directory(_) if entry.path.is_root() => Ok(()),
        Kind::Directory(_) => at(path, fs::create_dir(path)),
        Kind::File(content) => at(path, fs::write(path, &content.0)),
        Kind::Symlink(target) => at(path, std::os::unix::fs::symlink(OsStr::from_bytes(target), path)),
        Kind::CharDevice(device) => node(FileType::CharacterDevice, *device),
        Kind::BlockDevice(device) => node(FileType::BlockDevice, *device),
        Kind::Fifo => node(FileType::Fifo, Device::default()),
        Kind::Socket => node(FileType::Socket, Device::default()),
    }
}

fn set_metadata(path: &Path, metadata: &Metadata, symlink: bool) -> io::Result<()> {
    at(path, std::os::unix::fs::lchown(path, Some(metadata.uid), Some(metadata.gid)))?;
    if !symlink {
        at(path, fs::set_permissions(path, fs::Permissions::from_mode(metadata.mode.into())))?;
    }
    for (name, value) in &metadata.xattrs {
        at(path, rustix::fs::lsetxattr(path, &**name, value, XattrFlags::empty()))?;
    }
    let time = Timespec { tv_sec: metadata.mtime.seconds, tv_nsec: metadata.mtime.nanoseconds.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    at(path, rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW))
}

/// Reads the directory `root` into a tree; names of one inode (same device and number) become hard links.
///
/// # Errors
/// The first failed call, with its path.
pub fn read(root: &Path) -> io::Result<Tree<Bytes>> {
    let root_metadata = metadata(root, &at(root, fs::symlink_metadata(root))?)?;
    let mut reader = Reader { builder: Builder::new(root_metadata), inodes: BTreeMap::new() };
    let mut pending = vec![(root.to_owned(), InodeId::ROOT)];
    while let Some((path, id)) = pending.pop() {
        let mut names = Directory::new();
        for entry in at(&path, fs::read_dir(&path))? {
            let name = at(&path, entry)?.file_name();
            let child = path.join(&name);
            let made = reader.inode(&child)?;
            if reader.builder.get(made).kind.is_directory() {
                pending.push((child, made));
            }
            names.insert(Name::from(name.as_bytes()), made);
        }
        if let Some(directory) = reader.builder.directory(id) {
            *directory = names;
        }
    }
    reader.builder.finish().map_err(io::Error::other)
}

struct Reader {
    builder: Builder<Bytes>,
    inodes: BTreeMap<(u64, u64), InodeId>,
}

impl Reader {
    fn inode(&mut self, path: &Path) -> io::Result<InodeId> {
        let stat = at(path, fs::symlink_metadata(path))?;
        let number = (stat.dev(), stat.ino());
        if !stat.is_dir()
            && let Some(id) = self.inodes.get(&number)
        {
            return Ok(*id);
        }
        let inode = Inode { metadata: metadata(path, &stat)?, kind: kind(path, &stat)? };
        let id = self.builder.add(inode).map_err(io::Error::other)?;
        self.inodes.insert(number, id);
        Ok(id)
    }
}

fn kind(path: &Path, stat: &fs::Metadata) -> io::Result<Kind<Bytes>> {
    let device = Device { major: rustix::fs::major(stat.rdev()), minor: rustix::fs::minor(stat.rdev()) };
    let file_type = stat.file_type();
    Ok(if file_type.is_dir() {
        Kind::Directory(Directory::new())
    } else if file_type.is_symlink() {
        Kind::Symlink(at(path, fs::read_link(path))?.as_os_str().as_bytes().into())
    } else if file_type.is_char_device() {
        Kind::CharDevice(device)
    } else if file_type.is_block_device() {
        Kind::BlockDevice(device)
    } else if file_type.is_fifo() {
        Kind::Fifo
    } else if file_type.is_socket() {
        Kind::Socket
    } else {
        Kind::File(Bytes(at(path, fs::read(path))?.into()))
    })
}

fn metadata(path: &Path, stat: &fs::Metadata) -> io::Result<Metadata> {
    let mode = u16::try_from(stat.mode() & 0o7777).map_err(io::Error::other)?;
    let nanoseconds = u32::try_from(stat.mtime_nsec()).map_err(io::Error::other)?;
    let mtime = Timestamp { seconds: stat.mtime(), nanoseconds };
    Ok(Metadata { mode, uid: stat.uid(), gid: stat.gid(), mtime, xattrs: xattrs(path)? })
}

fn xattrs(path: &Path) -> io::Result<Xattrs> {
    let mut list = vec![0; 64 << 10];
    let mut xattrs = Xattrs::new();
    let length = match rustix::fs::llistxattr(path, &mut list[..]) {
        // What a squashfs without a table of attributes says.
        Err(rustix::io::Errno::NOTSUP) => return Ok(xattrs),
        other => at(path, other)?,
    };
    for name in list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 64 << 10];
        let length = at(path, rustix::fs::lgetxattr(path, name, &mut value[..]))?;
        value.truncate(length);
        xattrs.insert(name.into(), value.into());
    }
    Ok(xattrs)
}
