//! What a tree takes on ext4 as `mkfs.ext4` makes it, beside the contents of files: directories, long targets of symbolic
//! links, extended attributes, maps of large files.
//!
//! That is: inodes of 256 bytes, `metadata_csum`, `dir_index` with half MD4, `extent`, no `inline_data`, no `ea_inode`.
//! Directories are filled as the kernel does it, so that with the file system's seed the blocks are exact. Blocks of
//! the maps depend on how free space lies; here it is in one piece.

use std::collections::BTreeMap;

use super::half_md4::{HashSeed, half_md4};

/// The record that ends each block of a directory and holds its checksum.
const TAIL: usize = 12;
/// `.` and `..`.
const DOTS: usize = 24;

/// Targets shorter than this lie in the inode.
const INLINE_TARGET: u64 = 60;
/// Bytes for attributes in an inode: 256 less the inode's fields and a mark.
const INLINE_XATTRS: u64 = 92;
/// What ends a list of attributes.
const XATTRS_END: u64 = 4;

/// Blocks that one extent can have.
const EXTENT: u64 = 32_768;
/// Extents in the inode.
const INLINE_EXTENTS: u64 = 4;

/// Blocks of a symbolic link.
pub(super) fn symlink_blocks(target: u64) -> u64 {
    u64::from(target >= INLINE_TARGET)
}

/// Blocks of an inode's attributes, given as full names and lengths of values.
pub(super) fn xattr_blocks<'a>(xattrs: impl Iterator<Item = (&'a [u8], u64)>) -> u64 {
    let bytes = |(name, value): (&[u8], u64)| 16 + stored_name(name).next_multiple_of(4) + value.next_multiple_of(4);
    let bytes: u64 = xattrs.map(bytes).sum();
    u64::from(bytes > 0 && bytes + XATTRS_END > INLINE_XATTRS)
}

/// Bytes of a name without what its number stands for.
fn stored_name(name: &[u8]) -> u64 {
    if name.starts_with(b"system.posix_acl_") {
        return 0;
    }
    let dot = name.iter().position(|byte| *byte == b'.').map_or(0, |dot| dot + 1);
    (name.len() - dot) as u64
}

/// Blocks of the map of a file of `bytes`.
pub(super) fn extent_blocks(bytes: u64, block: u64) -> u64 {
    map_blocks(bytes.div_ceil(block).div_ceil(EXTENT), block)
}

/// Blocks of a map of so many extents.
pub(super) fn map_blocks(extents: u64, block: u64) -> u64 {
    // 12 bytes each, behind a header and before a checksum.
    let in_block = (block - 16) / 12;
    if extents <= INLINE_EXTENTS { 0 } else { extents.div_ceil(in_block) }
}

/// Blocks of the maps of directories, of which `taken` has when each block was taken by which: a directory goes on where it
/// ended unless another took a block meanwhile.
pub(super) fn fragmented(mut taken: Vec<(u64, usize)>, block: u64) -> u64 {
    taken.sort_unstable();
    let mut extents = BTreeMap::new();
    for run in taken.chunk_by(|one, other| one.1 == other.1) {
        *extents.entry(run[0].1).or_insert(0) += 1;
    }
    extents.into_values().map(|extents| map_blocks(extents, block)).sum()
}

/// Bytes of a directory's record.
fn record(name: &[u8]) -> usize {
    (8 + name.len()).next_multiple_of(4)
}

/// How a directory with these names, made in this order, grows beyond its first block: for every further block the number of
/// the name that needed it.
pub(super) fn growth<'a>(names: impl Iterator<Item = &'a [u8]> + Clone, block: usize, seed: &HashSeed) -> Vec<usize> {
    let mut grown = Vec::new();
    if names.clone().map(record).sum::<usize>() <= block - TAIL - DOTS {
        return grown;
    }
    let mut tree = HashTree::new(block);
    for (number, name) in names.enumerate() {
        tree.insert(half_md4(name, seed), record(name));
        grown.resize(tree.blocks() - 1, number);
    }
    grown
}

/// Blocks that a directory with these names has at most, as far as chance goes: more than with any of several seeds, the
/// map included.
pub(super) fn directory_at_most<'a>(names: impl Iterator<Item = &'a [u8]> + Clone, block: usize) -> u64 {
    let with = |seed| growth(names.clone(), block, &[seed; 16]).len() as u64 + 1;
    let most = with(1);
    if most == 1 {
        return 1;
    }
    // The larger, the less chance has to say.
    let seeds = if most < MANY { 2..8 } else { 2..4 };
    let most = seeds.map(with).fold(most, u64::max);
    let most = most + 2 + most / 16;
    most + map_blocks(most, block as u64)
}

/// Blocks of a very large directory.
const MANY: u64 = 1000;

/// References to blocks that the first block of a hashed directory holds.
fn root_limit(block: usize) -> usize {
    (block - DOTS - 8 - 8) / 8
}

/// References that each further index block holds.
fn node_limit(block: usize) -> usize {
    (block - 8 - 8) / 8
}

/// A directory as ext4 fills it.
struct HashTree {
    block: usize,
    /// The only block, as long as there is one.
    first: Leaf,
    /// By the least hash that belongs there.
    leaves: BTreeMap<u32, Leaf>,
    /// Index blocks below the root, with the number of leaves of each; none while the root holds them all.
    nodes: BTreeMap<u32, usize>,
}

/// Records of one block, in the order in which they lie there.
#[derive(Default)]
struct Leaf {
    records: Vec<(u32, usize)>,
    used: usize,
}

impl Leaf {
    fn of(records: Vec<(u32, usize)>) -> Self {
        let used = records.iter().map(|(_, bytes)| bytes).sum();
        Self { records, used }
    }

    fn add(&mut self, hash: u32, bytes: usize) {
        self.records.push((hash, bytes));
        self.used += bytes;
    }
}

impl HashTree {
    fn new(block: usize) -> Self {
        Self { block, first: Leaf::default(), leaves: BTreeMap::new(), nodes: BTreeMap::new() }
    }

    fn blocks(&self) -> usize {
        if self.leaves.is_empty() { 1 } else { 1 + self.leaves.len() + self.nodes.len() }
    }

    fn insert(&mut self, hash: u32, bytes: usize) {
        if self.leaves.is_empty() {
            if self.first.used + bytes <= self.block - TAIL - DOTS {
                return self.first.add(hash, bytes);
            }
            self.leaves.insert(0, std::mem::take(&mut self.first));
            return self.split(0, hash, bytes);
        }
        let capacity = self.block - TAIL;
        let Some((start, leaf)) = self.leaves.range_mut(..=hash).next_back() else { return };
        if leaf.used + bytes <= capacity {
            return leaf.add(hash, bytes);
        }
        let start = *start;
        self.make_room(start);
        self.split(start, hash, bytes);
    }

    /// Splits the leaf by hash, and adds the record to one of the two.
    fn split(&mut self, start: u32, hash: u32, bytes: usize) {
        let Some(leaf) = self.leaves.remove(&start) else { return };
        let mut by_hash: Vec<usize> = (0..leaf.records.len()).collect();
        by_hash.sort_by_key(|at| leaf.records[*at].0);
        // The last record extends to the block's end.
        let slack = self.block - TAIL - leaf.used;
        let size = |at: usize| leaf.records[at].1 + if at + 1 == leaf.records.len() { slack } else { 0 };
        let first = split_at(by_hash.iter().map(|at| size(*at)), self.block);
        let (stay, go) = by_hash.split_at(first);
        let middle = go.first().map_or(hash, |at| leaf.records[*at].0);
        let continued = stay.last().is_some_and(|at| leaf.records[*at].0 == middle);
        // What goes is written in the order of hashes, what stays keeps its order.
        let mut stay = stay.to_vec();
        stay.sort_unstable();
        let records = |places: &[usize]| Leaf::of(places.iter().map(|at| leaf.records[*at]).collect());
        let (mut lower, mut upper) = (records(&stay), records(go));
        if hash >= middle {
            upper.add(hash, bytes);
        } else {
            lower.add(hash, bytes);
        }
        self.leaves.insert(start, lower);
        self.leaves.insert(middle + u32::from(continued), upper);
        if let Some((_, leaves)) = self.nodes.range_mut(..=start).next_back() {
            *leaves += 1;
        }
    }

    /// Sees to it that the index can refer to one more leaf beside the one at `start`.
    fn make_room(&mut self, start: u32) {
        let Some((node, leaves)) = self.nodes.range(..=start).next_back().map(|(node, leaves)| (*node, *leaves)) else {
            if self.leaves.len() == root_limit(self.block) {
                self.nodes.insert(0, self.leaves.len());
            }
            return;
        };
        if leaves == node_limit(self.block) {
            let Some((middle, _)) = self.leaves.range(node..).nth(leaves / 2) else { return };
            self.nodes.insert(*middle, leaves - leaves / 2);
            self.nodes.insert(node, leaves / 2);
        }
    }
}

/// Which of the records, sorted by hash and given by size, is the first to go to the new block: no more than half a block goes.
fn split_at(sizes: impl DoubleEndedIterator<Item = usize> + ExactSizeIterator, block: usize) -> usize {
    let count = sizes.len();
    let mut size = 0;
    for (moved, bytes) in sizes.rev().enumerate() {
        if size + bytes / 2 > block / 2 {
            return count - moved;
        }
        size += bytes;
    }
    count / 2
}

#[cfg(test)]
mod tests {
    use umiak_testkit::volume::{FileSystem, Volume};

    use super::*;

    fn names(count: usize, kind: usize) -> Vec<String> {
        let name = |number: usize| match kind {
            0 => format!("{number}"),
            1 => format!("package-{}-of-many:amd64.md5sums", number * 7919 % 10_007),
            _ => format!("{}{number}", "long-name-".repeat(number % 24)),
        };
        (0..count).map(name).collect()
    }

    #[test]
    #[ignore = "needs: e2fsprogs, mount, root"]
    fn directories_have_the_blocks_that_the_kernel_gives_them() {
        let seed: HashSeed = [0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 1, 2, 3, 4, 5, 6, 7, 8];
        let scratch = tempfile::tempdir().unwrap();
        for block in [1024_u32, 2048, 4096] {
            let more = ["-N", "60000", "-E", "hash_seed=12345678-9abc-def0-0102-030405060708"];
            let name = block.to_string();
            let volume = Volume::make_with(scratch.path(), &name, FileSystem::Ext4, block, 96 << 20, &more).unwrap();
            let mut several = 0;
            for (count, kind) in
                [(20, 0), (83, 0), (84, 0), (200, 0), (340, 1), (400, 2), (1500, 0), (1500, 1), (4000, 2), (20_000, 0)]
            {
                let directory = volume.path().join(format!("{count}-{kind}"));
                std::fs::create_dir(&directory).unwrap();
                let names = names(count, kind);
                names.iter().for_each(|name| drop(std::fs::File::create(directory.join(name)).unwrap()));
                // Its length: how many extents it has depends on what else was written.
                let found = std::fs::metadata(&directory).unwrap().len() / u64::from(block);
                let names = || names.iter().map(String::as_bytes);
                let blocks = |seed: &HashSeed| growth(names(), block as usize, seed).len() as u64 + 1;
                assert_eq!(blocks(&seed), found, "{count} names of kind {kind} in blocks of {block}");
                let at_most = directory_at_most(names(), block as usize);
                assert!((1..60).all(|other| blocks(&[other; 16]) <= at_most));
                assert!(at_most <= found + found / 4 + 5, "{at_most} is much more than {found}");
                several += usize::from(found > 1);
                std::fs::remove_dir_all(&directory).unwrap();
            }
            assert!(several >= 6, "{several}");
        }
    }

    #[test]
    fn what_fits_into_the_inode_takes_no_block() {
        assert_eq!((symlink_blocks(59), symlink_blocks(60)), (0, 1));
        let capability = (&b"security.capability"[..], 20);
        let opaque = (&b"trusted.overlay.opaque"[..], 1);
        assert_eq!(xattr_blocks(std::iter::empty()), 0);
        assert_eq!(xattr_blocks([capability, opaque].into_iter()), 0);
        assert_eq!(xattr_blocks([capability, opaque, (b"user.a", 0)].into_iter()), 1);
        assert_eq!(
            (xattr_blocks([(&b"user.a"[..], 68)].into_iter()), xattr_blocks([(&b"user.a"[..], 69)].into_iter())),
            (0, 1)
        );
        assert_eq!((extent_blocks(512 << 20, 4096), extent_blocks((512 << 20) + 1, 4096)), (0, 1));
    }
}
