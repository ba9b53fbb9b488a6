//! XFS, of the fifth format (with checksums).
//!
//! - Inodes are taken from free space, 64 at a time, and a chunk belongs to one allocation group. New directories go
//!   round the groups and files go with their directory: so each group may have one chunk begun. What is free in
//!   chunks that are there is not known and not counted. Trees of chunks take a block for at least 126 of them.
//! - A chunk is given back when all its inodes are free. Layers are written one after the other, so that few chunks are
//!   shared: it is assumed that of what is removed, two chunks in each group stay.
//! - A file takes its length in blocks. 21 extents lie in an inode of 512 bytes; a block holds 251 and is at least half
//!   full. It is assumed that pieces of a file have sixteen blocks on average.
//! - A directory of few names lies in the inode; then it is one block; then blocks of names, of hashes, and of what is
//!   free. A name takes 12 bytes and its length, rounded up to 8.
//! - Symbolic links lie in the inode when they are short.
//!
//! Blocks that XFS sets aside behind the end of a file that is being written are given back when space runs out: they
//! are not counted.

use super::{Blocks, Model};
use crate::contents::Directory;

/// Inodes in a chunk.
const CHUNK: u64 = 64;
/// Blocks in a piece of a file, on average.
const PIECE: u64 = 16;
/// What of an inode is its head, in bytes.
const HEAD: u64 = 176;

pub(super) struct Xfs {
    pub block: u64,
    pub inode: u64,
    pub groups: u64,
}

impl Xfs {
    /// Bytes in an inode for what it is of.
    fn literal(&self) -> u64 {
        self.inode.saturating_sub(HEAD)
    }
}

impl Model for Xfs {
    fn file(&self, bytes: u64) -> Blocks {
        let blocks = bytes.div_ceil(self.block);
        let (_, lists) = self.lists(bytes, blocks);
        (blocks, blocks.saturating_add(lists))
    }

    fn directory(&self, directory: Directory) -> Blocks {
        let Directory { entries, name_bytes } = directory;
        if entries.saturating_mul(8).saturating_add(name_bytes).saturating_add(10) <= self.literal() {
            return (0, 0);
        }
        let short = entries.saturating_mul(12).saturating_add(name_bytes);
        let long = short.saturating_add(entries.saturating_mul(7));
        // One block: head, `.` and `..`, names, a hash for each, tail.
        if long.saturating_add(entries.saturating_mul(8)).saturating_add(64 + 32 + 16 + 8) <= self.block {
            return (1, 1);
        }
        let room = self.block - 64;
        let longest = long.div_ceil(entries.max(1));
        let names = long.div_ceil(room.saturating_sub(longest).max(room / 2)).saturating_add(1);
        let in_a_leaf = room / 8;
        let leaves = if entries.saturating_add(names) < in_a_leaf { 1 } else { entries / (in_a_leaf / 2) + 3 };
        let free = 1 + names / (room / 2);
        let least = short.div_ceil(room).saturating_add(1);
        let one = short.saturating_add(entries.saturating_mul(8)).saturating_add(120) <= self.block;
        (if one { 1 } else { least }, names.saturating_add(leaves).saturating_add(free))
    }

    fn link(&self, bytes: u64) -> Blocks {
        let inline = bytes <= self.literal();
        let blocks = if inline { 0 } else { bytes.div_ceil(self.block - 56) };
        (blocks, blocks)
    }

    fn lists(&self, largest: u64, blocks: u64) -> Blocks {
        if largest.div_ceil(self.block).div_ceil(PIECE) <= self.literal() / 16 {
            return (0, 0);
        }
        let in_a_block = self.block.saturating_sub(72) / 16;
        (0, blocks.div_ceil(PIECE).div_ceil((in_a_block / 2).max(1)))
    }

    fn inode(&self) -> u64 {
        self.inode
    }

    fn inode_least(&self) -> u64 {
        self.inode
    }

    fn keeping(&self, inodes: u64) -> u64 {
        let chunks = self.groups.max(1).saturating_mul(2);
        inodes.min(chunks.saturating_mul(CHUNK - 1)).saturating_mul(self.inode)
    }

    fn beginning(&self, inodes: u64) -> u64 {
        let groups = self.groups.max(1).min(inodes);
        let begun = groups.saturating_mul(CHUNK - 1).saturating_mul(self.inode);
        let trees = (inodes / CHUNK / 126).saturating_mul(self.block);
        begun.saturating_add(trees)
    }
}
