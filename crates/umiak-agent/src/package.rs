//! pvr packages: the state and the objects, read from the files that an app of a target names.
//!
//! A package (`pvr export`) has both and is one stream, so that all that is wanted of it is taken in one pass. A state may
//! stand alone as well, canonical JSON in a file, with its objects in other files beside it. Guarantees: nothing is
//! written but through the store, which verifies; entries that are neither the state nor objects are passed over; limits
//! hold; a file that is gone or damaged does no harm as long as another one has what is wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};

use umiak_layer::{Body, TarReader};
use umiak_pvr::State;
use umiak_repository::package::PackageError;
use umiak_spec::target::{Carrier, Origin, TargetApp};
use umiak_spec::{Cancelled, Digest, Limits, Observer};
use umiak_store::{Incoming, Store, StoreError};

use crate::parcel;
use crate::target::ResolveError;

/// Bytes of a state.
const STATE: u64 = 4 << 20;

fn wrong(path: &Path, why: impl std::fmt::Display) -> ResolveError {
    ResolveError::File { path: path.to_owned(), why: why.to_string() }
}

/// What is done with a file of the package: its name, its length, its content.
type Take<'t> = dyn FnMut(&str, u64, &mut dyn Read) -> Result<bool, ResolveError> + 't;

/// Hands over the files in their order, until `take` says that it has enough. A state that stands alone is one file `json`.
fn files(path: &Path, limits: &Limits, observer: &dyn Observer, take: &mut Take<'_>) -> Result<(), ResolveError> {
    let file = File::open(path).map_err(|error| ResolveError::Missing {
        what: format!("the package {}", path.display()),
        why: format!("it cannot be opened: {error}"),
    })?;
    let mut start = BufReader::new(&file);
    let begins = start.fill_buf().map_err(|error| wrong(path, error))?;
    if begins.trim_ascii_start().first() == Some(&b'{') {
        let size = file.metadata().map_err(|error| wrong(path, error))?.len();
        return take("json", size, &mut start).map(drop);
    }
    let plain = umiak_layer::decompress(start, limits).map_err(|error| wrong(path, error))?;
    let mut reader = TarReader::new(BufReader::new(plain), *limits);
    while let Some(entry) = reader.next_entry().map_err(|error| wrong(path, error))? {
        observer.check()?;
        let Body::File(size) = entry.body else { continue };
        let name = String::from_utf8_lossy(entry.path.as_bytes()).into_owned();
        if !take(&name, size, &mut reader.content())? {
            return Ok(());
        }
    }
    Ok(())
}

/// The state of a package.
pub(crate) fn state(path: &Path, limits: &Limits, observer: &dyn Observer) -> Result<State, ResolveError> {
    let mut found = None;
    files(path, limits, observer, &mut |name, size, content| {
        if name != "json" {
            return Ok(true);
        }
        if size > STATE {
            return Err(wrong(path, format!("its state has {size} bytes, more than the limit of {STATE}")));
        }
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes).map_err(|error| wrong(path, error))?;
        found = Some(State::parse(&bytes, STATE).map_err(|error| wrong(path, error))?);
        Ok(false)
    })?;
    found.ok_or_else(|| wrong(path, "it is an archive without a state"))
}

/// What is done with an object that is wanted: its digest as its name has it, its length, its content. Whether it is what
/// was wanted.
type TakeObject<'t> = dyn FnMut(&Digest, u64, &mut dyn Read) -> Result<bool, ResolveError> + 't;

/// Hands over those objects of one file that are still `open`, and takes off the list what was taken.
fn objects(
    path: &Path,
    open: &mut BTreeSet<Digest>,
    limits: &Limits,
    observer: &dyn Observer,
    take: &mut TakeObject<'_>,
) -> Result<(), ResolveError> {
    files(path, limits, observer, &mut |name, size, content| {
        if let Some(Ok(digest)) = name.strip_prefix("objects/").map(Digest::from_hex)
            && open.contains(&digest)
            && take(&digest, size, content)?
        {
            open.remove(&digest);
        }
        Ok(!open.is_empty())
    })
}

/// The files that objects of an app may be in, in the order in which they are asked: those that it names, and the whole
/// packages beside deltas.
pub(crate) fn carriers(app: &TargetApp) -> Vec<PathBuf> {
    let own = match &app.origin {
        Origin::Package(path) => Some(path.as_path()),
        Origin::Image(_) => None,
    };
    let named = || own.into_iter().chain(app.objects.iter().filter_map(Carrier::path));
    named().map(Path::to_owned).chain(named().filter_map(parcel::beside)).collect()
}

/// Hands over the `open` objects of an app, each from the first file that has it, and takes them off the list.
///
/// # Errors
/// Something is still open then: the first thing that was wrong with a file, else that none has it.
pub(crate) fn gather(
    app: &TargetApp,
    open: &mut BTreeSet<Digest>,
    limits: &Limits,
    observer: &dyn Observer,
    take: &mut TakeObject<'_>,
) -> Result<(), ResolveError> {
    let mut told = None;
    for path in carriers(app) {
        if open.is_empty() {
            return Ok(());
        }
        match objects(&path, open, limits, observer, take) {
            Ok(()) => {}
            Err(error) if is_of_file(&error) => drop(told.get_or_insert(error)),
            Err(error) => return Err(error),
        }
    }
    match (open.first(), told) {
        (None, _) => Ok(()),
        (Some(_), Some(told)) => Err(told),
        (Some(digest), None) => Err(ResolveError::Missing {
            what: format!("the object {} of {}", digest.short(), app.name),
            why: "its package has it not".to_owned(),
        }),
    }
}

/// Whether another file may do better.
fn is_of_file(error: &ResolveError) -> bool {
    match error {
        ResolveError::File { .. } | ResolveError::Missing { .. } => true,
        ResolveError::Store(error) => {
            matches!(**error, StoreError::WrongDigest { .. } | StoreError::WrongLength { .. })
        }
        _ => false,
    }
}

/// Brings the `open` objects of an app into the store, those that are there already in place of damaged ones, and takes them
/// off the list; none that is longer than `limit` says of it.
pub(crate) fn fetch(
    store: &Store,
    app: &TargetApp,
    open: &mut BTreeSet<Digest>,
    limit: &dyn Fn(&Digest) -> u64,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<(), ResolveError> {
    let mut longer = BTreeMap::new();
    let gathered = gather(app, open, limits, observer, &mut |digest, size, content| {
        let most = limit(digest);
        if size > most {
            longer.insert(*digest, (size, most));
            return Ok(false);
        }
        keep(store, digest, size, content, observer).map(|()| true)
    });
    // Another file may have had it right.
    let blamed = open.iter().find_map(|digest| Some((digest, longer.get(digest)?)));
    match (gathered, blamed) {
        (Err(ResolveError::Missing { .. }), Some((digest, (size, most)))) => Err(ResolveError::Missing {
            what: format!("the object {} of {}", digest.short(), app.name),
            why: format!("its package has {size} bytes of that name, more than the {most} that it may have"),
        }),
        (gathered, _) => gathered,
    }
}

/// Brings one object into the store.
pub(crate) fn keep(
    store: &Store,
    digest: &Digest,
    size: u64,
    content: &mut dyn Read,
    observer: &dyn Observer,
) -> Result<(), ResolveError> {
    let mut ingest = store.ingest(digest, size)?;
    let unread = |error: io::Error| {
        let what = format!("the object {}", digest.short());
        ResolveError::Missing { what, why: format!("its package cannot be read: {error}") }
    };
    // What an interruption left need not be written again, only read past.
    pour(&mut content.take(ingest.offset()), observer, &unread, |_| Ok(()))?;
    pour(content, observer, &unread, |bytes| ingest.write(bytes))?;
    Ok(ingest.finish()?)
}

/// Lays one object of the stream `name` aside, for a store that others may be changing.
pub(crate) fn lay_aside(
    incoming: &Incoming,
    digest: &Digest,
    size: u64,
    content: &mut dyn Read,
    name: &Path,
    observer: &dyn Observer,
) -> Result<(), ResolveError> {
    let mut coming = incoming.begin(digest, size)?;
    let unread = |source: io::Error| {
        let package = name.to_owned();
        let error = match source.kind() {
            io::ErrorKind::UnexpectedEof => PackageError::Truncated { package, what: "an object".to_owned() },
            _ => PackageError::Read { package, source },
        };
        ResolveError::Package { path: name.to_owned(), source: Box::new(error.into()) }
    };
    pour(content, observer, &unread, |bytes| coming.write(bytes))?;
    Ok(coming.finish()?)
}

/// Hands over bytes as they come. `unread` makes an error of what stopped them, but for a request to stop.
fn pour(
    content: &mut dyn Read,
    observer: &dyn Observer,
    unread: &dyn Fn(io::Error) -> ResolveError,
    mut write: impl FnMut(&[u8]) -> Result<(), StoreError>,
) -> Result<(), ResolveError> {
    let mut buffer = vec![0; 128 << 10];
    loop {
        observer.check()?;
        match content.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => write(&buffer[..count])?,
            Err(error) if Cancelled::is_behind(&error) => return Err(Cancelled.into()),
            Err(error) => return Err(unread(error)),
        }
    }
}
