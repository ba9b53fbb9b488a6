//! A target image whose layers are all at hand and verified, on its way to where it is wanted.
//!
//! Rebuilt layers are stored uncompressed, so their blobs differ from the registry's: the result then has a manifest
//! of its own, and the same config. Where no layer was rebuilt from a compressed one, the manifest is the target's
//! own.

use std::sync::Arc;

use serde_json::{Value, json};
use umiak_spec::{Descriptor, Digest, ImageReference, ReadAt, media_type};

use super::opened::OpenedLayer;
use super::parts::Bytes;
use super::{Rebuilt, Work};
use crate::error::{BuildError, IoContext as _};

/// A layer of the result; its diff ID was verified.
pub struct Layer {
    /// What its blob is.
    pub media_type: String,
    /// Digest of the blob.
    pub digest: Digest,
    /// The blob.
    pub bytes: Arc<dyn ReadAt>,
    /// Bytes uncompressed.
    pub expanded: u64,
}

impl Layer {
    /// A layer that is stored uncompressed.
    pub(super) fn plain(diff_id: Digest, bytes: Bytes, size: u64) -> Self {
        Self { media_type: media_type::OCI_LAYER.into(), digest: diff_id, bytes, expanded: size }
    }

    /// A layer of the base: the very blob, where the target's manifest names it; else the same archive uncompressed.
    pub(super) fn of_base(layer: &OpenedLayer, named: Option<&Descriptor>) -> Self {
        let size = layer.parts().size;
        match named.filter(|named| named.digest == layer.layer.digest) {
            Some(named) => Self {
                media_type: named.media_type.clone(),
                digest: named.digest,
                bytes: Arc::new(layer.blob.clone()),
                expanded: size,
            },
            None => Self::plain(layer.parts().digest, Arc::clone(&layer.bytes), size),
        }
    }
}

/// The target's manifest as it is.
pub struct ManifestText {
    /// The document.
    pub bytes: Vec<u8>,
    /// What it calls itself.
    pub media_type: String,
    /// The layers that it names.
    pub layers: Vec<Digest>,
}

/// A whole image that was made from a base and a delta.
pub struct Assembled {
    /// The target's manifest, where it is known.
    pub manifest: Option<ManifestText>,
    /// The target's config.
    pub config: Vec<u8>,
    /// Bottom first.
    pub layers: Vec<Layer>,
}

impl Assembled {
    /// Stores it at `out`: blobs, then the manifest.
    pub(super) fn store(self, work: &Work<'_>, out: &ImageReference) -> Result<Rebuilt, BuildError> {
        let sink = umiak_registry::open_sink(out, work.sources)?;
        let config = Descriptor::new(media_type::OCI_CONFIG, Digest::of(&self.config), self.config.len() as u64);
        sink.put_blob(&config, &self.config.as_slice(), work.observer)?;
        let mut blobs = Vec::new();
        for layer in &self.layers {
            let size = layer.bytes.len().at("look at a layer in", work.scratch)?;
            let blob = Descriptor::new(layer.media_type.clone(), layer.digest, size);
            sink.put_blob(&blob, &layer.bytes, work.observer)?;
            blobs.push(blob);
        }
        let named = |number: usize| self.manifest.as_ref().and_then(|manifest| manifest.layers.get(number));
        let rebuilt = blobs.iter().enumerate().filter(|(number, blob)| named(*number) != Some(&blob.digest)).count();
        let (text, kind) = match self.manifest {
            Some(manifest) if rebuilt == 0 => (manifest.bytes, manifest.media_type),
            manifest => (own(manifest, &config, &blobs)?, media_type::OCI_MANIFEST.to_owned()),
        };
        let tag = sink.tag().map(str::to_owned);
        let manifest = sink.put_manifest(&text, &kind, tag.as_deref(), work.observer)?;
        sink.finish(work.observer)?;
        Ok(Rebuilt {
            manifest: manifest.digest,
            config: config.digest,
            layers: blobs.len(),
            rebuilt,
            expanded: self.layers.iter().map(|layer| layer.expanded).sum(),
        })
    }
}

/// The target's manifest, where it is known, with the layers as they are stored here.
fn own(manifest: Option<ManifestText>, config: &Descriptor, layers: &[Descriptor]) -> Result<Vec<u8>, BuildError> {
    let unreadable = |_| BuildError::Refused("the target's manifest is no JSON object".into());
    let described = |blob: &Descriptor| json!({ "digest": blob.digest.to_string(), "mediaType": blob.media_type, "size": blob.size });
    let text = manifest.map_or_else(|| b"{\"schemaVersion\":2}".to_vec(), |manifest| manifest.bytes);
    let mut members: serde_json::Map<String, Value> = serde_json::from_slice(&text).map_err(unreadable)?;
    members.insert("mediaType".into(), media_type::OCI_MANIFEST.into());
    members.insert("config".into(), described(config));
    members.insert("layers".into(), layers.iter().map(described).collect());
    serde_json::to_vec(&members).map_err(unreadable)
}
