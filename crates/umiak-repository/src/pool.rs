//! The object pool: one flat directory of files named by the SHA-256 of their content, shared by device directories.
//!
//! Guarantees: an object gets its name only after its bytes were hashed *in the pool's own copy* and made durable; a set
//! of objects is published as a whole or not at all (short of a crash, which leaves good objects, only fewer); what is
//! copied out is hashed on the way. No file that a user edits is ever linked into the pool: contents are cloned
//! (`FICLONE`) or copied. Objects are read-only files (0444).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use umiak_spec::{Digest, Observer, Sha256};

use crate::durable::{self, Staged, Staging};
use crate::error::{Error, IoContext};
use crate::hash;

const STAGING: &str = ".umiak-tmp";

/// An object pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    directory: PathBuf,
}

/// What a change added to a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stored {
    /// Objects that were not there before.
    pub objects: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl Pool {
    /// The pool in `directory`, which need not exist yet.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Its directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the object `digest` is or would be.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.directory.join(digest.hex())
    }

    /// Whether there is a file for `digest`; its content is not looked at.
    #[must_use]
    pub fn contains(&self, digest: &Digest) -> bool {
        fs::symlink_metadata(self.path(digest)).is_ok_and(|metadata| metadata.is_file())
    }

    /// Whether the object is there with the content its name says.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the content is another one; [`Error::Io`] when it cannot be read.
    pub fn verify(&self, digest: &Digest, observer: &dyn Observer) -> Result<(), Error> {
        let path = self.path(digest);
        let found = hash::file(&path, "Verifying", observer)?;
        if found == *digest { Ok(()) } else { Err(Error::Damaged { path, found }) }
    }

    /// Removes all objects but these; only for a pool that no other device directory uses.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn retain(&self, wanted: &BTreeSet<Digest>) -> Result<(), Error> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            result => result.at("list", &self.directory)?,
        };
        for entry in entries {
            let name = entry.at("list", &self.directory)?.file_name();
            let digest = name.to_str().and_then(|name| Digest::from_hex(name).ok());
            if let Some(digest) = digest.filter(|digest| !wanted.contains(digest)) {
                durable::remove_file(&self.path(&digest))?;
            }
        }
        Ok(())
    }

    /// Starts adding objects.
    pub(crate) fn stage(&self) -> Result<PoolStage<'_>, Error> {
        let staging = Staging::open(&self.directory.join(STAGING))?;
        Ok(PoolStage { pool: self, staging, objects: BTreeMap::new() })
    }

    /// Copies an object into a new file of `staging`, hashing what is written.
    pub(crate) fn copy_out(
        &self,
        digest: &Digest,
        staging: &Staging,
        mode: u32,
        observer: &dyn Observer,
    ) -> Result<Staged, Error> {
        let path = self.path(digest);
        let mut source = File::open(&path).at("open", &path)?;
        let (staged, mut copy) = staging.create(mode)?;
        let found = copy_hashed(&mut source, &path, &mut copy, staged.path(), observer)?;
        if found == *digest { Ok(staged) } else { Err(Error::Damaged { path, found }) }
    }
}

/// Objects that are on their way into a pool. Dropped without [`PoolStage::publish`], nothing has happened.
pub(crate) struct PoolStage<'a> {
    pool: &'a Pool,
    staging: Staging,
    objects: BTreeMap<Digest, (Staged, u64)>,
}

impl PoolStage<'_> {
    /// Whether the object will be there after publishing.
    pub(crate) fn holds(&self, digest: &Digest) -> bool {
        self.objects.contains_key(digest)
    }

    /// Every object that is staged.
    pub(crate) fn digests(&self) -> impl Iterator<Item = Digest> {
        self.objects.keys().copied()
    }

    /// Takes the content of a user's file. Returns the digest of the copy, which is what counts if the file changes
    /// meanwhile.
    pub(crate) fn add_file(&mut self, path: &Path, observer: &dyn Observer) -> Result<Digest, Error> {
        let mut source = File::open(path).at("open", path)?;
        let (staged, mut copy) = self.staging.create(0o444)?;
        let digest = copy_hashed(&mut source, path, &mut copy, staged.path(), observer)?;
        let size = copy.metadata().at("read", staged.path())?.len();
        self.objects.insert(digest, (staged, size));
        Ok(digest)
    }

    /// Takes the object `digest` from a stream.
    pub(crate) fn add_stream(
        &mut self,
        digest: &Digest,
        reader: &mut dyn Read,
        origin: &Path,
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        let (staged, mut copy) = self.staging.create(0o444)?;
        let mut hash = Sha256::new();
        let size = hash::pump(reader, origin, "Reading", observer, |bytes| {
            hash.update(bytes);
            copy.write_all(bytes).at("write", staged.path())
        })?;
        let found = hash.finish();
        if found != *digest {
            return Err(Error::Damaged { path: origin.join("objects").join(digest.hex()), found });
        }
        self.objects.insert(*digest, (staged, size));
        Ok(())
    }

    /// Takes the object `digest` from another pool.
    pub(crate) fn add_object(&mut self, digest: &Digest, from: &Pool, observer: &dyn Observer) -> Result<(), Error> {
        let staged = from.copy_out(digest, &self.staging, 0o444, observer)?;
        let size = fs::metadata(staged.path()).at("read", staged.path())?.len();
        self.objects.insert(*digest, (staged, size));
        Ok(())
    }

    /// Gives all objects but those `unwanted` their names. An object that is there already is verified and kept; a
    /// damaged one is replaced, with a note.
    pub(crate) fn publish(self, wanted: impl Fn(&Digest) -> bool, observer: &dyn Observer) -> Result<Stored, Error> {
        let mut fresh = Vec::new();
        for (digest, (staged, size)) in self.objects.into_iter().filter(|(digest, _)| wanted(digest)) {
            match self.pool.contains(&digest).then(|| self.pool.verify(&digest, observer)) {
                Some(Ok(())) => continue,
                Some(Err(Error::Damaged { path, .. })) => {
                    observer.note(&format!("Replaced the damaged object {}", path.display()));
                }
                Some(Err(error)) => return Err(error),
                None => {}
            }
            fresh.push((digest, staged, size));
        }
        if fresh.is_empty() {
            return Ok(Stored::default());
        }
        durable::sync(fresh.iter().map(|(_, staged, _)| staged))?;
        observer.check()?;
        let stored = Stored { objects: fresh.len(), bytes: fresh.iter().map(|(_, _, size)| size).sum() };
        for (digest, staged, _) in fresh {
            staged.publish(&self.pool.path(&digest))?;
        }
        durable::sync_directory(&self.pool.directory)?;
        Ok(stored)
    }
}

/// Copies by cloning where the file system can, and returns the digest of the copy.
fn copy_hashed(
    source: &mut File,
    source_path: &Path,
    copy: &mut File,
    copy_path: &Path,
    observer: &dyn Observer,
) -> Result<Digest, Error> {
    if rustix::fs::ioctl_ficlone(&*copy, &*source).is_ok() {
        copy.seek(SeekFrom::Start(0)).at("read", copy_path)?;
        return hash::opened(copy, copy_path, "Copying", observer);
    }
    let mut hash = Sha256::new();
    hash::pump(source, source_path, "Copying", observer, |bytes| {
        hash.update(bytes);
        copy.write_all(bytes).at("write", copy_path)
    })?;
    Ok(hash.finish())
}
