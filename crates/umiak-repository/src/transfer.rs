//! Taking a state from elsewhere: `get`, `merge`, `clone`. Objects first, then the state; the files of the directory are
//! not touched by `get` and `merge`.

use std::fs;
use std::path::{Path, PathBuf};

use umiak_pvr::{Parts, Reference, State, StateError, StatePath};
use umiak_spec::Observer;

use crate::checkout::{CheckoutOptions, CheckoutReport};
use crate::commit::compare;
use crate::durable::{self, Staging};
use crate::error::{Error, IoContext};
use crate::pool::Stored;
use crate::repository::{CONFIG, InitOptions, Repository};
use crate::source::open_reference;

/// What taking from elsewhere did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TransferReport {
    /// Files that are new in the committed state.
    pub added: Vec<StatePath>,
    /// Files that are others now.
    pub changed: Vec<StatePath>,
    /// Files that left the state (only when a package replaced it).
    pub removed: Vec<StatePath>,
    /// What the pool did not have yet.
    pub stored: Stored,
}

/// How a device directory is cloned.
#[derive(Debug, Clone, Default)]
pub struct CloneOptions {
    /// The object pool to record; `None` for `.pvr/objects`.
    pub objects: Option<PathBuf>,
    /// How files are written.
    pub checkout: CheckoutOptions,
}

impl Repository {
    /// Lays another device's state over the committed one, key by key.
    ///
    /// # Errors
    /// [`Error::NotASource`], [`Error::State`], [`Error::Missing`], [`Error::Damaged`], …: nothing was changed.
    pub fn get(&self, reference: &Reference, observer: &dyn Observer) -> Result<TransferReport, Error> {
        self.transfer(reference, State::overlay, observer)
    }

    /// Merges another device's state into the committed one; JSON documents that both have are merged member by member
    /// (RFC 7386).
    ///
    /// # Errors
    /// As [`Repository::get`].
    pub fn merge(&self, reference: &Reference, observer: &dyn Observer) -> Result<TransferReport, Error> {
        self.transfer(reference, State::merge, observer)
    }

    fn transfer(
        &self,
        reference: &Reference,
        combine: fn(&State, &State) -> Result<State, StateError>,
        observer: &dyn Observer,
    ) -> Result<TransferReport, Error> {
        let _lock = self.lock(observer)?;
        let (source, parts) = open_reference(reference)?;
        let mut stage = self.pool().stage()?;
        let theirs = source.take(parts, &mut stage, self.pool(), observer)?;
        let before = self.pristine()?;
        let after = combine(&before, &theirs).map_err(Error::Result)?;
        let needed = after.objects();
        let stored = stage.publish(|digest| needed.contains(digest), observer)?;
        observer.check()?;
        let staging = self.staging()?;
        let report = self.adopt(&staging, &before, &after, stored)?;
        let path = std::path::absolute(&reference.path).at("use", Path::new(&reference.path))?;
        self.remember(&staging, &path.to_string_lossy(), &reference.parts)?;
        Ok(report)
    }

    /// Makes `after` the committed state.
    pub(crate) fn adopt(
        &self,
        staging: &Staging,
        before: &State,
        after: &State,
        stored: Stored,
    ) -> Result<TransferReport, Error> {
        let difference = compare(before, after);
        if before != after {
            self.write_state(staging, after)?;
        }
        let (added, changed, removed) = (difference.added, difference.changed, difference.removed);
        Ok(TransferReport { added, changed, removed, stored })
    }

    /// Notes where was taken from, for the next time.
    pub(crate) fn remember(&self, staging: &Staging, source: &str, parts: &Parts) -> Result<(), Error> {
        let mut source = source.to_owned();
        if !parts.is_all() {
            source += &format!("#{parts}");
        }
        let mut config = self.config.clone();
        config.set_last_source(&source);
        if config == self.config {
            return Ok(());
        }
        durable::replace(staging, &self.root().join(CONFIG), config.to_text().as_bytes(), 0o600)
    }
}

/// Makes `directory`, which must be absent or empty, a copy of another device or package, with its files.
///
/// # Errors
/// [`Error::NotEmpty`], and as [`Repository::get`] and [`Repository::checkout`]: `directory` is as it was.
pub fn clone(
    reference: &Reference,
    directory: &Path,
    options: &CloneOptions,
    observer: &dyn Observer,
) -> Result<(Repository, CheckoutReport), Error> {
    build_directory(directory, options.objects.as_deref(), |repository| {
        repository.get(reference, observer)?;
        repository.checkout(options.checkout, observer)
    })
}

/// Makes a device directory beside its place, fills it and moves it there. On errors nothing of it is left; what one left who
/// was killed goes with the next one to the same place.
pub(crate) fn build_directory<R>(
    directory: &Path,
    objects: Option<&Path>,
    fill: impl FnOnce(&Repository) -> Result<R, Error>,
) -> Result<(Repository, R), Error> {
    let directory = std::path::absolute(directory).at("use", directory)?;
    if !is_absent_or_empty(&directory)? {
        return Err(Error::NotEmpty(directory));
    }
    let name = directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let parent = durable::parent(&directory);
    durable::create_directories(parent)?;
    let (temporary, _ours) = durable::claim_directory(parent, &format!(".{name}.umiak-"))?;
    let filled = (|| {
        let options = InitOptions { objects: objects.map(Path::to_owned), ..InitOptions::default() };
        let repository = Repository::init(&temporary, &options)?;
        let result = fill(&repository)?;
        durable::rename(&temporary, &directory)?;
        durable::sync_directory(parent)?;
        Ok(result)
    })();
    match filled {
        Ok(result) => Ok((Repository::open(&directory)?, result)),
        Err(error) => {
            durable::remove_tree(&temporary);
            Err(error)
        }
    }
}

/// Whether there is nothing at `directory`, or an empty directory.
pub(crate) fn is_absent_or_empty(directory: &Path) -> Result<bool, Error> {
    match fs::read_dir(directory) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error).at("list", directory),
    }
}
