//! What an update wants on a device: apps with all their blobs, images and layers.

use std::collections::BTreeMap;

use umiak_spec::Digest;

use crate::contents::{Contents, LayerFiles};
use crate::device::StoredLayer;
use crate::own::Own;
use crate::task::Form;

/// What a blob is, in the order in which blobs are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlobKind {
    /// An app's or an image's manifest.
    Manifest,
    /// An index of manifests.
    Index,
    /// An image's configuration.
    Config,
    /// An app's metadata: of its layers, of its bundle.
    Meta,
    /// An app's bundle.
    Bundle,
    /// An object of a pvr revision: kept and mounted as it is.
    Object,
    /// A layer.
    Layer,
}

impl BlobKind {
    /// The word for it in reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Index => "index",
            Self::Config => "config",
            Self::Meta => "metadata",
            Self::Bundle => "bundle",
            Self::Object => "object",
            Self::Layer => "layer",
        }
    }
}

/// A blob of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Blob {
    /// What it is.
    pub kind: BlobKind,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

impl Blob {
    /// A blob.
    #[must_use]
    pub const fn new(kind: BlobKind, digest: Digest, size: u64) -> Self {
        Self { kind, digest, size }
    }
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The digest of its blob.
    pub digest: Digest,
    /// The length of its blob in bytes.
    pub size: u64,
    /// The digest of the uncompressed layer.
    pub diff_id: Digest,
    /// What is known of what is in it.
    pub contents: Contents,
    /// Its files in umiak's store when it is kept whole, where somebody told of them who did not count what is in it.
    pub files: Option<LayerFiles>,
}

impl Layer {
    /// What umiak's store has of it when it is there whole, as far as that is known.
    #[must_use]
    pub fn stored(&self) -> StoredLayer {
        StoredLayer { form: Form::Whole, files: self.known_files().unwrap_or_default() }
    }

    /// Its files in umiak's store when it is kept whole, where they are known.
    #[must_use]
    pub fn known_files(&self) -> Option<LayerFiles> {
        self.files.or(match &self.contents {
            Contents::Measured(measured) => measured.files,
            Contents::Usage { .. } | Contents::Expanded(_) | Contents::Unknown => None,
        })
    }
}

/// An image for the device's platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its configuration.
    pub config: Blob,
    /// Its manifest, and the index that names it.
    pub manifests: Vec<Blob>,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
}

impl Image {
    /// Its layers with their chain IDs, the lowest first.
    pub fn chain(&self) -> impl Iterator<Item = (Digest, &Layer)> {
        let mut below: Option<Digest> = None;
        self.layers.iter().map(move |layer| {
            let chain =
                below.map_or(layer.diff_id, |below| Digest::of(format!("{below} {}", layer.diff_id).as_bytes()));
            below = Some(chain);
            (chain, layer)
        })
    }

    /// All its blobs.
    pub fn blobs(&self) -> impl Iterator<Item = Blob> {
        let layers = self.layers.iter().map(|layer| Blob::new(BlobKind::Layer, layer.digest, layer.size));
        self.manifests.iter().copied().chain([self.config]).chain(layers)
    }
}

/// A service of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name in the compose file.
    pub name: String,
    /// What it runs.
    pub image: Image,
}

/// What a bundle unpacks to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unpacked {
    /// Length of a file to how many have it.
    pub files: BTreeMap<u64, u64>,
    /// Directories below the project's own.
    pub directories: u64,
}

/// An app: a compose project with its images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Its name, which is the project's.
    pub name: String,
    /// The digest of its manifest: which release it is.
    pub digest: Digest,
    /// Its own blobs: manifest, bundle, metadata.
    pub own: Vec<Blob>,
    /// What the bundle unpacks to; `None` where nobody looked.
    pub bundle: Option<Unpacked>,
    /// Its services.
    pub services: Vec<Service>,
}

impl App {
    /// All images, service by service.
    pub fn images(&self) -> impl Iterator<Item = &Image> {
        self.services.iter().map(|service| &service.image)
    }

    /// All blobs, its own and its images'; one that is named twice comes twice.
    pub fn blobs(&self) -> impl Iterator<Item = Blob> {
        self.own.iter().copied().chain(self.images().flat_map(Image::blobs))
    }
}

/// A delta that makes layers of an image from layers that the device may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    /// The digest of its manifest: which delta it is.
    pub digest: Digest,
    /// How people call what it starts from: `shop 1.4.2`.
    pub from: String,
    /// Diff IDs of the layers it starts from, the lowest first; all must be stored.
    pub base: Vec<Digest>,
    /// What of it can be fetched alone.
    pub parts: Vec<DeltaPart>,
}

/// What of a delta is fetched together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeltaPart {
    /// The digest of its blob; of the delta's manifest where only its whole length is known.
    pub blob: Digest,
    /// Bytes that are fetched for it.
    pub size: u64,
    /// Diff IDs of the layers it makes: one, where each is known for itself.
    pub makes: Vec<Digest>,
    /// Bytes of changed contents that lie beside while it is applied; `None`: perhaps all of them.
    pub spool: Option<u64>,
}

/// A delta at hand that makes an object of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectDelta {
    /// The object that it makes.
    pub object: Digest,
    /// Bytes of that.
    pub size: u64,
    /// Where people find it: `web/root.squashfs`.
    pub name: String,
    /// How people call what it starts from.
    pub from: String,
    /// The object that it starts from; it must be stored whole.
    pub base: Digest,
    /// Bytes of that.
    pub base_size: u64,
    /// The digest of the delta.
    pub blob: Digest,
    /// Bytes of the delta. It is read where it lies and not kept.
    pub bytes: u64,
    /// Bytes that lie beside while it is applied.
    pub spool: u64,
    /// The object can be had whole, too.
    pub whole: bool,
}

/// A layer of which is known what it takes as a patch of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Diff ID of the layer that is kept so.
    pub layer: Digest,
    /// Diff ID of the layer that it is a patch of.
    pub base: Digest,
    /// Diff IDs of the layers under it, the lowest first.
    pub below: Vec<Digest>,
    /// What is stored of it.
    pub files: LayerFiles,
}

/// What an update wants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// All apps that are to be on the device, those that do not change included. What is stored and belongs to none of
    /// them, is not pinned and does not run is obsolete.
    pub apps: Vec<App>,
    /// Deltas that may be used.
    pub deltas: Vec<Delta>,
    /// Deltas that may make objects; only where umiak's store is.
    pub objects: Vec<ObjectDelta>,
    /// Patches that layers may be kept as, where umiak's store is.
    pub patches: Vec<Patch>,
    /// What the device writes for itself, where umiak's store is.
    pub own: Own,
    /// What may be pruned, and when.
    pub policy: Policy,
}

/// What may be pruned, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// What no app uses may be removed before the update when it would not fit otherwise.
    pub reclaim: bool,
    /// What the update replaced is removed after it.
    pub prune_after: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self { reclaim: true, prune_after: false }
    }
}
