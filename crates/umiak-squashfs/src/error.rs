//! The one error type of this crate.
//!
//! Messages say what was attempted and where in the image; causes are in `source`.

use std::io;

use umiak_tree::{TreeError, TreePath};

/// Why an image could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes of the image could not be fetched.
    #[error("cannot read {count} bytes of the squashfs image at byte {offset}")]
    Read {
        /// Where.
        offset: u64,
        /// How many.
        count: u64,
        /// What the source said.
        source: io::Error,
    },
    /// There is no squashfs superblock.
    #[error("not a squashfs image: {0}")]
    NotSquashfs(&'static str),
    /// A squashfs of another format revision.
    #[error("squashfs {major}.{minor} is not supported: only 4.0 is")]
    Revision {
        /// Major number found.
        major: u16,
        /// Minor number found.
        minor: u16,
    },
    /// A compressor number that squashfs 4.0 does not define.
    #[error("squashfs compressor number {0} is not known: 1 to 6 are (gzip, lzma, lzo, xz, lz4, zstd)")]
    UnknownCompressor(u16),
    /// The image contradicts itself or points outside itself.
    #[error("squashfs image is damaged: {what} (at byte {offset})")]
    Damaged {
        /// What is wrong.
        what: &'static str,
        /// The byte of the image where it was met.
        offset: u64,
    },
    /// A block does not decompress.
    #[error("squashfs image is damaged: cannot decompress the block at byte {offset}")]
    Decompress {
        /// Where the block lies.
        offset: u64,
        /// What the decompressor said.
        source: io::Error,
    },
    /// The image is larger than the caller allows.
    #[error("squashfs image has more than {limit} {what}, which is the limit")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A name in a directory is no file name.
    #[error("squashfs image is damaged: directory {directory} has the name `{name}`")]
    Name {
        /// The directory.
        directory: TreePath,
        /// The name, cut and made printable.
        name: String,
    },
    /// The names of the image make no tree.
    #[error("squashfs image is damaged: its directories are no tree")]
    Tree(#[from] TreeError),

    /// Options that squashfs cannot express.
    #[error("cannot write a squashfs image: {0}")]
    Options(String),
    /// The image could not be written.
    #[error("cannot write the squashfs image")]
    Write(#[source] io::Error),
    /// A file's content could not be read from the caller.
    #[error("cannot read the content of `{name}` for the squashfs image")]
    Content {
        /// The name the caller gave.
        name: String,
        /// What the reader said.
        source: io::Error,
    },
    /// A file's content is not what the caller announced.
    #[error("content of `{name}` is not what was announced: expected {expected}, got {actual}")]
    Mismatch {
        /// The name the caller gave.
        name: String,
        /// Announced size and digest.
        expected: String,
        /// What was read.
        actual: String,
    },
    /// The compressor failed.
    #[error("cannot compress a block with {compressor}")]
    Compress {
        /// Its name.
        compressor: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// An extended attribute that squashfs cannot hold.
    #[error("squashfs cannot hold extended attribute `{attribute}` of {path}: {reason}")]
    Xattr {
        /// The file.
        path: TreePath,
        /// The attribute's full name.
        attribute: String,
        /// Why not.
        reason: &'static str,
    },
    /// An inode that squashfs cannot hold.
    #[error("squashfs cannot hold {path}: {reason}")]
    Inode {
        /// The file.
        path: TreePath,
        /// Why not.
        reason: &'static str,
    },
    /// More of something than the format's fields can count.
    #[error("squashfs cannot hold more than {limit} {what}")]
    TooMany {
        /// What.
        what: &'static str,
        /// What the format can count.
        limit: u64,
    },
    /// A listing of an image that cannot be one.
    #[error("the listing of a squashfs image is not valid: {0}")]
    Listing(&'static str),
    /// A listing of an image whose blocks another encoder compressed.
    #[error(
        "cannot rebuild the squashfs image: its {compressor} encoder makes other bytes than the one of this program"
    )]
    Encoder {
        /// The compressor.
        compressor: &'static str,
    },
    /// An earlier call failed, so that the image under construction is unusable.
    #[error("the squashfs image under construction is unusable: an earlier step failed")]
    Broken,
    /// The caller asked to stop.
    #[error(transparent)]
    Cancelled(#[from] umiak_spec::Cancelled),
}

impl Error {
    pub(crate) const fn damaged(what: &'static str, offset: u64) -> Self {
        Self::Damaged { what, offset }
    }
}
