//! A package taken apart with every check, for whoever installs or judges it: strict where [`super::read`] is forgiving.
//!
//! Guarantees: the archive is read once, in any order of its entries, in bounded memory; every object was hashed and found
//! to be what its name says; every object that the state names is there and no other; no key is there twice, no name
//! leads outside. What `take` was given counts only when [`scan`] has returned: until then the package may still prove bad.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use umiak_pvr::State;
use umiak_pvr::delta::PackageDelta;
use umiak_spec::{Digest, Limits, Observer, Sha256};

use super::PackageError;
use super::delta::DeltaFile;
use super::import::{IGNORED, cancelled, clean, content_error, lacking, read_state, shown};
use super::tar::{Content, Header, Kind, Reader};
use crate::DOCUMENT_LIMIT;
use crate::error::{Error, IoContext as _};
use crate::source::first_paths;

/// Bytes that are read at a time of what nobody takes.
const BUFFER: usize = 128 << 10;

/// What a package holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Its state.
    pub state: State,
    /// Its objects with their lengths in bytes: exactly those that the state names. Of a delta also those that it makes and
    /// those that it leaves out.
    pub objects: BTreeMap<Digest, u64>,
    /// Entries that mean nothing in a package (the first hundred).
    pub ignored: Vec<String>,
    /// Whether the state came first, so that a reader knows what it reads; pvr's and ours do.
    pub state_first: bool,
    /// Whether the state is in canonical form, which Pantavisor needs to verify signatures.
    pub canonical: bool,
    /// How its objects come, where it is the delta of a package.
    pub delta: Option<PackageDelta>,
}

/// Reads a package from its beginning to its end; `package` is what errors call it. Each object is handed to `take` once,
/// with its length and its bytes, which `take` may read or leave; an error of `take` ends it.
///
/// # Errors
/// [`Error::Package`], [`Error::State`], [`Error::Missing`], [`Error::Damaged`], [`Error::Cancelled`]; what `take` says.
pub fn scan<E: From<Error>>(
    input: &mut dyn Read,
    package: &Path,
    limits: &Limits,
    observer: &dyn Observer,
    take: impl FnMut(&Digest, u64, &mut dyn Read) -> Result<(), E>,
) -> Result<Contents, E> {
    scan_judged(input, package, limits, observer, |_| Ok(()), take)
}

/// The same with the state shown to `judge` as soon as it is read: before the objects, where it comes first. An error of
/// `judge` ends it.
///
/// # Errors
/// As [`scan`]; what `judge` says.
pub fn scan_judged<E: From<Error>>(
    input: &mut dyn Read,
    package: &Path,
    limits: &Limits,
    observer: &dyn Observer,
    mut judge: impl FnMut(&State) -> Result<(), E>,
    mut take: impl FnMut(&Digest, u64, &mut dyn Read) -> Result<(), E>,
) -> Result<Contents, E> {
    let unreadable = |source| cancelled(PackageError::Read { package: package.to_owned(), source });
    let input = umiak_layer::decompress(input, limits).map_err(unreadable)?;
    let mut found = Found { package, limits, state: None, canonical: true, objects: BTreeMap::new(), ignored: vec![] };
    let mut archive = Reader::new(input, package);
    let mut entries = 0;
    let mut state_first = true;
    while let Some(header) = archive.next().map_err(cancelled)? {
        observer.check().map_err(Error::from)?;
        entries += 1;
        match found.entry(&header, entries)? {
            Entry::Nothing => {}
            Entry::State => judge(found.state(&mut archive, header.size)?)?,
            Entry::Object(digest) => {
                state_first &= found.state.is_some();
                let again = found.objects.insert(digest, header.size).is_some();
                let mut content = Hashing::new(archive.content(), observer);
                if !again {
                    take(&digest, header.size, &mut content)?;
                }
                let read = content.finish().map_err(|error| content_error(package, error, "an object"))?;
                if read != digest {
                    let path = package.join("objects").join(digest.hex());
                    return Err(Error::Damaged { path, found: read }.into());
                }
            }
        }
    }
    archive.finish().map_err(cancelled)?;
    Ok(found.complete(state_first)?)
}

/// Reads the package in a file, or the delta of one, and hands nothing over.
///
/// # Errors
/// As [`scan`] and [`DeltaFile::verify`].
pub fn verify(path: &Path, limits: &Limits, observer: &dyn Observer) -> Result<Contents, Error> {
    if let Some(delta) = DeltaFile::open(path)? {
        delta.verify(observer)?;
        return Ok(delta.contents());
    }
    let mut file = File::open(path).at("open", path)?;
    scan(&mut file, path, limits, observer, |_, _, _| Ok(()))
}

/// The state of the package in a file, or of the delta of one. What comes behind it is not read.
///
/// # Errors
/// [`Error::Package`], [`Error::State`], [`Error::Cancelled`]; the file system.
pub fn state(path: &Path, limits: &Limits, observer: &dyn Observer) -> Result<State, Error> {
    let mut file = File::open(path).at("open", path)?;
    super::peek(&mut file, path, limits, observer)
}

/// What an entry is.
enum Entry {
    State,
    Object(Digest),
    Nothing,
}

/// What was found so far.
struct Found<'a> {
    package: &'a Path,
    limits: &'a Limits,
    state: Option<State>,
    canonical: bool,
    objects: BTreeMap<Digest, u64>,
    ignored: Vec<String>,
}

impl Found<'_> {
    /// Judges an entry by its header.
    fn entry(&mut self, header: &Header, number: usize) -> Result<Entry, Error> {
        let package = || self.package.to_owned();
        let refused = |reason| PackageError::Entry { package: package(), entry: shown(&header.name), reason }.into();
        if number > self.limits.entries {
            return Err(refused("is one more than the limit of entries"));
        }
        let name = clean(&header.name).map_err(refused)?;
        match (header.kind, name.as_str(), name.strip_prefix("objects/").map(Digest::from_hex)) {
            (Kind::Other, ..) => Err(refused("is neither a file nor a directory")),
            (Kind::Directory, ..) => Ok(Entry::Nothing),
            (Kind::File, "json", _) => Ok(Entry::State),
            (Kind::File, _, Some(Ok(_))) if header.size > self.limits.file => {
                Err(refused("is larger than the limit of a file"))
            }
            (Kind::File, _, Some(Ok(digest))) => Ok(Entry::Object(digest)),
            (Kind::File, _, Some(Err(_))) => Err(refused("is not named by a SHA-256")),
            (Kind::File, ..) => {
                if self.ignored.len() < IGNORED {
                    self.ignored.push(name);
                }
                Ok(Entry::Nothing)
            }
        }
    }

    fn state<R: Read>(&mut self, archive: &mut Reader<'_, R>, size: u64) -> Result<&State, Error> {
        if self.state.is_some() {
            let (package, entry) = (self.package.to_owned(), "json".to_owned());
            return Err(PackageError::Entry { package, entry, reason: "is there twice" }.into());
        }
        let parse = |bytes: &[u8]| {
            let state = State::parse_unique(bytes, DOCUMENT_LIMIT)?;
            self.canonical = state.canonical().as_bytes() == bytes;
            Ok(state)
        };
        Ok(self.state.insert(read_state(archive, self.package, size, parse)?))
    }

    /// Whether the state and the objects are for one another.
    fn complete(self, state_first: bool) -> Result<Contents, Error> {
        let state = self.state.ok_or_else(|| PackageError::NoState(self.package.to_owned()))?;
        let missing: Vec<_> =
            first_paths(&state).into_iter().filter(|(digest, _)| !self.objects.contains_key(digest)).collect();
        if !missing.is_empty() {
            return Err(lacking(Error::Missing(missing), self.package, &self.ignored));
        }
        let named = state.objects();
        let extra: Vec<Digest> = self.objects.keys().filter(|digest| !named.contains(digest)).copied().collect();
        if !extra.is_empty() {
            return Err(PackageError::Extra { package: self.package.to_owned(), objects: extra }.into());
        }
        let Self { objects, ignored, canonical, .. } = self;
        Ok(Contents { state, objects, ignored, state_first, canonical, delta: None })
    }
}

/// Hashes what is read through it.
struct Hashing<'o, C> {
    content: C,
    hash: Sha256,
    observer: &'o dyn Observer,
}

impl<'o, 'r, 'a, R: Read> Hashing<'o, Content<'r, 'a, R>> {
    fn new(content: Content<'r, 'a, R>, observer: &'o dyn Observer) -> Self {
        Self { content, hash: Sha256::new(), observer }
    }

    /// The digest of all of it; what was not read yet is read now.
    fn finish(mut self) -> io::Result<Digest> {
        let mut buffer = vec![0; BUFFER];
        while self.read(&mut buffer)? > 0 {}
        Ok(self.hash.finish())
    }
}

impl<C: Read> Read for Hashing<'_, C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.observer.check()?;
        let count = self.content.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.observer.advance("Verifying", count as u64);
        Ok(count)
    }
}
