//! Everything that a target needs comes into the store: blobs, objects, layers.
//!
//! ```text
//! blobs and objects that are missing -> for each layer that is missing: its delta, if the plan chose one; else its blob
//! ```
//!
//! Blobs of layers come while layers before them are made. Guarantees: a layer whose delta cannot be fetched or applied
//! comes whole, and the reason is said; a layer's blob goes when the layer is there; what is there is not fetched.

use std::collections::{BTreeMap, BTreeSet};

use umiak_plan::{Form, Way};
use umiak_registry::{Source, in_parallel};
use umiak_spec::target::{Origin, Target};
use umiak_spec::{Descriptor, Digest, ImageReference, Observer};
use umiak_store::{Keep, Object, Prunable, PrunePlan, Store};

use super::Sources;
use crate::error::SupplyError;
use crate::fetch::{Cause, Fetch, FetchError, StoredBlob, Wanted};
use crate::package;
use crate::supply::Planned;
use crate::target::{Content, Made, Reader, ResolveError};

/// A layer that is not in the store.
#[derive(Debug, Clone)]
pub(super) struct MissingLayer {
    pub diff_id: Digest,
    /// Its blob.
    pub blob: Descriptor,
    /// Where the blob may be, best first.
    pub places: Vec<ImageReference>,
    /// How it is to be kept.
    pub keep: Keep,
}

impl Sources {
    pub(super) fn arrive(
        &self,
        store: &Store,
        target: &Target,
        planned: &Planned,
        observer: &dyn Observer,
    ) -> Result<(), SupplyError> {
        let fetch = Fetch::new(store, self.fetch, observer);
        let reader = self.reader(store, true, observer);
        let contents = target.apps.iter().map(|app| reader.read(app)).collect::<Result<Vec<_>, _>>()?;
        for content in &contents {
            self.objects(&reader, content, observer)?;
        }
        let (forms, ways) = chosen(planned);
        let missing = missing_layers(store, &contents, &forms);
        self.by_deltas(store, &contents, &missing, &ways, &fetch, observer)?;
        self.whole_layers(store, &missing, &fetch, observer)
    }

    /// The objects of a pvr state, in one pass through its package, and what is made of them.
    fn objects(&self, reader: &Reader<'_>, content: &Content, observer: &dyn Observer) -> Result<(), SupplyError> {
        let (Origin::Package(path), Made::Pvr(pvr)) = (&content.app.origin, &content.made) else { return Ok(()) };
        let store = reader.store;
        for (cover, _) in pvr.covers().filter(|(cover, _)| !store.has_blob(cover)) {
            reader.make_cover(pvr, &cover)?;
        }
        let missing: BTreeSet<Digest> =
            content.closure().blobs.into_iter().filter(|digest| !store.has_blob(digest)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        package::fetch(store, path, &|digest| missing.contains(digest), &self.limits, observer)?;
        match missing.iter().find(|digest| !store.has_blob(digest)) {
            None => Ok(()),
            Some(digest) => Err(ResolveError::Missing {
                what: format!("the object {} of {}", digest.short(), content.app.name),
                why: "its package has it not".to_owned(),
            }
            .into()),
        }
    }

    /// Layers that come whole: their blobs several at a time, each made into a layer as soon as it is there.
    pub(super) fn whole_layers(
        &self,
        store: &Store,
        missing: &[MissingLayer],
        fetch: &Fetch<'_>,
        observer: &dyn Observer,
    ) -> Result<(), SupplyError> {
        let open: Vec<&MissingLayer> =
            missing.iter().filter(|layer| !matches!(store.layer_record(&layer.diff_id), Ok(Some(_)))).collect();
        let made = std::sync::Mutex::new(());
        let result = in_parallel(&open, self.fetch.parallel.get(), |_, layer| {
            self.blob(&layer.blob, &layer.places, fetch, observer)?;
            // One at a time: making a layer takes the memory of one and all the processor's cores.
            let _one = made.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            self.make(store, layer, observer)
        });
        result.map(drop).map_err(SupplyError::from)
    }

    /// A blob from the first place that has it.
    pub(super) fn blob(
        &self,
        blob: &Descriptor,
        places: &[ImageReference],
        fetch: &Fetch<'_>,
        observer: &dyn Observer,
    ) -> Result<(), ResolveError> {
        let mut last = None;
        for place in places {
            let opened = umiak_registry::open_watched(place, &self.context, observer);
            let source: Box<dyn Source> = match opened {
                Ok(source) => source,
                Err(error) => {
                    last = Some(ResolveError::source(place.to_string())(error));
                    continue;
                }
            };
            match fetch.one(&Wanted::new(blob.clone()), source.as_ref()) {
                Ok(()) => return Ok(()),
                // Another place may have it; a full disk or a stop is the same everywhere.
                Err(error)
                    if matches!(error.cause, Cause::Source(_) | Cause::Wrong { .. } | Cause::Pieces { .. })
                        && !error.is_cancelled() =>
                {
                    last = Some(error.into());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(last.unwrap_or_else(|| ResolveError::Missing {
            what: blob.digest.to_string(),
            why: "no place is known that has it".to_owned(),
        }))
    }

    /// Makes a layer of its blob, which goes then.
    fn make(&self, store: &Store, layer: &MissingLayer, observer: &dyn Observer) -> Result<(), ResolveError> {
        let source = StoredBlob::new(store, layer.blob.digest, self.limits);
        match store.ingest_layer(&layer.diff_id, &source, &layer.keep, &self.layers, observer) {
            Ok(_) => {}
            Err(error @ umiak_store::StoreError::WrongDigest { .. }) => {
                // The blob is what its digest says and not the layer that the config names: of no use to anybody.
                forget(store, &layer.blob.digest);
                return Err(error.into());
            }
            Err(error) => return Err(error.into()),
        }
        forget(store, &layer.blob.digest);
        Ok(())
    }
}

/// Removes a layer's blob. Where somebody reads just now it stays, and goes with the next pruning.
pub(super) fn forget(store: &Store, blob: &Digest) {
    let objects = vec![Prunable { object: Object::Blob(*blob), bytes: 0 }];
    let _ = store.prune(&PrunePlan { refs: Vec::new(), objects });
}

/// How the plan keeps each layer, and where from.
fn chosen(planned: &Planned) -> (BTreeMap<Digest, Form>, BTreeMap<Digest, Way>) {
    let forms = planned.answer.choices.iter().map(|choice| (choice.layer, choice.form.clone())).collect();
    let ways = planned.answer.choices.iter().map(|choice| (choice.layer, choice.way)).collect();
    (forms, ways)
}

/// The layers of these apps that are not in the store, each once, the lowest of each image first.
pub(super) fn missing_layers(store: &Store, contents: &[Content], forms: &BTreeMap<Digest, Form>) -> Vec<MissingLayer> {
    let mut seen = BTreeSet::new();
    let mut missing = Vec::new();
    for image in contents.iter().flat_map(Content::images) {
        for layer in &image.image.layers {
            let diff_id = layer.diff_id.unwrap_or(layer.digest);
            if !seen.insert(diff_id) || matches!(store.layer_record(&diff_id), Ok(Some(_))) {
                continue;
            }
            let keep = match forms.get(&diff_id) {
                Some(Form::Patch { base, below }) => Keep::Patch { base: *base, below: below.clone() },
                _ => Keep::Whole,
            };
            missing.push(MissingLayer {
                diff_id,
                blob: Descriptor::new(layer.media_type.clone(), layer.digest, layer.size),
                places: image.places.clone(),
                keep,
            });
        }
    }
    missing
}

/// A failure of one delta that the whole layer makes good: everything but a stop and a full disk.
pub(super) fn falls_back(error: &FetchError) -> bool {
    let full = matches!(&error.cause, Cause::Store(error) if error.is_full() || error.is_read_only());
    !error.is_cancelled() && !full && !matches!(error.cause, Cause::Budget { .. })
}
