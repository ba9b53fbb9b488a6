//! Something that is damaged or gone comes into the store again.
//!
//! Whatever target names it says where it is from. Guarantee: what was damaged is replaced only by what its digest says.

use std::io::{self, Read};

use umiak_spec::target::{Origin, Target};
use umiak_spec::{Digest, Limits, Observer};
use umiak_store::{Damage, Fault, Keep, LayerSource, Object, Store};

use super::Sources;
use super::arrive::{forget, layer_blobs};
use crate::error::{Class, SupplyError};
use crate::fetch::{Fetch, StoredBlob};
use crate::package;
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
            // What is partial is fetched when it is wanted; what is not ours was removed.
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
            let Origin::Package(path) = &app.origin else { continue };
            let reader = self.reader(store, false, observer);
            if reader.state(app).is_ok_and(|state| state.objects().contains(digest)) {
                match package::replace(store, path, digest, &self.limits, observer) {
                    Ok(()) => return Ok(()),
                    // The package of another revision may have it.
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

    fn layer_again(
        &self,
        store: &Store,
        diff_id: &Digest,
        targets: &[Target],
        observer: &dyn Observer,
    ) -> Result<(), SupplyError> {
        let reader = self.reader(store, true, observer);
        let fetch = Fetch::new(store, self.fetch, observer);
        let mut last = None;
        for app in targets.iter().flat_map(|target| &target.apps) {
            let found = match reader.read(app) {
                Ok(content) => layer_blobs(&content).find(|(found, _)| found == diff_id).map(|(_, layer)| layer),
                Err(error) => {
                    last = Some(SupplyError::from(error));
                    continue;
                }
            };
            let Some(layer) = found else { continue };
            let made = self.blob(&layer.blob, &layer.places, &fetch, observer).and_then(|()| {
                let source = StoredBlob::new(store, layer.blob.digest, self.limits);
                store.replace_layer(diff_id, &source, &Keep::Whole, &self.layers, observer)?;
                forget(store, &layer.blob.digest);
                Ok(())
            });
            match made {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error.into()),
            }
        }
        Err(last.unwrap_or_else(|| nowhere(&format!("the layer {}", diff_id.short()))))
    }
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
