//! The nouns of the OCI world as umiak uses them: digests, platforms, references, manifests, limits.
//!
//! Everything here is a value: parsing, checking, printing. Nothing in this crate opens a file, asks the time or
//! reads the environment, so every other crate may build on it.

pub mod app;
pub mod config;
pub mod delta;
pub mod digest;
pub mod limits;
pub mod manifest;
pub mod media_type;
pub mod named;
pub mod platform;
pub mod progress;
pub mod read_at;
pub mod reference;
pub mod referrers;
pub mod service;
pub mod size;
pub mod target;

pub use config::ImageConfig;
pub use delta::{DeltaError, DeltaManifest};
pub use digest::{Digest, DigestError, Sha256, Verified};
pub use limits::Limits;
pub use manifest::{Annotations, Descriptor, Document, DocumentError, Index, Manifest};
pub use named::Named;
pub use platform::{Platform, PlatformError};
pub use progress::{Cancelled, Observer, Silent};
pub use read_at::{ReadAt, Stretch, WriteAt};
pub use reference::{ImageReference, ReferenceError, RegistryName, Selector};
pub use referrers::{Listing, Referrer};
pub use size::Size;
pub use target::Target;
