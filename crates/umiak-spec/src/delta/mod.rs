//! The delta artifact: an OCI manifest that says what leads from a base image to a target image.
//!
//! ```text
//! manifest --subject--> the target's manifest (one platform's)
//!   layers:      the target's manifest and config, and for each layer that the base has not: a delta or the layer itself
//!   annotations: the base, what of it is used as it is, sizes that a planner wants to know before it fetches
//! ```
//!
//! Follows the OCI image specification 1.1 (artifacts with a subject) and the shape of containers/oci-delta, with media
//! types of our own where the content is ours: docs/formats/delta-artifact.md. Guarantees: equal values are equal bytes,
//! `parse(x.to_bytes()) == x` for every value that passes [`DeltaManifest::check`], and what was read has passed it. What
//! a delta blob holds is not known here.

mod device;
mod read;
mod write;

use crate::media_type::{DOCKER_MANIFEST, OCI_MANIFEST};
use crate::{Descriptor, Digest, DocumentError, Limits};

pub use device::{OnDevice, PatchFiles, StoredFiles};
pub use read::Offer;

/// The artifact type of a delta.
pub const ARTIFACT_TYPE: &str = "application/vnd.umiak.delta.v1";
/// The media type of a blob that makes one layer from the base's materials.
pub const LAYER_DELTA: &str = "application/vnd.umiak.delta.layer.v1";
/// The media type of a list of source digests.
pub const NAMES: &str = "application/vnd.umiak.delta.names.v1";
/// The version that is written, and the only one that is read.
pub const VERSION: &str = "1";

/// What the annotations are called. Those of containers/oci-delta mean what they mean there.
mod annotation {
    pub const CONTENT: &str = "io.github.containers.delta.content";
    pub const TO: &str = "io.github.containers.delta.to";
    pub const TARGET: &str = "io.github.containers.delta.target";
    pub const SOURCE: &str = "io.github.containers.delta.source";
    pub const SOURCE_CONFIG: &str = "io.github.containers.delta.source-config";
    pub const REUSED: &str = "io.github.containers.delta.reused";
    pub const REUSED_DIFF_ID: &str = "io.github.containers.delta.reused-diff-id";
    pub const VERSION: &str = "dev.umiak.delta.version";
    pub const REQUIRES: &str = "dev.umiak.delta.requires";
    pub const BASE_DIFF_IDS: &str = "dev.umiak.delta.base-diff-ids";
    pub const SIZE: &str = "dev.umiak.delta.size";
    pub const FULL_SIZE: &str = "dev.umiak.delta.full-size";
    pub const EXPANDED_SIZE: &str = "dev.umiak.delta.expanded-size";
    /// The last part changes when the store's files do.
    pub const DEVICE: &str = "dev.umiak.delta.device.1";
}

/// A delta from one image to another, both for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeltaManifest {
    /// The target's manifest.
    pub subject: Descriptor,
    /// Digest of the base's manifest, if the base has one.
    pub base: Option<Digest>,
    /// Digest of the base's config, if the base has one.
    pub base_config: Option<Digest>,
    /// The base's layers, bottom first: the order in which delta blobs number what they use.
    pub base_diff_ids: Vec<Digest>,
    /// What of the target is as it is in the base, and is therefore not carried.
    pub reused: Vec<Reused>,
    /// What is carried: documents first, then layers, bottom first.
    pub parts: Vec<Part>,
    /// Bytes of the target's layers as its registry has them, compressed: what a full fetch would bring.
    pub full_size: u64,
    /// Bytes of the target's layers uncompressed.
    pub expanded_size: u64,
    /// What the layers that are carried take in the store of a device, bottom first, as far as it is known.
    pub device: Vec<OnDevice>,
}

/// A document or layer of the target that the base has, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reused {
    /// Digest of the blob in the target.
    pub digest: Digest,
    /// Digest of it uncompressed; for a manifest or config the same as `digest`.
    pub diff_id: Digest,
}

/// One blob of the artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it is for.
    pub content: Content,
    /// What it makes: digest of the manifest or config, *diff ID* of the layer; for names the manifest's.
    pub to: Digest,
    /// The blob.
    pub blob: Descriptor,
}

/// What a blob of the artifact is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Content {
    /// The target's manifest, as it is.
    Manifest,
    /// The target's config, as it is.
    Config,
    /// One layer of the target: as a delta, or as it is.
    Layer,
    /// What the deltas use of the base, by digest: only who has not the base needs it.
    Names,
}

impl Content {
    const ALL: [Self; 4] = [Self::Manifest, Self::Config, Self::Layer, Self::Names];

    /// The annotation's value.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Manifest => "image-manifest",
            Self::Config => "image-config",
            Self::Layer => "image-layer",
            Self::Names => "names",
        }
    }

    /// What the annotation's value means; `None` for those of other or later programs.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|content| content.word() == word)
    }
}

impl Part {
    /// Whether the blob is a delta, to be applied to the base; a layer that is none is carried as it is.
    #[must_use]
    pub fn is_delta(&self) -> bool {
        self.content == Content::Layer && self.blob.media_type == LAYER_DELTA
    }
}

/// Why bytes or values are no delta artifact.
#[derive(Debug, thiserror::Error)]
pub enum DeltaError {
    /// Too long, or not JSON of this shape.
    #[error("cannot read the delta's manifest")]
    Document(#[from] DocumentError),
    /// Something else.
    #[error("the manifest is no delta's: its artifact type is `{0}`")]
    Other(String),
    /// A delta of another version.
    #[error("the delta is of version `{0}`, and only version {VERSION} is known")]
    Version(String),
    /// A delta that only a later program can apply.
    #[error("the delta needs `{0}`, which is not known")]
    Requires(String),
    /// An annotation is missing or makes no sense.
    #[error("the delta's annotation {name} {reason}")]
    Annotation {
        /// Which.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// What it says does not fit together.
    #[error("the delta contradicts itself: {0}")]
    Inconsistent(String),
    /// More entries than a limit allows.
    #[error("the delta has {count} {what}, more than the limit of {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A size beyond a limit.
    #[error("{what} has {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// What is so large.
        what: &'static str,
        /// How large it says it is.
        size: u64,
        /// How large it may be.
        limit: u64,
    },
}

/// Documents besides the layers: manifest, config, names.
const DOCUMENTS: usize = 3;

/// Bytes of a media type: RFC 6838 allows 127 on each side of the slash.
const MEDIA_TYPE: usize = 255;

impl DeltaManifest {
    /// The part that makes the layer `diff_id`; `None` when it is reused.
    #[must_use]
    pub fn layer(&self, diff_id: &Digest) -> Option<&Part> {
        self.parts.iter().find(|part| part.content == Content::Layer && part.to == *diff_id)
    }

    /// The first part of this kind.
    #[must_use]
    pub fn part(&self, content: Content) -> Option<&Part> {
        self.parts.iter().find(|part| part.content == content)
    }

    /// Whether the layer or document with this diff ID (or digest) is taken from the base.
    #[must_use]
    pub fn reuses(&self, diff_id: &Digest) -> bool {
        self.reused.iter().any(|reused| reused.diff_id == *diff_id)
    }

    /// Diff IDs of the layers that are taken from the base whole.
    pub fn layers_reused(&self) -> impl Iterator<Item = &Digest> {
        let reused = self.reused.iter().map(|reused| &reused.diff_id);
        reused.filter(|diff_id| self.base_diff_ids.contains(diff_id))
    }

    /// Bytes of its blobs: what is fetched beside the manifest itself by who has the base. Who has not fetches the names, too.
    #[must_use]
    pub fn size(&self) -> u64 {
        let fetched = self.parts.iter().filter(|part| part.content != Content::Names);
        fetched.fold(0, |sum, part| sum.saturating_add(part.blob.size))
    }

    /// Whether it makes sense and keeps to the limits: what [`DeltaManifest::parse`] guarantees, for values made here.
    ///
    /// # Errors
    /// [`DeltaError`].
    pub fn check(&self, limits: &Limits) -> Result<(), DeltaError> {
        count("base layers", self.base_diff_ids.len(), limits.layers)?;
        count("reused layers", self.reused.len(), limits.layers.saturating_add(DOCUMENTS))?;
        count("parts", self.parts.len(), limits.layers.saturating_add(DOCUMENTS))?;
        size("the target's manifest", self.subject.size, limits.document)?;
        size("the target in full", self.full_size, limits.expanded)?;
        size("the expanded target", self.expanded_size, limits.expanded)?;
        OnDevice::check(&self.device, limits)?;
        let all = self.parts.iter().fold(0_u64, |sum, part| sum.saturating_add(part.blob.size));
        size("the delta", all, limits.expanded)?;
        if ![OCI_MANIFEST, DOCKER_MANIFEST].contains(&self.subject.media_type.as_str()) {
            let kind: String = self.subject.media_type.chars().take(100).collect();
            return Err(inconsistent(format!("its subject is not the manifest of one platform but `{kind}`")));
        }
        self.check_parts(limits)
    }

    fn check_parts(&self, limits: &Limits) -> Result<(), DeltaError> {
        let mut made = std::collections::BTreeSet::new();
        let once = |content: Content| content != Content::Layer;
        for part in &self.parts {
            let (word, to) = (part.content.word(), part.to);
            if !made.insert((word, (!once(part.content)).then_some(to))) {
                return Err(inconsistent(format!("it has {word} {to} twice, or another beside it")));
            }
            let is_document = matches!(part.content, Content::Manifest | Content::Config);
            if is_document && part.blob.digest != to {
                return Err(inconsistent(format!("its {word} is {} and should be {to}", part.blob.digest)));
            }
            if matches!(part.content, Content::Manifest | Content::Names) && to != self.subject.digest {
                return Err(inconsistent(format!("its {word} is for {to}, not for the subject")));
            }
            if is_document {
                size("a document of the target", part.blob.size, limits.document)?;
            }
            if !is_media_type(&part.blob.media_type) {
                return Err(inconsistent(format!("its {word} {to} has no media type")));
            }
        }
        let both = self.reused.iter().find(|reused| self.layer(&reused.diff_id).is_some());
        match both {
            Some(reused) => Err(inconsistent(format!("layer {} is both carried and reused", reused.diff_id))),
            None => Ok(()),
        }
    }
}

fn is_media_type(text: &str) -> bool {
    let graphic = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
    graphic
        && text.len() <= MEDIA_TYPE
        && text.split_once('/').is_some_and(|(kind, name)| !kind.is_empty() && !name.is_empty())
}

fn inconsistent(reason: String) -> DeltaError {
    DeltaError::Inconsistent(reason)
}

fn count(what: &'static str, count: usize, limit: usize) -> Result<(), DeltaError> {
    if count > limit { Err(DeltaError::TooMany { what, count, limit }) } else { Ok(()) }
}

fn size(what: &'static str, size: u64, limit: u64) -> Result<(), DeltaError> {
    if size > limit { Err(DeltaError::TooLarge { what, size, limit }) } else { Ok(()) }
}
