//! pvr packages: the state and the objects, read from the file that `pvr export` wrote.
//!
//! A package is one stream, so that all that is wanted of it is taken in one pass. Guarantees: nothing is written but
//! through the store, which verifies; entries that are neither the state nor objects are passed over; limits hold.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use umiak_layer::{Body, TarReader};
use umiak_pvr::State;
use umiak_spec::{Digest, Limits, Observer};

use crate::target::ResolveError;

/// Bytes of a state.
const STATE: u64 = 4 << 20;

fn wrong(path: &Path, why: impl std::fmt::Display) -> ResolveError {
    ResolveError::File { path: path.to_owned(), why: why.to_string() }
}

/// What is done with a file of the package: its name, its length, its content.
type Take<'t> = dyn FnMut(&str, u64, &mut dyn Read) -> Result<bool, ResolveError> + 't;

/// Hands over the files in their order, until `take` says that it has enough.
fn files(path: &Path, limits: &Limits, observer: &dyn Observer, take: &mut Take<'_>) -> Result<(), ResolveError> {
    let file = File::open(path).map_err(|error| ResolveError::Missing {
        what: format!("the package {}", path.display()),
        why: format!("it cannot be opened: {error}"),
    })?;
    let plain = umiak_layer::decompress(file, limits).map_err(|error| wrong(path, error))?;
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

/// What is done with an object: its digest as its name has it, its length, its content.
type TakeObject<'t> = dyn FnMut(&Digest, u64, &mut dyn Read) -> Result<(), ResolveError> + 't;

/// Hands over the objects in their order.
pub(crate) fn objects(
    path: &Path,
    limits: &Limits,
    observer: &dyn Observer,
    take: &mut TakeObject<'_>,
) -> Result<(), ResolveError> {
    files(path, limits, observer, &mut |name, size, content| {
        if let Some(Ok(digest)) = name.strip_prefix("objects/").map(Digest::from_hex) {
            take(&digest, size, content)?;
        }
        Ok(true)
    })
}

/// Brings the objects for which `wanted` is true into the store.
pub(crate) fn fetch(
    store: &umiak_store::Store,
    path: &Path,
    wanted: &dyn Fn(&Digest) -> bool,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<(), ResolveError> {
    objects(path, limits, observer, &mut |digest, size, content| {
        if wanted(digest) && !store.has_blob(digest) {
            keep(store, path, digest, size, content, observer)
        } else {
            Ok(())
        }
    })
}

/// Brings those objects that are still `open` and no longer than `limit` into the store, in place of damaged ones, and takes
/// them off the list.
pub(crate) fn documents(
    store: &umiak_store::Store,
    path: &Path,
    open: &mut BTreeSet<Digest>,
    limit: u64,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<(), ResolveError> {
    objects(path, limits, observer, &mut |digest, size, content| {
        if size <= limit && open.remove(digest) { keep(store, path, digest, size, content, observer) } else { Ok(()) }
    })
}

/// Brings one object into the store in place of a damaged one.
pub(crate) fn replace(
    store: &umiak_store::Store,
    path: &Path,
    object: &Digest,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<(), ResolveError> {
    let mut found = false;
    objects(path, limits, observer, &mut |digest, size, content| {
        if digest != object || found {
            return Ok(());
        }
        found = true;
        keep(store, path, digest, size, content, observer)
    })?;
    let why = || "its package has it not".to_owned();
    if found {
        Ok(())
    } else {
        Err(ResolveError::Missing { what: format!("the object {}", object.short()), why: why() })
    }
}

fn keep(
    store: &umiak_store::Store,
    path: &Path,
    digest: &Digest,
    size: u64,
    content: &mut dyn Read,
    observer: &dyn Observer,
) -> Result<(), ResolveError> {
    let mut ingest = store.ingest(digest, size)?;
    let unread = |error: io::Error| wrong(path, format!("an object cannot be read: {error}"));
    // What an interruption left need not be written again, only read past.
    io::copy(&mut content.take(ingest.offset()), &mut io::sink()).map_err(unread)?;
    let mut buffer = vec![0; 128 << 10];
    loop {
        observer.check()?;
        match content.read(&mut buffer).map_err(unread)? {
            0 => break,
            count => ingest.write(&buffer[..count])?,
        }
    }
    Ok(ingest.finish()?)
}
