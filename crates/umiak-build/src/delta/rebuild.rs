//! From a base image and a delta artifact to the target image.
//!
//! The target's manifest is what is trusted: its digest is the artifact's subject, its config's digest is the image
//! ID, the config's diff IDs are what rebuilt layers must hash to. All of that is compared before anything is stored.

use std::sync::Arc;

use umiak_delta::container::Container;
use umiak_delta::{Delta, DeltaError};
use umiak_registry::Source;
use umiak_spec::delta::{Content, Part};
use umiak_spec::{DeltaManifest, Descriptor, Digest, ImageConfig, ImageReference, Manifest};

use super::assembled::{Assembled, Layer, ManifestText};
use super::found::{Found, check_base};
use super::images::{parse, small};
use super::names::{Also, Held, Seen};
use super::opened::{Opened, OpenedLayer, Resolved, expand};
use super::parts::{self, Bytes};
use super::place::Nameless;
use super::{Rebuilt, Work, check_place, files};
use crate::error::{BuildError, IoContext as _};

/// Layers that are rebuilt at a time: each may take as much memory as a whole tar does.
const PARALLEL: usize = 2;

impl Work<'_> {
    /// Makes the target image of a delta from the image `base`, at `out`. `delta` is an artifact, or an image that has
    /// deltas: the smallest one that starts from `base` is taken. Where `base` has not all layers that the delta starts from,
    /// their files may be anywhere in `base` and `also`.
    ///
    /// # Errors
    /// [`BuildError`]; nothing is stored until every layer was verified.
    pub fn apply_images(
        &self,
        base: &ImageReference,
        delta: &ImageReference,
        out: &ImageReference,
        also: &[Also],
    ) -> Result<Rebuilt, BuildError> {
        check_place(out)?;
        self.rebuild_image(base, delta, also)?.store(self, out)
    }

    /// The same without storing it: every layer was verified, and lies in a file without a name.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn rebuild_image(
        &self,
        base: &ImageReference,
        delta: &ImageReference,
        also: &[Also],
    ) -> Result<Assembled, BuildError> {
        let base = self.resolve(base)?;
        match self.find(delta, Some(&base), !also.is_empty())? {
            Found::Ours { source, manifest } => self.rebuild(source.as_ref(), &manifest, base, also),
            Found::Foreign(foreign) => self.rebuild_foreign(foreign, base),
        }
    }

    /// The configs (image IDs) of what there are deltas from to the image `target`, the smallest delta first.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn offered_bases(&self, target: &ImageReference) -> Result<Vec<Digest>, BuildError> {
        let Resolved { source, image } = self.resolve(target)?;
        let Some(manifest) = image.manifest else { return Ok(Vec::new()) };
        let mut offers = self.offers(source.as_ref(), &manifest.digest)?;
        offers.sort_by_key(|(descriptor, offer)| (offer.size, descriptor.digest));
        Ok(offers.into_iter().filter_map(|(_, offer)| offer.base_config).collect())
    }

    fn rebuild(
        &self,
        source: &dyn Source,
        delta: &DeltaManifest,
        base: Resolved,
        also: &[Also],
    ) -> Result<Assembled, BuildError> {
        let held = base.diff_ids();
        let lacking = match &held {
            Some(held) => check_base(delta, held, &base.image.reference).err(),
            None => None,
        };
        if let Some(lacking) = lacking {
            return self.rebuild_named(source, delta, base, also, lacking);
        }
        let base = self.fetch(base, |diff_id| delta.base_diff_ids.contains(diff_id) || delta.reuses(diff_id))?;
        check_base(delta, &base.diff_ids(), &base.image.reference)?;
        let bases: Vec<&dyn Container> = base.in_order(&delta.base_diff_ids).map(OpenedLayer::container).collect();
        let held: Vec<&OpenedLayer> = base.layers.iter().collect();
        Rebuilding { work: self, source, delta, base: &base, held: &held, bases: &bases }.image()
    }

    /// Where layers of the base are lacking: from its files, wherever they are.
    fn rebuild_named(
        &self,
        source: &dyn Source,
        delta: &DeltaManifest,
        base: Resolved,
        also: &[Also],
        lacking: BuildError,
    ) -> Result<Assembled, BuildError> {
        let seen = self.look(also)?;
        let mut diff_ids = base.diff_ids().unwrap_or_default();
        diff_ids.extend(seen.iter().flat_map(Seen::diff_ids));
        // A layer that is taken over whole has no names.
        let mut reused = delta.layers_reused().copied();
        if reused.any(|reused| !diff_ids.contains(&reused)) {
            return Err(lacking);
        }
        let Some(named) = self.named(source, delta)? else { return Err(lacking) };
        let (base, also) = (self.fetch(base, |_| true)?, self.hold(seen)?);
        let images = also.iter().filter_map(Held::image);
        let held: Vec<&OpenedLayer> = std::iter::once(&base).chain(images).flat_map(|image| &image.layers).collect();
        let gathered = named.gather(&base, &also)?;
        let bases: Vec<&dyn Container> = gathered.iter().map(|base| base as &dyn Container).collect();
        Rebuilding { work: self, source, delta, base: &base, held: &held, bases: &bases }.image()
    }

    /// The layers of a target, one after the other or two at a time.
    pub(super) fn layers(
        &self,
        manifest: &Manifest,
        diff_ids: &[Digest],
        layer: impl Fn(&Descriptor, Digest) -> Result<Layer, BuildError> + Sync,
    ) -> Result<Vec<Layer>, BuildError> {
        if diff_ids.len() != manifest.layers.len() {
            return Err(BuildError::Refused(
                "the target's manifest and config have different numbers of layers".into(),
            ));
        }
        let pairs: Vec<(&Descriptor, Digest)> = manifest.layers.iter().zip(diff_ids.iter().copied()).collect();
        let threads = self.options.threads.get().min(PARALLEL);
        umiak_registry::in_parallel(&pairs, threads, |_, (named, diff_id)| layer(named, *diff_id))
    }

    /// A layer that a delta carries as it is.
    pub(super) fn carried(&self, source: &dyn Source, blob: &Descriptor, diff_id: Digest) -> Result<Layer, BuildError> {
        let bytes = source.blob(blob, self.observer)?;
        let plain: Bytes = Arc::new(expand(&bytes, blob.digest, self.scratch, &self.limits, self.observer)?);
        let found = parts::digest(&plain, self.observer).at("read a layer in", self.scratch)?;
        if found != diff_id {
            return Err(BuildError::WrongLayer { layer: blob.digest, expected: diff_id, found });
        }
        let expanded = plain.len().at("look at a layer in", self.scratch)?;
        Ok(Layer { media_type: blob.media_type.clone(), digest: blob.digest, bytes: Arc::new(bytes), expanded })
    }

    /// A document that a delta carries.
    pub(super) fn carried_document(&self, source: &dyn Source, blob: &Descriptor) -> Result<Vec<u8>, BuildError> {
        let bytes = source.blob(blob, self.observer)?;
        let text = small(&bytes, &self.limits).at("read a document in", self.scratch)?;
        verified(&text, blob.digest)?;
        Ok(text)
    }

    /// A target's manifest and config as values.
    pub(super) fn target(
        &self,
        (manifest, subject): (&[u8], &Descriptor),
        config: impl FnOnce(&Manifest) -> Result<Vec<u8>, BuildError>,
    ) -> Result<(Manifest, Vec<u8>, ImageConfig), BuildError> {
        verified(manifest, subject.digest)?;
        let manifest = parse(manifest, &subject.media_type, &self.limits)
            .ok_or_else(|| BuildError::Refused(format!("{} is no image manifest", subject.digest)))?;
        let text = config(&manifest)?;
        verified(&text, manifest.config.digest)?;
        let config = ImageConfig::parse(&text, &self.limits)
            .map_err(|_| BuildError::Refused(format!("{} is no image config", manifest.config.digest)))?;
        Ok((manifest, text, config))
    }
}

/// Where the parts of a rebuilt image come from.
struct Rebuilding<'a> {
    work: &'a Work<'a>,
    source: &'a dyn Source,
    delta: &'a DeltaManifest,
    base: &'a Opened,
    /// Layers at hand.
    held: &'a [&'a OpenedLayer],
    /// In the order of `base_diff_ids`; empty when no part is a delta.
    bases: &'a [&'a dyn Container],
}

impl Rebuilding<'_> {
    fn image(&self) -> Result<Assembled, BuildError> {
        let (work, subject) = (self.work, &self.delta.subject);
        let text = match self.delta.part(Content::Manifest) {
            Some(part) => work.carried_document(self.source, &part.blob)?,
            // A base that a daemon has is without manifest; where the delta is, the target may be, too.
            None => match self.base.source.document(subject, work.observer) {
                Err(umiak_registry::Error::Unsupported(_)) => self.source.document(subject, work.observer)?,
                document => document?,
            },
        };
        let (manifest, config, parsed) = work.target((&text, subject), |_| match self.delta.part(Content::Config) {
            Some(part) => work.carried_document(self.source, &part.blob),
            None => Ok(self.base.image.config.text.as_bytes().to_vec()),
        })?;
        let layers = work.layers(&manifest, &parsed.diff_ids, |named, diff_id| self.layer(named, diff_id))?;
        let names = manifest.layers.iter().map(|layer| layer.digest).collect();
        let manifest = ManifestText { bytes: text, media_type: subject.media_type.clone(), layers: names };
        Ok(Assembled { manifest: Some(manifest), config, layers })
    }

    /// One layer of the target: the base's, the delta's own, or a rebuilt one; its diff ID is verified.
    fn layer(&self, named: &Descriptor, diff_id: Digest) -> Result<Layer, BuildError> {
        let work = self.work;
        if let Some(layer) = find(self.held, &diff_id) {
            return Ok(Layer::of_base(layer, Some(named)));
        }
        let Some(part) = self.delta.layer(&diff_id) else {
            return Err(BuildError::NotTheBase { base: self.base.image.reference.clone(), missing: vec![diff_id] });
        };
        if !part.is_delta() {
            return work.carried(self.source, &part.blob, diff_id);
        }
        let (delta, size) = self.delta_blob(part, diff_id)?;
        let scratch = Nameless::new(work.scratch);
        let space = scratch.file().at("create a scratch file in", work.scratch)?;
        files::rebuild(&delta, self.bases, &space, &scratch, work.observer)?;
        Ok(Layer::plain(diff_id, Arc::new(space), size))
    }

    /// The delta in a part, its digest compared, and the size of what it makes.
    fn delta_blob(&self, part: &Part, diff_id: Digest) -> Result<(Delta<Bytes>, u64), BuildError> {
        let work = self.work;
        let bytes: Bytes = Arc::new(self.source.blob(&part.blob, work.observer)?);
        let actual = parts::digest(&bytes, work.observer).at("read a delta in", work.scratch)?;
        if actual != part.blob.digest {
            let what = format!("the blob for layer {diff_id}");
            return Err(BuildError::from(DeltaError::Damaged { what, expected: part.blob.digest, actual }));
        }
        let delta = Delta::open(bytes).map_err(BuildError::from)?;
        let target = delta.index().target;
        if target.digest != diff_id {
            return Err(BuildError::from(DeltaError::Target { expected: diff_id, actual: target.digest }));
        }
        files::check_size(&delta, self.delta.expanded_size.min(work.limits.expanded))?;
        Ok((delta, target.size))
    }
}

fn find<'h>(held: &[&'h OpenedLayer], diff_id: &Digest) -> Option<&'h OpenedLayer> {
    held.iter().find(|layer| layer.parts().digest == *diff_id).copied()
}

fn verified(text: &[u8], expected: Digest) -> Result<(), BuildError> {
    let actual = Digest::of(text);
    if actual == expected {
        return Ok(());
    }
    Err(BuildError::from(DeltaError::Damaged { what: "a document".into(), expected, actual }))
}
