//! The layers of an app for one architecture, in an index that only the legacy readers know.
//!
//! They read it to estimate the space that an app without layers metadata takes. It calls itself an OCI index and has
//! `layers` in place of `manifests`, which registries from distribution 2.8 on refuse.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::manifest::IndexEntry;
use super::{AppError, VERSION, annotation, at_most, inconsistent, is_architecture, json, read, shown};
use crate::manifest::or_default;
use crate::media_type::OCI_INDEX;
use crate::{Descriptor, Digest, Limits};

const WHAT: &str = "the layers index";

/// The layers that an app's services have for one architecture, each once, in the order of their digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayersIndex {
    architecture: String,
    layers: Vec<Descriptor>,
}

/// The platform of an index: the operating system is there and empty.
#[derive(Serialize)]
pub(super) struct Architecture<'a> {
    architecture: &'a str,
    os: &'static str,
}

impl<'a> Architecture<'a> {
    pub(super) fn of(architecture: &'a str) -> Self {
        Self { architecture, os: "" }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    schema_version: u32,
    media_type: &'static str,
    platform: Architecture<'a>,
    layers: Vec<WrittenLayer<'a>>,
    annotations: BTreeMap<&'static str, &'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenLayer<'a> {
    media_type: &'a str,
    size: u64,
    digest: Digest,
}

impl<'a> WrittenLayer<'a> {
    fn of(layer: &'a Descriptor) -> Self {
        Self { media_type: &layer.media_type, size: layer.size, digest: layer.digest }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read {
    #[serde(default, deserialize_with = "or_default")]
    media_type: String,
    platform: ReadPlatform,
    #[serde(default, deserialize_with = "or_default")]
    layers: Vec<Descriptor>,
    #[serde(default, deserialize_with = "or_default")]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct ReadPlatform {
    architecture: String,
}

impl LayersIndex {
    /// The index of `layers`, which may be in any order and have layers twice. Of a descriptor only media type, digest
    /// and size are kept, of two media types for one digest the first.
    ///
    /// # Errors
    /// [`AppError::Inconsistent`] when one digest has two sizes, or the architecture is none.
    pub fn new(architecture: &str, layers: impl IntoIterator<Item = Descriptor>) -> Result<Self, AppError> {
        if !is_architecture(architecture) {
            return Err(inconsistent(WHAT, format!("`{}` is no architecture", shown(architecture))));
        }
        let mut sorted = BTreeMap::new();
        for layer in layers {
            let layer = Descriptor::new(layer.media_type, layer.digest, layer.size);
            let digest = layer.digest;
            // Docker's manifests and OCI's have different names for the same kind of layer: the first is as good as any.
            let known = sorted.entry(digest).or_insert_with(|| layer.clone());
            if known.size != layer.size {
                return Err(inconsistent(WHAT, format!("layer {digest} has two sizes")));
            }
        }
        Ok(Self { architecture: architecture.to_owned(), layers: sorted.into_values().collect() })
    }

    /// Go's name of the architecture.
    #[must_use]
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// The layers, in the order of their digests.
    #[must_use]
    pub fn layers(&self) -> &[Descriptor] {
        &self.layers
    }

    /// What the app's manifest calls it.
    #[must_use]
    pub fn entry(&self) -> IndexEntry {
        let bytes = self.to_bytes();
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        IndexEntry { architecture: self.architecture.clone(), digest, size }
    }

    /// The document. Equal values give equal bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        json::compact(&Written {
            schema_version: 2,
            media_type: OCI_INDEX,
            platform: Architecture::of(&self.architecture),
            layers: self.layers.iter().map(WrittenLayer::of).collect(),
            annotations: [(annotation::LAYERS, VERSION)].into(),
        })
    }

    /// Reads the document.
    ///
    /// # Errors
    /// [`AppError`].
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, AppError> {
        let read: Read = read(WHAT, bytes, limits.document)?;
        match read.annotations.get(annotation::LAYERS) {
            Some(version) if version == VERSION => {}
            Some(version) => return Err(AppError::Version { what: WHAT, version: shown(version) }),
            None => return Err(inconsistent(WHAT, format!("it has no annotation `{}`", annotation::LAYERS))),
        }
        if read.media_type != OCI_INDEX {
            return Err(inconsistent(WHAT, format!("its media type is `{}`", shown(&read.media_type))));
        }
        for layer in &read.layers {
            at_most(WHAT, "bytes in one layer", layer.size, limits.expanded)?;
        }
        Self::new(&read.platform.architecture, read.layers)
    }
}
