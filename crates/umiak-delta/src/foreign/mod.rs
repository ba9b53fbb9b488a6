//! Reading deltas that others made: librsync streams (`rdiff`), tar-diff blobs, balena's delta images.
//!
//! Guarantees: every function here returns an error on bytes that break their format, never panics, and holds no
//! more memory than [`Bounds`] allows, whatever the delta claims; a range of a base is checked before it is read.
//! Names in a delta are only passed on to [`Files`], and only when they stay below its root.
//! Does not: make such deltas, verify the result (these formats carry no digest of it: the caller compares diff IDs),
//! fetch or open anything. What was written before an error is of no use.

pub mod balena;
mod basis;
mod error;
mod output;
mod rdiff;
mod tar_diff;

pub use basis::Basis;
pub use error::ForeignError;
pub use rdiff::rdiff;
pub use tar_diff::{Files, tar_diff};

/// What a file of another's is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For [`rdiff()`].
    Librsync,
    /// For [`tar_diff()`].
    TarDiff,
}

impl Format {
    /// Told by the first bytes; eight are enough.
    #[must_use]
    pub fn of(first: &[u8]) -> Option<Self> {
        if first.starts_with(&rdiff::MAGIC) {
            return Some(Self::Librsync);
        }
        tar_diff::MAGICS.iter().any(|magic| first.starts_with(*magic)).then_some(Self::TarDiff)
    }
}

/// Bytes that are copied at once.
const PIECE: usize = 64 << 10;

/// What a delta of another's may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes that it may write (default 256 GiB).
    pub output: u64,
    /// Operations that it may have (default 64 million): those that write nothing take time, too.
    pub operations: u64,
    /// Bytes of a zstd window, and of a file that is a zstd dictionary as a whole (default 512 MiB, the most that
    /// tar-diff makes): what is held in memory. A device passes less.
    pub window: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { output: umiak_spec::Limits::default().expanded, operations: 64_000_000, window: 512 << 20 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_first_bytes() {
        assert_eq!(Format::of(b"rs\x026\0"), Some(Format::Librsync));
        assert_eq!(Format::of(b"tardf1\n\0"), Some(Format::TarDiff));
        assert_eq!(Format::of(b"tardf2\n\0("), Some(Format::TarDiff));
        for other in [&b"rs\x01"[..], b"tardf3\n\0", b"tardf1\n", b""] {
            assert_eq!(Format::of(other), None);
        }
    }
}
