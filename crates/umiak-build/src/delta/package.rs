//! Deltas of packages: what differs between one release of a package and the next, object by object.
//!
//! ```text
//! object   in the base as well                          kept: nothing of it is carried
//!          a file of the state's documents, or small    whole
//!          else                                         made of the base's object at its path, where that is smaller
//! ```
//!
//! Both packages are read with every check into a store that is gone afterwards. Guarantees: every delta is applied there, by
//! the code that devices apply it with, before it is written, and its space is measured; the same two packages give the same
//! bytes. A squashfs image of another maker than ours is taken as a plain file, as everywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufWriter, Read};
use std::path::Path;
use std::sync::Arc;

use umiak_delta::container::Container;
use umiak_delta::divide::Divided;
use umiak_delta::{DeltaError, MakeOptions};
use umiak_pvr::delta::{Carried, Form, ObjectDelta, PackageDelta, Release};
use umiak_pvr::{Entry, State, StatePath, device};
use umiak_repository::package::{Contents, delta_size, scan, state, write_delta};
use umiak_spec::{Digest, Limits, Observer, ReadAt};
use umiak_store::{LayerOptions, RealDisk, Room, Store, StoreError, StoreOptions};

use super::files::{bytes, make};
use super::parts;
use super::place::{Beside, Nameless, ScratchStore};
use super::squashfs::Bench;
use crate::error::{BuildError, IoContext as _};

/// Objects of fewer bytes come whole: there is little to spare.
const LEAST: u64 = 16 << 10;

/// A release of a package.
#[derive(Debug, Clone, Copy)]
pub struct Package<'a> {
    /// What people call it: `<name>-<version>-<build>`.
    pub name: &'a str,
    /// The file.
    pub path: &'a Path,
}

/// With what deltas of packages are made.
#[derive(Clone, Copy)]
pub struct PackageWork<'a> {
    /// Directory for what is made until it has its place; nothing stays there.
    pub scratch: &'a Path,
    /// How deltas are made.
    pub options: &'a MakeOptions,
    /// Bounds on input.
    pub limits: Limits,
    /// Is told what happens, and may cancel.
    pub observer: &'a dyn Observer,
}

/// The delta of a package that was made.
#[derive(Debug, Clone)]
pub struct MadePackage {
    /// What it says of itself.
    pub delta: PackageDelta,
    /// Bytes of its file.
    pub size: u64,
    /// Bytes of all objects of the target.
    pub full: u64,
    /// Whether it is smaller than these; otherwise nothing was written.
    pub worth: bool,
}

impl PackageWork<'_> {
    /// Makes the delta from one release to another and puts it at `out`.
    ///
    /// # Errors
    /// [`BuildError`]; `out` is then as it was.
    pub fn make(&self, base: Package<'_>, target: Package<'_>, out: &Path) -> Result<MadePackage, BuildError> {
        let place = ScratchStore::new(self.scratch)?;
        let store = Store::open(place.path(), Arc::new(RealDisk), &StoreOptions::UPDATE);
        let store = store.map_err(|error| self.failed(error))?;
        let wanted = state(target.path, &self.limits, self.observer).map_err(unreadable(target.path))?.objects();
        let from = self.read(&store, base.path, &wanted)?;
        let to = self.read(&store, target.path, &from.state.objects())?;
        let documents = device::documents(&to.state);
        let (mut objects, mut blobs) = (BTreeMap::new(), BTreeMap::new());
        for (path, entry) in to.state.entries() {
            let Entry::Object(object) = entry else { continue };
            if objects.contains_key(object) {
                continue;
            }
            let size = to.objects.get(object).copied().unwrap_or(0);
            let mut form = Form::Whole;
            if from.objects.contains_key(object) {
                form = Form::Kept;
            } else if size >= LEAST
                && !documents.contains(object)
                && let Some(base) = like(&from.state, path)
                && let Some((delta, blob)) = self.object(&store, &base, object)?
            {
                form = Form::Delta(delta);
                blobs.insert(*object, blob);
            }
            objects.insert(*object, Carried { size, form });
        }
        let (base, target) = (release(base.name, &from.state), release(target.name, &to.state));
        let delta = PackageDelta { base, target, objects };
        let full = to.objects.values().fold(0_u64, |sum, size| sum.saturating_add(*size));
        let size = delta_size(&to.state, &delta);
        let worth = size < full;
        if worth {
            self.write(&store, &to.state, &delta, &blobs, out)?;
        }
        Ok(MadePackage { delta, size, full, worth })
    }

    /// Reads a package; its objects come into the store, but for those that are known.
    fn read(&self, store: &Store, path: &Path, known: &BTreeSet<Digest>) -> Result<Contents, BuildError> {
        let mut file = File::open(path).at("open", path)?;
        let mut failed = None;
        let contents = scan(&mut file, path, &self.limits, self.observer, |object, size, content| {
            if known.contains(object) {
                return Ok(());
            }
            keep(store, object, size, path, content).map_err(|error| {
                failed = Some(error);
                umiak_repository::Error::NotASource(path.to_owned())
            })
        });
        match failed {
            Some(error) => Err(self.failed(error)),
            None => contents.map_err(unreadable(path)),
        }
    }

    fn write(
        &self,
        store: &Store,
        state: &State,
        delta: &PackageDelta,
        blobs: &BTreeMap<Digest, File>,
        out: &Path,
    ) -> Result<(), BuildError> {
        let beside = Beside::create(out)?;
        let content = |object: &Digest| -> io::Result<Box<dyn ReadAt + '_>> {
            if let Some(blob) = blobs.get(object) {
                return Ok(Box::new(blob));
            }
            let blob = store.blob(object).map_err(io::Error::other)?;
            Ok(Box::new(blob.ok_or(io::ErrorKind::NotFound)?))
        };
        write_delta(state, delta, &content, BufWriter::new(&beside.file), self.observer).map_err(unreadable(out))?;
        beside.commit()
    }

    /// What makes one object of another, where that is smaller than the object itself.
    fn object(&self, store: &Store, base: &Digest, target: &Digest) -> Result<Option<(ObjectDelta, File)>, BuildError> {
        let scratch = Nameless::new(self.scratch);
        let observer = self.observer;
        let path = |object: &Digest| match store.blob(object).map_err(|error| self.failed(error))? {
            Some(blob) => Ok(blob.path().to_owned()),
            None => Err(self.failed(StoreError::NoBlob(*object))),
        };
        let (base_path, target_path) = (path(base)?, path(target)?);
        let (base_bytes, target_bytes) = (bytes(&base_path)?, bytes(&target_path)?);
        let base_size = base_bytes.len().at("read", &base_path)?;
        let one = One { work: self, store, scratch: &scratch, base: (base, base_size), target };
        let plain = |bytes, path: &Path, digest: &Digest| Divided::new(bytes, b"", *digest, observer).at("read", path);
        let bench = Bench { scratch: &scratch, limits: &self.limits, observer };
        if let Some(image) = bench.target(&target_bytes, &target_path)? {
            let from: Box<dyn Container> = match bench.base(&base_bytes, &base_path)? {
                Some(from) => Box::new(from),
                None => Box::new(plain(Arc::clone(&base_bytes), &base_path, base)?),
            };
            match one.make(from.as_ref(), &image)? {
                Tried::Made(delta, blob) => return Ok(Some((delta, blob))),
                Tried::Larger => return Ok(None),
                // Our encoder does not make all of its blocks, though it makes those that were tried.
                Tried::Other => {}
            }
        }
        match one.make(&plain(base_bytes, &base_path, base)?, &plain(target_bytes, &target_path, target)?)? {
            Tried::Made(delta, blob) => Ok(Some((delta, blob))),
            Tried::Larger | Tried::Other => Ok(None),
        }
    }

    fn failed(&self, error: StoreError) -> BuildError {
        match error {
            StoreError::Cancelled(cancelled) => cancelled.into(),
            error => {
                let (action, path) = ("try a delta in", self.scratch.to_owned());
                BuildError::Io { action, path, source: io::Error::other(error) }
            }
        }
    }
}

/// What came of one way to make a delta.
enum Tried {
    /// It is smaller than what it makes.
    Made(ObjectDelta, File),
    /// It is not.
    Larger,
    /// It does not give the target.
    Other,
}

/// A delta between two objects of the store.
struct One<'a> {
    work: &'a PackageWork<'a>,
    store: &'a Store,
    scratch: &'a Nameless,
    base: (&'a Digest, u64),
    target: &'a Digest,
}

impl One<'_> {
    /// Makes the delta, and applies it as a device does.
    fn make(&self, base: &dyn Container, target: &dyn Container) -> Result<Tried, BuildError> {
        let PackageWork { scratch, options, limits, observer } = *self.work;
        let blob = self.scratch.file().at("create a scratch file in", scratch)?;
        make(&[base], target, &blob, scratch, options, observer)?;
        let size = ReadAt::len(&blob).at("look at a scratch file in", scratch)?;
        if size >= target.parts().size {
            return Ok(Tried::Larger);
        }
        let layers = LayerOptions { limits, ..LayerOptions::default() };
        let made = match self.store.replace_blob(self.target, &blob, Room::ANY, &layers, observer) {
            Err(StoreError::BlobDelta { source, .. }) if matches!(*source, DeltaError::Target { .. }) => {
                return Ok(Tried::Other);
            }
            made => made.map_err(|error| self.work.failed(error))?,
        };
        let bytes: parts::Bytes = Arc::new(blob.try_clone().at("read a scratch file in", scratch)?);
        let digest = parts::digest(&bytes, observer).at("read a scratch file in", scratch)?;
        let (base, base_size) = (*self.base.0, self.base.1);
        Ok(Tried::Made(ObjectDelta { base, base_size, blob: digest, size, spool: made.spooled }, blob))
    }
}

fn release(name: &str, state: &State) -> Release {
    Release { name: name.to_owned(), state: Digest::of(state.canonical().as_bytes()) }
}

fn unreadable(path: &Path) -> impl Fn(umiak_repository::Error) -> BuildError + '_ {
    |error| match error {
        umiak_repository::Error::Cancelled(cancelled) => cancelled.into(),
        error => BuildError::Package { path: path.to_owned(), source: Box::new(error) },
    }
}

/// The object of `base` that a delta to the one at `path` starts from: the one at the same path; else a squashfs image of
/// the same directory, the first by name.
fn like(base: &State, path: &StatePath) -> Option<Digest> {
    if let Some(Entry::Object(same)) = base.get(path.as_str()) {
        return Some(*same);
    }
    let is_image = |path: &str| path.ends_with(".squashfs");
    let (directory, _) = path.as_str().rsplit_once('/').filter(|_| is_image(path.as_str()))?;
    let near = |other: &str| is_image(other) && other.rsplit_once('/').is_some_and(|(above, _)| above == directory);
    base.entries().iter().find_map(|(other, entry)| match entry {
        Entry::Object(object) if near(other.as_str()) => Some(*object),
        _ => None,
    })
}

/// Puts an object of a package into the store.
fn keep(store: &Store, object: &Digest, size: u64, path: &Path, content: &mut dyn Read) -> Result<(), StoreError> {
    if store.has_blob(object) {
        return Ok(());
    }
    let mut ingest = store.ingest(object, size)?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => return ingest.finish(),
            Ok(count) => ingest.write(&buffer[..count])?,
            Err(source) => return Err(StoreError::Io { action: "read", path: path.to_owned(), source }),
        }
    }
}
