//! What can go wrong with a delta.

use std::io;

use umiak_spec::{Cancelled, Digest};

/// Making, reading or applying a delta failed. Whatever was written before is of no use.
#[derive(Debug, thiserror::Error)]
pub enum DeltaError {
    /// The first bytes are not those of a delta.
    #[error("this is not a delta: it does not begin like one")]
    NotADelta,
    /// Made by a later umiak.
    #[error("the delta has format version {0}; this umiak reads version 1")]
    Version(u8),
    /// Made by a later umiak.
    #[error("the delta needs features that this umiak does not know (bits {0:#x})")]
    Features(u32),
    /// It breaks its own format.
    #[error("the delta is malformed: {0}")]
    Malformed(&'static str),
    /// It asks for more than is allowed.
    #[error("the delta goes over a limit: {what} are at most {limit}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How many are allowed.
        limit: u64,
    },
    /// A frame or the index is not what its digest says.
    #[error("{what} of the delta is damaged: it should hash to {expected}, it hashes to {actual}")]
    Damaged {
        /// Which part.
        what: String,
        /// From the index.
        expected: Digest,
        /// Of the bytes there are.
        actual: Digest,
    },
    /// What was given as base is something else.
    #[error("this is not the base of the delta: it starts from {expected}, the base given is {actual}")]
    Base {
        /// What the delta starts from.
        expected: String,
        /// What was given.
        actual: String,
    },
    /// All was well until the end, and yet.
    #[error("the result is not the target: it should hash to {expected}, it hashes to {actual}")]
    Target {
        /// Of the target.
        expected: Digest,
        /// Of what was made.
        actual: Digest,
    },
    /// A program cannot be predicted as the delta says.
    #[error("cannot predict a program as the delta says")]
    Program(#[source] crate::exe::ExeError),
    /// A deflate stream cannot be opened or made again as the delta says.
    #[error("cannot rebuild a deflate stream as the delta says")]
    Deflate(#[source] crate::deflate::DeflateError),
    /// A base is too large to be matched.
    #[error("cannot match files")]
    Match(#[source] crate::suffix::SortError),
    /// Reading the delta, the base or the target.
    #[error("cannot read or write while working with a delta")]
    Read(#[from] io::Error),
    /// Stopped on request.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}
