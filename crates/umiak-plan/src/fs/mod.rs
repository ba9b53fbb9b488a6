//! File systems, and what files, directories and layers take on them.
//!
//! Each kind has its model in a module of its own. A model answers in whole blocks, as `statfs` would count them, with
//! the least and the most that the file system may take: where names hash to, and in how many pieces a file lies, is
//! the file system's own affair. What a model rests on stands at the top of its module.

mod coarse;
mod ext4;
mod tree;
mod xfs;

use std::fmt;
use std::str::FromStr;

use umiak_spec::app::measures::LayerMeasure;

use crate::contents::Directory;
use crate::cost::Cost;

/// Smallest and largest block size that a file system may have.
pub const BLOCK_SIZES: std::ops::RangeInclusive<u32> = 512..=65536;

/// What kind of file system it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// ext4; its inodes are there from the start.
    Ext4,
    /// XFS; inodes are taken from free space in chunks.
    Xfs,
    /// btrfs: a bound.
    Btrfs,
    /// F2FS: a bound.
    F2fs,
    /// Any other: a bound.
    Other,
}

/// Why a text names no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no kind of file system that is known here: write ext4, xfs, btrfs, f2fs or other")]
pub struct KindError(String);

impl FromStr for Kind {
    type Err = KindError;

    fn from_str(text: &str) -> Result<Self, KindError> {
        match text {
            "ext4" => Ok(Self::Ext4),
            "xfs" => Ok(Self::Xfs),
            "btrfs" => Ok(Self::Btrfs),
            "f2fs" => Ok(Self::F2fs),
            "other" => Ok(Self::Other),
            other => Err(KindError(other.chars().take(40).collect())),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::F2fs => "f2fs",
            Self::Other => "other",
        })
    }
}

/// A file system of a device as `statfs` shows it to root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    /// How people call it: usually where it is mounted.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// Bytes of a block: a power of two in [`BLOCK_SIZES`].
    pub block_size: u32,
    /// All blocks.
    pub blocks: u64,
    /// Free blocks, those reserved for root included.
    pub free: u64,
    /// Blocks of `free` that are reserved for root.
    pub reserved: u64,
    /// Inodes that may still be made; `None` where there is no limit.
    pub inodes_free: Option<u64>,
    /// Bytes of an inode.
    pub inode_size: u32,
    /// Allocation groups (XFS).
    pub groups: u32,
}

/// Blocks that something takes: at least, at most.
type Blocks = (u64, u64);

/// What a kind of file system says of single inodes, in blocks.
trait Model {
    /// Content of a file, and what says where it lies.
    fn file(&self, bytes: u64) -> Blocks;
    /// A directory.
    fn directory(&self, directory: Directory) -> Blocks;
    /// A symbolic link.
    fn link(&self, bytes: u64) -> Blocks;
    /// What says where files lie that are `blocks` long together, the longest of them `largest` bytes.
    fn lists(&self, largest: u64, blocks: u64) -> Blocks;
    /// Bytes that an inode itself takes from free space.
    fn inode(&self) -> u64 {
        0
    }
    /// Bytes of that which come back when the inode is removed, but for [`Model::keeping`].
    fn inode_least(&self) -> u64 {
        0
    }
    /// Bytes that so many inodes may keep when they are removed, once for all of them.
    fn keeping(&self, _inodes: u64) -> u64 {
        0
    }
    /// Bytes that so many inodes may take beyond their own, once for all of them.
    fn beginning(&self, _inodes: u64) -> u64 {
        0
    }
    /// Whether all this is only a bound.
    fn is_bound(&self) -> bool {
        false
    }
}

impl FileSystem {
    fn model(&self) -> Box<dyn Model> {
        let block = u64::from(self.block_size.max(*BLOCK_SIZES.start()));
        match self.kind {
            Kind::Ext4 => Box::new(ext4::Ext4 { block }),
            Kind::Xfs => {
                Box::new(xfs::Xfs { block, inode: u64::from(self.inode_size), groups: u64::from(self.groups) })
            }
            kind => Box::new(coarse::Coarse { block, kind }),
        }
    }

    fn cost(&self, model: &dyn Model, (least, most): Blocks, count: u64) -> Cost {
        let block = u64::from(self.block_size);
        let cost = Cost {
            least: least.saturating_mul(block).saturating_add(model.inode_least()),
            most: most.saturating_mul(block).saturating_add(model.inode()),
            inodes: 1,
            inodes_least: 1,
            bound: model.is_bound(),
            inodes_bound: false,
        };
        cost.times(count)
    }

    /// One file of so many bytes.
    #[must_use]
    pub fn file(&self, bytes: u64) -> Cost {
        self.files(bytes, 1)
    }

    /// Several files of so many bytes each.
    #[must_use]
    pub fn files(&self, bytes: u64, count: u64) -> Cost {
        let model = self.model();
        self.cost(&*model, model.file(bytes), count)
    }

    /// What a file of which `fetched` bytes are there takes more when it is whole.
    #[must_use]
    pub fn rest_of_file(&self, bytes: u64, fetched: u64) -> Cost {
        if fetched == 0 {
            return self.file(bytes);
        }
        let (whole, part) = (self.file(bytes), self.file(fetched.min(bytes)));
        Cost::at_most(whole.most.saturating_sub(part.least), 0)
    }

    /// Several directories alike.
    #[must_use]
    pub fn directories(&self, directory: Directory, count: u64) -> Cost {
        let model = self.model();
        self.cost(&*model, model.directory(directory), count)
    }

    /// Several symbolic links whose targets have so many bytes.
    #[must_use]
    pub fn links(&self, bytes: u64, count: u64) -> Cost {
        let model = self.model();
        self.cost(&*model, model.link(bytes), count)
    }

    /// What a directory with `have` names of about `name` bytes grows by when `new` such names are added.
    #[must_use]
    pub fn growth(&self, have: u64, new: u64, name: u64) -> Cost {
        let of = |entries: u64| Directory { entries, name_bytes: entries.saturating_mul(name) };
        let model = self.model();
        let (before, _) = model.directory(of(have));
        let (_, after) = model.directory(of(have.saturating_add(new)));
        // A name splits one block in two; the first split also makes an index.
        let blocks = after.saturating_sub(before).min(new.saturating_add(2));
        let bytes = blocks.saturating_mul(u64::from(self.block_size));
        Cost { bound: model.is_bound(), ..Cost::at_most(bytes, 0) }
    }

    /// What so many inodes take once, beyond what each of them takes.
    #[must_use]
    pub fn beginning(&self, inodes: u64) -> Cost {
        let model = self.model();
        Cost { bound: model.is_bound(), ..Cost::at_most(if inodes == 0 { 0 } else { model.beginning(inodes) }, 0) }
    }

    /// Bytes of so many inodes that may stay taken when they are removed.
    #[must_use]
    pub fn keeping(&self, inodes: u64) -> u64 {
        self.model().keeping(inodes)
    }

    /// The tree of a layer that was counted.
    #[must_use]
    pub fn tree(&self, layer: &LayerMeasure) -> Cost {
        let model = self.model();
        let ((least, most), counted) = tree::blocks(self, layer);
        let (_, lists) = model.lists(layer.largest_file, most);
        let inodes = layer.inodes.total();
        let block = u64::from(self.block_size);
        let own = model.inode().saturating_mul(inodes);
        let own_least = model.inode_least().saturating_mul(inodes);
        Cost {
            least: least.saturating_mul(block).saturating_add(own_least),
            most: most.saturating_add(lists).saturating_mul(block).saturating_add(own),
            inodes,
            inodes_least: inodes,
            bound: model.is_bound() || !counted,
            inodes_bound: false,
        }
    }

    /// Blocks for so many bytes, in bytes.
    #[must_use]
    pub fn rounded(&self, bytes: u64) -> u64 {
        let block = u64::from(self.block_size.max(1));
        bytes.div_ceil(block).saturating_mul(block)
    }

    /// All bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.blocks.saturating_mul(u64::from(self.block_size))
    }

    /// Free bytes, those reserved for root included.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.free.saturating_mul(u64::from(self.block_size))
    }

    /// Bytes that an update may take: what is free, less the greater of root's reserve and what the watermark keeps.
    #[must_use]
    pub fn available(&self, watermark: super::Watermark) -> u64 {
        let kept = self.reserved.max(watermark.kept(self.blocks));
        self.free.saturating_sub(kept).saturating_mul(u64::from(self.block_size))
    }
}
