//! Deltas between packages: the state of the target, what the delta says of itself, and of each object what is carried.
//!
//! ```text
//! json                 the target's state, canonical
//! delta.json           how each object comes: docs/formats/package-delta.md
//! objects/<sha256>     an object that comes as it is      \ sorted by the object's digest,
//! deltas/<sha256>      what makes an object of another    / whichever it is
//! ```
//!
//! A ustar archive that is not compressed, of which every header follows from the two documents: so a file is judged whole
//! by its headers, and each object is at a known place. Guarantees: what was opened has exactly these entries and ends
//! where it has to; equal deltas are equal bytes; bytes are hashed as they are written, and when [`DeltaFile::verify`] is
//! asked. What this does not do: make deltas or apply them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use umiak_delta::Delta;
use umiak_pvr::State;
use umiak_pvr::delta::{Carried, Form, LIMIT, ObjectDelta, PackageDelta};
use umiak_spec::{Digest, Observer, ReadAt, Sha256, Stretch};

use super::{Contents, PackageError, tar};
use crate::DOCUMENT_LIMIT;
use crate::error::{Error, IoContext as _};
use crate::hash;

/// The entry behind the state by which a delta is known.
pub(super) const DOCUMENT: &str = "delta.json";

/// Bytes of a header, and what contents are padded to.
const BLOCK: u64 = 512;

/// Zeros behind the last entry.
const END: u64 = 1024;

/// The delta of a package, open for reading: contents are read from where they lie.
#[derive(Debug)]
pub struct DeltaFile {
    file: File,
    path: PathBuf,
    state: State,
    delta: PackageDelta,
    /// First bytes of what is carried, by object.
    places: BTreeMap<Digest, u64>,
}

/// A part of a file.
pub type Part<'f> = Stretch<&'f File>;

impl DeltaFile {
    /// Opens the file `path`; nothing where it is something else.
    ///
    /// # Errors
    /// [`Error::State`], [`Error::Package`]: it is a delta, and not whole or not what it says; the file system.
    pub fn open(path: &Path) -> Result<Option<Self>, Error> {
        let file = File::open(path).at("open", path)?;
        let length = ReadAt::len(&file).at("read", path)?;
        let reading = Reading { file: &file, path, length };
        let Some((size, document)) = reading.begins("json", 0o600, 0, DOCUMENT_LIMIT)? else { return Ok(None) };
        let Some((told, behind)) = reading.begins(DOCUMENT, 0o644, document, LIMIT)? else { return Ok(None) };
        let bytes = reading.bytes(BLOCK, size)?;
        let state =
            State::parse(&bytes, DOCUMENT_LIMIT).map_err(|source| Error::State { path: path.to_owned(), source })?;
        if state.canonical().as_bytes() != bytes {
            return Err(reading.refused("json", "is not in canonical form"));
        }
        let bytes = reading.bytes(document + BLOCK, told)?;
        let delta = PackageDelta::parse(&bytes, &state)
            .map_err(|source| PackageError::Delta { package: path.to_owned(), source })?;
        if delta.canonical().as_bytes() != bytes {
            return Err(reading.refused(DOCUMENT, "is not in canonical form"));
        }
        let places = reading.places(&delta, behind)?;
        Ok(Some(Self { path: path.to_owned(), state, delta, places, file }))
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The state of the target.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// What the delta says of itself.
    #[must_use]
    pub const fn delta(&self) -> &PackageDelta {
        &self.delta
    }

    /// The bytes of an object that comes as it is. They were not hashed.
    #[must_use]
    pub fn whole(&self, object: &Digest) -> Option<Part<'_>> {
        self.part(object).filter(|_| matches!(self.delta.objects.get(object), Some(Carried { form: Form::Whole, .. })))
    }

    /// What makes an object of another, and the bytes that do. They were not hashed.
    #[must_use]
    pub fn made(&self, object: &Digest) -> Option<(ObjectDelta, Part<'_>)> {
        match self.delta.objects.get(object)?.form {
            Form::Delta(delta) => Some((delta, self.part(object)?)),
            Form::Kept | Form::Whole => None,
        }
    }

    /// What it holds, as of any package.
    #[must_use]
    pub fn contents(&self) -> Contents {
        Contents {
            state: self.state.clone(),
            objects: self.delta.objects.iter().map(|(object, told)| (*object, told.size)).collect(),
            ignored: Vec::new(),
            state_first: true,
            canonical: true,
            delta: Some(self.delta.clone()),
        }
    }

    fn part(&self, object: &Digest) -> Option<Part<'_>> {
        let size = carried(self.delta.objects.get(object)?)?;
        Some(Stretch { bytes: &self.file, offset: *self.places.get(object)?, size })
    }

    /// Hashes everything that is carried, and sees that each delta starts from and makes what the document says.
    ///
    /// # Errors
    /// [`Error::Damaged`] with the path of the entry; [`Error::Package`]; [`Error::Cancelled`]; the file system.
    pub fn verify(&self, observer: &dyn Observer) -> Result<(), Error> {
        observer.expect("Verifying", self.delta.objects.values().filter_map(carried).sum());
        for (object, told) in &self.delta.objects {
            let Some(part) = self.part(object) else { continue };
            let (entry, wanted) = entry(object, told);
            let found = hashed(&part, &self.path, "Verifying", observer, |_| Ok(()))?;
            if found != wanted {
                return Err(Error::Damaged { path: self.path.join(entry), found });
            }
            if let Form::Delta(delta) = told.form {
                self.check(object, told, &delta, &part)?;
            }
        }
        Ok(())
    }

    fn check(&self, object: &Digest, told: &Carried, delta: &ObjectDelta, part: &Part<'_>) -> Result<(), Error> {
        let (entry, _) = entry(object, told);
        let refused =
            |reason| Error::from(PackageError::Entry { package: self.path.clone(), entry: entry.clone(), reason });
        let opened = Delta::open(part).map_err(|_| refused("is no delta that this umiak can apply"))?;
        let index = opened.index();
        let starts = index.bases.iter().map(|base| (base.digest, base.size));
        if !starts.eq([(delta.base, delta.base_size)]) {
            return Err(refused("starts from something else than delta.json says"));
        }
        if (index.target.digest, index.target.size) != (*object, told.size) {
            return Err(refused("makes something else than delta.json says"));
        }
        Ok(())
    }
}

/// Bytes of an object that are in the file; none of one that is kept.
fn carried(told: &Carried) -> Option<u64> {
    match told.form {
        Form::Kept => None,
        Form::Whole => Some(told.size),
        Form::Delta(delta) => Some(delta.size),
    }
}

/// The name of an object's entry, and the digest of its bytes.
fn entry(object: &Digest, told: &Carried) -> (String, Digest) {
    match told.form {
        Form::Delta(delta) => (format!("deltas/{}", object.hex()), delta.blob),
        Form::Kept | Form::Whole => (format!("objects/{}", object.hex()), *object),
    }
}

/// A file that may be a delta.
struct Reading<'a> {
    file: &'a File,
    path: &'a Path,
    length: u64,
}

impl Reading<'_> {
    fn refused(&self, entry: &str, reason: &'static str) -> Error {
        PackageError::Entry { package: self.path.to_owned(), entry: entry.to_owned(), reason }.into()
    }

    /// The length of the entry `name` at `offset`, and where the next one begins; nothing where it is another.
    fn begins(&self, name: &str, mode: u32, offset: u64, limit: u64) -> Result<Option<(u64, u64)>, Error> {
        if offset.saturating_add(BLOCK) > self.length {
            return Ok(None);
        }
        let mut header = [0; 512];
        self.file.read_exact_at(&mut header, offset).at("read", self.path)?;
        let Some(size) =
            tar::size(&header).filter(|size| *size < tar::SIZE_LIMIT && header == tar::header(name, mode, *size))
        else {
            return Ok(None);
        };
        if size > limit {
            return Err(self.refused(name, "is longer than such a document may be"));
        }
        Ok(Some((size, end(offset, size))))
    }

    fn bytes(&self, offset: u64, size: u64) -> Result<Vec<u8>, Error> {
        if offset.saturating_add(size) > self.length {
            return Err(self.truncated());
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, offset).at("read", self.path)?;
        Ok(bytes)
    }

    fn truncated(&self) -> Error {
        let what = "what it carries".to_owned();
        PackageError::Truncated { package: self.path.to_owned(), what }.into()
    }

    /// Where everything is that `delta` says is carried, the first entry of it at `offset`.
    fn places(&self, delta: &PackageDelta, mut offset: u64) -> Result<BTreeMap<Digest, u64>, Error> {
        let mut places = BTreeMap::new();
        for (object, told) in &delta.objects {
            let Some(size) = carried(told) else { continue };
            if size >= tar::SIZE_LIMIT {
                return Err(PackageError::TooLarge { digest: *object, size }.into());
            }
            let (name, _) = entry(object, told);
            if end(offset, size) > self.length {
                return Err(self.truncated());
            }
            if self.bytes(offset, BLOCK)? != tar::header(&name, 0o644, size) {
                return Err(self.refused(&name, "is not where it has to be"));
            }
            places.insert(*object, offset + BLOCK);
            offset = end(offset, size);
        }
        match self.length.checked_sub(offset) {
            Some(END) if self.bytes(offset, END)?.iter().all(|byte| *byte == 0) => Ok(places),
            Some(rest) if rest < END => Err(self.truncated()),
            _ => Err(self.refused("behind the last one", "does not belong there")),
        }
    }
}

/// Where an entry of `size` bytes ends whose header is at `offset`.
fn end(offset: u64, size: u64) -> u64 {
    offset.saturating_add(BLOCK).saturating_add(size.div_ceil(BLOCK).saturating_mul(BLOCK))
}

/// Bytes that the file of a delta has.
#[must_use]
pub fn delta_size(state: &State, delta: &PackageDelta) -> u64 {
    let documents = [state.canonical().len() as u64, delta.canonical().len() as u64];
    let parts = delta.objects.values().filter_map(carried);
    documents.into_iter().chain(parts).fold(END, end)
}

/// Writes a delta. `content` gives what an object is carried as, which is hashed: after an error `output` is no delta and
/// must be thrown away.
///
/// # Errors
/// [`Error::Damaged`] for a content that is not what `delta` says; [`Error::Package`], [`Error::Cancelled`].
pub fn write_delta<'c>(
    state: &State,
    delta: &PackageDelta,
    content: &dyn Fn(&Digest) -> io::Result<Box<dyn ReadAt + 'c>>,
    mut output: impl Write,
    observer: &dyn Observer,
) -> Result<(), Error> {
    let mut write = |bytes: &[u8]| output.write_all(bytes).map_err(|error| Error::from(PackageError::Write(error)));
    let documents = [("json", 0o600, state.canonical()), (DOCUMENT, 0o644, delta.canonical())];
    for (name, mode, text) in documents {
        write(&tar::header(name, mode, text.len() as u64))?;
        write(text.as_bytes())?;
        write(tar::padding(text.len() as u64))?;
    }
    observer.expect("Writing", delta.objects.values().filter_map(carried).sum());
    for (object, told) in &delta.objects {
        let Some(size) = carried(told) else { continue };
        if size >= tar::SIZE_LIMIT {
            return Err(PackageError::TooLarge { digest: *object, size }.into());
        }
        let (name, wanted) = entry(object, told);
        let path = Path::new(&name);
        let bytes = content(object).at("read", path)?;
        if bytes.len().at("read", path)? != size {
            let source = io::Error::other("it has another length");
            return Err(Error::Io { action: "carry", path: path.to_owned(), source });
        }
        write(&tar::header(&name, 0o644, size))?;
        let part = Stretch { bytes, offset: 0, size };
        let found = hashed(&part, path, "Writing", observer, &mut write)?;
        if found != wanted {
            return Err(Error::Damaged { path: path.to_owned(), found });
        }
        write(tar::padding(size))?;
    }
    write(&[0; 1024])?;
    output.flush().map_err(|error| PackageError::Write(error).into())
}

/// The digest of a part, which `each` sees piece by piece.
fn hashed(
    part: &Stretch<impl ReadAt>,
    path: &Path,
    phase: &'static str,
    observer: &dyn Observer,
    mut each: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<Digest, Error> {
    let mut hash = Sha256::new();
    hash::pump(&mut InOrder { part, at: 0 }, path, phase, observer, |bytes| {
        hash.update(bytes);
        each(bytes)
    })?;
    Ok(hash.finish())
}

/// Reads a part from its beginning to its end.
struct InOrder<'a, R> {
    part: &'a Stretch<R>,
    at: u64,
}

impl<R: ReadAt> Read for InOrder<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.part.size.saturating_sub(self.at);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        self.part.read_exact_at(&mut buffer[..count], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
