//! The device store: blobs, layers, refs and records that survive a power cut, a full disk and a damaged file.
//!
//! ```text
//! <store>/format, format~      version and features (a document and its copy, as all documents are)
//!         lock, updater        who reads, who changes
//!         staging/             what has no place yet
//!         ingest/<digits>/     blobs that are not whole yet
//!         incoming/<number>/   blobs that wait for whoever may change the store
//!         blobs/sha256/<digits>
//!         layers/<digits>/     layers by diff ID
//!         refs/, records/      closures by name; documents of the agent
//!         reserve              space that is held
//! ```
//!
//! Guarantees: bytes become a blob only through [`Store::put_blob`], [`Ingest`], [`Incoming`] or [`Store::make_blob`], which verify them. A ref is
//! made only when its whole [`Closure`] is here. What a method returned `Ok` for survives a power cut; a cut at any instruction, a full
//! disk, or an error of any single operation leaves a store that opens and in which every name has its bytes. One process
//! changes the store, any number read it meanwhile; nothing is removed under a reader.
//!
//! All of that goes through one seam, [`disk`]. The library does not fetch, read manifests, ask the time or decide what is worth
//! keeping. The format is described in docs/formats/store.md.

mod blob;
mod check;
mod closure;
mod delta;
pub mod disk;
mod documents;
mod durable;
mod error;
mod format;
mod incoming;
mod ingest;
mod layers;
mod lock;
mod name;
mod prune;
mod recover;
mod reserve;
mod sealed;
mod store;

pub use blob::Blob;
pub use check::{Damage, Depth, Fault, Object};
pub use closure::{Closure, Missing};
pub use delta::{Applied, LayerDelta, MadeBlob, NamedSources, Room, SpooledImage};
pub use disk::{Disk, DiskFile, Hooked, RealDisk, Step, Stream};
pub use error::StoreError;
pub use format::VERSION;
pub use incoming::{Coming, Incoming};
pub use ingest::{CHECKPOINT, Ingest, Partial};
pub use layers::{
    Content, Contents, FileRecord, Keep, Layer, LayerOptions, LayerRecord, LayerReport, LayerSizes, LayerSource,
    LostContent, Repaired, layer_sizes,
};
pub use name::Name;
pub use prune::{Prunable, PrunePlan, PruneRequest, Pruned};
pub use recover::Recovered;
pub use reserve::{Free, Reservation};
pub use sealed::DOCUMENT_LIMIT;
pub use store::{Access, Store, StoreOptions};
