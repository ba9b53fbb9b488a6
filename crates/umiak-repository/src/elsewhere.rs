//! Taking from a device that is reached over a wire: `get`, `merge` and `clone` where there is no directory to read.
//!
//! Guarantees as for any other source: every object is hashed while it comes, in the pool's own copy, and the committed
//! state changes last. Unlike those of a directory, objects get their names one by one, as soon as they are whole: a wire
//! breaks, and what came over it should not have to come again.
//!
//! What a wire is, and how it is read on after a cut, is not known here.

use std::io::Read;
use std::path::Path;

use umiak_pvr::{Parts, State, StateError, StatePath};
use umiak_spec::{Digest, Observer};

use crate::checkout::CheckoutReport;
use crate::error::Error;
use crate::pool::Stored;
use crate::repository::Repository;
use crate::source::first_paths;
use crate::transfer::{CloneOptions, TransferReport, build_directory};

/// Why something elsewhere cannot be had; for callers to look into.
pub type ElsewhereError = Box<dyn std::error::Error + Send + Sync>;

/// A device that is somewhere else.
pub trait Elsewhere {
    /// What people call it; noted as where was taken from.
    fn name(&self) -> String;

    /// The state of the device.
    ///
    /// # Errors
    /// Whatever keeps it from being had.
    fn state(&self, observer: &dyn Observer) -> Result<State, ElsewhereError>;

    /// One object of it.
    ///
    /// # Errors
    /// Whatever keeps it from being had.
    fn object<'a>(&'a self, digest: &Digest, observer: &'a dyn Observer) -> Result<Arriving<'a>, ElsewhereError>;
}

/// The bytes of an object, on their way. They need not be those that its digest says.
pub struct Arriving<'a> {
    /// How many there will be, if that is known.
    pub length: Option<u64>,
    /// They. An error inside of an `io::Error` is kept.
    pub bytes: Box<dyn Read + 'a>,
}

impl Repository {
    /// Lays `parts` of the state of a device elsewhere over the committed one, key by key.
    ///
    /// # Errors
    /// [`Error::Elsewhere`], [`Error::DamagedElsewhere`], [`Error::Result`]: the state was not changed; objects that came
    /// are in the pool.
    pub fn get_from(
        &self,
        device: &dyn Elsewhere,
        parts: &Parts,
        observer: &dyn Observer,
    ) -> Result<TransferReport, Error> {
        self.transfer_from(device, parts, State::overlay, observer)
    }

    /// The same, merging JSON documents that both have member by member (RFC 7386).
    ///
    /// # Errors
    /// As [`Repository::get_from`].
    pub fn merge_from(
        &self,
        device: &dyn Elsewhere,
        parts: &Parts,
        observer: &dyn Observer,
    ) -> Result<TransferReport, Error> {
        self.transfer_from(device, parts, State::merge, observer)
    }

    fn transfer_from(
        &self,
        device: &dyn Elsewhere,
        parts: &Parts,
        combine: fn(&State, &State) -> Result<State, StateError>,
        observer: &dyn Observer,
    ) -> Result<TransferReport, Error> {
        let _lock = self.lock(observer)?;
        let theirs = device.state(observer).map_err(|source| failed(device, source))?.filter(parts);
        let before = self.pristine()?;
        let after = combine(&before, &theirs).map_err(Error::Result)?;
        let mut stored = Stored::default();
        for (digest, path) in first_paths(&theirs) {
            observer.check()?;
            if !self.pool().contains(&digest) {
                let one = self.fetch(device, &digest, path, observer)?;
                stored.objects += one.objects;
                stored.bytes += one.bytes;
            }
        }
        observer.check()?;
        let staging = self.staging()?;
        let report = self.adopt(&staging, &before, &after, stored)?;
        self.remember(&staging, &device.name(), parts)?;
        Ok(report)
    }

    /// Brings one object into the pool.
    fn fetch(
        &self,
        device: &dyn Elsewhere,
        digest: &Digest,
        path: StatePath,
        observer: &dyn Observer,
    ) -> Result<Stored, Error> {
        let mut arriving = device.object(digest, observer).map_err(|source| failed(device, source))?;
        if let Some(length) = arriving.length {
            observer.expect("Reading", length);
        }
        let mut stage = self.pool().stage()?;
        let name = device.name();
        match stage.add_stream(digest, &mut *arriving.bytes, Path::new(&name), observer) {
            Ok(()) => stage.publish(|_| true, observer),
            Err(Error::Damaged { found, .. }) => Err(Error::DamagedElsewhere { name, path, digest: *digest, found }),
            Err(Error::Io { action: "read", source, .. }) => Err(failed(
                device,
                source.into_inner().unwrap_or_else(|| std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
            )),
            Err(error) => Err(error),
        }
    }
}

/// Makes `directory`, which must be absent or empty, a copy of a device elsewhere, with its files.
///
/// # Errors
/// As [`Repository::get_from`] and [`Repository::checkout`]: `directory` is as it was. Objects that came are in the pool,
/// if that is not inside of it.
pub fn clone_from(
    device: &dyn Elsewhere,
    parts: &Parts,
    directory: &Path,
    options: &CloneOptions,
    observer: &dyn Observer,
) -> Result<(Repository, CheckoutReport), Error> {
    build_directory(directory, options.objects.as_deref(), |repository| {
        repository.get_from(device, parts, observer)?;
        repository.checkout(options.checkout, observer)
    })
}

fn failed(device: &dyn Elsewhere, source: ElsewhereError) -> Error {
    match source.downcast::<umiak_spec::Cancelled>() {
        Ok(cancelled) => Error::Cancelled(*cancelled),
        Err(source) => Error::Elsewhere { name: device.name(), source },
    }
}
