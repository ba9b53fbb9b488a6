//! Opening and making things inside a root that others filled: links in it lead nowhere else.
//!
//! openat2(2) resolves every link as if the root were the root directory (Linux 5.6). Where it is not there, paths with
//! links are refused.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;

/// Opens a directory to look inside.
pub(crate) fn root(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens `path` below `root`.
pub(crate) fn open(root: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC;
    let relative = path.strip_prefix("/").unwrap_or(path);
    let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
    match rustix::fs::openat2(root, relative, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
        Err(Errno::NOSYS) => open_without_links(root, relative, flags),
        other => other,
    }
}

fn open_without_links(root: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let way = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = rustix::fs::openat(root, ".", way | OFlags::DIRECTORY, Mode::empty())?;
    let mut parts = path.components().peekable();
    while let Some(part) = parts.next() {
        let name = match part {
            Component::Normal(name) => name,
            Component::ParentDir => return Err(Errno::LOOP),
            _ => continue,
        };
        let flags = if parts.peek().is_some() { way | OFlags::DIRECTORY } else { flags | OFlags::NOFOLLOW };
        at = rustix::fs::openat(&at, name, flags, Mode::empty())?;
    }
    Ok(at)
}

/// Reads a file of at most `most` bytes below `root`; none when it is not there, no file, or longer.
pub(crate) fn read(root: &OwnedFd, path: &str, most: u64) -> Option<Vec<u8>> {
    // NONBLOCK: the image may have a pipe there.
    let file = File::from(open(root, Path::new(path), OFlags::RDONLY | OFlags::NONBLOCK).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= most).then_some(bytes)
}

/// Makes the directory `path` below `root` and those above it, the new ones owned by `owner`. Repeatable.
pub(crate) fn make_directories(root: &OwnedFd, path: &Path, owner: (u32, u32)) -> Result<(), Errno> {
    let directory = OFlags::PATH | OFlags::DIRECTORY;
    let mut so_far = std::path::PathBuf::new();
    let mut at = open(root, Path::new("."), directory)?;
    for part in path.components() {
        let Component::Normal(name) = part else { continue };
        so_far.push(name);
        at = match open(root, &so_far, directory) {
            Err(Errno::NOENT) => {
                rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o755))?;
                let (user, group) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
                rustix::fs::chownat(at.as_fd(), name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
                open(root, &so_far, directory)?
            }
            other => other?,
        };
    }
    Ok(())
}

/// Makes the directory `path` below `root`, which something will be mounted over, with these permissions. Where that
/// cannot be, the runtime will say so.
pub(crate) fn covered(root: &OwnedFd, path: &Path, mode: u32) {
    let made = make_directories(root, path, (0, 0));
    if let Ok(directory) = made.and_then(|()| open(root, path, OFlags::RDONLY | OFlags::DIRECTORY)) {
        let _ = rustix::fs::fchmod(directory, Mode::from_raw_mode(mode));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    #[test]
    fn links_lead_nowhere_else() {
        let scratch = tempfile::tempdir().unwrap();
        let root_path = scratch.path().join("root");
        fs::create_dir_all(root_path.join("real")).unwrap();
        fs::write(scratch.path().join("secret"), "outside").unwrap();
        fs::write(root_path.join("real/secret"), "inside").unwrap();
        symlink("/real", root_path.join("etc")).unwrap();
        symlink("../../secret", root_path.join("real/up")).unwrap();
        let root = root(&root_path).unwrap();
        assert_eq!(read(&root, "/etc/secret", 100).unwrap(), b"inside", "an absolute link stays inside");
        assert_eq!(read(&root, "/real/up", 100), None, "a link up stops at the root");
        assert_eq!(read(&root, "/../secret", 100), None);
        assert_eq!(read(&root, "/real/secret", 5), None, "too long");
        assert_eq!(read(&root, "/real", 5), None, "a directory");
        let owner = fs::metadata(&root_path).map(|meta| (meta.uid(), meta.gid())).unwrap();
        make_directories(&root, Path::new("/etc/a/b"), owner).unwrap();
        make_directories(&root, Path::new("/etc/a/b"), owner).unwrap();
        assert!(root_path.join("real/a/b").is_dir());
        assert!(make_directories(&root, Path::new("/etc/secret/x"), owner).is_err());
        assert!(open_without_links(&root, Path::new("etc/secret"), OFlags::PATH).is_err());
        assert!(open_without_links(&root, Path::new("real/secret"), OFlags::PATH).is_ok());
    }
}
