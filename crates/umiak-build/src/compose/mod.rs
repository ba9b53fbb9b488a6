//! Compose Apps: joining their documents, the images of their services and the places where these are kept.
//!
//! ```text
//! publish: project -> pins (a tag is asked for once) -> images of all platforms -> platforms that every service has
//!          -> layers measured, bundle packed -> blobs, manifest by digest, tag last
//! read:    app -> manifest -> metadata, bundle -> services -> images of all platforms
//! ```
//!
//! The format is docs/formats/compose-app.md. What this does not do: read compose files (`umiak-compose`), decide
//! whether an app fits (`umiak-plan`), print.

mod app;
pub mod carry;
mod deltas;
mod draft;
mod error;
mod fit;
mod folder;
mod images;
pub mod pack;
mod pins;
mod platforms;
mod project;
mod publish;
mod read;
mod unpacked;

use std::num::NonZeroUsize;

use umiak_registry::Context;
use umiak_spec::{Limits, Observer};

pub use app::{App, Service};
pub use deltas::PublishedDelta;
pub use draft::{Draft, Format, Request};
pub use error::ComposeError;
pub use folder::Folder;
pub use images::{Images, Places, PlatformImage, ServiceImage};
pub use pins::PinnedImages;
pub use platforms::{AppPlatform, Wanted};
pub use project::{Packed, PackedService, Pin, Project};
pub use publish::Published;
pub use unpacked::{Bundle, BundleFile};

/// With what apps are published and read.
pub struct Work<'a> {
    /// How registries and layouts are reached.
    pub sources: &'a Context,
    /// Bounds on input.
    pub limits: Limits,
    /// Layers measured at a time.
    pub threads: NonZeroUsize,
    /// Whether each layer of a published app is made as the store of a device makes it, to tell what it takes there.
    pub device: bool,
    /// Is told what happens, and may cancel.
    pub observer: &'a dyn Observer,
}
