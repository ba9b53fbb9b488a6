//! What can be wrong with a layer.

use std::io;

use umiak_spec::{Cancelled, Digest};
use umiak_tree::PathError;

/// Why a layer cannot be read or written. `entry` is the path as the archive spells it.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The bytes below the archive could not be had: a file error, broken compression, or a limit met there.
    #[error("cannot read the layer")]
    Read(#[source] io::Error),
    /// The stream ends inside a header or a file.
    #[error("the layer ends in the middle of {what}, {position} bytes into the archive")]
    Truncated {
        /// What was being read.
        what: String,
        /// Uncompressed bytes before the end.
        position: u64,
    },
    /// A header block whose checksum does not match: no tar archive, or a damaged one.
    #[error("there is no tar header {position} bytes into the archive: its checksum does not match")]
    Checksum {
        /// Uncompressed bytes before the block.
        position: u64,
    },
    /// A field that does not hold what it should.
    #[error("tar entry `{entry}`: {field} `{value}` is not valid")]
    Field {
        /// The entry.
        entry: String,
        /// Which field or extended record.
        field: &'static str,
        /// Its first bytes.
        value: String,
    },
    /// An extended header that is no list of records.
    #[error("the extended header before tar entry `{entry}` is not valid: {reason}")]
    ExtendedHeader {
        /// The entry, or where the header stands.
        entry: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A type of entry that has no place in a layer.
    #[error("tar entry `{entry}` has type `{kind}`, which layers do not have")]
    Type {
        /// The entry.
        entry: String,
        /// The type byte, escaped.
        kind: String,
    },
    /// A path that leaves the tree or is too long.
    #[error("tar entry `{entry}` does not name a place in a tree")]
    Path {
        /// The entry.
        entry: String,
        /// What is wrong with it.
        #[source]
        source: PathError,
    },
    /// A whiteout that names nothing, or lies above other entries.
    #[error("tar entry `{entry}` misuses the names of whiteouts (`.wh.`)")]
    Whiteout {
        /// The entry.
        entry: String,
    },
    /// A sparse file whose map and stored bytes do not fit each other.
    #[error("sparse tar entry `{entry}`: {reason}")]
    Sparse {
        /// The entry.
        entry: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// One of the limits of `umiak_spec::Limits`.
    #[error("tar entry `{entry}` is beyond the limit of {limit} {what}")]
    Limit {
        /// The entry.
        entry: String,
        /// What is limited.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The layer is not the one that its index describes.
    #[error("the layer is not what its index says: entry {ordinal} {reason}")]
    NotAsIndexed {
        /// Number of the entry in the archive.
        ordinal: u32,
        /// What differs.
        reason: &'static str,
    },
    /// A file has another digest than its index says.
    #[error("entry {ordinal} of the layer has digest {found}, not {expected} as indexed")]
    ContentDigest {
        /// Number of the entry in the archive.
        ordinal: u32,
        /// What the index says.
        expected: Digest,
        /// What was read.
        found: Digest,
    },
    /// Stopped on request.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl LayerError {
    /// An I/O error of the stream; one that carries a `LayerError` or a cancellation gives that back.
    pub(crate) fn read(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(own) => own,
            Err(error) => match error.downcast::<Cancelled>() {
                Ok(cancelled) => Self::Cancelled(cancelled),
                Err(error) => Self::Read(error),
            },
        }
    }
}

impl From<LayerError> for io::Error {
    fn from(error: LayerError) -> Self {
        match error {
            LayerError::Read(error) => error,
            LayerError::Truncated { .. } => Self::new(io::ErrorKind::UnexpectedEof, error),
            error => Self::new(io::ErrorKind::InvalidData, error),
        }
    }
}

/// Bytes of an archive for a message: at most 200 of them, what is no UTF-8 replaced.
pub(crate) fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned()
}
