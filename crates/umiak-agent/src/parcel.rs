//! Deltas of packages: objects that are made on the device of objects that are here.
//!
//! The delta of a package is a package that lacks some of its objects, and says what makes each of these of another one
//! (docs/formats/package-delta.md). Its state and the objects that it has are read as those of any package; here is the
//! rest. A delta is applied where it lies, and is not kept. Guarantees: what it starts from is looked for before there is a
//! plan, and told by name where it is not here; what it makes is verified by the store, and takes no more of the disk than the
//! plan has counted: what a delta says of itself was written by whoever made the file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use umiak_pvr::delta::{Carried, Form, ObjectDelta};
use umiak_pvr::{Entry, State};
use umiak_repository::package::DeltaFile;
use umiak_spec::target::TargetApp;
use umiak_spec::{Digest, Observer};
use umiak_store::{LayerOptions, Room, Store, StoreError};

use crate::package;
use crate::target::ResolveError;

/// The files of an app that are deltas.
#[derive(Debug, Default)]
pub(crate) struct Parcels {
    files: Vec<DeltaFile>,
    /// What was wrong with the first that is damaged.
    damaged: Option<ResolveError>,
}

/// An object of an app that a delta makes.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    /// The object.
    pub object: Digest,
    /// Its length.
    pub size: u64,
    /// What makes it.
    pub delta: ObjectDelta,
    /// The release that it starts from.
    pub from: String,
}

impl Parcels {
    /// Opens them. A file that is gone or damaged is passed over: another one may have all that is wanted.
    pub(crate) fn of(app: &TargetApp) -> Self {
        let mut parcels = Self::default();
        for path in package::carriers(app) {
            match open(&path) {
                Ok(file) => parcels.files.extend(file),
                Err(error) => drop(parcels.damaged.get_or_insert(error)),
            }
        }
        parcels
    }

    /// What makes objects, whether or not what it starts from is here.
    fn made(&self) -> impl Iterator<Item = Made> + '_ {
        self.files.iter().flat_map(|file| {
            let delta = file.delta();
            delta.objects.iter().filter_map(move |(object, carried)| match carried.form {
                Form::Delta(made) => {
                    let from = delta.base.name.clone();
                    Some(Made { object: *object, size: carried.size, delta: made, from })
                }
                Form::Kept | Form::Whole => None,
            })
        })
    }

    /// Lengths of the objects that are to be had: those that are in the files, and those that are made of what is here.
    pub(crate) fn sizes(&self, store: &Store) -> BTreeMap<Digest, u64> {
        let carried = self.files.iter().flat_map(|file| &file.delta().objects);
        let whole = carried.filter(|(_, carried)| carried.form == Form::Whole);
        let whole = whole.map(|(object, carried)| (*object, carried.size));
        self.usable(store).into_iter().map(|made| (made.object, made.size)).chain(whole).collect()
    }

    /// What makes objects of what is here.
    pub(crate) fn usable(&self, store: &Store) -> Vec<Made> {
        self.made().filter(|made| is_here(store, &made.delta.base, made.delta.base_size)).collect()
    }

    /// Says of objects that are not to be had what lacks for them; nothing where no delta knows of them.
    pub(crate) fn lacking(self, store: &Store, open: &BTreeSet<Digest>) -> Option<ResolveError> {
        for file in &self.files {
            let delta = file.delta();
            let concerns =
                |object: &Digest| delta.objects.get(object).is_some_and(|carried| carried.form != Form::Whole);
            if !open.iter().any(concerns) {
                continue;
            }
            let needs = delta.needs().into_iter();
            let missing: Vec<(Digest, u64)> = needs.filter(|(object, size)| !is_here(store, object, *size)).collect();
            if let Some((object, _)) = missing.first() {
                let name = leads_to(file, object);
                let objects = match missing.len() {
                    1 => format!("the object {} ({name}) is", object.short()),
                    more => format!("{more} objects (the first is {}, {name}) are", object.short()),
                };
                let (file, release) = (file.path().to_owned(), delta.base.name.clone());
                return Some(ResolveError::NoBase { file, release, objects });
            }
        }
        self.damaged
    }

    /// The first delta that makes an object, and what it says that it takes.
    pub(crate) fn room(&self, object: &Digest) -> Option<(Digest, Room)> {
        let made = self.made().find(|made| made.object == *object)?;
        Some((made.delta.blob, Room { size: made.size, spool: made.delta.spool }))
    }

    /// Makes an object by the delta `blob`, in no more than this room; in place of a damaged one if that is said. Whether
    /// there is such a delta.
    ///
    /// # Errors
    /// It cannot be applied, or the store.
    pub(crate) fn make(
        &self,
        store: &Store,
        object: &Digest,
        (blob, room, again): (&Digest, Room, bool),
        options: &LayerOptions,
        observer: &dyn Observer,
    ) -> Result<bool, ResolveError> {
        for file in &self.files {
            let Some((_, part)) = file.made(object).filter(|(delta, _)| delta.blob == *blob) else { continue };
            let made = if again {
                store.replace_blob(object, &part, room, options, observer)
            } else {
                store.make_blob(object, &part, room, options, observer)
            };
            return match made {
                Ok(_) => Ok(true),
                Err(StoreError::Cancelled(cancelled)) => Err(cancelled.into()),
                Err(source) => Err(ResolveError::Parcel { file: file.path().to_owned(), source: Box::new(source) }),
            };
        }
        Ok(false)
    }
}

/// The delta in a file, if it is one and the file is there.
fn open(path: &Path) -> Result<Option<DeltaFile>, ResolveError> {
    match DeltaFile::open(path) {
        Ok(opened) => Ok(opened),
        Err(umiak_repository::Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ResolveError::Package { path: path.to_owned(), source: Box::new(source) }),
    }
}

/// Where people find what is kept of an object of the base, or made of it.
fn leads_to(file: &DeltaFile, base: &Digest) -> String {
    let mut all = file.delta().objects.iter();
    let of = |(object, carried): &(&Digest, &Carried)| match carried.form {
        Form::Delta(made) => made.base == *base,
        Form::Kept | Form::Whole => *object == base,
    };
    all.find(of).map_or_else(String::new, |(object, _)| name_of(file.state(), object))
}

fn is_here(store: &Store, object: &Digest, size: u64) -> bool {
    matches!(store.blob(object), Ok(Some(blob)) if blob.size() == size)
}

/// What lacks here for the objects of a delta; nothing where it can be taken, or the whole package is beside it.
pub(crate) fn unmet(file: DeltaFile, store: &Store) -> Option<ResolveError> {
    if beside(file.path()).is_some() {
        return None;
    }
    let open = file.state().objects().into_iter().filter(|object| !store.has_blob(object)).collect();
    Parcels { files: vec![file], damaged: None }.lacking(store, &open)
}

/// The whole package beside the delta in `path`, if there is one: `<target>.<arch>.tgz` for `<…>.<arch>.delta`.
pub(crate) fn beside(path: &Path) -> Option<PathBuf> {
    if path.extension()? != "delta" {
        return None;
    }
    let delta = open(path).ok()??;
    let stem = path.file_stem()?.to_str()?;
    let (_, arch) = stem.rsplit_once('.')?;
    let name = &delta.delta().target.name;
    // A name is what somebody wrote: it leads nowhere else.
    let whole = path.with_file_name(format!("{name}.{arch}.tgz"));
    (!name.contains('/') && whole.is_file()).then_some(whole)
}

/// Where people find an object: its first path in a state.
pub(crate) fn name_of(state: &State, object: &Digest) -> String {
    let entries = state.entries().iter();
    let mut paths = entries.filter(|(_, entry)| matches!(entry, Entry::Object(digest) if digest == object));
    paths.next().map_or_else(|| object.short(), |(path, _)| path.as_str().to_owned())
}
