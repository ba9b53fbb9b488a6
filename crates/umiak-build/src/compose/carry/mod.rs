//! An app in one file, for who has no network: on a stick from the one who publishes to the device.
//!
//! ```text
//! app, images -> Carried -> write -> one tar: OCI image layout + what `docker load` reads + the project's directory
//! that tar (+ base images, where it carries deltas) -> unpack -> the project's directory, images for `docker load`
//! ```
//!
//! The format is docs/formats/app-bundle.md. Guarantees: the same app gives the same bytes; every blob is compared
//! with its digest on its way; the file gets its name when it is whole. What this does not do: fetch by tag, start
//! anything, talk to a daemon other than as a source of images.

mod app;
mod directory;
mod documents;
mod gather;
mod naming;
mod project;
mod signed;
mod tar;
mod unpack;
mod write;

use std::sync::Arc;

use umiak_registry::BlobFile;
use umiak_spec::{Descriptor, Digest, Platform, ReadAt};

use crate::delta::Draft;

pub use app::Read;
pub use gather::Service;
pub use naming::{OVERRIDE, RESERVE, loaded_name, override_text};
pub use signed::Signed;
pub use unpack::{Unpacked, Wanted, unpack};
pub use write::{Written, write};

/// The annotation, in the index of the file, of the entry that is the app: its value is the app's name.
pub const APP_NAME: &str = "dev.umiak.app.name";

/// The directory of the file that has the app's project, in a directory of the app's name.
pub const APPS: &str = "apps";

/// Bytes and what they must be.
#[derive(Clone)]
pub struct Piece {
    /// Digest, length, media type.
    pub blob: Descriptor,
    /// The bytes, to be compared with it.
    pub content: Arc<dyn ReadAt>,
}

impl Piece {
    /// A small document, described by what it is.
    #[must_use]
    pub fn document(media_type: &str, bytes: Vec<u8>) -> Self {
        let blob = Descriptor::new(media_type, Digest::of(&bytes), bytes.len() as u64);
        Self { blob, content: Arc::new(bytes) }
    }
}

/// An app and everything that its services need.
pub struct Carried {
    /// What its directory and its compose project are called: one component of a path.
    pub name: String,
    /// The tag that it has in the file.
    pub tag: String,
    /// The app's manifest.
    pub manifest: Piece,
    /// What the app's manifest names.
    pub blobs: Vec<Piece>,
    /// The archive of the project, gzip: one of `blobs`.
    pub project: BlobFile,
    /// The images of the services, each once for each platform.
    pub images: Vec<CarriedImage>,
    /// Who vouches for the app.
    pub signed: Vec<Signed>,
}

/// The image of one service or of several, for one platform.
pub struct CarriedImage {
    /// Who uses it.
    pub services: Vec<String>,
    /// Host and path, as the app's compose file has them.
    pub repository: String,
    /// The platform of the devices that it is for.
    pub platform: Platform,
    /// What leads to it: the index that the compose file names, if it names one; then the manifest.
    pub documents: Vec<Piece>,
    /// The config.
    pub config: Piece,
    /// How its layers travel.
    pub layers: Layers,
}

/// How the layers of an image travel.
pub enum Layers {
    /// All of them, bottom first, as the registry has them.
    Full(Vec<Piece>),
    /// As deltas from images of earlier releases; who has one of these has all.
    Deltas(Vec<Draft>),
}

impl CarriedImage {
    /// The manifest: what leads to it last.
    #[must_use]
    pub fn manifest(&self) -> Option<&Descriptor> {
        self.documents.last().map(|document| &document.blob)
    }

    /// Its deltas; none when its layers travel as they are.
    #[must_use]
    pub fn drafts(&self) -> &[Draft] {
        match &self.layers {
            Layers::Full(_) => &[],
            Layers::Deltas(drafts) => drafts,
        }
    }

    /// What it is called once `docker load` has it.
    #[must_use]
    pub fn loaded_name(&self) -> Option<String> {
        self.manifest().map(|manifest| loaded_name(&self.repository, &manifest.digest))
    }
}

impl Carried {
    /// Whether `docker load` can read the file: it has every layer.
    #[must_use]
    pub fn is_loadable(&self) -> bool {
        self.images.iter().all(|image| matches!(image.layers, Layers::Full(_)))
    }

    /// The platforms of its images, sorted, each once.
    #[must_use]
    pub fn platforms(&self) -> Vec<Platform> {
        let mut platforms: Vec<Platform> = self.images.iter().map(|image| image.platform.clone()).collect();
        platforms.sort_by_key(ToString::to_string);
        platforms.dedup();
        platforms
    }
}
