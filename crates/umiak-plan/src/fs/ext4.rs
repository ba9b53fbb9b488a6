//! ext4.
//!
//! - All inodes are there from the start; an inode takes no block.
//! - A file takes its length in blocks. Four extents lie in the inode; longer lists take blocks, each with
//!   `(block - 16) / 12` extents. It is assumed that a file below 1 MiB lies in at most four pieces, and that the
//!   pieces of a longer one have eight blocks on average, which only a nearly full and old file system falls below.
//! - A directory takes a block at least. A name takes 8 bytes and its length, rounded up to 4; `.` and `..` take 24 and
//!   a checksum 12. Names that do not fit one block are spread by a hash with a seed of the file system's own: blocks
//!   are between half and wholly full, and one more holds the index.
//! - A symbolic link of less than 60 bytes lies in the inode.

use super::{Blocks, Model};
use crate::contents::Directory;

/// Files from here on may have a list of extents outside the inode.
const LARGE: u64 = 1 << 20;
/// Blocks in a piece of a large file, on average.
const PIECE: u64 = 8;

pub(super) struct Ext4 {
    pub block: u64,
}

impl Model for Ext4 {
    fn file(&self, bytes: u64) -> Blocks {
        let blocks = bytes.div_ceil(self.block);
        let (_, lists) = self.lists(bytes, blocks);
        (blocks, blocks.saturating_add(lists))
    }

    fn directory(&self, directory: Directory) -> Blocks {
        let names = directory.entries.saturating_mul(8).saturating_add(directory.name_bytes);
        let rounded = names.saturating_add(directory.entries.saturating_mul(3));
        if rounded.saturating_add(36) <= self.block {
            return (1, 1);
        }
        let room = self.block - 12;
        // Where lengths decide whether one block is enough, it may be.
        let least = if names.saturating_add(36) <= self.block { 1 } else { names.div_ceil(room).max(2) };
        let leaves = rounded.div_ceil(room).saturating_mul(2);
        (least, leaves.saturating_add(1).saturating_add(leaves / (self.block / 16)))
    }

    fn link(&self, bytes: u64) -> Blocks {
        let blocks = u64::from(bytes >= 60);
        (blocks, blocks)
    }

    fn lists(&self, largest: u64, blocks: u64) -> Blocks {
        if largest < LARGE {
            return (0, 0);
        }
        let lists = blocks.div_ceil(PIECE).div_ceil(self.in_a_list() / 2);
        (0, lists.saturating_add(u64::from(lists > 4)))
    }
}

impl Ext4 {
    /// Extents in a block of a list.
    fn in_a_list(&self) -> u64 {
        (self.block - 16) / 12
    }
}
