//! What a tree takes on xfs as `mkfs.xfs` makes it, beside the contents of files: directories, long targets of symbolic links,
//! extended attributes.
//!
//! That is: version 5 with checksums, inodes of 512 bytes, `ftype`, blocks and directory blocks of 4096 bytes. Small
//! directories, targets and attributes lie in the inode. Of a directory with names in more than one block of the
//! index, how full the blocks are is estimated.

/// Bytes of a block.
const BLOCK: usize = 4096;
/// Bytes of an inode behind its fields.
const INLINE: u64 = 336;
/// What of them is for names in a directory: kernels with security modules set the rest aside for attributes at once.
const INLINE_NAMES: usize = 192;
/// What of them is for attributes in a file or a directory; a symbolic link with attributes counts like a directory.
const INLINE_XATTRS: u64 = 248;
const INLINE_DIRECTORY_XATTRS: u64 = INLINE - INLINE_NAMES as u64;
/// Header of a directory's block of names, and of the index's.
const HEADER: usize = 64;
/// `.` and `..` in a block.
const DOTS: usize = 32;
/// Bytes of an entry of the index.
const INDEX_ENTRY: usize = 8;
/// Header of a block of a target or of attributes.
const REMOTE_HEADER: usize = 56;
/// Blocks with room that are looked at for a name; there are hardly ever more.
const LOOKED_AT: usize = 64;

/// Blocks of a symbolic link.
pub(super) fn symlink_blocks(target: u64, xattrs: u64) -> u64 {
    let inline = if xattrs == 0 { INLINE } else { INLINE_NAMES as u64 };
    if target <= inline { 0 } else { target.div_ceil((BLOCK - REMOTE_HEADER) as u64) }
}

/// Bytes that attributes take in an inode, given as full names and lengths of values.
pub(super) fn xattr_bytes<'a>(xattrs: impl Iterator<Item = (&'a [u8], u64)>) -> u64 {
    let stored = |name: &[u8]| match name.iter().position(|byte| *byte == b'.') {
        Some(dot) if !name.starts_with(b"system.") => name.len() - dot - 1,
        // An ACL lies under a name of its own.
        _ => 12,
    };
    let bytes: u64 = xattrs.map(|(name, value)| 3 + stored(name) as u64 + value).sum();
    if bytes == 0 { 0 } else { bytes + 4 }
}

/// Blocks of so many bytes of attributes.
pub(super) fn xattr_blocks(bytes: u64, in_file: bool) -> u64 {
    let inline = if in_file { INLINE_XATTRS } else { INLINE_DIRECTORY_XATTRS };
    if bytes <= inline { 0 } else { 1 + bytes.saturating_sub(INDEXED_XATTRS).div_ceil((BLOCK - REMOTE_HEADER) as u64) }
}

/// Bytes of attributes that one block certainly holds with what belongs to them.
const INDEXED_XATTRS: u64 = 2800;

/// Blocks of a directory: as expected, and at most.
pub(super) fn directory_blocks<'a>(names: impl Iterator<Item = &'a [u8]> + Clone) -> (u64, u64) {
    let (mut count, mut short, mut long) = (0, 6, 0);
    for name in names.clone() {
        count += 1;
        short += 8 + name.len();
        long += entry(name);
    }
    if short <= INLINE_NAMES {
        return (0, 0);
    }
    let index = INDEX_ENTRY * (count + 2);
    if HEADER + DOTS + long + index + 8 <= BLOCK {
        return (1, 1);
    }
    let blocks = name_blocks(names);
    if HEADER + index + 2 * blocks + 4 <= BLOCK {
        return (blocks as u64 + 1, blocks as u64 + 1);
    }
    // Index blocks are split in halves; then there is a root above them, and blocks that say where there is room.
    let in_block = (BLOCK - HEADER) / INDEX_ENTRY;
    let above = 1 + blocks.div_ceil((BLOCK - HEADER) / 2);
    let leaves = |fill: usize| (count + 2).div_ceil(fill);
    let roots = |leaves: usize| if leaves > in_block { 1 + leaves.div_ceil(in_block / 2) } else { 0 };
    let (expected, most) = (leaves(in_block * 3 / 4).max(2), leaves(in_block / 2) + 1);
    ((blocks + above + expected + roots(expected)) as u64, (blocks + above + most + roots(most)) as u64)
}

/// Bytes of a name in a block.
fn entry(name: &[u8]) -> usize {
    (12 + name.len()).next_multiple_of(8)
}

/// Blocks that hold the names: each goes into the first block with room.
fn name_blocks<'a>(names: impl Iterator<Item = &'a [u8]>) -> usize {
    let capacity = BLOCK - HEADER;
    let mut free = vec![capacity - DOTS];
    for name in names {
        let bytes = entry(name);
        let from = free.len().saturating_sub(LOOKED_AT);
        match free[from..].iter_mut().find(|free| **free >= bytes) {
            Some(free) => *free -= bytes,
            None => free.push(capacity - bytes),
        }
    }
    free.len()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use umiak_testkit::volume::{FileSystem, Volume};

    use super::*;

    #[test]
    #[ignore = "needs: xfsprogs, mount, root"]
    fn directories_and_links_have_the_blocks_that_the_kernel_gives_them() {
        let scratch = tempfile::tempdir().unwrap();
        let volume = Volume::make(scratch.path(), "xfs", FileSystem::Xfs, 4096, 320 << 20).unwrap();
        let blocks = |path: &std::path::Path| std::fs::symlink_metadata(path).unwrap().blocks() / 8;
        for (count, width) in [
            (1, 1),
            (18, 10),
            (19, 10),
            (20, 12),
            (100, 5),
            (120, 9),
            (127, 13),
            (128, 20),
            (400, 30),
            (490, 8),
            (2000, 12),
            (6000, 40),
        ] {
            let names: Vec<String> = (0..count).map(|number| format!("{number:0>width$}")).collect();
            let directory = volume.path().join(format!("{count}-{width}"));
            std::fs::create_dir(&directory).unwrap();
            names.iter().for_each(|name| drop(std::fs::File::create(directory.join(name)).unwrap()));
            let (expected, most) = directory_blocks(names.iter().map(String::as_bytes));
            let found = blocks(&directory);
            assert!(found <= most, "{count} names of {width} bytes: {found}, expected {expected}, at most {most}");
            let slack = if count < 500 { 0 } else { found / 10 };
            assert!(found.abs_diff(expected) <= slack, "{count} names of {width} bytes: {found}, expected {expected}");
        }
        for length in [1, 335, 336, 337, 1000] {
            let link = volume.path().join(format!("link-{length}"));
            std::os::unix::fs::symlink("x".repeat(length), &link).unwrap();
            assert_eq!(blocks(&link), symlink_blocks(length as u64, 0), "{length}");
        }
    }
}
