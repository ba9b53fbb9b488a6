//! Deltas that lead to the images of a target from what is on the device.
//!
//! Where they are looked for: among the referrers of an image's manifest beside its app and beside the image, and in the
//! app's measures. Guarantees: a list that cannot be had is a note and no error, for a delta only saves; a delta that
//! needs what is not here is left out, unless its names find all of it in other layers; its manifest is in the store afterwards; for each image no more than two lists and
//! [`MOST_READ`] manifests are fetched from each place, those of the smallest deltas; what brought all that an image needs
//! is the last place that is asked.

use std::collections::{BTreeMap, BTreeSet};

use umiak_plan::{Delta, DeltaPart, LayerFiles, Patch};
use umiak_registry::Source;
use umiak_spec::app::measures::{DeltaOf, KnownDelta};
use umiak_spec::delta::{ARTIFACT_TYPE, Content as Carried, Offer};
use umiak_spec::{DeltaManifest, Descriptor, Digest, ImageReference, media_type};
use umiak_store::StoreError;

use super::content::{Content, Made, Reader, ServiceImage};
use super::documents::Documents;
use super::error::ResolveError;
use super::places;

/// Manifests of deltas to one image that are fetched from one place.
const MOST_READ: usize = 8;

/// Of these, deltas of which some bases are here and whose names are fetched, where no other delta can be used.
const MOST_NAMED: usize = 2;

/// A delta that can be used here.
#[derive(Debug, Clone)]
pub(crate) struct FoundDelta {
    /// Digest of its manifest.
    pub digest: Digest,
    /// What its manifest says.
    pub manifest: DeltaManifest,
    /// Layers that have to be here: its bases, or those that have what its names tell.
    pub base: Vec<Digest>,
    /// Bytes that lie beside when it is applied by its names.
    skeletons: u64,
    /// The target's layers, the lowest first: where patches lie in the stack.
    pub target: Vec<Digest>,
}

/// A delta that a list or the app's measures tell of.
enum Told {
    /// A list has its manifest.
    Listed(Box<Descriptor>),
    /// Of its manifest only the digest is known.
    Named(Digest),
}

impl Told {
    fn digest(&self) -> Digest {
        match self {
            Self::Listed(descriptor) => descriptor.digest,
            Self::Named(digest) => *digest,
        }
    }
}

impl Reader<'_> {
    /// The deltas to the images of an app whose bases are all among `layers` (diff IDs that are in the store), each once.
    pub(crate) fn deltas(&self, content: &Content, layers: &BTreeSet<Digest>) -> Result<Vec<FoundDelta>, ResolveError> {
        let mut found: BTreeMap<Digest, FoundDelta> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for image in content.images() {
            let missing = image.diff_ids().iter().any(|diff_id| !layers.contains(diff_id));
            let manifest = image.image.manifest.as_ref().filter(|manifest| missing && seen.insert(manifest.digest));
            let Some(manifest) = manifest else { continue };
            for place in self.delta_places(content, image) {
                match self.usable_at(&place, content, image, manifest, layers) {
                    Ok(usable) => found.extend(usable.into_iter().map(|delta| (delta.digest, delta))),
                    Err(ResolveError::Cancelled(cancelled)) => return Err(cancelled.into()),
                    Err(error) => self.observer.note(&format!("no deltas from {place}: {error}")),
                }
                let enough = found.values().any(|delta| delta.makes_up_for(image, layers));
                if enough || self.carries(&place, image, layers) {
                    break;
                }
            }
        }
        Ok(found.into_values().collect())
    }

    /// Where deltas to an image, and their blobs, may be: beside its app, beside it.
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

    /// Whether the place is a file that has all layers that are missing: then nothing is gained by asking a registry.
    fn carries(&self, place: &ImageReference, image: &ServiceImage, layers: &BTreeSet<Digest>) -> bool {
        if !matches!(place, ImageReference::Layout { .. } | ImageReference::OciArchive { .. }) {
            return false;
        }
        let documents = self.documents(place.clone());
        let Ok(source) = documents.source() else { return false };
        let missing =
            image.image.layers.iter().filter(|layer| !layers.contains(&layer.diff_id.unwrap_or(layer.digest)));
        let mut blobs = missing.map(|layer| Descriptor::new(layer.media_type.clone(), layer.digest, layer.size));
        blobs.all(|blob| source.blob(&blob, self.observer).is_ok())
    }

    /// The usable deltas of one place.
    fn usable_at(
        &self,
        place: &ImageReference,
        content: &Content,
        image: &ServiceImage,
        target: &Descriptor,
        layers: &BTreeSet<Digest>,
    ) -> Result<Vec<FoundDelta>, ResolveError> {
        let documents = self.documents(place.clone());
        let (mut told, near) = self.listed(place, documents.source()?, target, layers)?;
        for digest in self.measured(content, target) {
            if !told.iter().any(|known| known.digest() == digest) {
                told.push(Told::Named(digest));
            }
        }
        let mut usable = Vec::new();
        for told in told.into_iter().take(MOST_READ) {
            let read = match &told {
                Told::Listed(descriptor) => documents.get(descriptor),
                Told::Named(digest) => self.named(place, digest),
            };
            let manifest = match read {
                Ok(bytes) => DeltaManifest::parse(&bytes, &self.sources.limits).map_err(|error| error.to_string()),
                Err(ResolveError::Source { source, .. }) => Err(source.to_string()),
                Err(error) => return Err(error),
            };
            match manifest {
                Ok(manifest) => {
                    let here = manifest.base_diff_ids.iter().all(|base| layers.contains(base));
                    if here && manifest.subject.digest == target.digest {
                        let base = manifest.base_diff_ids.clone();
                        let target = image.diff_ids();
                        usable.push(FoundDelta { digest: told.digest(), manifest, base, skeletons: 0, target });
                    }
                }
                Err(why) => self.observer.note(&format!("a delta from {place} cannot be used: {why}")),
            }
        }
        if usable.is_empty() {
            for descriptor in near.into_iter().take(MOST_NAMED) {
                usable.extend(self.by_names(&documents, &descriptor, image, target)?);
            }
        }
        Ok(usable)
    }

    /// A delta of which not all bases are here, if all that its names tell is.
    fn by_names(
        &self,
        documents: &Documents<'_>,
        descriptor: &Descriptor,
        image: &ServiceImage,
        target: &Descriptor,
    ) -> Result<Option<FoundDelta>, ResolveError> {
        let limits = &self.sources.limits;
        let get = |document: &Descriptor| match documents.get(document) {
            Err(ResolveError::Cancelled(cancelled)) => Err(cancelled),
            got => Ok(got.ok()),
        };
        let Some(manifest) = get(descriptor)?.and_then(|bytes| DeltaManifest::parse(&bytes, limits).ok()) else {
            return Ok(None);
        };
        let names = manifest.parts.iter().find(|part| part.content == Carried::Names);
        // Names that are as long as what they spare spare nothing.
        let spares = manifest.full_size.saturating_sub(manifest.size());
        let names = names.filter(|part| part.blob.size < spares.min(limits.document));
        let Some(names) = names.filter(|_| manifest.subject.digest == target.digest) else { return Ok(None) };
        let Some(bytes) = get(&names.blob)? else { return Ok(None) };
        let held = self.store.named_sources(&bytes, limits).ok().flatten();
        Ok(held.map(|held| FoundDelta {
            digest: descriptor.digest,
            base: held.layers.into_iter().collect(),
            skeletons: held.skeletons,
            target: image.diff_ids(),
            manifest,
        }))
    }

    /// Deltas that a place lists and that are worth a look: those whose base is here as far as the list says, the smallest
    /// first, then those of which the list says nothing. And others of which a part of the base is here.
    fn listed(
        &self,
        place: &ImageReference,
        source: &dyn Source,
        target: &Descriptor,
        layers: &BTreeSet<Digest>,
    ) -> Result<(Vec<Told>, Vec<Descriptor>), ResolveError> {
        let listed = source.referrers(&target.digest, Some(ARTIFACT_TYPE), self.observer);
        let (mut worth, mut near) = (Vec::new(), Vec::new());
        for referrer in listed.map_err(ResolveError::source(place.to_string()))? {
            // Some registries leave the annotations out: then the manifest says.
            let (size, list) = match Offer::read(&referrer.annotations, &self.sources.limits) {
                Ok(offer) if offer.base_diff_ids.iter().all(|base| layers.contains(base)) => (offer.size, &mut worth),
                Ok(offer) if offer.base_diff_ids.iter().any(|base| layers.contains(base)) => (offer.size, &mut near),
                Err(_) if referrer.annotations.is_empty() => (u64::MAX, &mut worth),
                Ok(_) | Err(_) => continue,
            };
            let kind = Some(referrer.descriptor.media_type).filter(|kind| !kind.is_empty());
            let kind = kind.unwrap_or_else(|| media_type::OCI_MANIFEST.to_owned());
            list.push((size, Descriptor::new(kind, referrer.descriptor.digest, referrer.descriptor.size)));
        }
        for list in [&mut worth, &mut near] {
            list.sort_by_key(|(size, descriptor)| (*size, descriptor.digest));
        }
        let worth = worth.into_iter().map(|(_, descriptor)| Told::Listed(Box::new(descriptor))).collect();
        Ok((worth, near.into_iter().map(|(_, descriptor)| descriptor).collect()))
    }

    /// Deltas to `target` that the app's measures name and whose base has been on this device, the smallest first.
    fn measured(&self, content: &Content, target: &Descriptor) -> Vec<Digest> {
        let Made::Compose(app) = &content.made else { return Vec::new() };
        let named = app.measures.iter().flat_map(|measures| &measures.deltas);
        let to = |delta: &&KnownDelta| delta.of == DeltaOf::Image && delta.target == target.digest;
        let mut named: Vec<_> = named.filter(to).filter(|delta| self.store.has_blob(&delta.base)).collect();
        named.sort_by_key(|delta| (delta.size, delta.artifact));
        named.into_iter().map(|delta| delta.artifact).collect()
    }

    /// A manifest of which only the digest is known.
    fn named(&self, place: &ImageReference, digest: &Digest) -> Result<Vec<u8>, ResolveError> {
        if let Ok(Some(bytes)) = self.store.document(digest, self.sources.limits.document) {
            return Ok(bytes);
        }
        let Some(place) = places::at(place, *digest) else {
            return Err(ResolveError::Missing { what: digest.to_string(), why: format!("{place} has no digests") });
        };
        let failed = |error| ResolveError::source(place.to_string())(error);
        let (_, bytes) = self.documents(place.clone()).source()?.top(self.observer).map_err(failed)?;
        match self.store.put_blob(digest, &bytes) {
            Ok(()) | Err(StoreError::OpenedForReading) => Ok(bytes),
            Err(error) => Err(error.into()),
        }
    }
}

impl FoundDelta {
    /// Whether nothing of the image has to come whole when this delta is used.
    fn makes_up_for(&self, image: &ServiceImage, layers: &BTreeSet<Digest>) -> bool {
        image.diff_ids().iter().all(|diff_id| layers.contains(diff_id) || self.manifest.layer(diff_id).is_some())
    }

    /// The delta as the planner sees it.
    pub(crate) fn wanted(&self) -> Delta {
        let layers = self.manifest.parts.iter().filter(|part| part.content == Carried::Layer && part.is_delta());
        let spool = |diff_id: &Digest| {
            let spool = self.manifest.device.iter().find(|layer| layer.layer == *diff_id)?.spool;
            spool.map(|bytes| bytes.saturating_add(self.skeletons))
        };
        let part = |part: &umiak_spec::delta::Part| DeltaPart {
            blob: part.blob.digest,
            size: part.blob.size,
            makes: vec![part.to],
            spool: spool(&part.to),
        };
        Delta {
            digest: self.digest,
            from: self.manifest.base.map_or_else(|| "what is here".to_owned(), |base| base.short()),
            base: self.base.clone(),
            parts: layers.map(part).collect(),
        }
    }

    /// The patches that its layers may be kept as.
    pub(crate) fn patches(&self) -> impl Iterator<Item = Patch> {
        self.manifest.device.iter().filter_map(|on_device| {
            let patch = on_device.patch?;
            let at = self.target.iter().position(|diff_id| *diff_id == on_device.layer)?;
            let below = self.target[..at].to_vec();
            Some(Patch { layer: on_device.layer, base: patch.base, below, files: patch.files.into() })
        })
    }

    /// The files of its layers when they are kept whole, by diff ID.
    pub(crate) fn whole(&self) -> impl Iterator<Item = (Digest, LayerFiles)> {
        self.manifest.device.iter().filter_map(|layer| Some((layer.layer, layer.whole?.into())))
    }
}
