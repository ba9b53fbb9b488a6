//! Deltas that lead to the images of a target from what is on the device.
//!
//! Where they are looked for: among the referrers of an image's manifest beside the image and beside its app, and in the
//! app's measures. Guarantees: a list that cannot be had is a note and no error, for a delta only saves; a delta that
//! needs what is not here is left out; its manifest is in the store afterwards.

use std::collections::{BTreeMap, BTreeSet};

use umiak_plan::{Delta, DeltaPart, LayerFiles, Patch};
use umiak_spec::app::measures::DeltaOf;
use umiak_spec::delta::{ARTIFACT_TYPE, Content as Carried, Offer, StoredFiles};
use umiak_spec::{DeltaManifest, Descriptor, Digest, ImageReference, media_type};

use super::content::{Content, Made, Reader, ServiceImage};
use super::error::ResolveError;
use super::places;

/// Deltas to one image that are looked at.
const MAX_DELTAS: usize = 64;

/// A delta that can be used here.
#[derive(Debug, Clone)]
pub(crate) struct FoundDelta {
    /// Digest of its manifest.
    pub digest: Digest,
    /// What its manifest says.
    pub manifest: DeltaManifest,
    /// The target's layers, the lowest first: where patches lie in the stack.
    pub target: Vec<Digest>,
}

impl Reader<'_> {
    /// The deltas to the images of an app whose bases are all among `layers` (diff IDs that are in the store), each once.
    pub(crate) fn deltas(&self, content: &Content, layers: &BTreeSet<Digest>) -> Result<Vec<FoundDelta>, ResolveError> {
        let mut found: BTreeMap<Digest, FoundDelta> = BTreeMap::new();
        for image in content.images() {
            let missing = image.diff_ids().iter().any(|diff_id| !layers.contains(diff_id));
            let Some(manifest) = image.image.manifest.as_ref().filter(|_| missing) else { continue };
            for place in self.delta_places(content, image) {
                match self.offered(&place, content, manifest, layers, &found) {
                    Ok(offered) => {
                        for descriptor in offered {
                            self.take(&place, &descriptor, image, layers, &mut found)?;
                        }
                    }
                    Err(ResolveError::Cancelled(cancelled)) => return Err(cancelled.into()),
                    Err(error) => self.observer.note(&format!("no deltas from {place}: {error}")),
                }
            }
        }
        Ok(found.into_values().collect())
    }

    /// Where deltas to an image may be: beside it, beside its app.
    pub(crate) fn delta_places(&self, content: &Content, image: &ServiceImage) -> Vec<ImageReference> {
        let app = places::pinned(&content.app.origin, content.app.top.digest);
        let mut places: Vec<ImageReference> = Vec::new();
        for place in app.into_iter().chain(image.places.iter().cloned()) {
            if !places.iter().any(|known| known.name() == place.name()) {
                places.push(place);
            }
        }
        places
    }

    /// Manifests of deltas that are worth fetching: those whose base is here, by what the list or the measures say.
    fn offered(
        &self,
        place: &ImageReference,
        content: &Content,
        target: &Descriptor,
        layers: &BTreeSet<Digest>,
        known: &BTreeMap<Digest, FoundDelta>,
    ) -> Result<Vec<Descriptor>, ResolveError> {
        let documents = self.documents(place.clone());
        let source = documents.source()?;
        let listed = source.referrers(&target.digest, Some(ARTIFACT_TYPE), self.observer);
        let mut offered = Vec::new();
        for referrer in listed.map_err(ResolveError::source(place.to_string()))?.into_iter().take(MAX_DELTAS) {
            // Some registries leave the annotations out: then the manifest says.
            let usable = match Offer::read(&referrer.annotations, &self.sources.limits) {
                Ok(offer) => offer.base_diff_ids.iter().all(|base| layers.contains(base)),
                Err(_) => referrer.annotations.is_empty(),
            };
            if usable && !known.contains_key(&referrer.descriptor.digest) {
                let kind = Some(referrer.descriptor.media_type).filter(|kind| !kind.is_empty());
                let kind = kind.unwrap_or_else(|| media_type::OCI_MANIFEST.to_owned());
                offered.push(Descriptor::new(kind, referrer.descriptor.digest, referrer.descriptor.size));
            }
        }
        offered.extend(self.measured(content, target, &offered, known));
        Ok(offered)
    }

    /// Deltas that the app's measures name and whose manifests are here: how long another is would have to be asked for.
    fn measured(
        &self,
        content: &Content,
        target: &Descriptor,
        listed: &[Descriptor],
        known: &BTreeMap<Digest, FoundDelta>,
    ) -> Vec<Descriptor> {
        let Made::Compose(app) = &content.made else { return Vec::new() };
        let named = app.measures.iter().flat_map(|measures| &measures.deltas);
        let named = named.filter(|delta| delta.of == DeltaOf::Image && delta.target == target.digest);
        let unseen = |digest: &Digest| {
            !known.contains_key(digest) && !listed.iter().any(|descriptor| descriptor.digest == *digest)
        };
        let mut found = Vec::new();
        for delta in named.filter(|delta| unseen(&delta.artifact)).take(MAX_DELTAS) {
            let stored = self.store.document(&delta.artifact, self.sources.limits.document).ok().flatten();
            let size = stored.map(|bytes| bytes.len() as u64);
            if let Some(size) = size {
                found.push(Descriptor::new(media_type::OCI_MANIFEST, delta.artifact, size));
            }
        }
        found
    }

    /// Reads a delta's manifest and keeps it if it can be used.
    fn take(
        &self,
        place: &ImageReference,
        descriptor: &Descriptor,
        image: &ServiceImage,
        layers: &BTreeSet<Digest>,
        found: &mut BTreeMap<Digest, FoundDelta>,
    ) -> Result<(), ResolveError> {
        let bytes = match self.documents(place.clone()).get(descriptor) {
            Err(ResolveError::Source { source, .. }) => {
                self.observer.note(&format!("a delta from {place} cannot be used: {source}"));
                return Ok(());
            }
            result => result?,
        };
        let manifest = match DeltaManifest::parse(&bytes, &self.sources.limits) {
            Ok(manifest) => manifest,
            Err(error) => {
                self.observer.note(&format!("a delta from {place} cannot be used: {error}"));
                return Ok(());
            }
        };
        let target = image.image.manifest.as_ref().map(|manifest| manifest.digest);
        let here = manifest.base_diff_ids.iter().all(|base| layers.contains(base));
        if here && Some(manifest.subject.digest) == target {
            let delta = FoundDelta { digest: descriptor.digest, manifest, target: image.diff_ids() };
            found.insert(descriptor.digest, delta);
        }
        Ok(())
    }
}

impl FoundDelta {
    /// The delta as the planner sees it.
    pub(crate) fn wanted(&self) -> Delta {
        let layers = self.manifest.parts.iter().filter(|part| part.content == Carried::Layer && part.is_delta());
        let spool = |diff_id: &Digest| self.manifest.device.iter().find(|layer| layer.layer == *diff_id)?.spool;
        let part = |part: &umiak_spec::delta::Part| DeltaPart {
            blob: part.blob.digest,
            size: part.blob.size,
            makes: vec![part.to],
            spool: spool(&part.to),
        };
        Delta {
            digest: self.digest,
            from: self.manifest.base.map_or_else(|| "what is here".to_owned(), |base| base.short()),
            base: self.manifest.base_diff_ids.clone(),
            parts: layers.map(part).collect(),
        }
    }

    /// The patches that its layers may be kept as.
    pub(crate) fn patches(&self) -> impl Iterator<Item = Patch> {
        self.manifest.device.iter().filter_map(|on_device| {
            let patch = on_device.patch?;
            let at = self.target.iter().position(|diff_id| *diff_id == on_device.layer)?;
            let below = self.target[..at].to_vec();
            Some(Patch { layer: on_device.layer, base: patch.base, below, files: files(&patch.files) })
        })
    }

    /// The files of its layers when they are kept whole, by diff ID.
    pub(crate) fn whole(&self) -> impl Iterator<Item = (Digest, LayerFiles)> {
        self.manifest.device.iter().filter_map(|layer| Some((layer.layer, files(&layer.whole?))))
    }
}

fn files(stored: &StoredFiles) -> LayerFiles {
    LayerFiles { image: stored.image, skeleton: stored.skeleton, record: stored.record }
}
