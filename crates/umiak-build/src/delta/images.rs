//! Deltas between images: their layers at hand, made into an artifact.

use std::collections::BTreeSet;
use std::sync::Arc;

use umiak_delta::container::Container;
use umiak_spec::delta::{Content, LAYER_DELTA, Part, Reused};
use umiak_spec::{DeltaManifest, Descriptor, Digest, Document, ImageReference, Limits, Manifest, ReadAt};

use super::opened::{Opened, OpenedLayer};
use super::parts::Bytes;
use super::place::Nameless;
use super::{Work, files, worth};
use crate::error::{BuildError, IoContext as _};

/// A delta between two images that is made, and applied once to see that it is right, and stored nowhere yet.
pub struct Draft {
    /// What it carries and leaves out.
    pub manifest: DeltaManifest,
    /// The bytes of each of its parts, in their order.
    pub contents: Vec<Arc<dyn ReadAt>>,
    /// Of each part that is a delta: diff ID of what it makes, and what it says of itself.
    pub indexes: Vec<(Digest, umiak_delta::index::Index)>,
}

impl Work<'_> {
    /// Makes the delta between two images, for the first of the platforms, without storing it. Layers that both have are
    /// not fetched from the target.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn draft_images(&self, base: &ImageReference, target: &ImageReference) -> Result<Draft, BuildError> {
        let (base, target) = (self.open(base)?, self.resolve(target)?);
        let target = self.fetch(target, |diff_id| !base.diff_ids().contains(diff_id))?;
        self.draft(&base, &target)
    }

    /// Compares two images layer by layer. Of `target`, layers that `base` has need not be opened.
    pub(super) fn draft(&self, base: &Opened, target: &Opened) -> Result<Draft, BuildError> {
        let subject = target.image.manifest.clone().ok_or_else(|| {
            BuildError::Refused("the target has no manifest: take it from a registry, a layout or its archive".into())
        })?;
        let text = target.source.document(&subject, self.observer)?;
        let parsed = parse(&text, &subject.media_type, &self.limits)
            .ok_or_else(|| BuildError::Refused(format!("{} is no image manifest", subject.digest)))?;
        let mut draft = Draft {
            manifest: DeltaManifest {
                base: base.image.manifest.as_ref().map(|manifest| manifest.digest),
                base_config: Some(Digest::of(base.image.config.text.as_bytes())),
                base_diff_ids: base.diff_ids(),
                reused: Vec::new(),
                parts: Vec::new(),
                full_size: target.image.layers.iter().map(|layer| layer.size).sum(),
                expanded_size: 0,
                device: Vec::new(),
                subject: subject.clone(),
            },
            contents: Vec::new(),
            indexes: Vec::new(),
        };
        let base_config = draft.manifest.base_config;
        draft.document(Content::Manifest, subject, draft.manifest.base, text);
        let config = target.image.config.text.as_bytes().to_vec();
        draft.document(Content::Config, parsed.config.clone(), base_config, config);
        let diff_ids = self.compare(base, target, &mut draft)?;
        if draft.manifest.parts.iter().any(|part| part.content == Content::Layer) {
            self.measure_on_device(base, target, &diff_ids, &mut draft)?;
        }
        Ok(draft)
    }

    /// Fills the draft; gives the diff IDs of all layers of the target.
    fn compare(&self, base: &Opened, target: &Opened, draft: &mut Draft) -> Result<Vec<Digest>, BuildError> {
        let bases: Vec<&dyn Container> = base.layers.iter().map(OpenedLayer::container).collect();
        let (mut used, mut diff_ids) = (BTreeSet::new(), Vec::new());
        for layer in &target.image.layers {
            let held = |opened: &Opened| opened.find(layer).map(|layer| (layer.parts().digest, layer.parts().size));
            let unknown = || BuildError::Refused(format!("the config does not know the layer {}", layer.digest));
            let (diff_id, size) = held(base).or_else(|| held(target)).ok_or_else(unknown)?;
            draft.manifest.expanded_size += size;
            diff_ids.push(diff_id);
            let known = draft.manifest.reused.iter().any(|reused| reused.diff_id == diff_id)
                || draft.manifest.parts.iter().any(|part| part.to == diff_id);
            if known {
                continue;
            }
            let Some(layer) = target.find(layer).filter(|_| held(base).is_none()) else {
                draft.manifest.reused.push(Reused { digest: layer.digest, diff_id });
                continue;
            };
            let (part, bytes, index) = self.layer(&bases, layer)?;
            if part.is_delta() {
                used.extend(self.used(&bytes, &bases)?);
            }
            draft.manifest.parts.push(part);
            draft.contents.push(bytes);
            draft.indexes.extend(index.map(|index| (diff_id, index)));
        }
        if !draft.indexes.is_empty() {
            let (part, bytes) = self.names(&bases, &used, draft.manifest.subject.digest)?;
            draft.manifest.parts.push(part);
            draft.contents.push(bytes);
        }
        Ok(diff_ids)
    }

    /// A layer as a delta, or as it is when no delta pays.
    fn layer(
        &self,
        bases: &[&dyn Container],
        layer: &OpenedLayer,
    ) -> Result<(Part, Bytes, Option<umiak_delta::index::Index>), BuildError> {
        let to = layer.parts().digest;
        let scratch = Nameless::new(self.scratch);
        let file = scratch.file().at("create a scratch file in", self.scratch)?;
        let index = files::make(bases, layer.container(), &file, self.scratch, self.options, self.observer)?;
        let size = file.metadata().at("look at a scratch file in", self.scratch)?.len();
        let pays = size < layer.layer.size
            && worth::is_worth(size, &layer.bytes, self.observer).at("read a layer in", self.scratch)?;
        if !pays {
            let blob = Descriptor::new(layer.layer.media_type.clone(), layer.layer.digest, layer.layer.size);
            return Ok((Part { content: Content::Layer, to, blob }, Arc::new(layer.blob.clone()), None));
        }
        files::verify(&file, bases, &scratch, self.scratch, self.observer)?;
        let bytes: Bytes = Arc::new(file);
        let digest = super::parts::digest(&bytes, self.observer).at("read a delta in", self.scratch)?;
        let blob = Descriptor::new(LAYER_DELTA.to_owned(), digest, size);
        Ok((Part { content: Content::Layer, to, blob }, bytes, Some(index)))
    }
}

impl Draft {
    /// Whether it saves anything: a layer became a delta, or all are in the base.
    #[must_use]
    pub fn worth(&self) -> bool {
        let parts = &self.manifest.parts;
        parts.iter().any(Part::is_delta) || parts.iter().all(|part| part.content != Content::Layer)
    }

    /// The target's manifest or config: carried unless the base has the same.
    fn document(&mut self, content: Content, blob: Descriptor, base: Option<Digest>, text: Vec<u8>) {
        let to = blob.digest;
        if base == Some(to) {
            self.manifest.reused.push(Reused { digest: to, diff_id: to });
            return;
        }
        self.manifest.parts.push(Part { content, to, blob });
        self.contents.push(Arc::new(text));
    }
}

/// The target's manifest and config, wherever they are.
pub(super) fn parse(text: &[u8], media_type: &str, limits: &Limits) -> Option<Manifest> {
    match Document::parse(text, media_type, limits) {
        Ok(Document::Manifest(manifest)) => Some(*manifest),
        _ => None,
    }
}

/// All bytes of a small blob.
pub(super) fn small(blob: &dyn ReadAt, limits: &Limits) -> std::io::Result<Vec<u8>> {
    let size = blob.len()?;
    if size > limits.document {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "a document is too long"));
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    blob.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
