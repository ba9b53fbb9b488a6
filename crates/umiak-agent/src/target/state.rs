//! pvr states: which containers run, from which images, and what of a package has to be read to know it.
//!
//! Guarantees: only documents are taken from the package before there is a plan (the state, configurations, files that
//! are laid over roots), each of bounded size and verified; what was read once is read again without the package.

use std::collections::{BTreeMap, BTreeSet};

use umiak_pvr::device::{self, Container, Device};
use umiak_pvr::{State, state::Entry};
use umiak_spec::Digest;
use umiak_spec::target::{Origin, TargetApp};

use super::content::{Content, Made, Reader};
use super::cover;
use super::error::ResolveError;
use crate::package;
use crate::parcel::{self, Parcels};
use crate::supply::{Part, Root};

/// A pvr state, and what this device is to run of it.
pub(crate) struct PvrApp {
    /// The state.
    pub state: State,
    device: Device,
    /// By container: the image of the files that are laid over its root.
    covers: BTreeMap<String, Cover>,
}

#[derive(Clone, Copy)]
struct Cover {
    digest: Digest,
    size: u64,
}

impl PvrApp {
    /// What the store has to hold besides the state.
    pub(crate) fn blobs(&self) -> BTreeSet<Digest> {
        self.state.objects().into_iter().chain(self.covers().map(|(digest, _)| digest)).collect()
    }

    /// The images that are made here, with their lengths.
    pub(crate) fn covers(&self) -> impl Iterator<Item = (Digest, u64)> + '_ {
        self.covers.values().map(|cover| (cover.digest, cover.size))
    }

    /// The containers with the program that each begins with, and the images of its root, the topmost first.
    pub(crate) fn programs(&self) -> impl Iterator<Item = (&str, &str, &[Digest])> {
        self.device.containers.iter().filter_map(|container| {
            let program = container.service.process.args.first()?;
            Some((container.service.name.as_str(), program.as_str(), container.lowers.as_slice()))
        })
    }

    /// The containers as services with their roots.
    ///
    /// # Errors
    /// [`ResolveError::Refused`]: each key that nobody here does, by file; an engine that keeps images itself.
    pub(crate) fn parts(&self, app: &TargetApp, keeps_images: bool) -> Result<Vec<Part>, ResolveError> {
        let mut refusals: Vec<String> = self.device.refusals.iter().map(ToString::to_string).collect();
        if keeps_images {
            let why =
                "a pvr state runs from its own squashfs images: with crun or runc (engine = \"oci\"), not with Docker";
            refusals.insert(0, why.to_owned());
        }
        if !refusals.is_empty() {
            return Err(ResolveError::Refused { app: app.name.clone(), refusals });
        }
        Ok(self.device.containers.iter().map(|container| self.part(container)).collect())
    }

    fn part(&self, container: &Container) -> Part {
        let cover = self.covers.get(&container.service.name).map(|cover| cover.digest);
        let images = cover.into_iter().chain(container.lowers.iter().copied()).collect();
        // There is no image's configuration: what says how it runs stands for it.
        Part { service: container.service.clone(), image: container.conf, root: Root::Blobs(images) }
    }
}

impl Reader<'_> {
    /// The state of a package, and what is to be run of it.
    pub(crate) fn pvr(&self, app: &TargetApp) -> Result<PvrApp, ResolveError> {
        let state = self.state(app)?;
        if self.online {
            self.bring_documents(app, &state)?;
        }
        let limit = self.sources.limits.document;
        let device = device::read(&state, &|digest| self.store.document(digest, limit).ok().flatten());
        let mut covers = BTreeMap::new();
        for container in device.containers.iter().filter(|container| !container.files.is_empty()) {
            let image = self.cover(app, container)?;
            let cover = Cover { digest: Digest::of(&image), size: image.len() as u64 };
            covers.insert(container.service.name.clone(), cover);
        }
        Ok(PvrApp { state, device, covers })
    }

    /// Makes the cover `digest` and puts it into the store; whether it is one of this state.
    pub(crate) fn make_cover(&self, pvr: &PvrApp, digest: &Digest) -> Result<bool, ResolveError> {
        let found = pvr.covers.iter().find(|(_, cover)| cover.digest == *digest);
        let container = found.and_then(|(name, _)| pvr.device.containers.iter().find(|one| one.service.name == *name));
        let Some(container) = container else { return Ok(false) };
        let image = self.image_of(container)?;
        self.store.put_blob(digest, &image)?;
        Ok(true)
    }

    /// The image of a container's files.
    fn cover(&self, app: &TargetApp, container: &Container) -> Result<Vec<u8>, ResolveError> {
        self.image_of(container).map_err(|error| match error {
            ResolveError::State { source, .. } => ResolveError::State { app: app.name.clone(), source },
            error => error,
        })
    }

    fn image_of(&self, container: &Container) -> Result<Vec<u8>, ResolveError> {
        let name = &container.service.name;
        let unusable =
            |source: Box<dyn std::error::Error + Send + Sync>| ResolveError::State { app: name.clone(), source };
        let mut files = BTreeMap::new();
        let mut left = cover::MAX_FILES;
        for (path, entry) in &container.files {
            let bytes = match entry {
                // As a device writes it: the bytes that signatures are over.
                Entry::Inline(value) => value.canonical().into_bytes(),
                Entry::Object(digest) => self.document(digest, &format!("_config/{name}/{path}"))?,
            };
            let more = left.checked_sub(bytes.len() as u64);
            let most = || format!("the files of _config/{name}/ have more than {} bytes", cover::MAX_FILES);
            left = more.ok_or_else(|| unusable(most().into()))?;
            files.insert(path.clone(), bytes);
        }
        cover::image(&files).map_err(|error| unusable(error.into()))
    }

    fn document(&self, digest: &Digest, what: &str) -> Result<Vec<u8>, ResolveError> {
        let found = self.store.document(digest, self.sources.limits.document)?;
        found.ok_or_else(|| ResolveError::Missing { what: what.to_owned(), why: "its package was not read".to_owned() })
    }

    /// Configurations and files that are laid over roots, from the package; damaged ones are replaced.
    fn bring_documents(&self, app: &TargetApp, state: &State) -> Result<(), ResolveError> {
        let limit = self.sources.limits.document;
        let mut open: BTreeSet<Digest> = device::documents(state)
            .into_iter()
            .filter(|digest| !matches!(self.store.document(digest, limit), Ok(Some(_))))
            .collect();
        if open.is_empty() {
            return Ok(());
        }
        let fetched = package::fetch(self.store, app, &mut open, &|_| limit, &self.sources.limits, self.observer);
        fetched.map_err(|error| match error {
            ResolveError::Cancelled(_) => error,
            error => Parcels::of(app).lacking(self.store, &open).unwrap_or(error),
        })
    }

    /// The state of a package.
    pub(crate) fn state(&self, app: &TargetApp) -> Result<State, ResolveError> {
        let limit = self.sources.limits.document;
        let unusable =
            |source: Box<dyn std::error::Error + Send + Sync>| ResolveError::State { app: app.name.clone(), source };
        if let Ok(Some(bytes)) = self.store.document(&app.top.digest, limit) {
            return State::parse(&bytes, limit).map_err(|error| unusable(error.into()));
        }
        let Origin::Package(path) = &app.origin else {
            return Err(unusable("it is not in a package".into()));
        };
        if !self.online {
            let why = "nothing is fetched for this question".to_owned();
            return Err(ResolveError::Missing { what: format!("the state of {}", app.name), why });
        }
        let state = package::state(path, &self.sources.limits, self.observer)?;
        let bytes = state.canonical().into_bytes();
        let found = Digest::of(&bytes);
        if found != app.top.digest {
            let reference = app.origin.to_string();
            return Err(ResolveError::Digest { reference, wanted: app.top.digest, found });
        }
        self.store.put_blob(&found, &bytes)?;
        Ok(state)
    }

    /// Lengths of the objects of a state: those of the store, else those of its files.
    pub(crate) fn object_sizes(&self, app: &TargetApp, pvr: &PvrApp) -> Result<BTreeMap<Digest, u64>, ResolveError> {
        let mut sizes = BTreeMap::new();
        let mut open: BTreeSet<Digest> = BTreeSet::new();
        for digest in pvr.state.objects() {
            match self.store.blob(&digest)? {
                Some(blob) => drop(sizes.insert(digest, blob.size())),
                None => drop(open.insert(digest)),
            }
        }
        if open.is_empty() {
            return Ok(sizes);
        }
        let parcels = Parcels::of(app);
        let known = parcels.sizes(self.store);
        open.retain(|digest| known.get(digest).is_none_or(|size| sizes.insert(*digest, *size).is_some()));
        let limits = &self.sources.limits;
        let gathered = package::gather(app, &mut open, limits, self.observer, &mut |digest, size, _| {
            sizes.insert(*digest, size);
            Ok(true)
        });
        match gathered {
            Ok(()) => Ok(sizes),
            Err(cancelled @ ResolveError::Cancelled(_)) => Err(cancelled),
            Err(error) => Err(parcels.lacking(self.store, &open).unwrap_or(error)),
        }
    }

    /// The deltas that can make objects of an app that are not here, of objects that are.
    pub(crate) fn object_deltas(&self, content: &Content) -> Result<Vec<umiak_plan::ObjectDelta>, ResolveError> {
        let Made::Pvr(pvr) = &content.made else { return Ok(Vec::new()) };
        let missing = pvr.state.objects().into_iter().filter(|digest| !self.store.has_blob(digest));
        let missing: BTreeSet<Digest> = missing.collect();
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let mut made: Vec<parcel::Made> = Parcels::of(&content.app).usable(self.store);
        made.retain(|made| missing.contains(&made.object));
        // Which of them can be had whole as well, as long as they are said to be.
        let mut lacks: BTreeSet<Digest> = made.iter().map(|made| made.object).collect();
        let limits = &self.sources.limits;
        let gathered = package::gather(&content.app, &mut lacks, limits, self.observer, &mut |object, size, _| {
            Ok(made.iter().all(|made| made.object != *object || made.size == size))
        });
        if let Err(cancelled @ ResolveError::Cancelled(_)) = gathered {
            return Err(cancelled);
        }
        let delta = |made: parcel::Made| umiak_plan::ObjectDelta {
            object: made.object,
            size: made.size,
            name: parcel::name_of(&pvr.state, &made.object),
            from: made.from,
            base: made.delta.base,
            base_size: made.delta.base_size,
            blob: made.delta.blob,
            bytes: made.delta.size,
            spool: made.delta.spool,
            whole: !lacks.contains(&made.object),
        };
        Ok(made.into_iter().map(delta).collect())
    }
}
