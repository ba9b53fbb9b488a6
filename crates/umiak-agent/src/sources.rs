//! The supply of revisions: registries, layouts, bundles and packages behind the agent's one seam.
//!
//! What it is made of: [`crate::target`] resolves and reads, [`crate::fetch`] brings blobs. Here the two are joined with
//! the planner and the store. Guarantees: the plan's steps are what is done, in their order; where a delta turns out to be of
//! no use the update is planned again without it; everything can be called again after a cut at any point.

mod arrive;
mod inventory;
mod plan;
mod repair;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use umiak_plan::Role;
use umiak_pvr::State;
use umiak_registry::Context;
use umiak_repository::package::Contents;
use umiak_sign::Policy as Trust;
use umiak_spec::target::{Asked, Carrier, Target, TargetApp};
use umiak_spec::{Digest, Limits, Observer, Platform, Silent};
use umiak_store::{Closure, Incoming, LayerOptions, Object, Reservation, Store, StoreError};

use crate::error::{Class, SupplyError, store_class};
use crate::fetch::FetchOptions;
use crate::outcome::Watcher;
use crate::supply::{Described, Fetched, Occasion, Part, Planned, Root, Supply};
use crate::target::{Content, Judge, Listener, Made, Reader, ResolveError, services, trusted};

pub(crate) use arrive::hold;

/// Tells what the device is: file systems, engine, watermark. What is stored is filled in here.
pub type Survey = dyn Fn(&Store) -> io::Result<umiak_plan::Device> + Send + Sync;

/// Tells the date in seconds since 1970, where the clock was set: [`crate::Clock::plausible_date`].
pub type Date = dyn Fn() -> Option<u64> + Send + Sync;

/// Registries, layouts, bundles and packages, and what the device makes of them.
pub struct Sources {
    /// How registries are reached. Its cache should have an empty path: the store keeps what comes.
    pub context: Context,
    /// What the device runs.
    pub platform: Platform,
    /// Whose signatures are asked for.
    pub trust: Trust,
    /// The date that the last days of certificates are compared with.
    pub date: Box<Date>,
    /// Bounds on input.
    pub limits: Limits,
    /// How blobs are fetched.
    pub fetch: FetchOptions,
    /// How layers are taken in.
    pub layers: LayerOptions,
    /// Variables of compose projects.
    pub environment: BTreeMap<String, String>,
    /// Profiles of compose projects that are active.
    pub profiles: BTreeSet<String>,
    /// Whether the engine runs Compose itself.
    pub runs_compose: bool,
    /// What the device is.
    pub survey: Box<Survey>,
}

impl Sources {
    pub(crate) fn reader<'a>(&'a self, store: &'a Store, online: bool, observer: &'a dyn Observer) -> Reader<'a> {
        Reader { store, sources: self, online, observer }
    }

    /// Whether there is room for an object that no plan has counted, as an update would have it.
    pub(crate) fn has_room(&self, store: &Store, object: &Digest, wanted: u64) -> Result<(), ResolveError> {
        let surveyed = (self.survey)(store);
        let device = surveyed.map_err(|error| ResolveError::Missing {
            what: "room for a package".to_owned(),
            why: format!("what the device has cannot be told: {error}"),
        })?;
        let place = device.file_systems.get(device.place(Role::Blobs));
        let free = place.map_or(0, |found| found.available(device.watermark));
        if wanted > free { Err(ResolveError::NoRoom { digest: *object, wanted, free }) } else { Ok(()) }
    }

    /// An app, from documents that are in the store.
    fn stored(&self, store: &Store, app: &TargetApp) -> Result<Content, ResolveError> {
        self.reader(store, false, &Silent).read(app)
    }
}

impl Supply for Sources {
    fn resolve(&self, store: &Store, asked: &Asked, watcher: &dyn Watcher) -> Result<Target, SupplyError> {
        Ok(self.reader(store, true, watcher).pin(asked)?)
    }

    fn concerns(&self, store: &Store, target: &Target, watcher: &dyn Watcher) -> Vec<String> {
        let reader = self.reader(store, true, watcher);
        target.apps.iter().flat_map(|app| reader.concerns(app)).collect()
    }

    fn committed(&self, store: &Store, target: &Target) -> Result<(), SupplyError> {
        Ok(trusted::committed(self, store, target)?)
    }

    fn committed_bytes(&self, store: &Store, target: &Target) -> Option<u64> {
        trusted::raised(self, store, target).map(|bytes| bytes.len() as u64)
    }

    fn closure(&self, store: &Store, app: &TargetApp) -> Result<Closure, SupplyError> {
        Ok(self.stored(store, app)?.closure())
    }

    fn describe(&self, store: &Store, app: &TargetApp) -> Result<Described, SupplyError> {
        let content = self.stored(store, app)?;
        if let Made::Pvr(pvr) = &content.made {
            return Ok(Described { parts: pvr.parts(app, self.runs_compose)?, project: None });
        }
        let services = services(&content, self)?;
        let mut parts = Vec::new();
        for service in services {
            let Some(image) = content.images().iter().find(|image| image.service == service.name) else { continue };
            let root = Root::Layers(image.diff_ids());
            let image = Digest::of(image.image.config.text.as_bytes());
            parts.push(Part { service, image, root });
        }
        let project = match &content.made {
            Made::Compose(compose) => Some(compose.manifest.bundle.digest),
            Made::Image(_) | Made::Pvr(_) => None,
        };
        Ok(Described { parts, project })
    }

    fn plan(
        &self,
        store: &Store,
        target: &Target,
        occasion: &Occasion,
        watcher: &dyn Watcher,
    ) -> Result<Planned, SupplyError> {
        self.planned(store, target, occasion, watcher)
    }

    fn fetch(
        &self,
        store: &Store,
        target: &Target,
        planned: &Planned,
        space: &Reservation<'_>,
        watcher: &dyn Watcher,
    ) -> Result<Fetched, SupplyError> {
        self.arrive(store, target, planned, space, watcher)
    }

    fn repair(
        &self,
        store: &Store,
        object: &Object,
        targets: &[Target],
        watcher: &dyn Watcher,
    ) -> Result<(), SupplyError> {
        self.again(store, object, targets, watcher)
    }

    fn package(&self, store: Option<&Store>, path: &Path, watcher: &dyn Watcher) -> Result<Contents, SupplyError> {
        Ok(Judge { sources: self, store, observer: watcher }.file(path)?)
    }

    fn streamed(
        &self,
        incoming: &Incoming,
        input: &mut dyn Read,
        watcher: &dyn Watcher,
    ) -> Result<Contents, SupplyError> {
        Ok(Listener { sources: self, incoming, observer: watcher }.package(input)?)
    }

    fn merged(&self, store: &Store, state: &State, from: &[Carrier], watcher: &dyn Watcher) -> Result<(), SupplyError> {
        Ok(Judge { sources: self, store: Some(store), observer: watcher }.merged(state, from)?)
    }

    fn lowers(&self, store: &Store, root: &Root) -> Result<Vec<PathBuf>, SupplyError> {
        let damaged = |error: StoreError| {
            let class = match &error {
                StoreError::Io { .. } => store_class(&error),
                _ => Class::Corrupt,
            };
            SupplyError::new(class, "a root cannot be put together").because(error)
        };
        match root {
            Root::Layers(diff_ids) => store.root(diff_ids, &self.layers, &Silent).map_err(damaged),
            Root::Blobs(blobs) => {
                let path = |digest: &Digest| match store.blob(digest).map_err(damaged)? {
                    Some(blob) => Ok(blob.path().to_owned()),
                    None => {
                        let what = format!("the object {} is not on this device", digest.short());
                        Err(SupplyError::new(Class::Corrupt, what).hint("umiakd fsck --repair"))
                    }
                };
                blobs.iter().map(path).collect()
            }
        }
    }

    fn layer<'s>(&self, store: &'s Store, diff_id: &Digest) -> io::Result<Box<dyn Read + Send + 's>> {
        let tar: Box<dyn Read + Send> = store.layer_reader(diff_id, &self.limits).map_err(io::Error::other)?;
        Ok(tar)
    }

    fn layer_options(&self) -> LayerOptions {
        self.layers
    }

    fn unpack(&self, store: &Store, project: &Digest, into: &Path) -> Result<(), SupplyError> {
        Ok(crate::target::unpack(store, project, into, &self.limits)?)
    }
}
