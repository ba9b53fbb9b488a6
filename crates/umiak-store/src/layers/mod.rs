//! Layers: content once, compressed and mountable, and the tar of each bit for bit.
//!
//! ```text
//! layers/<digits of the diff ID>/
//!     image.squashfs       the layer's tree as overlayfs wants it (`umiak_layer::lower`); what is mounted
//!     skeleton.squashfs    every byte of the tar that is no content of a file in the image; never mounted
//!     record, record~      sizes and digests of the two (a document and its copy)
//!     <digits>.top         what has to lie on top of one stack of layers that ends here, if anything has to
//!     <digits>.stack, ~    says so
//! ```
//!
//! [`crate::Store::ingest_layer`] makes one of an uncompressed tar that it reads twice; [`crate::Store::layer`] opens one: contents of its
//! files at random, the tar again; [`crate::Store::root`] says what to mount for a stack; [`Contents`] finds a content by its
//! digest in anything that is stored.
//!
//! Guarantees: a layer gets its name when its diff ID was verified and both files were read back; nothing is spooled uncompressed; the
//! bytes of both files depend on the tar alone. [docs/formats/store-layers.md](../../../../docs/formats/store-layers.md) has the format.

mod base;
mod check;
mod content;
mod contents;
mod files;
mod ingest;
pub(crate) mod kind;
mod layer;
mod marks;
mod patch;
mod record;
mod repair;
mod sizes;
mod skeleton;
mod stack;
mod table;
mod top;

use std::io::{self, Read};
use std::num::NonZeroUsize;

use umiak_spec::{Digest, Limits};
use umiak_squashfs::{Compressor, ImageOptions};

pub use content::Content;
pub use contents::Contents;
pub(crate) use files::hash as hash_file;
pub use ingest::LayerReport;
pub use layer::Layer;
pub use record::{FileRecord, LayerRecord};
pub use repair::{LostContent, Repaired};
pub use sizes::{LayerSizes, layer_sizes};

/// Gives the uncompressed tar of a layer, as often as it is asked: once to learn what is in it and to verify it, once to write,
/// and a third time for a tar of which not everything is in its tree.
pub trait LayerSource: Sync {
    /// The tar from its first byte.
    ///
    /// # Errors
    /// It cannot be had.
    fn open(&self) -> io::Result<Box<dyn Read + Send + '_>>;
}

/// A tar in memory.
impl LayerSource for &[u8] {
    fn open(&self) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(*self))
    }
}

/// In which form a layer is to be kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Keep {
    /// By itself, for any stack.
    #[default]
    Whole,
    /// As a patch above a stored layer, for the stacks in which that one's place is taken by this one; whole where that is not worth
    /// it or cannot be.
    Patch {
        /// The layer that is at this place now.
        base: Digest,
        /// The layers below both, bottom first.
        below: Vec<Digest>,
    },
}

/// How layers are taken in.
#[derive(Debug, Clone, Copy)]
pub struct LayerOptions {
    /// What a layer may be.
    pub limits: Limits,
    /// Threads that compress, beside the calling one.
    pub threads: NonZeroUsize,
}

impl Default for LayerOptions {
    fn default() -> Self {
        Self { limits: Limits::default(), threads: NonZeroUsize::MIN }
    }
}

impl LayerOptions {
    /// How the image of a layer is written; see docs/decisions/0012-layers-are-kept-with-zstd-7.md.
    #[must_use]
    pub fn image(&self) -> ImageOptions {
        ImageOptions {
            compressor: Compressor::Zstd,
            level: Some(7),
            block_size: 256 << 10,
            threads: self.threads,
            exportable: false,
            ..ImageOptions::default()
        }
    }

    /// How its skeleton is: headers are much alike, and few.
    #[must_use]
    pub fn skeleton(&self) -> ImageOptions {
        ImageOptions {
            compressor: Compressor::Zstd,
            level: Some(12),
            block_size: 256 << 10,
            exportable: false,
            ..ImageOptions::default()
        }
    }
}
