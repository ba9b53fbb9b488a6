//! The nouns of the OCI world as umiak uses them: digests, platforms, references, manifests, limits.
//!
//! Everything here is a value: parsing, checking, printing. Nothing in this crate opens a file, asks the time or
//! reads the environment, so every other crate may build on it.

pub mod digest;
pub mod limits;
pub mod progress;

pub use digest::{Digest, DigestError, Sha256, Verified};
pub use limits::Limits;
pub use progress::{Cancelled, Observer, Silent};
