//! Which delta is meant: an artifact by its name, or the one among an image's referrers that starts from the base at
//! hand.
//!
//! Nothing but documents is fetched here. What the base lacks is found out before any layer or delta is.

use umiak_delta::foreign::balena;
use umiak_registry::Source;
use umiak_spec::delta::{ARTIFACT_TYPE, DeltaError, Offer, Part};
use umiak_spec::{DeltaManifest, Descriptor, Digest, ImageReference};

use super::Work;
use super::foreign_images::{Foreign, OCI_DELTA};
use super::opened::Resolved;
use crate::error::BuildError;

/// A delta between images, and where its blobs are.
pub(super) enum Found {
    /// One of ours.
    Ours {
        /// Where its blobs are.
        source: Box<dyn Source>,
        /// What it says.
        manifest: Box<DeltaManifest>,
    },
    /// Of another program.
    Foreign(Foreign),
}

impl Work<'_> {
    /// The delta that `reference` names; of an image's deltas the smallest that starts from `base`, or else one that starts
    /// from something like it. With `anywhere` the base may be unlike all of them.
    pub(super) fn find(
        &self,
        reference: &ImageReference,
        base: Option<&Resolved>,
        anywhere: bool,
    ) -> Result<Found, BuildError> {
        let source = umiak_registry::open_watched(reference, self.sources, self.observer)?;
        // Images of archives of `docker save` and of daemons have no document on top; balena's deltas may be among
        // them.
        let text = match source.top(self.observer) {
            Ok((_, text)) => Some(text),
            Err(umiak_registry::Error::Unsupported(_)) => None,
            Err(error) => return Err(error.into()),
        };
        match text.as_deref().map(|text| DeltaManifest::parse(text, &self.limits)) {
            Some(Ok(manifest)) => return Ok(Found::Ours { source, manifest: Box::new(manifest) }),
            Some(Err(DeltaError::Other(kind))) if kind == OCI_DELTA => {
                let artifact = serde_json::from_slice(text.as_deref().unwrap_or_default())
                    .map_err(|error| BuildError::Artifact { source: DeltaError::Document(error.into()) })?;
                return Ok(Found::Foreign(Foreign::OciDelta { source, artifact }));
            }
            Some(Err(DeltaError::Other(_))) | None => {}
            Some(Err(error)) => return Err(BuildError::Artifact { source: error }),
        }
        let image = source.resolve_watched(self.platforms, self.observer)?;
        let balena = balena::recognise(image.config.text.as_bytes(), &self.limits);
        if let Some(delta) = balena.map_err(|error| BuildError::Balena(Box::new(error)))? {
            return Ok(Found::Foreign(Foreign::Balena { source, image: Box::new(image), delta: Box::new(delta) }));
        }
        let offers = match &image.manifest {
            Some(manifest) => self.offers(source.as_ref(), &manifest.digest)?,
            None => Vec::new(),
        };
        let descriptor = choose(&offers, &image.reference, base, anywhere)?;
        let text = source.document(descriptor, self.observer)?;
        let manifest = DeltaManifest::parse(&text, &self.limits).map_err(|source| BuildError::Artifact { source })?;
        Ok(Found::Ours { source, manifest: Box::new(manifest) })
    }

    /// The deltas to the manifest `target`. Those of later versions are passed over.
    pub(super) fn offers(&self, source: &dyn Source, target: &Digest) -> Result<Vec<(Descriptor, Offer)>, BuildError> {
        let mut offers = Vec::new();
        for referrer in source.referrers(target, Some(ARTIFACT_TYPE), self.observer)? {
            let offer = match Offer::read(&referrer.annotations, &self.limits) {
                Ok(offer) => Some(offer),
                // Some registries list referrers without their annotations.
                Err(DeltaError::Version(version)) if version.is_empty() => {
                    let text = source.document(&referrer.descriptor, self.observer)?;
                    DeltaManifest::parse(&text, &self.limits).ok().map(|manifest| offer(&manifest))
                }
                Err(_) => None,
            };
            offers.extend(offer.filter(|offer| offer.target == *target).map(|offer| (referrer.descriptor, offer)));
        }
        Ok(offers)
    }
}

/// The one of these deltas to `target` that starts from `base`; without a base the only one.
fn choose<'o>(
    offers: &'o [(Descriptor, Offer)],
    target: &str,
    base: Option<&Resolved>,
    anywhere: bool,
) -> Result<&'o Descriptor, BuildError> {
    let held = base.and_then(Resolved::diff_ids);
    let suits = |offer: &Offer| match &held {
        Some(held) => offer.base_diff_ids.iter().all(|diff_id| held.contains(diff_id)),
        // Of a base without config, what its layers are shows when they are read.
        None => true,
    };
    let mut suitable: Vec<&(Descriptor, Offer)> = offers.iter().filter(|(_, offer)| suits(offer)).collect();
    suitable.sort_by_key(|(descriptor, offer)| (offer.size, descriptor.digest));
    if suitable.is_empty() {
        suitable.extend(held.as_ref().and_then(|held| nearest(offers, held, anywhere)));
    }
    match suitable.as_slice() {
        [(only, _)] => Ok(only),
        [(smallest, _), ..] if base.is_some() => Ok(smallest),
        _ => Err(BuildError::NoDelta {
            base: base.map(|base| base.image.reference.clone()),
            target: target.to_owned(),
            known: offers.iter().filter_map(|(_, offer)| offer.base.or(offer.base_config)).collect(),
        }),
    }
}

/// The delta whose base lacks the fewest of its layers among `held`, if it has one there, or need not.
fn nearest<'o>(offers: &'o [(Descriptor, Offer)], held: &[Digest], anywhere: bool) -> Option<&'o (Descriptor, Offer)> {
    let lacking = |offer: &Offer| offer.base_diff_ids.iter().filter(|diff_id| !held.contains(diff_id)).count();
    let like = |offer: &Offer| anywhere || lacking(offer) < offer.base_diff_ids.len();
    let offers = offers.iter().filter(|(_, offer)| like(offer));
    offers.min_by_key(|(descriptor, offer)| (lacking(offer), offer.size, descriptor.digest))
}

/// What a list of referrers would say of it.
fn offer(manifest: &DeltaManifest) -> Offer {
    Offer {
        target: manifest.subject.digest,
        base: manifest.base,
        base_config: manifest.base_config,
        base_diff_ids: manifest.base_diff_ids.clone(),
        size: manifest.size(),
        full_size: manifest.full_size,
        expanded_size: manifest.expanded_size,
        device: manifest.device.clone(),
    }
}

/// Fails when layers are missing among `held` that the delta starts from or takes over, and names them.
pub(super) fn check_base(delta: &DeltaManifest, held: &[Digest], base: &str) -> Result<(), BuildError> {
    let patched = delta.parts.iter().any(Part::is_delta);
    let sources = delta.base_diff_ids.iter().filter(|_| patched);
    // A reused document stands there with its digest.
    let reused = delta.reused.iter().filter(|reused| delta.base_diff_ids.contains(&reused.diff_id));
    let mut missing: Vec<Digest> = sources.chain(reused.map(|reused| &reused.diff_id)).copied().collect();
    missing.retain(|diff_id| !held.contains(diff_id));
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() { Ok(()) } else { Err(BuildError::NotTheBase { base: base.to_owned(), missing }) }
}
