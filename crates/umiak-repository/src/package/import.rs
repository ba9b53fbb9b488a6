//! Reading a package.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use umiak_pvr::{Parts, State, StateError};
use umiak_spec::{Cancelled, Digest, Limits, Observer};

use super::PackageError;
use super::delta::DOCUMENT;
use super::tar::{Kind, Reader};
use crate::DOCUMENT_LIMIT;
use crate::error::Error;
use crate::pool::{Pool, PoolStage};
use crate::repository::Repository;
use crate::source::first_paths;
use crate::transfer::TransferReport;

/// Names of entries that are passed over, at most.
pub(super) const IGNORED: usize = 100;

/// What a package's state does to the committed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ImportMode {
    /// Takes its place, as with pvr.
    #[default]
    Replace,
    /// Is laid over it key by key, as `get` does.
    Overlay,
    /// Is merged into it, JSON documents member by member, as `merge` does.
    Merge,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImportReport {
    /// Changes of the committed state and of the pool.
    pub transfer: TransferReport,
    /// Objects of the package that its state does not name; they were not taken.
    pub extra: Vec<Digest>,
    /// Other entries that were passed over (the first hundred).
    pub ignored: Vec<String>,
}

/// What else a package had besides its state and the objects of it.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    extra: BTreeSet<Digest>,
    ignored: Vec<String>,
}

impl Repository {
    /// Reads a package from `input` (`name` is for messages) and makes its state the committed one, as `mode` says. The
    /// files of the directory are not touched.
    ///
    /// # Errors
    /// [`Error::Package`], [`Error::State`], [`Error::Missing`], [`Error::Damaged`], [`Error::Cancelled`]: neither the
    /// state nor the pool was changed.
    pub fn import(
        &self,
        input: &mut dyn Read,
        name: &Path,
        mode: ImportMode,
        limits: &Limits,
        observer: &dyn Observer,
    ) -> Result<ImportReport, Error> {
        let _lock = self.lock(observer)?;
        let before = self.pristine()?;
        let mut stage = self.pool().stage()?;
        let (theirs, rest) = read(input, name, &Parts::all(), &mut stage, self.pool(), limits, observer)?;
        let after = match mode {
            ImportMode::Replace => Ok(theirs),
            ImportMode::Overlay => before.overlay(&theirs),
            ImportMode::Merge => before.merge(&theirs),
        };
        let after = after.map_err(Error::Result)?;
        let needed = after.objects();
        let stored = stage.publish(|digest| needed.contains(digest), observer)?;
        observer.check()?;
        let transfer = self.adopt(&self.staging()?, &before, &after, stored)?;
        Ok(ImportReport { transfer, extra: rest.extra.into_iter().collect(), ignored: rest.ignored })
    }
}

/// Reads a package: the `parts` of its state; their objects go into `stage`, unless only `have`, the pool that is
/// being staged for, has them.
pub(crate) fn read(
    input: &mut dyn Read,
    package: &Path,
    parts: &Parts,
    stage: &mut PoolStage<'_>,
    have: &Pool,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<(State, Rest), Error> {
    let input = umiak_layer::decompress(input, limits)
        .map_err(|source| PackageError::Read { package: package.to_owned(), source })?;
    let mut archive = Reader::new(input, package);
    let mut state: Option<State> = None;
    let mut needed: Option<BTreeSet<Digest>> = None;
    let mut rest = Rest::default();
    let mut entries = 0;
    while let Some(header) = archive.next().map_err(cancelled)? {
        observer.check()?;
        let refused = |reason| PackageError::Entry { package: package.to_owned(), entry: shown(&header.name), reason };
        entries += 1;
        if entries > limits.entries {
            return Err(refused("is one more than the limit of entries").into());
        }
        let name = clean(&header.name).map_err(refused)?;
        match (header.kind, name.as_str(), name.strip_prefix("objects/").map(Digest::from_hex)) {
            (Kind::Other, ..) => return Err(refused("is neither a file nor a directory").into()),
            (Kind::Directory, ..) => {}
            (Kind::File, "json", _) => {
                let read = read_state(&mut archive, package, header.size, |bytes| State::parse(bytes, DOCUMENT_LIMIT))?;
                if state.as_ref().is_some_and(|state| *state != read) {
                    return Err(refused("is there twice, with different content").into());
                }
                needed = Some(read.filter(parts).objects());
                state = Some(read);
            }
            (Kind::File, _, Some(Ok(digest))) if needed.as_ref().is_none_or(|needed| needed.contains(&digest)) => {
                if header.size > limits.file {
                    return Err(refused("is larger than the limit of a file").into());
                }
                add(stage, &digest, &mut archive, package, observer)?;
            }
            (Kind::File, _, Some(Ok(digest))) => drop(rest.extra.insert(digest)),
            (Kind::File, _, Some(Err(_))) => return Err(refused("is not named by a SHA-256").into()),
            (Kind::File, ..) => {
                if rest.ignored.len() < IGNORED {
                    rest.ignored.push(name);
                }
            }
        }
    }
    archive.finish().map_err(cancelled)?;
    let state = state.ok_or_else(|| PackageError::NoState(package.to_owned()))?;
    let all = state.objects();
    let state = state.filter(parts);
    check_complete(&state, stage, have, observer).map_err(|error| lacking(error, package, &rest.ignored))?;
    rest.extra.extend(stage.digests());
    rest.extra.retain(|digest| !all.contains(digest));
    Ok((state, rest))
}

/// The state of a package; what comes behind it is not read.
pub(crate) fn peek(
    input: &mut dyn Read,
    package: &Path,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<State, Error> {
    let input = umiak_layer::decompress(input, limits)
        .map_err(|source| PackageError::Read { package: package.to_owned(), source })?;
    let mut archive = Reader::new(input, package);
    for _ in 0..limits.entries {
        observer.check()?;
        let Some(header) = archive.next().map_err(cancelled)? else { break };
        if header.kind == Kind::File && clean(&header.name) == Ok("json".to_owned()) {
            return read_state(&mut archive, package, header.size, |bytes| State::parse(bytes, DOCUMENT_LIMIT));
        }
    }
    Err(PackageError::NoState(package.to_owned()).into())
}

/// Fails unless every object of `state` is staged, or in the pool and undamaged.
fn check_complete(state: &State, stage: &PoolStage<'_>, have: &Pool, observer: &dyn Observer) -> Result<(), Error> {
    let mut missing = Vec::new();
    for (digest, path) in first_paths(state) {
        if stage.holds(&digest) {
            continue;
        }
        if have.contains(&digest) {
            have.verify(&digest, observer)?;
        } else {
            missing.push((digest, path));
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(Error::Missing(missing)) }
}

/// Says of a package without its objects whether it is one at all.
pub(super) fn lacking(error: Error, package: &Path, ignored: &[String]) -> Error {
    let is_delta = matches!(error, Error::Missing(_)) && ignored.iter().any(|name| name == DOCUMENT);
    if is_delta { PackageError::OnlyDelta(package.to_owned()).into() } else { error }
}

fn add<R: Read>(
    stage: &mut PoolStage<'_>,
    digest: &Digest,
    archive: &mut Reader<'_, R>,
    package: &Path,
    observer: &dyn Observer,
) -> Result<(), Error> {
    let result = stage.add_stream(digest, &mut archive.content(), package, observer);
    match result {
        Err(Error::Io { action: "read", source, .. }) => Err(content_error(package, source, "an object")),
        other => other,
    }
}

/// The state that is the current entry.
pub(super) fn read_state<R: Read>(
    archive: &mut Reader<'_, R>,
    package: &Path,
    size: u64,
    parse: impl FnOnce(&[u8]) -> Result<State, StateError>,
) -> Result<State, Error> {
    let bad = |source| Error::State { path: package.to_owned(), source };
    if size > DOCUMENT_LIMIT {
        let error = umiak_pvr::json::ParseError::TooLong { length: size, limit: DOCUMENT_LIMIT };
        return Err(bad(error.into()));
    }
    let mut bytes = Vec::new();
    archive.content().read_to_end(&mut bytes).map_err(|error| content_error(package, error, "the state"))?;
    parse(&bytes).map_err(bad)
}

pub(super) fn content_error(package: &Path, source: std::io::Error, what: &str) -> Error {
    let package = package.to_owned();
    let error = match source.kind() {
        std::io::ErrorKind::UnexpectedEof => PackageError::Truncated { package, what: what.to_owned() },
        _ => PackageError::Read { package, source },
    };
    cancelled(error)
}

/// A reader that was cancelled says so through an `io::Error`.
pub(super) fn cancelled(error: PackageError) -> Error {
    match &error {
        PackageError::Read { source, .. } if Cancelled::is_behind(source) => Cancelled.into(),
        _ => error.into(),
    }
}

/// An entry's name without `./` in front and `/` behind.
pub(super) fn clean(name: &[u8]) -> Result<String, &'static str> {
    let name = std::str::from_utf8(name).map_err(|_| "has a name that is not UTF-8")?;
    if name.starts_with('/') {
        return Err("has an absolute name");
    }
    if name.chars().any(char::is_control) {
        return Err("has a control character in its name");
    }
    if name.split('/').any(|component| component == "..") {
        return Err("has a `..` in its name");
    }
    let components: Vec<_> = name.split('/').filter(|component| !matches!(*component, "" | ".")).collect();
    Ok(components.join("/"))
}

pub(super) fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().filter(|character| !character.is_control()).take(120).collect()
}
