//! How bytes become a blob: written as they arrive, picked up again after a cut, verified as a whole, then named.
//!
//! ```text
//! ingest/<64 digits>/about         sealed JSON: {"size": …, "validator": …}
//!                    bytes         the blob so far
//!                    checkpoints   records of 32 bytes: offset (u64, little-endian), first 24 bytes of the SHA-256 of all bytes before it
//! ```
//!
//! Guarantees: what is picked up again has been verified against a checkpoint, however the disk reordered or tore what it
//! wrote; of all blobs together at most [`CHECKPOINT`] bytes that were written are lost to a power cut. A name in `blobs` appears only when digest
//! and length are right and the bytes are durable.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use serde::{Deserialize, Serialize};
use umiak_spec::{Digest, Sha256};

use crate::disk::DiskFile;
use crate::durable;
use crate::error::{IoContext as _, StoreError};
use crate::sealed;
use crate::store::Store;

/// Of all blobs that are being written at once, so many bytes may be without a checkpoint: each has its share.
pub const CHECKPOINT: u64 = 512 << 10;

/// A share is never less than this, however many blobs are written at once.
const SHARE: u64 = 64 << 10;

/// Bytes of a record in `checkpoints`.
const RECORD: usize = 32;

/// Bytes of a validator: entity tags and dates are shorter.
const VALIDATOR_LIMIT: usize = 1024;

/// Bytes of `about` at most, sealed.
const ABOUT_LIMIT: u64 = 8 << 10;

#[derive(Serialize, Deserialize)]
struct About {
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    validator: Option<String>,
}

/// A blob that is not whole yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partial {
    /// What it will be.
    pub digest: Digest,
    /// Bytes that are here; not verified, so the last ones may have to be fetched again.
    pub here: u64,
    /// Bytes that it will have; `None` when that was lost.
    pub size: Option<u64>,
}

/// A blob that is being written. Dropped unfinished, it stays for the next time.
pub struct Ingest<'s> {
    store: &'s Store,
    digest: Digest,
    directory: PathBuf,
    about: About,
    bytes: Arc<dyn DiskFile>,
    checkpoints: Arc<dyn DiskFile>,
    /// Bytes in `checkpoints`.
    recorded: u64,
    hash: Sha256,
    offset: u64,
    /// Offset of the last checkpoint, and of the one before it.
    synced: [u64; 2],
    /// The names of the three files are durable.
    settled: bool,
    broken: bool,
}

impl Store {
    /// Begins the blob `digest` of `size` bytes, or goes on with what is here of it. A blob that is here already is
    /// replaced in the end, which is how a damaged one is repaired.
    ///
    /// # Errors
    /// [`StoreError::BeingIngested`]; the file system.
    pub fn ingest(&self, digest: &Digest, size: u64) -> Result<Ingest<'_>, StoreError> {
        self.updating()?;
        if !self.ingesting.lock().unwrap_or_else(PoisonError::into_inner).insert(*digest) {
            return Err(StoreError::BeingIngested(*digest));
        }
        let opened = self.pick_up(digest, size).and_then(|found| match found {
            Some(ingest) => Ok(ingest),
            None => self.begin(digest, About { size, validator: None }),
        });
        if opened.is_err() {
            self.ingesting.lock().unwrap_or_else(PoisonError::into_inner).remove(digest);
        }
        opened
    }

    /// The blobs that are not whole yet, sorted.
    ///
    /// # Errors
    /// The file system.
    pub fn partials(&self) -> Result<Vec<Partial>, StoreError> {
        let ingest = self.place("ingest");
        let names = durable::entries(&ingest)?;
        Ok(names
            .iter()
            .filter_map(|name| {
                let directory = ingest.join(name);
                let here = directory.join("bytes").metadata().ok()?.len();
                let size = about(&directory.join("about")).map(|about| about.size);
                Some(Partial {
                    digest: Digest::from_hex(name).ok()?,
                    here: size.map_or(here, |size| here.min(size)),
                    size,
                })
            })
            .collect())
    }

    /// Forgets what is here of a blob that is not whole yet, if anything.
    ///
    /// # Errors
    /// [`StoreError::BeingIngested`]; the file system.
    pub fn forget_partial(&self, digest: &Digest) -> Result<(), StoreError> {
        self.updating()?;
        if self.ingesting.lock().unwrap_or_else(PoisonError::into_inner).contains(digest) {
            return Err(StoreError::BeingIngested(*digest));
        }
        let directory = self.ingest_path(digest);
        if !directory.exists() {
            return Ok(());
        }
        durable::remove_tree(&*self.disk, &directory)?;
        self.sync_names(durable::parent(&directory))
    }

    /// Bytes that one blob may have without a checkpoint, so that what a cut takes of all of them does not grow with
    /// their number.
    fn share(&self) -> u64 {
        let blobs = self.ingesting.lock().unwrap_or_else(PoisonError::into_inner).len().max(1) as u64;
        (CHECKPOINT / blobs).max(SHARE)
    }

    fn ingest_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("ingest").join(digest.hex())
    }

    /// What is here of the blob, as far as its checkpoints vouch for it. What is of no use is removed.
    fn pick_up(&self, digest: &Digest, size: u64) -> Result<Option<Ingest<'_>>, StoreError> {
        let directory = self.ingest_path(digest);
        if !directory.exists() {
            return Ok(None);
        }
        let about = about(&directory.join("about")).filter(|about| about.size == size);
        let found = match about {
            Some(about) => self.resume(digest, about),
            None => Ok(None),
        };
        match found {
            Ok(Some(ingest)) => Ok(Some(ingest)),
            // A file of it is lost or cannot be read: nothing of it is worth an error.
            Ok(None) | Err(StoreError::Io { action: "open" | "read", .. }) => {
                durable::remove_tree(&*self.disk, &directory)?;
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    fn resume(&self, digest: &Digest, about: About) -> Result<Option<Ingest<'_>>, StoreError> {
        let directory = self.ingest_path(digest);
        let (bytes, checkpoints) = (directory.join("bytes"), directory.join("checkpoints"));
        let Some(records) = read_records(&checkpoints, about.size)? else { return Ok(None) };
        let good = verified(File::open(&bytes).at("open", &bytes)?, &records).at("read", &bytes)?;
        let file = self.disk.edit(&bytes).at("open", &bytes)?;
        let log = self.disk.edit(&checkpoints).at("open", &checkpoints)?;
        // What no checkpoint vouches for goes, and with it the records that spoke of it.
        let recorded = (good.records * RECORD) as u64;
        file.set_len(good.offset).at("cut", &bytes)?;
        log.set_len(recorded).at("cut", &checkpoints)?;
        Ok(Some(Ingest {
            store: self,
            digest: *digest,
            directory,
            about,
            bytes: file,
            checkpoints: log,
            recorded,
            hash: good.hash,
            offset: good.offset,
            synced: [0, 0],
            settled: false,
            broken: false,
        }))
    }

    fn begin(&self, digest: &Digest, about: About) -> Result<Ingest<'_>, StoreError> {
        let directory = self.ingest_path(digest);
        self.disk.mkdir(&directory).at("create", &directory)?;
        match self.fill(digest, directory.clone(), about) {
            Ok(ingest) => Ok(ingest),
            Err(error) => {
                let _ = durable::remove_tree(&*self.disk, &directory); // removed when it is begun again, else
                Err(error)
            }
        }
    }

    fn fill(&self, digest: &Digest, directory: PathBuf, about: About) -> Result<Ingest<'_>, StoreError> {
        let create = |name: &str| {
            let path = directory.join(name);
            self.disk.create(&path).at("create", &path)
        };
        let (bytes, checkpoints) = (create("bytes")?, create("checkpoints")?);
        let ingest = Ingest {
            store: self,
            digest: *digest,
            about,
            bytes,
            checkpoints,
            recorded: 0,
            hash: Sha256::new(),
            offset: 0,
            synced: [0, 0],
            settled: false,
            broken: false,
            directory,
        };
        match ingest.write_about() {
            Ok(()) => Ok(ingest),
            Err(error) => Err(ingest.abandon(error)),
        }
    }
}

impl fmt::Debug for Ingest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ingest").field("digest", &self.digest).field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl Ingest<'_> {
    /// Bytes that are here: the next one to write is this one.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes of the whole blob.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.about.size
    }

    /// What the server called this content (an entity tag, a date) when it sent the first bytes.
    #[must_use]
    pub fn validator(&self) -> Option<&str> {
        self.about.validator.as_deref()
    }

    /// Drops what is here, to begin again with content that the server calls `validator`.
    ///
    /// # Errors
    /// The file system; [`StoreError::TooLarge`] for a validator of more than 1024 bytes.
    pub fn restart(&mut self, validator: Option<&str>) -> Result<(), StoreError> {
        self.usable()?;
        if validator.is_some_and(|text| text.len() > VALIDATOR_LIMIT) {
            return Err(StoreError::TooLarge { what: "the validator".to_owned(), limit: VALIDATOR_LIMIT as u64 });
        }
        let bytes = self.directory.join("bytes");
        self.broken = true;
        self.checkpoints.set_len(0).at("cut", &self.directory.join("checkpoints"))?;
        self.bytes.set_len(0).at("cut", &bytes)?;
        self.about.validator = validator.map(str::to_owned);
        self.write_about()?;
        (self.recorded, self.offset, self.synced) = (0, 0, [0, 0]);
        (self.hash, self.settled, self.broken) = (Sha256::new(), false, false);
        Ok(())
    }

    /// Adds bytes. Once this blob's share of [`CHECKPOINT`] has come they are made durable.
    ///
    /// # Errors
    /// [`StoreError::WrongLength`] for more than the blob's size; the file system. When the write itself fails nothing of
    /// `bytes` is taken and it can be tried again; see [`Ingest::offset`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.usable()?;
        let end = self.offset.saturating_add(bytes.len() as u64);
        if end > self.about.size {
            let (digest, wanted) = (self.digest, self.about.size);
            return Err(StoreError::WrongLength { digest, wanted, found: wanted + 1 });
        }
        self.bytes.write_all_at(bytes, self.offset).at("write", &self.directory.join("bytes"))?;
        self.hash.update(bytes);
        self.offset = end;
        if self.offset - self.synced[0] >= self.store.share() { self.checkpoint() } else { Ok(()) }
    }

    /// Makes what is here durable.
    ///
    /// # Errors
    /// The file system. When bytes could not be made durable, what was written since the last checkpoint but one is given
    /// up, and the ingest has to be opened again ([`StoreError::Broken`]).
    pub fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.usable()?;
        if self.synced[0] == self.offset && self.settled {
            return Ok(());
        }
        self.make_durable()?;
        if self.synced[0] != self.offset {
            self.synced = [self.offset, self.synced[0]];
        }
        Ok(())
    }

    /// Verifies length and digest and gives the blob its name; then it is durable.
    ///
    /// # Errors
    /// [`StoreError::WrongLength`] when bytes are missing (they can still be written the next time);
    /// [`StoreError::WrongDigest`], after which the partial blob is gone; the file system.
    pub fn finish(mut self) -> Result<(), StoreError> {
        self.usable()?;
        if self.offset != self.about.size {
            let (digest, wanted, found) = (self.digest, self.about.size, self.offset);
            return Err(StoreError::WrongLength { digest, wanted, found });
        }
        self.broken = true; // whatever happens now, dropping it writes nothing more
        let found = self.hash.clone().finish();
        if found != self.digest {
            let wanted = self.digest;
            durable::remove_tree(&*self.store.disk, &self.directory)?;
            return Err(StoreError::WrongDigest { wanted, found });
        }
        self.sync_bytes()?;
        self.store.adopt(&self.directory.join("bytes"), &self.digest)?;
        // The blob is there, whatever becomes of the rest: opening the store clears it away.
        let _ = durable::remove_tree(&*self.store.disk, &self.directory);
        Ok(())
    }

    fn usable(&self) -> Result<(), StoreError> {
        if self.broken { Err(StoreError::Broken(self.digest)) } else { Ok(()) }
    }

    fn record(&mut self) -> io::Result<()> {
        let mut record = [0; RECORD];
        record[..8].copy_from_slice(&self.offset.to_le_bytes());
        record[8..].copy_from_slice(&self.hash.clone().finish().as_bytes()[..RECORD - 8]);
        self.checkpoints.write_all_at(&record, self.recorded)?;
        self.recorded += RECORD as u64;
        Ok(())
    }

    /// The order does not matter: a record that is here without its bytes is not believed.
    fn make_durable(&mut self) -> Result<(), StoreError> {
        self.sync_bytes()?;
        let log = self.directory.join("checkpoints");
        if self.offset > 0 {
            self.record().at("write", &log)?;
        }
        self.checkpoints.sync().inspect_err(|_| self.broken = true).at("sync", &log)?;
        if !self.settled {
            self.store.disk.sync_dir(&self.directory).at("sync", &self.directory)?;
            let above = durable::parent(&self.directory);
            self.store.disk.sync_dir(above).at("sync", above)?;
            self.settled = true;
        }
        Ok(())
    }

    /// When the kernel could not write bytes it forgets them: what may be among them is cut off, so that it is written again.
    /// The last page of the last checkpoint may be.
    fn sync_bytes(&mut self) -> Result<(), StoreError> {
        let done = self.bytes.sync();
        if done.is_err() {
            self.broken = true;
            let _ = self.bytes.set_len(self.synced[1]);
        }
        done.at("sync", &self.directory.join("bytes"))
    }

    fn write_about(&self) -> Result<(), StoreError> {
        let body = serde_json::to_vec(&self.about).expect("numbers and text are JSON");
        self.store.stage_bytes(&sealed::seal(&body))?.rename(&self.directory.join("about"))
    }

    fn abandon(mut self, error: StoreError) -> StoreError {
        self.broken = true;
        error
    }
}

impl Drop for Ingest<'_> {
    fn drop(&mut self) {
        if !self.broken && self.offset > self.synced[0] {
            let _ = self.record(); // so that what is in the page cache counts when no power was cut
        }
        self.store.ingesting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.digest);
    }
}

fn about(path: &std::path::Path) -> Option<About> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(ABOUT_LIMIT).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(sealed::unseal(&bytes).ok()?).ok()
}

/// The records of a blob of `size` bytes; `None` when there is no such file.
fn read_records(path: &std::path::Path, size: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.at("open", path)?,
    };
    // One for each share, and as many again for those that were asked for; more are not read.
    let limit = (size / SHARE + 1024).saturating_mul(2 * RECORD as u64);
    let mut records = Vec::new();
    file.take(limit).read_to_end(&mut records).at("read", path)?;
    Ok(Some(records))
}

struct Good {
    offset: u64,
    hash: Sha256,
    records: usize,
}

/// How far `bytes` agree with the records, which are in order of offset.
fn verified(mut bytes: impl Read, records: &[u8]) -> io::Result<Good> {
    let mut good = Good { offset: 0, hash: Sha256::new(), records: 0 };
    let mut buffer = vec![0; 64 << 10];
    for record in records.chunks_exact(RECORD) {
        let (offset, digest) = record.split_at(8);
        let offset = u64::from_le_bytes(offset.try_into().expect("it was split there"));
        let Some(mut left) = offset.checked_sub(good.offset) else { break };
        let mut hash = good.hash.clone();
        while left > 0 {
            let part = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            match bytes.read(&mut buffer[..part]) {
                Ok(0) => return Ok(good),
                Ok(count) => {
                    hash.update(&buffer[..count]);
                    left -= count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if hash.clone().finish().as_bytes()[..RECORD - 8] != *digest {
            break;
        }
        good = Good { offset, hash, records: good.records + 1 };
    }
    Ok(good)
}
