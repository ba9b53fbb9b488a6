//! Whole blobs: `blobs/sha256/<64 digits>` as in an image layout, each with the bytes that its name says.
//!
//! A blob comes here through [`Store::put_blob`], [`crate::Ingest`], [`crate::Incoming`] or [`Store::make_blob`], all of which
//! verify; there is no other way.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use umiak_spec::{Digest, ReadAt};

use crate::durable;
use crate::error::{IoContext as _, StoreError};
use crate::store::Store;

/// A blob that is open for reading; it stays readable when it is removed meanwhile.
#[derive(Debug)]
pub struct Blob {
    file: File,
    size: u64,
    path: PathBuf,
}

impl Blob {
    /// Bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The blob's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open file, at its start.
    #[must_use]
    pub fn into_file(self) -> File {
        self.file
    }
}

impl ReadAt for Blob {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        ReadAt::read_exact_at(&self.file, buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.size)
    }
}

impl Store {
    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs").join("sha256")
    }

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    /// Whether the blob is here whole. Its bytes are not read: [`Store::check`] does that.
    #[must_use]
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.blob_path(digest).is_file()
    }

    /// The blob, if it is here.
    ///
    /// # Errors
    /// The file system.
    pub fn blob(&self, digest: &Digest) -> Result<Option<Blob>, StoreError> {
        let path = self.blob_path(digest);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.at("open", &path)?,
        };
        let size = file.metadata().at("read", &path)?.len();
        Ok(Some(Blob { file, size, path }))
    }

    /// The bytes of a small blob (a manifest, a config), verified again; `None` when it is not here.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] for more than `limit` bytes; [`StoreError::WrongDigest`] for a damaged blob; the file system.
    pub fn document(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(blob) = self.blob(digest)? else { return Ok(None) };
        if blob.size > limit {
            return Err(StoreError::TooLarge { what: digest.short(), limit });
        }
        let mut bytes = Vec::new();
        blob.file.take(limit + 1).read_to_end(&mut bytes).at("read", &blob.path)?;
        match Digest::of(&bytes) {
            found if found == *digest => Ok(Some(bytes)),
            found => Err(StoreError::WrongDigest { wanted: *digest, found }),
        }
    }

    /// Makes a blob of `bytes`, which are verified. Replaces a damaged one; does nothing when it is here and whole.
    ///
    /// # Errors
    /// [`StoreError::WrongDigest`]; the file system.
    pub fn put_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        self.updating()?;
        let found = Digest::of(bytes);
        if found != *digest {
            return Err(StoreError::WrongDigest { wanted: *digest, found });
        }
        if matches!(self.document(digest, bytes.len() as u64), Ok(Some(_))) {
            return self.settle(); // an earlier call may have failed with its very last operation
        }
        let mut staged = self.stage_bytes(bytes)?;
        staged.rename(&self.blob_path(digest))?;
        self.sync_names(&self.blobs())
    }

    /// Gives the file `bytes`, which is verified and synced, the name of the blob.
    pub(crate) fn adopt(&self, bytes: &Path, digest: &Digest) -> Result<(), StoreError> {
        let place = self.blob_path(digest);
        self.disk.rename(bytes, &place).at("create", &place)?;
        self.sync_names(&self.blobs())
    }

    /// The blobs that are here, sorted.
    ///
    /// # Errors
    /// The file system.
    pub fn blob_list(&self) -> Result<Vec<Digest>, StoreError> {
        let names = durable::entries(&self.blobs())?;
        Ok(names.iter().filter_map(|name| Digest::from_hex(name).ok()).collect())
    }
}
