//! A Compose App in a registry: the documents that it consists of.
//!
//! ```text
//! app manifest
//!   layers[0]    the bundle (gzip tar of the compose project) --annotations--> bundle index: digest of every file
//!   layers[1]    layers metadata v1: size, usage and archive size of every layer, by architecture
//!   layers[2]    umiak's measures of the same layers: docs/formats/layers-metadata.md
//!   manifests[]  legacy form: one layers index for each architecture
//! ```
//!
//! The format is that of Foundries' compose-publish and composectl, to the byte; `layers[2]` is ours, and the readers of
//! others pass over it. Guarantees: equal values are equal bytes; what was parsed has passed `check` and keeps to the
//! limits, and `parse(x.to_bytes())` is `x`. What this module does not do: read compose files or bundles, follow a
//! descriptor, choose what is published.

mod bundle_index;
mod json;
mod layers_index;
mod layers_meta;
mod manifest;
mod manifest_read;
mod manifest_write;
pub mod measures;
mod name;

use crate::DocumentError;

pub use bundle_index::BundleIndex;
pub use layers_index::LayersIndex;
pub use layers_meta::{ArchitectureMeta, LayerMeta, LayersMeta};
pub use manifest::{AppManifest, Form, IndexEntry};
pub use name::app_name;

/// The artifact type of the artifact form.
pub const ARTIFACT_TYPE: &str = "application/vnd.fio+compose-app";
/// The media type of the bundle, of the metadata and of the bundle's index.
pub const OCTET_STREAM: &str = "application/octet-stream";
/// The only value of any of the annotations that mark documents, and the only one that is read.
pub const VERSION: &str = "v1";

/// Bytes of an app manifest that composectl reads; it must have fewer.
pub const MANIFEST_LIMIT: u64 = 50 << 10;
/// Bytes of an app manifest in the legacy form: the first readers on devices take no more; it must have fewer.
pub const LEGACY_MANIFEST_LIMIT: u64 = 2010;
/// Architectures of an app in the legacy form.
pub const LEGACY_ARCHITECTURES: usize = 6;
/// Bytes of a bundle, packed or unpacked.
pub const BUNDLE_LIMIT: u64 = 1 << 30;
/// Bytes of an architecture's name: none that Go knows has more than twelve.
const ARCHITECTURE_NAME: usize = 64;

/// What the annotations are called.
mod annotation {
    pub const APP: &str = "compose-app";
    pub const LAYERS: &str = "compose-app-layers";
    pub const LAYERS_META: &str = "layers-meta";
    pub const MEASURES: &str = "umiak-layers-meta";
    pub const BUNDLE_INDEX_DIGEST: &str = "org.foundries.app.bundle.index.digest";
    pub const BUNDLE_INDEX_SIZE: &str = "org.foundries.app.bundle.index.size";
}

/// Why bytes or values are no document of an app.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Too long, or not JSON of this shape.
    #[error("cannot read {what}")]
    Document {
        /// Which document.
        what: &'static str,
        /// What is wrong with it.
        source: DocumentError,
    },
    /// Something else: an image, another artifact.
    #[error("it is no Compose App: {0}")]
    Other(String),
    /// A document of a later version.
    #[error("{what} is of version `{version}`, and only {VERSION} is known")]
    Version {
        /// Which document.
        what: &'static str,
        /// What it says.
        version: String,
    },
    /// What it says does not fit together.
    #[error("{what} contradicts itself: {reason}")]
    Inconsistent {
        /// Which document.
        what: &'static str,
        /// How.
        reason: String,
    },
    /// More of something than a limit allows.
    #[error("{what} has {count} {of}, more than the limit of {limit}")]
    TooMany {
        /// Which document.
        what: &'static str,
        /// Of what.
        of: &'static str,
        /// How many.
        count: u64,
        /// How many there may be.
        limit: u64,
    },
    /// Metadata without something that the app has.
    #[error("{what} has nothing on {missing}")]
    Missing {
        /// Which document.
        what: &'static str,
        /// What it should tell about.
        missing: String,
    },
}

fn inconsistent(what: &'static str, reason: impl Into<String>) -> AppError {
    AppError::Inconsistent { what, reason: reason.into() }
}

/// At most `limit` of something.
fn at_most(what: &'static str, of: &'static str, count: u64, limit: u64) -> Result<(), AppError> {
    if count > limit { Err(AppError::TooMany { what, of, count, limit }) } else { Ok(()) }
}

/// Reads JSON of at most `limit` bytes.
fn read<'a, T: serde::Deserialize<'a>>(what: &'static str, bytes: &'a [u8], limit: u64) -> Result<T, AppError> {
    let size = bytes.len() as u64;
    if size > limit {
        return Err(AppError::Document { what, source: DocumentError::TooLarge { size, limit } });
    }
    serde_json::from_slice(bytes).map_err(|source| AppError::Document { what, source: source.into() })
}

/// Whether it can be the name of an architecture: it becomes a key, and part of a tag.
fn is_architecture(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    !name.is_empty() && name.len() <= ARCHITECTURE_NAME && name.bytes().all(good)
}

/// As much of a foreign text as a message can bear.
fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}
