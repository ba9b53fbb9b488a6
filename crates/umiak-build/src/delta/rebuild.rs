//! From a base image and a delta artifact to the target image.
//!
//! The target's manifest is what is trusted: its digest is the artifact's subject, its config's digest is the image ID, the config's diff IDs
//! are what rebuilt layers must hash to. Rebuilt layers are stored uncompressed, so their blobs differ from the registry's: the
//! result then has a manifest of its own, and the same config. Where no layer was rebuilt from a compressed one, the
//! manifest is the target's own.

use std::sync::Arc;

use serde_json::Value;
use umiak_delta::Delta;
use umiak_delta::container::Container;
use umiak_registry::Source;
use umiak_spec::delta::{Content, Part};
use umiak_spec::{DeltaManifest, Descriptor, Digest, ImageConfig, ImageReference, Manifest, media_type};

use super::found::{Found, check_base};
use super::images::{parse, small};
use super::opened::{Opened, OpenedLayer, expand};
use super::parts::Bytes;
use super::place::Nameless;
use super::{Rebuilt, Work, check_place, files};
use crate::error::{BuildError, IoContext as _};

/// A layer of the result.
struct Layer {
    media_type: String,
    digest: Digest,
    bytes: Bytes,
}

impl Work<'_> {
    /// Makes the target image of a delta from the image `base`, at `out`. `delta` is an artifact, or an image that has
    /// deltas: the smallest one that starts from `base` is taken.
    ///
    /// # Errors
    /// [`BuildError`]; nothing is stored until every layer was verified.
    pub fn apply_images(
        &self,
        base: &ImageReference,
        delta: &ImageReference,
        out: &ImageReference,
    ) -> Result<Rebuilt, BuildError> {
        check_place(out)?;
        let base = self.resolve(base)?;
        let Found { source, manifest } = self.find(delta, Some(&base))?;
        if let Some(held) = base.diff_ids() {
            check_base(&manifest, &held, &base.image.reference)?;
        }
        let wanted = |diff_id: &Digest| manifest.base_diff_ids.contains(diff_id) || manifest.reuses(diff_id);
        let base = self.fetch(base, wanted)?;
        check_base(&manifest, &base.diff_ids(), &base.image.reference)?;
        Rebuilding { work: self, source: source.as_ref(), delta: &manifest, base: &base }.store(out)
    }
}

struct Rebuilding<'a> {
    work: &'a Work<'a>,
    source: &'a dyn Source,
    delta: &'a DeltaManifest,
    base: &'a Opened,
}

impl Rebuilding<'_> {
    fn store(&self, out: &ImageReference) -> Result<Rebuilt, BuildError> {
        let work = self.work;
        let manifest_text = self.manifest()?;
        let subject = &self.delta.subject;
        let manifest = parse(&manifest_text, &subject.media_type, &work.limits)
            .ok_or_else(|| BuildError::Refused(format!("{} is no image manifest", subject.digest)))?;
        let config_text = self.config(&manifest)?;
        let config = ImageConfig::parse(&config_text, &work.limits)
            .map_err(|_| BuildError::Refused(format!("{} is no image config", manifest.config.digest)))?;
        if config.diff_ids.len() != manifest.layers.len() {
            return Err(BuildError::Refused(
                "the target's manifest and config have different numbers of layers".into(),
            ));
        }
        let pairs: Vec<(&Descriptor, &Digest)> = manifest.layers.iter().zip(&config.diff_ids).collect();
        let make = |_: usize, (layer, diff_id): &(&Descriptor, &Digest)| self.layer(layer, **diff_id);
        let layers = umiak_registry::in_parallel(&pairs, work.options.threads.get(), make)?;
        let sink = umiak_registry::open_sink(out, work.sources)?;
        sink.put_blob(&manifest.config, &config_text.as_slice(), work.observer)?;
        let mut rebuilt = 0;
        for (layer, (named, _)) in layers.iter().zip(&pairs) {
            let size = layer.bytes.len().at("look at a layer in", work.scratch)?;
            let blob = Descriptor::new(layer.media_type.clone(), layer.digest, size);
            sink.put_blob(&blob, &layer.bytes, work.observer)?;
            rebuilt += usize::from(layer.digest != named.digest);
        }
        let text = if rebuilt == 0 { manifest_text } else { self.own_manifest(&manifest_text, &layers)? };
        let tag = sink.tag().map(str::to_owned);
        let kind = if rebuilt == 0 { &subject.media_type } else { media_type::OCI_MANIFEST };
        let manifest = sink.put_manifest(&text, kind, tag.as_deref(), work.observer)?;
        sink.finish(work.observer)?;
        let expanded = self.delta.expanded_size;
        Ok(Rebuilt {
            manifest: manifest.digest,
            config: Digest::of(&config_text),
            layers: layers.len(),
            rebuilt,
            expanded,
        })
    }

    /// The target's manifest, verified against the subject.
    fn manifest(&self) -> Result<Vec<u8>, BuildError> {
        let subject = &self.delta.subject;
        let text = match self.delta.part(Content::Manifest) {
            Some(part) => self.document(part)?,
            None => self.base.source.document(subject, self.work.observer)?,
        };
        verified(&text, subject.digest)?;
        Ok(text)
    }

    /// The target's config, verified against its manifest.
    fn config(&self, manifest: &Manifest) -> Result<Vec<u8>, BuildError> {
        let text = match self.delta.part(Content::Config) {
            Some(part) => self.document(part)?,
            None => self.base.image.config.text.as_bytes().to_vec(),
        };
        verified(&text, manifest.config.digest)?;
        Ok(text)
    }

    fn document(&self, part: &Part) -> Result<Vec<u8>, BuildError> {
        let blob = self.source.blob(&part.blob, self.work.observer)?;
        small(&blob, &self.work.limits).at("read a document in", self.work.scratch)
    }

    /// One layer of the target: the base's, the delta's own, or a rebuilt one; its diff ID is verified.
    fn layer(&self, named: &Descriptor, diff_id: Digest) -> Result<Layer, BuildError> {
        let work = self.work;
        let here = |layer: &&OpenedLayer| layer.parts().digest == diff_id;
        if let Some(layer) = self.base.layers.iter().find(here) {
            // The very blob, where the base has it; else the same archive uncompressed.
            return Ok(if layer.layer.digest == named.digest {
                Layer {
                    media_type: named.media_type.clone(),
                    digest: named.digest,
                    bytes: Arc::new(layer.blob.clone()),
                }
            } else {
                plain(diff_id, Arc::clone(&layer.bytes))
            });
        }
        let Some(part) = self.delta.layer(&diff_id) else {
            return Err(BuildError::NotTheBase { base: self.base.image.reference.clone(), missing: vec![diff_id] });
        };
        let blob = self.source.blob(&part.blob, work.observer)?;
        if !part.is_delta() {
            let bytes: Bytes = Arc::new(expand(&blob, part.blob.digest, work.scratch, &work.limits, work.observer)?);
            let found = super::parts::digest(&bytes, work.observer).at("read a layer in", work.scratch)?;
            if found != diff_id {
                return Err(BuildError::WrongLayer { layer: part.blob.digest, expected: diff_id, found });
            }
            return Ok(Layer {
                media_type: part.blob.media_type.clone(),
                digest: part.blob.digest,
                bytes: Arc::new(blob),
            });
        }
        let bytes: Bytes = Arc::new(blob);
        let found = super::parts::digest(&bytes, work.observer).at("read a delta in", work.scratch)?;
        if found != part.blob.digest {
            return Err(BuildError::WrongLayer { layer: diff_id, expected: part.blob.digest, found });
        }
        let delta = Delta::open(bytes).map_err(BuildError::delta)?;
        if delta.index().target.digest != diff_id {
            let expected = diff_id;
            return Err(BuildError::delta(umiak_delta::DeltaError::Target {
                expected,
                actual: delta.index().target.digest,
            }));
        }
        let scratch = Nameless::new(work.scratch);
        let space = scratch.file().at("create a scratch file in", work.scratch)?;
        files::rebuild(&delta, &self.bases(), &space, &scratch, work.observer)?;
        Ok(plain(diff_id, Arc::new(space)))
    }

    /// The base's layers in the order in which the delta numbers them.
    fn bases(&self) -> Vec<&dyn Container> {
        self.base.in_order(&self.delta.base_diff_ids).map(OpenedLayer::container).collect()
    }

    /// The target's manifest with the layers as they are stored here.
    fn own_manifest(&self, text: &[u8], layers: &[Layer]) -> Result<Vec<u8>, BuildError> {
        let unreadable = || BuildError::Refused(format!("{} is no image manifest", self.delta.subject.digest));
        let mut manifest: Value = serde_json::from_slice(text).map_err(|_| unreadable())?;
        let mut written = Vec::new();
        for layer in layers {
            let size = layer.bytes.len().at("look at a layer in", self.work.scratch)?;
            written.push(serde_json::json!({
                "digest": layer.digest.to_string(), "mediaType": layer.media_type, "size": size,
            }));
        }
        let members = manifest.as_object_mut().ok_or_else(unreadable)?;
        members.insert("mediaType".into(), media_type::OCI_MANIFEST.into());
        members.insert("layers".into(), written.into());
        if let Some(config) = members.get_mut("config").and_then(Value::as_object_mut) {
            config.insert("mediaType".into(), media_type::OCI_CONFIG.into());
        }
        serde_json::to_vec(&manifest).map_err(|_| unreadable())
    }
}

fn plain(diff_id: Digest, bytes: Bytes) -> Layer {
    Layer { media_type: media_type::OCI_LAYER.into(), digest: diff_id, bytes }
}

fn verified(text: &[u8], expected: Digest) -> Result<(), BuildError> {
    let actual = Digest::of(text);
    if actual == expected {
        return Ok(());
    }
    Err(BuildError::delta(umiak_delta::DeltaError::Damaged { what: "a document".into(), expected, actual }))
}
