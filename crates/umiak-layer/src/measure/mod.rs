//! What a layer is made of, measured from its tar alone: no container engine, no root, nothing unpacked.
//!
//! ```text
//!            decompress       watch: diff ID, length, tar-split
//! layer ------------------> tar
//!                             \ TarReader -> tree of the layer -> inodes, blocks on ext4 and xfs
//! ```
//!
//! Guarantees: one pass; memory for names and attributes only, bounded by `Limits`; the counts are those of a real overlay2
//! directory on a fresh file system, except for what `umiak_spec::app::measures` calls expected. What it does not do: judge
//! whether an engine takes the layer, or add what lies beside the tree.

mod ext4;
mod half_md4;
mod tar_split;
mod unpacked;
mod xfs;

use std::io::{BufRead as _, Read};

use umiak_spec::app::measures::{EXT4_BLOCK_SIZES, FILE_BLOCK_SIZES, Inodes, LayerMeasure, OtherBlocks};
use umiak_spec::{Limits, Observer, Sha256};

use crate::ahead::{Ahead, read_ahead};
use crate::{LayerError, TarReader, decompress};
use tar_split::TarSplit;
use unpacked::{Inode, Kind, Unpacked};

pub use half_md4::HashSeed;

/// Measures a layer, compressed or not, reading it to its end. ext4 is taken to have the hash seed of zeros.
///
/// # Errors
/// [`LayerError`]; [`LayerError::Cancelled`] soon after `observer` says so.
pub fn measure(source: impl Read + Send, limits: &Limits, observer: &dyn Observer) -> Result<LayerMeasure, LayerError> {
    measure_with(source, &HashSeed::default(), limits, observer)
}

/// Like [`measure`] for an ext4 with this hash seed.
///
/// # Errors
/// As [`measure`].
pub fn measure_with(
    source: impl Read + Send,
    seed: &HashSeed,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<LayerMeasure, LayerError> {
    let (mut hash, mut split, mut tar_size) = (Sha256::new(), TarSplit::new(), 0);
    let mut watch = |chunk: &[u8]| {
        hash.update(chunk);
        split.feed(chunk);
        tar_size += chunk.len() as u64;
    };
    let pass = |ahead: &mut Ahead<'_>| unpack(ahead, limits, observer);
    let (unpacked, entries) =
        read_ahead(|| decompress(source, limits), &mut watch, pass).map_err(LayerError::read)??;
    let mut measure = LayerMeasure {
        diff_id: hash.finish(),
        tar_size,
        size: 0,
        entries,
        tar_split: split.finish(),
        inodes: Inodes::default(),
        file_blocks: [0; 8],
        largest_file: 0,
        ext4: EXT4_BLOCK_SIZES.map(|block| ext4_blocks(&unpacked, block, seed)),
        xfs: OtherBlocks::default(),
    };
    unpacked.inodes().for_each(|inode| count(&mut measure, inode));
    Ok(measure)
}

/// All entries unpacked, and the stream to its end.
fn unpack(ahead: &mut Ahead<'_>, limits: &Limits, observer: &dyn Observer) -> Result<(Unpacked, u64), LayerError> {
    let mut reader = TarReader::new(&mut *ahead, *limits);
    let (mut unpacked, mut entries) = (Unpacked::new(), 0);
    while let Some(entry) = reader.next_entry()? {
        observer.check()?;
        unpacked.add(&entry);
        entries += 1;
    }
    loop {
        let length = ahead.fill_buf().map_err(LayerError::read)?.len();
        if length == 0 {
            return Ok((unpacked, entries));
        }
        observer.check()?;
        ahead.consume(length);
    }
}

/// Adds one inode.
fn count(measure: &mut LayerMeasure, inode: &Inode) {
    let xattrs = xfs::xattr_bytes(named_lengths(inode));
    measure.xfs.xattrs += xfs::xattr_blocks(xattrs, matches!(inode.kind, Kind::File(_)));
    let inodes = &mut measure.inodes;
    match &inode.kind {
        Kind::Directory(names) => {
            inodes.directories += 1;
            let names = in_order(names);
            let (expected, at_most) = xfs::directory_blocks(names.iter().map(|(_, name)| *name));
            measure.xfs.directories += expected;
            measure.xfs.directories_at_most += at_most;
        }
        Kind::File(size) => {
            inodes.files += 1;
            measure.size += size;
            measure.largest_file = measure.largest_file.max(*size);
            for (blocks, block) in measure.file_blocks.iter_mut().zip(FILE_BLOCK_SIZES) {
                *blocks += size.div_ceil(block);
            }
        }
        Kind::Symlink(target) => {
            inodes.symlinks += 1;
            measure.size += target;
            measure.xfs.symlinks += xfs::symlink_blocks(*target, xattrs);
        }
        Kind::Special => inodes.specials += 1,
        Kind::Whiteout => inodes.whiteouts += 1,
    }
}

/// What all inodes take on ext4 beside contents.
fn ext4_blocks(unpacked: &Unpacked, block: u64, seed: &HashSeed) -> OtherBlocks {
    let mut blocks = OtherBlocks::default();
    // When which directory took a block, as far as there is more than one.
    let mut taken: Vec<(u64, usize)> = Vec::new();
    let size = usize::try_from(block).unwrap_or(usize::MAX);
    for (number, inode) in unpacked.inodes().enumerate() {
        blocks.xattrs += ext4::xattr_blocks(named_lengths(inode));
        match &inode.kind {
            Kind::Directory(names) => {
                let names = in_order(names);
                let ordered = names.iter().map(|(_, name)| *name);
                blocks.directories_at_most += ext4::directory_at_most(ordered.clone(), size);
                taken.push((inode.made, number));
                let grown = ext4::growth(ordered, size, seed);
                taken.extend(grown.into_iter().map(|name| (names[name].0, number)));
            }
            Kind::File(size) => blocks.extents += ext4::extent_blocks(*size, block),
            Kind::Symlink(target) => blocks.symlinks += ext4::symlink_blocks(*target),
            Kind::Special | Kind::Whiteout => {}
        }
    }
    blocks.directories = taken.len() as u64 + ext4::fragmented(taken, block);
    blocks
}

/// Names in the order in which they were made.
fn in_order(names: &std::collections::BTreeMap<Box<[u8]>, (unpacked::Id, u64)>) -> Vec<(u64, &[u8])> {
    let mut ordered: Vec<_> = names.iter().map(|(name, (_, made))| (*made, &**name)).collect();
    ordered.sort_unstable();
    ordered
}

fn named_lengths(inode: &Inode) -> impl Iterator<Item = (&[u8], u64)> {
    inode.xattrs.iter().map(|(name, length)| (&**name, *length))
}
