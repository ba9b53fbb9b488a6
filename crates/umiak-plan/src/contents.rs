//! What is known of a layer's contents before it is unpacked.
//!
//! A [`Shape`] is independent of any file system: lengths of files, names in directories, lengths of links and
//! attributes, each with how often it occurs. From it the models of `fs` say what the unpacked layer takes anywhere.
//! Where there is less, there is less: [`Contents`] says how much is known.

use std::collections::BTreeMap;

/// A directory as a file system sees it: how many names, and how long they are together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Directory {
    /// Names in it, without `.` and `..`.
    pub entries: u64,
    /// Bytes of all these names.
    pub name_bytes: u64,
}

/// The inodes of a layer's tree, without order and names. The layer's own root directory is one of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shape {
    /// Length of a file to how many have it. A file with several names counts once; holes are not counted.
    pub files: BTreeMap<u64, u64>,
    /// Directories and how many are alike.
    pub directories: BTreeMap<Directory, u64>,
    /// Length of a symbolic link's target to how many have it.
    pub links: BTreeMap<u64, u64>,
    /// Bytes of names and values of one inode's extended attributes to how many inodes have so many.
    pub attributes: BTreeMap<u64, u64>,
    /// Devices, pipes, sockets and whiteouts.
    pub others: u64,
}

impl Shape {
    /// All inodes.
    #[must_use]
    pub fn inodes(&self) -> u64 {
        let counts = self.files.values().chain(self.directories.values()).chain(self.links.values());
        counts.fold(self.others, |sum, count| sum.saturating_add(*count))
    }
}

/// What is known of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Measure {
    /// The inodes of its tree.
    pub shape: Shape,
    /// Bytes of the gzip-compressed tar-split stream that Docker keeps beside a layer; derived where it is not known.
    pub tar_split: Option<u64>,
    /// Bytes of the layer as a squashfs of umiak's own writer.
    pub squashfs: Option<u64>,
}

/// How much is known of a layer's contents.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Contents {
    /// Its inodes: every figure can be derived for every file system.
    Measured(Box<Measure>),
    /// What layers-meta v1 says: made on an ext4 with blocks of `block_size`.
    Usage {
        /// Bytes of content of its files.
        size: u64,
        /// Bytes in blocks of Docker's directory of the layer, plus the length of its tar-split file.
        usage: u64,
        /// Block size of the file system where it was measured.
        block_size: u32,
    },
    /// Only the length of the uncompressed tar (which the last four bytes of a gzip stream tell).
    Expanded(u64),
    /// Nothing but the length of the blob.
    #[default]
    Unknown,
}

impl Contents {
    /// Whether every figure derived from it is exact up to the file system's own freedom.
    #[must_use]
    pub const fn is_measured(&self) -> bool {
        matches!(self, Self::Measured(_))
    }
}
