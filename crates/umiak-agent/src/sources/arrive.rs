//! Everything that a target needs comes into the store: the plan's steps, one after the other.
//!
//! ```text
//! fetch, fetch, …   several at a time, each verified as it lands
//! ingest, apply     one at a time: making a layer takes the memory of one and all of the processor's cores
//! make              an object of a package, of another one and the package's delta
//! whole             a patch that is wanted above other layers is written again
//! ```
//!
//! Nothing is chosen here. Guarantees: before a step as much space is held as it and those after it need, so that a disk
//! that somebody else fills is met before a step and not in it; a layer's blob goes when the layer is there; what is there
//! is not fetched; a part of a delta that cannot be fetched or applied is told, for the update to be planned without it.

use std::collections::{BTreeMap, BTreeSet};

use umiak_plan::{BlobKind, Form, Hold, Step, Task};
use umiak_registry::{ErrorKind, Source, in_parallel};
use umiak_spec::target::{Kind, Target, TargetApp};
use umiak_spec::{DeltaManifest, Descriptor, Digest, ImageReference, Observer, ReadAt, Size, delta};
use umiak_store::{Blob, Keep, LayerDelta, Object, Prunable, PrunePlan, Reservation, Room, Store, StoreError};

use super::Sources;
use crate::error::{Class, SupplyError};
use crate::fetch::{Cause, Fetch, StoredBlob, Wanted};
use crate::package;
use crate::parcel::Parcels;
use crate::supply::{Fetched, Planned};
use crate::target::{Content, Made, ResolveError, ServiceImage, by_program};

/// A layer's blob, and where it may be, best first.
#[derive(Debug, Clone)]
pub(super) struct LayerBlob {
    pub blob: Descriptor,
    pub places: Vec<ImageReference>,
}

/// The steps of one plan at work.
struct Work<'a> {
    sources: &'a Sources,
    store: &'a Store,
    contents: &'a [Content],
    /// By the digest of the blob.
    layers: BTreeMap<Digest, LayerBlob>,
    fetch: Fetch<'a>,
    observer: &'a dyn Observer,
}

impl Sources {
    pub(super) fn arrive(
        &self,
        store: &Store,
        target: &Target,
        planned: &Planned,
        space: &Reservation<'_>,
        observer: &dyn Observer,
    ) -> Result<Fetched, SupplyError> {
        let reader = self.reader(store, true, observer);
        // Documents that are gone since it was looked up are had again.
        let contents = target.apps.iter().map(|app| reader.read(app)).collect::<Result<Vec<_>, _>>()?;
        let layers = contents.iter().flat_map(layer_blobs).map(|(_, layer)| (layer.blob.digest, layer)).collect();
        let fetch = Fetch::new(store, self.fetch, observer);
        let work = Work { sources: self, store, contents: &contents, layers, fetch, observer };
        work.steps(&planned.answer.steps, &planned.answer.holds, space)
    }

    /// A blob from the first place that has it.
    pub(super) fn blob(
        &self,
        blob: &Descriptor,
        places: &[ImageReference],
        fetch: &Fetch<'_>,
        observer: &dyn Observer,
    ) -> Result<(), ResolveError> {
        let (mut told, mut not_in) = (None, None);
        for place in places {
            let error = match self.blob_at(blob, place, fetch, observer) {
                Ok(()) => return Ok(()),
                // Another place may have it; a full disk or a stop is the same everywhere.
                Err(error) if !error.is_of_place() => return Err(error),
                Err(error) => error,
            };
            let is_file = matches!(place, ImageReference::Layout { .. } | ImageReference::OciArchive { .. });
            if is_file && error.is_not_found() {
                not_in = Some(place.name());
            }
            // That one lied is said whatever the next has not.
            if told.as_ref().is_none_or(|told: &ResolveError| told.class() != Class::Corrupt) {
                told = Some(error);
            }
        }
        Err(match (told, not_in) {
            (Some(told), Some(file)) if !told.is_not_found() => {
                ResolveError::NotCarried { file, blob: Box::new(blob.clone()), source: Box::new(told) }
            }
            (Some(told), _) => told,
            (None, _) => {
                ResolveError::Missing { what: blob.digest.to_string(), why: "no place is known that has it".to_owned() }
            }
        })
    }

    fn blob_at(
        &self,
        blob: &Descriptor,
        place: &ImageReference,
        fetch: &Fetch<'_>,
        observer: &dyn Observer,
    ) -> Result<(), ResolveError> {
        let opened = umiak_registry::open_watched(place, &self.context, observer);
        let source: Box<dyn Source> = opened.map_err(ResolveError::source(place.to_string()))?;
        Ok(fetch.one(&Wanted::new(blob.clone()), source.as_ref())?)
    }

    /// The manifest of a delta that a plan chose, and where its blobs may be. The plan brought it into the store: nobody is
    /// asked which deltas there are.
    pub(super) fn planned_delta(
        &self,
        store: &Store,
        contents: &[Content],
        observer: &dyn Observer,
        delta: &Digest,
    ) -> Option<(DeltaManifest, Vec<ImageReference>)> {
        let bytes = store.document(delta, self.limits.document).ok()??;
        let manifest = DeltaManifest::parse(&bytes, &self.limits).ok()?;
        let reader = self.reader(store, true, observer);
        let mut places: Vec<ImageReference> = Vec::new();
        for content in contents {
            let to = |image: &&ServiceImage| {
                image.image.manifest.as_ref().is_some_and(|to| to.digest == manifest.subject.digest)
            };
            for place in content.images().iter().filter(to).flat_map(|image| reader.delta_places(content, image)) {
                if !places.contains(&place) {
                    places.push(place);
                }
            }
        }
        Some((manifest, places))
    }
}

impl Work<'_> {
    fn steps(&self, steps: &[Step], holds: &[Hold], space: &Reservation<'_>) -> Result<Fetched, SupplyError> {
        let mut at = 0;
        while let Some(step) = steps.get(at) {
            self.observer.check().map_err(ResolveError::from)?;
            let together = steps[at..].iter().take_while(|step| matches!(step.task, Task::Fetch { .. })).count();
            if !matches!(step.task, Task::Reclaim(_)) {
                hold(space, holds.get(at).copied().unwrap_or_default().before, &step.what)?;
            }
            let useless = match &step.task {
                Task::Fetch { .. } => self.fetch(&steps[at..at + together])?,
                Task::Ingest { layer, blob, form } => self.ingest(layer, blob, form).map(|()| BTreeSet::new())?,
                Task::Apply { delta, part, makes, .. } => self.apply(delta, part, makes)?,
                Task::Make { object, delta, size, spool, .. } => {
                    self.make(object, delta, Room { size: *size, spool: *spool })?
                }
                Task::Whole { layer } => self.whole(layer).map(|()| BTreeSet::new())?,
                // Each blob was compared as it landed; the rest is the executor's.
                Task::Verify
                | Task::Reclaim(_)
                | Task::Name
                | Task::Load { .. }
                | Task::Switch { .. }
                | Task::Prune(_) => BTreeSet::new(),
            };
            if !useless.is_empty() {
                return Ok(Fetched::Without(useless));
            }
            at += together.max(1);
        }
        self.programs()?;
        Ok(Fetched::All)
    }

    /// Whether the containers of pvr states begin with programs for this device, now that all of them is here.
    fn programs(&self) -> Result<(), ResolveError> {
        for content in self.contents {
            let Made::Pvr(pvr) = &content.made else { continue };
            for (container, program, images) in pvr.programs() {
                by_program(self.store, container, program, images, &self.sources.platform, &self.sources.limits)?;
            }
        }
        Ok(())
    }

    /// Several blobs at a time. Parts of deltas that are nowhere to be had are told.
    fn fetch(&self, steps: &[Step]) -> Result<BTreeSet<Digest>, SupplyError> {
        let tasks: Vec<&Task> = steps.iter().map(|step| &step.task).collect();
        let objects = tasks.iter().filter_map(|task| match task {
            Task::Fetch { kind: Some(BlobKind::Object), blob, size, .. } => Some((*blob, *size)),
            _ => None,
        });
        let objects: BTreeMap<Digest, u64> = objects.collect();
        for content in self.contents.iter().filter(|_| !objects.is_empty()) {
            self.objects(content, &objects)?;
        }
        let parallel = self.sources.fetch.parallel.get();
        let useless = in_parallel(&tasks, parallel, |_, task| {
            let Task::Fetch { kind, blob, delta, .. } = task else { return Ok(None) };
            match (kind, delta) {
                (Some(BlobKind::Layer), _) => self.layer(blob).map(|()| None),
                (None, Some(delta)) => self.part(blob, delta),
                // Documents came with the reading of their apps, objects out of their packages.
                _ => Ok(None),
            }
        });
        Ok(useless?.into_iter().flatten().collect())
    }

    fn layer(&self, blob: &Digest) -> Result<(), ResolveError> {
        let layer = self.layers.get(blob).ok_or_else(|| ResolveError::Missing {
            what: blob.to_string(),
            why: "no app of the target names it".to_owned(),
        })?;
        self.sources.blob(&layer.blob, &layer.places, &self.fetch, self.observer)
    }

    /// The part of a delta; it is said when it is of no use.
    fn part(&self, blob: &Digest, delta: &Digest) -> Result<Option<Digest>, ResolveError> {
        let found = self.sources.planned_delta(self.store, self.contents, self.observer, delta);
        let Some((manifest, places)) = found else { return Ok(Some(*blob)) };
        let Some(part) = manifest.parts.iter().find(|part| part.blob.digest == *blob) else { return Ok(Some(*blob)) };
        match self.sources.blob(&part.blob, &places, &self.fetch, self.observer) {
            Ok(()) => Ok(None),
            Err(error) if falls_back(&error) => {
                self.useless(delta, "be fetched", &error);
                Ok(Some(*blob))
            }
            Err(error) => Err(error),
        }
    }

    fn useless(&self, delta: &Digest, what: &str, why: &dyn std::error::Error) {
        let because = why.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        self.observer
            .note(&format!("planning without the delta {}, which cannot {what}: {why}{because}", delta.short()));
    }

    /// The objects of a pvr state, in one pass through each of its files, and what is made of them; none that is longer than
    /// the plan has counted.
    fn objects(&self, content: &Content, wanted: &BTreeMap<Digest, u64>) -> Result<(), SupplyError> {
        let Made::Pvr(pvr) = &content.made else { return Ok(()) };
        let store = self.store;
        let reader = self.sources.reader(store, true, self.observer);
        for (cover, _) in pvr.covers().filter(|(cover, _)| !store.has_blob(cover)) {
            reader.make_cover(pvr, &cover)?;
        }
        let missing = content.closure().blobs.into_iter().filter(|digest| wanted.contains_key(digest));
        let mut missing: BTreeSet<Digest> = missing.filter(|digest| !store.has_blob(digest)).collect();
        let limit = |digest: &Digest| wanted.get(digest).copied().unwrap_or(0);
        Ok(package::fetch(store, &content.app, &mut missing, &limit, &self.sources.limits, self.observer)?)
    }

    /// Makes an object by the delta of its package; the delta when it is of no use and the object can be had whole.
    fn make(&self, object: &Digest, delta: &Digest, room: Room) -> Result<BTreeSet<Digest>, ResolveError> {
        for app in self.contents.iter().map(|content| &content.app).filter(|app| app.kind == Kind::Pvr) {
            let parcels = Parcels::of(app);
            match parcels.make(self.store, object, (delta, room, false), &self.sources.layers, self.observer) {
                Ok(true) => return Ok(BTreeSet::new()),
                Ok(false) => {}
                Err(error) if stops(&error) || !self.is_whole_in(app, object, room.size)? => return Err(error),
                Err(error) => {
                    self.useless(delta, "be applied", &error);
                    return Ok([*delta].into());
                }
            }
        }
        let why = "the delta that makes it went away again".to_owned();
        Err(ResolveError::Missing { what: format!("the object {}", object.short()), why })
    }

    /// Whether a file of an app has the whole object, as long as the plan has counted.
    fn is_whole_in(&self, app: &TargetApp, object: &Digest, counted: u64) -> Result<bool, ResolveError> {
        let limits = &self.sources.limits;
        match package::gather(app, &mut [*object].into(), limits, self.observer, &mut |_, size, _| Ok(size == counted))
        {
            Ok(()) => Ok(true),
            Err(cancelled @ ResolveError::Cancelled(_)) => Err(cancelled),
            Err(_) => Ok(false),
        }
    }

    /// Makes a layer of its blob, which goes then.
    fn ingest(&self, layer: &Digest, blob: &Digest, form: &Form) -> Result<(), ResolveError> {
        let source = StoredBlob::new(self.store, *blob, self.sources.limits);
        let made = self.store.ingest_layer(layer, &source, &keep(form), &self.sources.layers, self.observer);
        // A blob that is what its digest says and not the layer that the config names is of no use to anybody.
        if matches!(made, Ok(_) | Err(StoreError::WrongDigest { .. })) {
            forget(self.store, blob);
        }
        Ok(made.map(drop)?)
    }

    /// Makes layers of a part, which goes then, and of what its delta starts from; the part when it is of no use.
    fn apply(&self, delta: &Digest, part: &Digest, makes: &[(Digest, Form)]) -> Result<BTreeSet<Digest>, ResolveError> {
        let names = self.names(delta)?;
        let made = makes.iter().try_for_each(|(layer, form)| {
            let blob = self.store.blob(part)?.ok_or(StoreError::NoLayer(*layer))?;
            let names = names.as_ref().map(|names| names as &dyn ReadAt);
            let delta = LayerDelta { blob: &blob, names };
            self.store.apply_delta(layer, delta, &keep(form), &self.sources.layers, self.observer).map(drop)
        });
        match made {
            Err(error) if error.is_full() || error.is_read_only() || matches!(error, StoreError::Cancelled(_)) => {
                return Err(error.into());
            }
            _ => forget(self.store, part),
        }
        Ok(match made {
            Ok(()) => BTreeSet::new(),
            Err(error) => {
                self.useless(part, "be applied", &error);
                [*part].into()
            }
        })
    }

    /// The names of a delta: here where the plan needed them.
    fn names(&self, delta: &Digest) -> Result<Option<Blob>, ResolveError> {
        let limits = &self.sources.limits;
        let bytes = self.store.document(delta, limits.document).ok().flatten();
        let manifest = bytes.and_then(|bytes| DeltaManifest::parse(&bytes, limits).ok());
        let parts = manifest.iter().flat_map(|manifest| &manifest.parts);
        match parts.into_iter().find(|part| part.content == delta::Content::Names) {
            Some(part) => Ok(self.store.blob(&part.blob.digest)?),
            None => Ok(None),
        }
    }

    /// A patch is written again as a whole layer, out of what it is made of.
    fn whole(&self, layer: &Digest) -> Result<(), ResolveError> {
        Ok(self.store.convert_layer(layer, &Keep::Whole, &self.sources.layers, self.observer).map(drop)?)
    }
}

/// A failure that no other way of having an object helps against.
fn stops(error: &ResolveError) -> bool {
    match error {
        ResolveError::Parcel { source, .. } => source.is_full() || source.is_read_only(),
        _ => true,
    }
}

fn keep(form: &Form) -> Keep {
    match form {
        Form::Whole => Keep::Whole,
        Form::Patch { base, below } => Keep::Patch { base: *base, below: below.clone() },
    }
}

/// Holds what the steps from here on need.
pub(crate) fn hold(space: &Reservation<'_>, bytes: u64, what: &str) -> Result<(), SupplyError> {
    space.hold(bytes).map_err(|error| match error {
        StoreError::NoSpace { wanted, free } => {
            let (wanted, free) = (Size(wanted), Size(free));
            let text = format!(
                "something else has filled the disk: {what} and what follows need {wanted} more, {free} are free"
            );
            SupplyError::new(Class::DoesNotFit, text)
                .hint("what has come is kept: make room (umiakd prune, logs, volumes), then update again")
        }
        error => ResolveError::from(error).into(),
    })
}

/// Removes a layer's blob. Where somebody reads just now it stays, and goes with the next pruning.
pub(super) fn forget(store: &Store, blob: &Digest) {
    let objects = vec![Prunable { object: Object::Blob(*blob), bytes: 0 }];
    let _ = store.prune(&PrunePlan { refs: Vec::new(), objects });
}

/// The layers of an app with their blobs, by diff ID.
pub(super) fn layer_blobs(content: &Content) -> impl Iterator<Item = (Digest, LayerBlob)> {
    let layers = content.images().iter().flat_map(|image| image.image.layers.iter().map(move |layer| (image, layer)));
    layers.map(|(image, layer)| {
        let blob = Descriptor::new(layer.media_type.clone(), layer.digest, layer.size);
        (layer.diff_id.unwrap_or(layer.digest), LayerBlob { blob, places: image.places.clone() })
    })
}

/// A failure of one delta that can be planned around: no stop, no full disk, and nothing that trying again may make good.
pub(super) fn falls_back(error: &ResolveError) -> bool {
    match error {
        ResolveError::Fetch(error) => {
            let full = matches!(&error.cause, Cause::Store(error) if error.is_full() || error.is_read_only());
            !error.is_cancelled() && !full && !error.is_passing()
        }
        ResolveError::Source { source, .. } => !matches!(source.kind(), ErrorKind::Cancelled | ErrorKind::Network),
        ResolveError::NotCarried { source, .. } => falls_back(source),
        ResolveError::Missing { .. } => true,
        _ => false,
    }
}
