//! What one inode of a tree is: metadata and kind.

use std::collections::BTreeMap;

use umiak_spec::Digest;

use crate::InodeId;

/// One path component: bytes, never empty, `.`, `..` or containing `/` or NUL ([`crate::TreePath`] checks).
pub type Name = Box<[u8]>;

/// Names of a directory, sorted by bytes.
pub type Directory = BTreeMap<Name, InodeId>;

/// Extended attributes by full name (`security.capability`, `user.x`), sorted by bytes.
pub type Xattrs = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// The extended attribute that makes a directory of an overlayfs upper layer hide everything below it (value `y`).
pub const OPAQUE_XATTR: &[u8] = b"trusted.overlay.opaque";

/// Seconds and nanoseconds since 1970; seconds may be negative, nanoseconds are 0–999 999 999 and count forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Whole seconds, rounded towards the past.
    pub seconds: i64,
    /// The rest, 0–999 999 999.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// The seconds that squashfs can store: an unsigned 32-bit count; earlier and later times are clamped.
    #[must_use]
    pub fn squashfs_seconds(self) -> u32 {
        u32::try_from(self.seconds.max(0)).unwrap_or(u32::MAX)
    }
}

/// Device number of a character or block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Device {
    /// Major number (Linux: 12 bits).
    pub major: u32,
    /// Minor number (Linux: 20 bits).
    pub minor: u32,
}

impl Device {
    /// The device number 0/0, which overlayfs reads as a whiteout when it is a character device.
    pub const WHITEOUT: Self = Self { major: 0, minor: 0 };
}

/// Everything about an inode but its kind and names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Metadata {
    /// Permission bits with setuid, setgid and sticky: `0o7777` at most.
    pub mode: u16,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Time of the last change of the content.
    pub mtime: Timestamp,
    /// Extended attributes.
    pub xattrs: Xattrs,
}

impl Metadata {
    /// Owned by root, mtime 0, no extended attributes: what a directory gets that no entry describes
    /// (with mode `0o755`).
    #[must_use]
    pub fn root_owned(mode: u16) -> Self {
        Self { mode, uid: 0, gid: 0, mtime: Timestamp::default(), xattrs: Xattrs::new() }
    }
}

/// What an inode is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind<C> {
    /// A directory and its names.
    Directory(Directory),
    /// A regular file; `C` knows size, digest and place of the content.
    File(C),
    /// A symbolic link and its target: any bytes, not resolved.
    Symlink(Box<[u8]>),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl<C> Kind<C> {
    /// Whether this is a directory.
    #[must_use]
    pub const fn is_directory(&self) -> bool {
        matches!(self, Self::Directory(_))
    }

    /// Whether this is an overlayfs whiteout: a character device 0/0.
    #[must_use]
    pub fn is_whiteout(&self) -> bool {
        matches!(self, Self::CharDevice(Device::WHITEOUT))
    }
}

/// One inode: metadata and kind. Its names are in the directories that hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inode<C> {
    /// Mode, owner, time, extended attributes.
    pub metadata: Metadata,
    /// Directory, file, link, device, pipe or socket.
    pub kind: Kind<C>,
}

/// What a tree must know about a file's content to compare it: equal size and digest is equal content.
pub trait Content {
    /// Length in bytes, holes included.
    fn size(&self) -> u64;
    /// SHA-256 of the content, holes read as zeros.
    fn digest(&self) -> Digest;
}
