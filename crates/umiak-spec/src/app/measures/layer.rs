//! What one layer is made of, in counts from which its space on any device follows.
//!
//! Guarantees: the counts are of what a container engine makes of the layer when it unpacks it into a directory of its
//! own, whiteouts included; they are the layer's alone, whatever lies below it. `umiak-layer` makes them. Where a
//! count cannot be known without the very file system (an ext4 directory of more than one block depends on the
//! file system's own seed), there is what is to be expected and what it is at most.

use serde::{Deserialize, Serialize};

use crate::Digest;

/// The block sizes of [`LayerMeasure::file_blocks`]: powers of two from 512 to 65536.
pub const FILE_BLOCK_SIZES: [u64; 8] = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536];

/// The block sizes of [`LayerMeasure::ext4`].
pub const EXT4_BLOCK_SIZES: [u64; 3] = [1024, 2048, 4096];

/// The block size of [`LayerMeasure::xfs`].
pub const XFS_BLOCK_SIZE: u64 = 4096;

/// Bytes of an overlay2 layer's `link`: the name of its link in `l/`.
const LINK: u64 = 26;

/// Bytes that every layer below adds to `lower`: `l/`, the name, and a colon between two.
const LOWER: u64 = 29;

/// Kinds of file systems that are counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileSystem {
    /// ext4 as `mkfs.ext4` makes it: inodes of 256 bytes, hashed directories, checksums, extents; no inline contents.
    Ext4,
    /// xfs as `mkfs.xfs` makes it: version 5, inodes of 512 bytes, directory blocks of 4096 bytes.
    Xfs,
}

/// What a layer is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerMeasure {
    /// Digest of the uncompressed tar.
    #[serde(rename = "diffID")]
    pub diff_id: Digest,
    /// Bytes of the uncompressed tar.
    pub tar_size: u64,
    /// What Docker calls the layer's size: bytes of all files, each inode once, and of the targets of symbolic links.
    pub size: u64,
    /// Entries of the tar; extended headers are none.
    pub entries: u64,
    /// Bytes of the file from which Docker makes the tar again: `tar-split.json.gz`.
    pub tar_split: u64,
    /// Inodes that unpacking makes, the layer's root directory included.
    pub inodes: Inodes,
    /// Blocks of all regular files, for each of [`FILE_BLOCK_SIZES`].
    pub file_blocks: [u64; 8],
    /// Bytes of the largest regular file.
    pub largest_file: u64,
    /// Blocks beside those of files on ext4, for each of [`EXT4_BLOCK_SIZES`].
    pub ext4: [OtherBlocks; 3],
    /// Blocks beside those of files on xfs.
    pub xfs: OtherBlocks,
}

/// Inodes by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inodes {
    /// Directories, those that have no entry of their own and the layer's root included.
    pub directories: u64,
    /// Regular files: a file with many names counts once.
    pub files: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Devices, pipes and sockets.
    pub specials: u64,
    /// Whiteouts: on a device each is a character device of its own.
    pub whiteouts: u64,
}

/// Blocks that a layer takes beside those of its files' contents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherBlocks {
    /// Of directories, as far as can be expected.
    pub directories: u64,
    /// Of directories, at most.
    pub directories_at_most: u64,
    /// Of symbolic links whose target does not fit into the inode.
    pub symlinks: u64,
    /// Of extended attributes that do not fit into the inode.
    pub xattrs: u64,
    /// Of the maps of large files, where free space is not fragmented.
    pub extents: u64,
}

impl Inodes {
    /// All.
    #[must_use]
    pub fn total(&self) -> u64 {
        [self.directories, self.files, self.symlinks, self.specials, self.whiteouts]
            .into_iter()
            .fold(0, u64::saturating_add)
    }
}

impl OtherBlocks {
    /// All, as far as can be expected.
    #[must_use]
    pub fn expected(&self) -> u64 {
        [self.directories, self.symlinks, self.xattrs, self.extents].into_iter().fold(0, u64::saturating_add)
    }

    /// All, at most.
    #[must_use]
    pub fn at_most(&self) -> u64 {
        Self { directories: self.directories.max(self.directories_at_most), ..*self }.expected()
    }
}

impl LayerMeasure {
    /// Blocks of its regular files; `None` for a block size that is not counted for.
    #[must_use]
    pub fn file_blocks(&self, block: u64) -> Option<u64> {
        let at = FILE_BLOCK_SIZES.iter().position(|size| *size == block)?;
        self.file_blocks.get(at).copied()
    }

    /// Blocks beside those of files; `None` for a block size that is not counted for.
    #[must_use]
    pub fn other_blocks(&self, kind: FileSystem, block: u64) -> Option<&OtherBlocks> {
        match kind {
            FileSystem::Ext4 => self.ext4.get(EXT4_BLOCK_SIZES.iter().position(|size| *size == block)?),
            FileSystem::Xfs => (block == XFS_BLOCK_SIZE).then_some(&self.xfs),
        }
    }

    /// Blocks of the tree that the layer unpacks to, its root included, as far as can be expected.
    #[must_use]
    pub fn tree_blocks(&self, kind: FileSystem, block: u64) -> Option<u64> {
        Some(self.file_blocks(block)?.saturating_add(self.other_blocks(kind, block)?.expected()))
    }

    /// Blocks of the tree that the layer unpacks to, its root included, at most.
    #[must_use]
    pub fn tree_blocks_at_most(&self, kind: FileSystem, block: u64) -> Option<u64> {
        Some(self.file_blocks(block)?.saturating_add(self.other_blocks(kind, block)?.at_most()))
    }

    /// Bytes that `du` counts for its directory in overlay2, with `below` layers under it.
    #[must_use]
    pub fn overlay2(&self, kind: FileSystem, block: u64, below: usize) -> Option<u64> {
        let blocks = self.tree_blocks(kind, block)?.saturating_add(overlay2_blocks(kind, block, below));
        Some(blocks.saturating_mul(block))
    }

    /// The `usage` of the layers metadata: `du` on ext4 in whole KiB, and the length of the tar-split file.
    #[must_use]
    pub fn usage(&self, block: u64, below: usize) -> Option<u64> {
        let du = self.overlay2(FileSystem::Ext4, block, below)?;
        Some(du.div_ceil(1024).saturating_mul(1024).saturating_add(self.tar_split))
    }
}

/// Blocks of a layer's directory in overlay2 beside its tree: the directory itself, `link`, and for a layer with others
/// below it `work` and `lower`.
#[must_use]
pub fn overlay2_blocks(kind: FileSystem, block: u64, below: usize) -> u64 {
    let directory = match kind {
        FileSystem::Ext4 => 1,
        // Few names fit into the inode.
        FileSystem::Xfs => 0,
    };
    let block = block.max(1);
    let first = directory + LINK.div_ceil(block);
    match below as u64 {
        0 => first,
        below => first + directory + (LOWER.saturating_mul(below) - 1).div_ceil(block),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_layer_takes_what_is_published() {
        let block = OtherBlocks { directories: 1, directories_at_most: 1, ..OtherBlocks::default() };
        let empty = LayerMeasure {
            diff_id: Digest::of(&[0; 1024]),
            tar_size: 1024,
            size: 0,
            entries: 0,
            tar_split: 82,
            inodes: Inodes { directories: 1, ..Inodes::default() },
            file_blocks: [0; 8],
            largest_file: 0,
            ext4: [block; 3],
            xfs: OtherBlocks::default(),
        };
        assert_eq!(empty.usage(4096, 1), Some(20_562));
        assert_eq!(empty.usage(4096, 0), Some(12_370));
        assert_eq!(empty.overlay2(FileSystem::Ext4, 1024, 35), Some(5 << 10));
        assert_eq!(empty.overlay2(FileSystem::Ext4, 1024, 36), Some(6 << 10));
        assert_eq!(empty.overlay2(FileSystem::Xfs, 4096, 3), Some(2 << 12));
        assert_eq!(empty.usage(8192, 0), None);
        assert_eq!(empty.inodes.total(), 1);
    }
}
