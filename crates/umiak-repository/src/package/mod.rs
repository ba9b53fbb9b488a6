//! Package files: a state and its objects in one tar archive, as `pvr export` and the hub make them and `pvtx` reads them.
//!
//! ```text
//! json                canonical JSON of the state, first
//! objects/<sha256>    every object of the state once, sorted
//! ```
//!
//! Written as ustar with fixed metadata, so that one state has one sequence of bytes. Read in any order, with repeated
//! entries, `./` in front of names and directory entries; with gzip or zstd around it or without. Every object is hashed
//! while it is read. Links, devices, absolute names and `..` are refused; other files are passed over and named.

mod delta;
mod export;
mod gzip;
mod import;
mod scan;
mod tar;

use std::io;
use std::path::PathBuf;

use umiak_spec::Digest;

pub use delta::{DeltaFile, Part, delta_size, write_delta};
pub use export::{ExportReport, Format, write};
pub use import::{ImportMode, ImportReport};
pub use scan::{Contents, scan, scan_judged, state, verify};

pub(crate) use import::{peek, read};

/// Why a package cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The stream cannot be read or decompressed.
    #[error("cannot read package {}", package.display())]
    Read {
        /// The package.
        package: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The output cannot be written.
    #[error("cannot write the package")]
    Write(#[source] io::Error),
    /// It ends inside a header or a file.
    #[error("package {} is cut short: it ends inside {what}", package.display())]
    Truncated {
        /// The package.
        package: PathBuf,
        /// Inside what.
        what: String,
    },
    /// It is no tar archive, or a damaged one.
    #[error("package {} has no tar header {at} bytes into the archive", package.display())]
    NotTar {
        /// The package.
        package: PathBuf,
        /// Uncompressed bytes before the bad header.
        at: u64,
    },
    /// An entry that a package must not have.
    #[error("package {} has an entry `{entry}` that {reason}", package.display())]
    Entry {
        /// The package.
        package: PathBuf,
        /// The entry's name, without control characters.
        entry: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Objects that its state does not name, where those are refused.
    #[error("package {} has {} object(s) that its state does not name, the first is {}", package.display(), objects.len(), objects[0].hex())]
    Extra {
        /// The package.
        package: PathBuf,
        /// The objects, at least one.
        objects: Vec<Digest>,
    },
    /// It is the delta of a package, and what it says of itself cannot be used.
    #[error("the delta {} says of itself what cannot be", package.display())]
    Delta {
        /// The file.
        package: PathBuf,
        /// What is wrong.
        source: umiak_pvr::delta::DeltaError,
    },
    /// It is the delta of a package, where only a whole one will do: in a stream, or for who applies no deltas.
    #[error("{} is the delta of a package, which is of use only as a file, to a device that has its base", .0.display())]
    OnlyDelta(PathBuf),
    /// There is no `json`.
    #[error("package {} has no state (no `json` entry)", .0.display())]
    NoState(PathBuf),
    /// An object too large for a ustar archive (8 GiB).
    #[error("object {} of {size} bytes is too large for a package (8 GiB)", digest.short())]
    TooLarge {
        /// The object.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
    },
}
