//! What is known of a layer's contents before it is unpacked.

use umiak_spec::app::measures::{LayerMeasure, MeasuredLayer};
use umiak_spec::delta::StoredFiles;

/// A directory as a file system sees it: how many names, and how long they are together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Directory {
    /// Names in it, without `.` and `..`.
    pub entries: u64,
    /// Bytes of all these names.
    pub name_bytes: u64,
}

/// Lengths of the files of a layer in umiak's store, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LayerFiles {
    /// The squashfs image: of the layer, or of its patch.
    pub image: u64,
    /// What gives its tar back.
    pub skeleton: u64,
    /// What the store knows of it.
    pub record: u64,
}

impl From<StoredFiles> for LayerFiles {
    fn from(files: StoredFiles) -> Self {
        Self { image: files.image, skeleton: files.skeleton, record: files.record }
    }
}

/// A layer that was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// Its inodes and blocks.
    pub layer: LayerMeasure,
    /// Its files in umiak's store, when it is kept whole.
    pub files: Option<LayerFiles>,
}

/// How much is known of a layer's contents.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Contents {
    /// Its inodes: every figure can be derived for every file system.
    Measured(Box<Measured>),
    /// What layers-meta v1 says: made on an ext4 with blocks of `block_size`.
    Usage {
        /// Bytes of content of its files.
        size: u64,
        /// Bytes in blocks of Docker's directory of the layer, plus the length of its tar-split file.
        usage: u64,
        /// Block size of the file system where it was measured.
        block_size: u32,
    },
    /// Only the length of the uncompressed tar (which the last four bytes of a gzip stream tell).
    Expanded(u64),
    /// Nothing but the length of the blob.
    #[default]
    Unknown,
}

impl Contents {
    /// A layer that was counted.
    #[must_use]
    pub fn measured(layer: LayerMeasure, files: Option<LayerFiles>) -> Self {
        Self::Measured(Box::new(Measured { layer, files }))
    }
}

impl From<&MeasuredLayer> for Contents {
    fn from(layer: &MeasuredLayer) -> Self {
        Self::measured(layer.measure.clone(), layer.device.map(LayerFiles::from))
    }
}
