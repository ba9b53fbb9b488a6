//! Packages judged before anything is done with them: whether they are whole, whose they are, for which device.
//!
//! Guarantees: a package that was judged good is one archive with a state and exactly its objects, each with the bytes that
//! its name says; the policy accepts it, and its makers say that it is for this device. Nothing is changed by judging;
//! what comes through a stream lies aside afterwards, for the store to be taken in.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use umiak_pvr::State;
use umiak_repository::Error as PackageError;
use umiak_repository::package::{Contents, DeltaFile, scan_judged};
use umiak_spec::target::{Carrier, Origin};
use umiak_spec::{Digest, Observer};
use umiak_store::{Incoming, Store};

use super::error::ResolveError;
use super::trusted::{Came, trust};
use super::{foreign, places};
use crate::package;
use crate::parcel;
use crate::sources::Sources;

/// What a package from standard input is called.
const STREAM: &str = "-";

/// What ends the reading of a package.
enum Ended {
    Package(PackageError),
    Other(ResolveError),
}

impl From<PackageError> for Ended {
    fn from(error: PackageError) -> Self {
        Self::Package(error)
    }
}

impl Ended {
    fn of(self, path: &Path) -> ResolveError {
        match self {
            Self::Package(PackageError::Cancelled(cancelled)) => cancelled.into(),
            Self::Package(source) => ResolveError::Package { path: path.to_owned(), source: Box::new(source) },
            Self::Other(error) => error,
        }
    }
}

/// Judges packages.
pub(crate) struct Judge<'a> {
    pub sources: &'a Sources,
    /// What the device knows; `None` where there is no store yet.
    pub store: Option<&'a Store>,
    pub observer: &'a dyn Observer,
}

impl Judge<'_> {
    /// Judges the package in a file, from its first byte to its last.
    ///
    /// # Errors
    /// What is wrong with it, by name.
    pub(crate) fn file(&self, path: &Path) -> Result<Contents, ResolveError> {
        let unopened = |error| ResolveError::Missing {
            what: format!("the package {}", path.display()),
            why: format!("it cannot be opened: {error}"),
        };
        // A pipe would be waited for, with the store's locks in hand.
        if !fs::metadata(path).map_err(unopened)?.is_file() {
            let why = "it is no file; what comes through a pipe is taken by umiakd tx add -".to_owned();
            return Err(ResolveError::File { path: path.to_owned(), why });
        }
        let mut file = File::open(path).map_err(unopened)?;
        let origin = places::named(&Origin::Package(path.to_owned()));
        if let Some(delta) = DeltaFile::open(path).map_err(|error| Ended::Package(error).of(path))? {
            return self.delta(origin, delta);
        }
        let judge = |state: &State| self.accepted(origin.clone(), state).map_err(Ended::Other);
        scan_judged(&mut file, path, &self.sources.limits, self.observer, judge, |_, _, _| Ok(()))
            .map_err(|ended| ended.of(path))
    }

    /// Judges the delta of a package: also whether what it starts from is here.
    fn delta(&self, origin: String, delta: DeltaFile) -> Result<Contents, ResolveError> {
        self.accepted(origin, delta.state())?;
        delta.verify(self.observer).map_err(|error| Ended::Package(error).of(delta.path()))?;
        let contents = delta.contents();
        match self.store.and_then(|store| parcel::unmet(delta, store)) {
            Some(unmet) => Err(unmet),
            None => Ok(contents),
        }
    }

    /// Judges a state that was put together from packages, each of which was judged before.
    ///
    /// # Errors
    /// The policy does not accept the whole.
    pub(crate) fn merged(&self, state: &State, from: &[Carrier]) -> Result<(), ResolveError> {
        trust(self.sources, self.store, &Came::merged(from), state)
    }

    /// What can be told by the state alone.
    fn accepted(&self, origin: String, state: &State) -> Result<(), ResolveError> {
        trust(self.sources, self.store, &Came::From(origin), state)?;
        foreign::by_documents(state, &self.sources.platform)
    }
}

/// Judges packages as they come, while others may change the store.
pub(crate) struct Listener<'a> {
    pub sources: &'a Sources,
    pub incoming: &'a Incoming,
    pub observer: &'a dyn Observer,
}

impl Listener<'_> {
    /// Judges a package from its first byte to its last, and lays its objects aside.
    ///
    /// # Errors
    /// What is wrong with it, by name; there is no room for an object, told by its header.
    pub(crate) fn package(&self, input: &mut dyn Read) -> Result<Contents, ResolveError> {
        let path = Path::new(STREAM);
        let named: RefCell<Option<BTreeSet<Digest>>> = RefCell::default();
        let judge = |state: &State| {
            self.accepted(state).map_err(Ended::Other)?;
            named.replace(Some(state.objects()));
            Ok(())
        };
        let take = |digest: &Digest, size: u64, content: &mut dyn Read| {
            let named = named.borrow();
            let Some(named) = named.as_ref() else {
                let why = "its state does not come before its objects: it has to come as a file".to_owned();
                return Err(Ended::Other(ResolveError::File { path: path.to_owned(), why }));
            };
            // One that is not named is told at the end, with its name.
            if named.contains(digest) { self.object(digest, size, content).map_err(Ended::Other) } else { Ok(()) }
        };
        let taken = scan_judged(input, path, &self.sources.limits, self.observer, judge, take);
        taken.map_err(|ended| ended.of(path))
    }

    fn accepted(&self, state: &State) -> Result<(), ResolveError> {
        let store = self.incoming.look(self.observer)?;
        let judge = Judge { sources: self.sources, store: Some(&store), observer: self.observer };
        judge.accepted(places::carrier(&Carrier::Stored), state)
    }

    /// Sees that an object will be there: the store's own, or the one that comes.
    fn object(&self, digest: &Digest, size: u64, content: &mut dyn Read) -> Result<(), ResolveError> {
        if self.incoming.keep(digest)? {
            return Ok(());
        }
        self.sources.has_room(&self.incoming.look(self.observer)?, digest, size)?;
        package::lay_aside(self.incoming, digest, size, content, Path::new(STREAM), self.observer)
    }
}
