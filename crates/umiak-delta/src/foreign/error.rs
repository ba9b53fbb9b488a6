//! What can be wrong with a delta of another's.

use std::io;

use umiak_spec::Cancelled;

/// Applying a delta of another's failed. What was written before is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    /// The first bytes are others.
    #[error("this is not {0}: it does not begin like one")]
    Magic(&'static str),
    /// The delta ends too early.
    #[error("the delta is cut off: it ends within an operation or before its end is said")]
    Truncated,
    /// More follows where the format has nothing.
    #[error("the delta goes on after {0}")]
    Trailing(&'static str),
    /// An operation that the format does not have.
    #[error("the delta has an operation {0:#04x}, which its format does not know")]
    Operation(u8),
    /// A number that 64 bits do not hold.
    #[error("the delta has a number of more than 64 bits")]
    Number,
    /// It reads what is not there. So it was made from another base, or is damaged.
    #[error("the delta reads {length} bytes at {position} of {place}, which has {size}")]
    Range {
        /// First byte asked for.
        position: u64,
        /// How many were asked for.
        length: u64,
        /// Of which file.
        place: String,
        /// How many it has.
        size: u64,
    },
    /// A file's name that may not be opened.
    #[error("the delta names a file that {0}")]
    Name(&'static str),
    /// It reads from a file before it names one.
    #[error("the delta reads a file before it names one")]
    NoFile,
    /// A file of the base cannot be had.
    #[error("cannot open the base's file {path}")]
    Open {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It asks for more than [`super::Bounds`] allow.
    #[error("the delta goes over a limit: {what} are at most {limit}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
    },
    /// Reading or unpacking the delta.
    #[error("cannot read the delta")]
    Delta(#[source] io::Error),
    /// Unpacking a file that the delta holds as a zstd frame.
    #[error("cannot unpack a file of the delta against the base's {path}")]
    Dictionary {
        /// The base's file that it was packed against.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Reading the base.
    #[error("cannot read the base")]
    Base(#[source] io::Error),
    /// Writing the target.
    #[error("cannot write the target")]
    Target(#[source] io::Error),
    /// Stopped on request.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl ForeignError {
    /// The error of reading the delta: its end is a case of its own.
    pub(super) fn delta(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Truncated } else { Self::Delta(error) }
    }
}
