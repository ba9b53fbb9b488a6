//! A manifest for an image that has none: from an archive of `docker save`, or from the Docker daemon.
//!
//! Guarantees: config and layers are those that the place has, byte for byte, so that the image keeps its ID; the manifest depends on
//! nothing else: copied twice, it has one digest. Layers stay as they lie, mostly uncompressed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use serde::Serialize;
use umiak_layer::Compression;
use umiak_spec::{Descriptor, Digest, ImageReference, Limits, Observer, media_type};

use super::Choice;
use super::content::{Content, Part};
use crate::error::{Error, IoContext as _};
use crate::image::Layer;
use crate::source::Source;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    media_type: &'static str,
    config: Entry,
    layers: Vec<Entry>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    media_type: String,
    digest: Digest,
    size: u64,
}

/// Whether images there have no manifests.
pub(crate) fn is_needed(reference: &ImageReference) -> bool {
    matches!(reference, ImageReference::DockerArchive { .. } | ImageReference::Daemon(_))
}

/// The image with a manifest.
pub(crate) fn content(
    source: &dyn Source,
    reference: &ImageReference,
    choice: &Choice,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<Content, Error> {
    let image = source.resolve_watched(&choice.platforms, observer)?;
    let mut places = BTreeMap::new();
    let mut layers = Vec::new();
    for layer in &image.layers {
        let kind = kind(source, layer, reference, observer)?;
        layers.push(Entry { media_type: kind.to_owned(), digest: layer.digest, size: layer.size });
        places.insert(layer.digest, layer.clone());
    }
    let config = image.config.text.into_bytes();
    let config_entry =
        Entry { media_type: media_type::OCI_CONFIG.into(), digest: Digest::of(&config), size: config.len() as u64 };
    let named = layers.iter().chain([&config_entry]);
    let blobs: BTreeMap<Digest, Descriptor> =
        named.map(|entry| (entry.digest, Descriptor::new(&entry.media_type, entry.digest, entry.size))).collect();
    let made = BTreeMap::from([(config_entry.digest, config)]);
    let kind = media_type::OCI_MANIFEST;
    let manifest = Manifest { schema_version: 2, media_type: kind, config: config_entry, layers };
    let what = || Error::Inconsistent { name: reference.to_string(), reason: "no manifest can be made of it".into() };
    let bytes = serde_json::to_vec(&manifest).map_err(|_| what())?;
    if bytes.len() as u64 > limits.document {
        return Err(what());
    }
    let top = Descriptor::new(kind, Digest::of(&bytes), bytes.len() as u64);
    let mut blobs: Vec<Descriptor> = blobs.into_values().collect();
    blobs.sort_by(|one, other| other.size.cmp(&one.size).then(one.digest.cmp(&other.digest)));
    let parts = vec![Part { descriptor: top.clone(), bytes, is_referrer: false, has_subject: false }];
    Ok(Content { top, parts, blobs, attached: BTreeSet::new(), places, made })
}

/// What a layer is, by its first bytes.
fn kind(
    source: &dyn Source,
    layer: &Layer,
    reference: &ImageReference,
    observer: &dyn Observer,
) -> Result<&'static str, Error> {
    let mut start = Vec::new();
    let blob = source.fetch(layer, observer)?;
    blob.reader().take(16).read_to_end(&mut start).at("read", std::path::Path::new(&reference.name()))?;
    match Compression::of(&start) {
        Compression::None => Ok(media_type::OCI_LAYER),
        Compression::Gzip => Ok(media_type::OCI_LAYER_GZIP),
        Compression::Zstd => Ok(media_type::OCI_LAYER_ZSTD),
        other => {
            let text = format!("layer {} of {reference} is compressed as no OCI layer is: {other:?}", layer.digest);
            Err(Error::Unsupported(text))
        }
    }
}
