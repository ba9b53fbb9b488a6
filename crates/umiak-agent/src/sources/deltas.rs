//! Layers by deltas: the part that makes a layer is fetched, applied to what is in the store, and goes.
//!
//! Guarantee: a part that cannot be fetched or applied costs its layer the delta and nothing else; the reason is a note.

use std::collections::BTreeMap;

use umiak_plan::Way;
use umiak_spec::delta::Part;
use umiak_spec::{Digest, ImageReference, Observer};
use umiak_store::{Keep, LayerDelta, Store, StoreError};

use super::Sources;
use super::arrive::{MissingLayer, falls_back, forget};
use crate::error::SupplyError;
use crate::fetch::{Fetch, FetchError};
use crate::target::{Content, FoundDelta, ResolveError};

impl Sources {
    /// Makes those of the missing layers for which the plan chose a delta. What is still missing afterwards comes whole.
    pub(super) fn by_deltas(
        &self,
        store: &Store,
        contents: &[Content],
        missing: &[MissingLayer],
        ways: &BTreeMap<Digest, Way>,
        fetch: &Fetch<'_>,
        observer: &dyn Observer,
    ) -> Result<(), SupplyError> {
        let chosen = |layer: &MissingLayer| match ways.get(&layer.diff_id) {
            Some(Way::Delta { delta, .. }) => Some(*delta),
            _ => None,
        };
        if !missing.iter().any(|layer| chosen(layer).is_some()) {
            return Ok(());
        }
        let layers = store.layer_list().map_err(ResolveError::from)?.into_iter().collect();
        let reader = self.reader(store, true, observer);
        let mut known: BTreeMap<Digest, FoundDelta> = BTreeMap::new();
        for content in contents {
            known.extend(reader.deltas(content, &layers)?.into_iter().map(|delta| (delta.digest, delta)));
        }
        for layer in missing {
            let Some(delta) = chosen(layer).and_then(|delta| known.get(&delta)) else { continue };
            let Some(part) = delta.manifest.layer(&layer.diff_id) else { continue };
            if let Err(error) = self.part(store, &delta.place, part, fetch, observer) {
                if !falls_back(&error) {
                    return Err(error.into());
                }
                observer.note(&format!("{} comes whole: its delta cannot be fetched: {error}", layer.diff_id.short()));
                continue;
            }
            let applied = self.apply(store, part, &layer.keep, observer);
            forget(store, &part.blob.digest);
            match applied {
                Ok(()) => {}
                Err(error) if error.is_full() || error.is_read_only() || matches!(error, StoreError::Cancelled(_)) => {
                    return Err(ResolveError::from(error).into());
                }
                Err(error) => {
                    let layer = layer.diff_id.short();
                    observer.note(&format!("{layer} comes whole: its delta cannot be applied: {error}"));
                }
            }
        }
        Ok(())
    }

    /// Makes a layer of a part, which is in the store, and of what its delta starts from.
    fn apply(&self, store: &Store, part: &Part, keep: &Keep, observer: &dyn Observer) -> Result<(), StoreError> {
        let blob = store.blob(&part.blob.digest)?.ok_or(StoreError::NoLayer(part.to))?;
        let delta = LayerDelta { blob: &blob, names: None };
        store.apply_delta(&part.to, delta, keep, &self.layers, observer).map(drop)
    }

    fn part(
        &self,
        store: &Store,
        place: &ImageReference,
        part: &Part,
        fetch: &Fetch<'_>,
        observer: &dyn Observer,
    ) -> Result<(), FetchError> {
        if store.has_blob(&part.blob.digest) {
            return Ok(());
        }
        let failed = |error: umiak_registry::Error| FetchError {
            blob: part.blob.digest,
            size: part.blob.size,
            kept: 0,
            cause: error.into(),
        };
        let source = umiak_registry::open_watched(place, &self.context, observer).map_err(failed)?;
        fetch.one(&crate::fetch::Wanted::new(part.blob.clone()), source.as_ref())
    }
}
