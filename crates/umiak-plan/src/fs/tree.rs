//! The tree of a layer that was counted: its blocks on a file system, without what is charged for inodes and lists.
//!
//! Counted were ext4 with blocks of 1, 2 and 4 KiB and XFS with blocks of 4 KiB; for others a bound is derived.

use umiak_spec::app::measures::{self, LayerMeasure, OtherBlocks};

use super::{Blocks, FileSystem, Kind};

/// Least and most, and whether they were counted for such a file system.
pub(super) fn blocks(file_system: &FileSystem, layer: &LayerMeasure) -> (Blocks, bool) {
    let block = u64::from(file_system.block_size);
    let files = layer.file_blocks(block).unwrap_or_else(|| layer.size.div_ceil(block.max(1)) + layer.inodes.files);
    let kind = match file_system.kind {
        Kind::Ext4 => Some(measures::FileSystem::Ext4),
        Kind::Xfs => Some(measures::FileSystem::Xfs),
        Kind::Btrfs | Kind::F2fs | Kind::Other => None,
    };
    if let Some(other) = kind.and_then(|kind| layer.other_blocks(kind, block)) {
        let most = files.saturating_add(other.at_most());
        return ((files.saturating_add(least(other)), most), true);
    }
    let other = derived(file_system.kind, block, layer).saturating_add(layer.inodes.files);
    let least = if matches!(file_system.kind, Kind::Ext4 | Kind::Xfs) { files } else { 0 };
    ((least, files.saturating_add(other)), false)
}

/// As far below what is expected as the most is above it.
fn least(other: &OtherBlocks) -> u64 {
    let freedom = other.directories_at_most.saturating_sub(other.directories);
    OtherBlocks { directories: other.directories.saturating_sub(freedom), xattrs: 0, ..*other }.expected()
}

/// Blocks beside those of files where nobody counted them.
fn derived(kind: Kind, block: u64, layer: &LayerMeasure) -> u64 {
    let [small, _, usual] = &layer.ext4;
    let counted = if kind == Kind::Xfs { &layer.xfs } else { usual };
    if block >= measures::XFS_BLOCK_SIZE {
        // Larger blocks are no more blocks.
        return counted.at_most().max(usual.at_most());
    }
    let smaller = measures::XFS_BLOCK_SIZE.div_ceil(block.max(1));
    small.at_most().max(counted.at_most()).saturating_mul(smaller)
}
