//! File systems without a model of their own: bounds, far above what is taken.
//!
//! - Files are charged their length in blocks, one block more, and 1/64 for what says where they lie and checksums.
//! - Every inode is charged 8 KiB: on btrfs three items with names of up to 255 bytes, kept twice, in leaves half full;
//!   on F2FS a node block and a block of names.
//! - What a file system sets aside in large pieces (btrfs's block groups, F2FS's sections) is free in `statfs`'s eyes
//!   only as far as the file system says so; that is taken as said.

use super::{Blocks, Kind, Model};
use crate::contents::Directory;

/// Bytes charged for an inode of any kind.
const INODE: u64 = 8 << 10;

pub(super) struct Coarse {
    pub block: u64,
    pub kind: Kind,
}

impl Model for Coarse {
    fn file(&self, bytes: u64) -> Blocks {
        let blocks = bytes.div_ceil(self.block);
        // btrfs may keep a small file in its tree.
        let least = if self.kind == Kind::F2fs || bytes >= 4096 { blocks } else { 0 };
        let least = if self.kind == Kind::Other { 0 } else { least };
        (least, blocks.saturating_add(1).saturating_add(blocks / 64))
    }

    fn directory(&self, directory: Directory) -> Blocks {
        (0, directory.entries.saturating_add(2).div_ceil((self.block / 512).max(1)).saturating_add(1))
    }

    fn link(&self, bytes: u64) -> Blocks {
        (0, bytes.div_ceil(self.block))
    }

    fn lists(&self, _largest: u64, blocks: u64) -> Blocks {
        (0, blocks / 64)
    }

    fn inode(&self) -> u64 {
        INODE
    }

    fn is_bound(&self) -> bool {
        true
    }
}
