//! Something that is damaged or gone comes into the store again.
//!
//! Whatever target names it says where it is from. Guarantee: what was damaged is replaced only by what its digest says.

use std::collections::BTreeSet;
use std::io::{self, Read};

use umiak_spec::target::{Kind, Target, TargetApp};
use umiak_spec::{Digest, Limits, Observer, Size};
use umiak_store::{Damage, Fault, Keep, LayerDelta, LayerRecord, LayerSource, Object, Repaired, Store, StoreError};

use super::Sources;
use super::arrive::{LayerBlob, falls_back, forget, layer_blobs};
use crate::error::{Class, SupplyError};
use crate::fetch::{Fetch, StoredBlob};
use crate::package;
use crate::parcel::Parcels;
use crate::target::{Content, ResolveError};

impl Sources {
    pub(super) fn again(
        &self,
        store: &Store,
        object: &Object,
        targets: &[Target],
        observer: &dyn Observer,
    ) -> Result<(), SupplyError> {
        match object {
            Object::Blob(digest) => self.blob_again(store, digest, targets, observer),
            Object::Layer(diff_id) => self.layer_again(store, diff_id, targets, observer),
            Object::Chain(chain) => self.chain_again(store, chain, observer),
            // What is partial is fetched when it is wanted; what is not ours is left alone.
            Object::Partial(_) | Object::Stray(_) => Ok(()),
            Object::Format | Object::Ref(_) | Object::Record(_) => {
                Err(SupplyError::new(Class::Corrupt, "no registry has what the device wrote down itself"))
            }
        }
    }

    fn blob_again(
        &self,
        store: &Store,
        digest: &Digest,
        targets: &[Target],
        observer: &dyn Observer,
    ) -> Result<(), SupplyError> {
        let apps = || targets.iter().flat_map(|target| &target.apps);
        let mut failed = None;
        for app in apps() {
            // An object may be mounted just now: it stays where it is until the good one takes its name.
            if app.kind != Kind::Pvr {
                continue;
            }
            let reader = self.reader(store, false, observer);
            if reader.state(app).is_ok_and(|state| state.objects().contains(digest)) {
                match package::fetch(store, app, &mut [*digest].into(), &|_| u64::MAX, &self.limits, observer) {
                    Ok(()) => return Ok(()),
                    Err(error) => failed = Some(error),
                }
                match self.object_again(store, app, digest, observer) {
                    Ok(true) => return Ok(()),
                    // The package of another revision may have it.
                    Ok(false) => {}
                    Err(error) => failed = Some(error),
                }
                continue;
            }
            if let Ok(pvr) = reader.pvr(app)
                && reader.make_cover(&pvr, digest)?
            {
                return Ok(());
            }
        }
        if let Some(error) = failed {
            return Err(error.into());
        }
        store
            .discard_damage(&Damage {
                object: Object::Blob(*digest),
                fault: Fault::Damaged("its bytes are wrong".to_owned()),
            })
            .map_err(ResolveError::from)?;
        let reader = self.reader(store, true, observer);
        let mut last = None;
        for app in apps() {
            // Reading an app brings back every document of it, and its bundle.
            match reader.read(app) {
                Ok(_) if store.has_blob(digest) => return Ok(()),
                Ok(_) => {}
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or_else(|| nowhere(&format!("the blob {}", digest.short())), SupplyError::from))
    }

    /// Whether the delta of a package made a damaged object again. No plan has counted what that takes: it is here.
    fn object_again(
        &self,
        store: &Store,
        app: &TargetApp,
        object: &Digest,
        observer: &dyn Observer,
    ) -> Result<bool, ResolveError> {
        let parcels = Parcels::of(app);
        let Some((blob, room)) = parcels.room(object) else { return Ok(false) };
        self.has_room(store, object, room.size.saturating_add(room.spool))?;
        parcels.make(store, object, (&blob, room, true), &self.layers, observer)
    }

    /// Layers that are here and cannot lie above each other: patches become whole, from what they are made of.
    fn chain_again(&self, store: &Store, chain: &[Digest], observer: &dyn Observer) -> Result<(), SupplyError> {
        for diff_id in chain {
            let record = store.layer_record(diff_id).map_err(ResolveError::from)?;
            if record.is_none_or(|record| record.is_whole()) {
                continue;
            }
            let source = Stored { store, diff_id: *diff_id, limits: self.limits };
            let made = store.replace_layer(diff_id, &source, &Keep::Whole, &self.layers, observer);
            made.map_err(ResolveError::from)?;
        }
        Ok(())
    }

    /// A layer: out of what else is stored; else by the smallest delta that makes it from what is here; else as its blob.
    fn layer_again(
        &self,
        store: &Store,
        diff_id: &Digest,
        targets: &[Target],
        observer: &dyn Observer,
    ) -> Result<(), SupplyError> {
        if self.out_of_store(store, diff_id, observer)? {
            return Ok(());
        }
        let keep = match store.layer_record(diff_id) {
            Ok(Some(LayerRecord { base: Some(base), below, .. })) => Keep::Patch { base, below },
            _ => Keep::Whole,
        };
        let reader = self.reader(store, true, observer);
        let fetch = Fetch::new(store, self.fetch, observer);
        let again = Again { sources: self, store, diff_id, keep, fetch, observer };
        let mut last = None;
        for app in targets.iter().flat_map(|target| &target.apps) {
            let content = match reader.read(app) {
                Ok(content) => content,
                Err(error) => {
                    last = Some(SupplyError::from(error));
                    continue;
                }
            };
            let Some((_, layer)) = layer_blobs(&content).find(|(found, _)| found == diff_id) else { continue };
            match again.by_delta(&content, &layer).and_then(|made| if made { Ok(()) } else { again.whole(&layer) }) {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error.into()),
            }
        }
        Err(last.unwrap_or_else(|| nowhere(&format!("the layer {}", diff_id.short()))))
    }

    /// Whether a layer could be made whole again without fetching. What is lost for good is said.
    fn out_of_store(&self, store: &Store, diff_id: &Digest, observer: &dyn Observer) -> Result<bool, ResolveError> {
        let lost = match store.repair_layer(diff_id, &self.layers, observer) {
            Ok(Repaired::Sound | Repaired::Record | Repaired::Stacks | Repaired::Rewritten { .. }) => return Ok(true),
            Ok(Repaired::Lost(contents)) => {
                let bytes = contents.iter().fold(0_u64, |sum, content| sum.saturating_add(content.size));
                let first = contents.iter().find_map(|content| content.path.clone()).unwrap_or_default();
                let (count, bytes) = (contents.len(), Size(bytes));
                format!("{count} contents of it ({bytes}, the first is {first}) are nowhere else on this device")
            }
            Ok(Repaired::LostSkeleton) => "of its skeleton there is no second copy on this device".to_owned(),
            Err(StoreError::NoLayer(_)) => return Ok(false),
            Err(error) if hopeless(&error) => return Err(error.into()),
            Err(error) => error.to_string(),
        };
        observer.note(&format!("layer {}: {lost}: it is fetched again", diff_id.short()));
        Ok(false)
    }
}

/// A layer that is made again.
struct Again<'a> {
    sources: &'a Sources,
    store: &'a Store,
    diff_id: &'a Digest,
    /// The form that it was kept in.
    keep: Keep,
    fetch: Fetch<'a>,
    observer: &'a dyn Observer,
}

impl Again<'_> {
    /// Whether a delta made it: those that are smaller than its blob are tried, the smallest first.
    fn by_delta(&self, content: &Content, layer: &LayerBlob) -> Result<bool, ResolveError> {
        let (store, observer) = (self.store, self.observer);
        let mut layers: BTreeSet<Digest> = store.layer_list()?.into_iter().collect();
        layers.remove(self.diff_id);
        let mut parts = Vec::new();
        for delta in self.sources.reader(store, true, observer).deltas(content, &layers)? {
            let made = delta.manifest.parts.iter().find(|part| part.is_delta() && part.to == *self.diff_id);
            parts.extend(made.map(|part| (part.blob.size, part.blob.clone(), delta.digest)));
        }
        parts.retain(|(size, ..)| *size < layer.blob.size);
        parts.sort_by_key(|(size, blob, _)| (*size, blob.digest));
        for (_, part, delta) in parts {
            let found = self.sources.planned_delta(store, std::slice::from_ref(content), observer, &delta);
            let Some((_, places)) = found else { continue };
            match self.sources.blob(&part, &places, &self.fetch, observer) {
                Ok(()) => {}
                Err(error) if falls_back(&error) => continue,
                Err(error) => return Err(error),
            }
            let made = self.replace(|keep| {
                let blob = store.blob(&part.digest)?.ok_or(StoreError::NoLayer(*self.diff_id))?;
                let delta = LayerDelta { blob: &blob, names: None };
                store.replace_by_delta(self.diff_id, delta, keep, &self.sources.layers, observer).map(drop)
            });
            forget(store, &part.digest);
            match made {
                Ok(()) => return Ok(true),
                Err(error) if hopeless(&error) => return Err(error.into()),
                Err(error) => observer.note(&format!("the delta {} cannot be applied: {error}", delta.short())),
            }
        }
        Ok(false)
    }

    fn whole(&self, layer: &LayerBlob) -> Result<(), ResolveError> {
        self.sources.blob(&layer.blob, &layer.places, &self.fetch, self.observer)?;
        let source = StoredBlob::new(self.store, layer.blob.digest, self.sources.limits);
        self.replace(|keep| {
            let options = &self.sources.layers;
            self.store.replace_layer(self.diff_id, &source, keep, options, self.observer).map(drop)
        })?;
        forget(self.store, &layer.blob.digest);
        Ok(())
    }

    /// In the form that it had; whole where what it lay above is damaged as well.
    fn replace(&self, make: impl Fn(&Keep) -> Result<(), StoreError>) -> Result<(), StoreError> {
        match make(&self.keep) {
            Err(error) if self.keep != Keep::Whole && !hopeless(&error) => make(&Keep::Whole),
            made => made,
        }
    }
}

/// What no other way of having it helps against.
fn hopeless(error: &StoreError) -> bool {
    error.is_full() || error.is_read_only() || matches!(error, StoreError::Cancelled(_))
}

/// A layer of the store as it comes out of it.
struct Stored<'s> {
    store: &'s Store,
    diff_id: Digest,
    limits: Limits,
}

impl LayerSource for Stored<'_> {
    fn open(&self) -> io::Result<Box<dyn Read + Send + '_>> {
        let tar: Box<dyn Read + Send> =
            self.store.layer_reader(&self.diff_id, &self.limits).map_err(io::Error::other)?;
        Ok(tar)
    }
}

fn nowhere(what: &str) -> SupplyError {
    SupplyError::new(Class::Corrupt, format!("{what} is to be had from nowhere that is known"))
        .hint("set the target again from where its files are, then umiakd fsck --repair")
}
