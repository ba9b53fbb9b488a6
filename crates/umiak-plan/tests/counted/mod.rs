//! The measure of a layer that nobody made.

use umiak_spec::Digest;
use umiak_spec::app::measures::{FILE_BLOCK_SIZES, Inodes, LayerMeasure, OtherBlocks};

/// The measure of a layer with so many files of one length, evenly in so many directories.
pub fn measure(diff_id: Digest, files: u64, length: u64, directories: u64) -> LayerMeasure {
    let entries = files + directories;
    let inline = files / directories.max(1) < 10;
    let blocks = |directories| OtherBlocks { directories, directories_at_most: directories, ..OtherBlocks::default() };
    LayerMeasure {
        diff_id,
        tar_size: entries * 512 + files * length.next_multiple_of(512) + 1024,
        size: files * length,
        entries,
        tar_split: entries * 30 + 80,
        inodes: Inodes { directories: directories + 1, files, ..Inodes::default() },
        file_blocks: FILE_BLOCK_SIZES.map(|block| files * length.div_ceil(block)),
        largest_file: if files == 0 { 0 } else { length },
        ext4: [blocks(directories + 1); 3],
        xfs: blocks(if inline { 0 } else { directories }),
    }
}
