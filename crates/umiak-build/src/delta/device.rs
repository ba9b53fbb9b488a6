//! What the layers of a target take on a device: they are made as the device makes them, in a store that is gone afterwards, and
//! measured.
//!
//! Guarantees: every layer is made out of the store by its delta, and compared with its diff ID, as it will be where it is
//! wanted; the sizes do not depend on this machine. A layer that devices cannot keep has no sizes, and is no failure.

use std::fs;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::sync::Arc;

use umiak_spec::delta::{OnDevice, PatchFiles, StoredFiles};
use umiak_spec::{DeltaManifest, Digest, ReadAt};
use umiak_store::{
    Keep, LayerDelta, LayerOptions, LayerRecord, LayerSource, RealDisk, Store, StoreError, StoreOptions,
};

use super::Work;
use super::images::Draft;
use super::opened::Opened;
use super::parts::{Bytes, InOrder};
use super::place::ScratchStore;
use crate::error::{BuildError, IoContext as _};

/// Compressing threads, at most: each holds some blocks.
const MOST_THREADS: usize = 4;

impl Work<'_> {
    /// Says in the draft what its layers take. `target` are the diff IDs of all its layers, bottom first.
    pub(super) fn measure_on_device(
        &self,
        base: &Opened,
        opened: &Opened,
        target: &[Digest],
        draft: &mut Draft,
    ) -> Result<(), BuildError> {
        let place = ScratchStore::new(self.scratch)?;
        let store = Store::open(place.path(), Arc::new(RealDisk), &StoreOptions::UPDATE);
        let threads = self.options.threads.get().min(MOST_THREADS);
        let threads = NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN);
        let options = LayerOptions { limits: self.limits, threads };
        let measured = store
            .and_then(|store| Measuring { work: self, store: &store, options, base, opened, target, draft }.layers());
        match measured {
            Ok(device) => draft.manifest.device = device,
            // No device can keep such a layer; whoever has Docker alone can use the delta all the same.
            Err(StoreError::Layer { .. } | StoreError::Stack { .. }) => {}
            Err(StoreError::Cancelled(cancelled)) => return Err(cancelled.into()),
            Err(error) => return Err(io::Error::other(error)).at("measure layers in", self.scratch),
        }
        Ok(())
    }
}

struct Measuring<'a> {
    work: &'a Work<'a>,
    store: &'a Store,
    options: LayerOptions,
    base: &'a Opened,
    opened: &'a Opened,
    target: &'a [Digest],
    draft: &'a Draft,
}

impl Measuring<'_> {
    fn layers(&self) -> Result<Vec<OnDevice>, StoreError> {
        for layer in &self.base.layers {
            self.ingest(&layer.parts().digest, &layer.bytes, &Keep::Whole)?;
        }
        let mut device: Vec<OnDevice> = Vec::new();
        for (number, diff_id) in self.target.iter().enumerate() {
            let is_carried = self.draft.manifest.layer(diff_id).is_some();
            if is_carried && device.iter().all(|known| known.layer != *diff_id) {
                device.push(self.layer(diff_id, number)?);
            }
        }
        Ok(device)
    }

    /// Makes the layer as a patch, if it can be one, then whole.
    fn layer(&self, diff_id: &Digest, number: usize) -> Result<OnDevice, StoreError> {
        let observer = self.work.observer;
        let below = self.target[..number].to_vec();
        let keep =
            replaced(&self.draft.manifest, self.target, number).map_or(Keep::Whole, |base| Keep::Patch { base, below });
        let (record, spool) = match self.delta(diff_id) {
            Some(blob) => {
                let delta = LayerDelta { blob, names: None };
                let made = self.store.apply_delta(diff_id, delta, &keep, &self.options, observer)?;
                (made.layer.record, Some(made.spooled))
            }
            None => {
                let layer = self.opened.layers.iter().find(|layer| layer.parts().digest == *diff_id);
                let layer = layer.ok_or(StoreError::NoLayer(*diff_id))?;
                (self.ingest(diff_id, &layer.bytes, &keep)?, None)
            }
        };
        let patch = record.base.map(|base| PatchFiles { base, files: self.files(&record) });
        let whole = self.store.convert_layer(diff_id, &Keep::Whole, &self.options, observer)?.record;
        Ok(OnDevice { layer: *diff_id, spool, whole: Some(self.files(&whole)), patch })
    }

    /// The delta that makes a layer; nothing for one that is carried as it is.
    fn delta(&self, diff_id: &Digest) -> Option<&dyn ReadAt> {
        let parts = self.draft.manifest.parts.iter().zip(&self.draft.contents);
        let mut deltas = parts.filter(|(part, _)| part.is_delta() && part.to == *diff_id);
        deltas.next().map(|(_, blob)| blob.as_ref())
    }

    fn ingest(&self, diff_id: &Digest, bytes: &Bytes, keep: &Keep) -> Result<LayerRecord, StoreError> {
        let source = Uncompressed(bytes);
        Ok(self.store.ingest_layer(diff_id, &source, keep, &self.options, self.work.observer)?.record)
    }

    fn files(&self, record: &LayerRecord) -> StoredFiles {
        let place = self.store.path().join("layers").join(record.diff_id.hex()).join("record");
        let length = fs::metadata(place).map_or(0, |record| record.len());
        StoredFiles { image: record.image.bytes, skeleton: record.skeleton.bytes, record: length }
    }
}

/// The layer of the base that the target's layer `number` takes the place of: one that the target has not, at the same place
/// from the bottom, or else from the top.
fn replaced(delta: &DeltaManifest, target: &[Digest], number: usize) -> Option<Digest> {
    let base = &delta.base_diff_ids;
    let from_top = (base.len() + number).checked_sub(target.len());
    let places = [Some(number), from_top];
    let candidates = places.into_iter().flatten().filter_map(|place| base.get(place));
    candidates.copied().find(|diff_id| !target.contains(diff_id))
}

struct Uncompressed<'a>(&'a Bytes);

impl LayerSource for Uncompressed<'_> {
    fn open(&self) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(InOrder::new(self.0)))
    }
}

#[cfg(test)]
mod tests {
    use umiak_spec::{Descriptor, media_type};

    use super::*;

    fn id(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    #[test]
    fn a_layer_replaces_the_one_at_its_place() {
        let delta = |base: &[&str]| DeltaManifest {
            subject: Descriptor::new(media_type::OCI_MANIFEST, id("target"), 1),
            base: None,
            base_config: None,
            base_diff_ids: base.iter().map(|name| id(name)).collect(),
            reused: Vec::new(),
            parts: Vec::new(),
            full_size: 0,
            expanded_size: 0,
            device: Vec::new(),
        };
        let target: Vec<Digest> = ["a", "b2", "c2"].map(id).into();
        let replaced = |base: &[&str], number| replaced(&delta(base), &target, number);
        assert_eq!(replaced(&["a", "b1", "c1"], 1), Some(id("b1")));
        assert_eq!(replaced(&["a", "b1", "c1"], 2), Some(id("c1")));
        // One layer more than before: the upper one is found from the top.
        assert_eq!(replaced(&["a", "c1"], 2), Some(id("c1")));
        assert_eq!(replaced(&["a"], 1), None);
        assert_eq!(replaced(&[], 0), None);
    }
}
