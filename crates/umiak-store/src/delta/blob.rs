//! Blobs made by deltas from other blobs: a squashfs image out of the one that it replaces.
//!
//! ```text
//! delta ─┐                                        ┌─ image: its writer, blocks copied out of the base
//! base ──┼─ parts made of it ─ spool ─┐           │
//!        └─ parts that stay ──────────┴─ listing ─┴─ plain file: written as it is made ── compared ── named
//! ```
//!
//! Guarantees: what was made is compared with the digest as a whole before it is a blob, whatever memory, disk or base did to
//! it on the way; a base that is missing is told before anything is made, one that turns out to be damaged is told by name.
//! No more is written than there is [`Room`] for, whatever the delta says. Nothing is left of what failed. Memory: what [`mod@umiak_delta::apply`] takes, the tables of two images, 24 MiB of
//! blocks of the base until everything that changed is made, and 16 MiB of encoders after that. What was made of it by a
//! try that was cut off is made again.

use std::io::BufWriter;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use umiak_delta::apply::{apply, check_target, spool};
use umiak_delta::container::{Container, Shape};
use umiak_delta::divide::Divided;
use umiak_delta::index::Whole;
use umiak_delta::{Delta, DeltaError};
use umiak_spec::{Cancelled, Digest, Limits, Observer, ReadAt, WriteAt};
use umiak_squashfs::{Error as ImageError, Rebuild};

use super::SOURCES;
use super::image::{SpooledImage, StoredImage};
use super::room::{Capped, Room};
use super::scratch::Scratches;
use crate::blob::Blob;
use crate::disk::{DiskFile, Stream};
use crate::error::{IoContext as _, StoreError};
use crate::layers::{LayerOptions, hash_file};
use crate::store::Store;

/// Bytes that are written at a time.
const PIECE: usize = 256 << 10;

/// What may take more than there is room for.
const ITSELF: &str = "it";
const BESIDE: &str = "what lies beside meanwhile";

/// What came of making a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MadeBlob {
    /// It was here already, and nothing was made.
    pub was_here: bool,
    /// Bytes that lay beside while it was made.
    pub spooled: u64,
}

impl Store {
    /// Makes the blob `digest`, which the delta must say that it makes of one other blob. One that is here already is left
    /// as it is.
    ///
    /// # Errors
    /// [`StoreError::NoBlob`] when what it starts from is not here, [`StoreError::DamagedBase`] when that is damaged;
    /// [`StoreError::Exceeds`] when there is not the room; [`StoreError::BlobDelta`], [`StoreError::BlobImage`]; the file
    /// system. Nothing of it is left then.
    pub fn make_blob(
        &self,
        digest: &Digest,
        delta: &dyn ReadAt,
        room: Room,
        options: &LayerOptions,
        observer: &dyn Observer,
    ) -> Result<MadeBlob, StoreError> {
        self.updating()?;
        if self.has_blob(digest) {
            self.settle()?; // an earlier call may have failed with its very last operation
            return Ok(MadeBlob { was_here: true, spooled: 0 });
        }
        self.replace_blob(digest, delta, room, options, observer)
    }

    /// The same in place of what is here, which is damaged.
    ///
    /// # Errors
    /// As [`Store::make_blob`]; what was here is left as it is then.
    pub fn replace_blob(
        &self,
        digest: &Digest,
        delta: &dyn ReadAt,
        room: Room,
        options: &LayerOptions,
        observer: &dyn Observer,
    ) -> Result<MadeBlob, StoreError> {
        self.updating()?;
        let failed = making(*digest);
        let delta = Delta::open(delta).map_err(&failed)?;
        let index = delta.index();
        if index.target.digest != *digest {
            return Err(StoreError::WrongDigest { wanted: *digest, found: index.target.digest });
        }
        let [base] = index.bases[..] else {
            return Err(failed(DeltaError::Malformed("an object is made of one other")));
        };
        if index.target.size > options.limits.file {
            return Err(StoreError::TooLarge { what: digest.short(), limit: options.limits.file });
        }
        let exceeds = |what, limit| StoreError::Exceeds { digest: *digest, what, limit };
        if index.target.size > room.size {
            return Err(exceeds(ITSELF, room.size));
        }
        let stored = self.blob(&base.digest)?.ok_or(StoreError::NoBlob(base.digest))?;
        let staged = self.stage_file()?;
        let scratches = Scratches::new(self, room.spool);
        let out = Arc::new(Capped::new(Arc::clone(staged.file()), index.target.size));
        let path = staged.path();
        let work = Work { digest, delta: &delta, options, scratches: &scratches, out: &out, path, observer };
        if let Err(error) = work.make(stored, base) {
            let error = match error {
                StoreError::Cancelled(_) => error,
                _ if scratches.is_over() => exceeds(BESIDE, room.spool),
                _ if out.is_over() => exceeds(ITSELF, index.target.size),
                error => error,
            };
            return Err(self.blame(error, digest, base, observer)?);
        }
        staged.publish(&self.blob_path(digest))?;
        self.sync_names(&self.blobs())?;
        Ok(MadeBlob { was_here: false, spooled: scratches.most() })
    }

    /// Says whether the base is to blame. It is read whole only when something has failed.
    fn blame(
        &self,
        error: StoreError,
        digest: &Digest,
        base: Whole,
        observer: &dyn Observer,
    ) -> Result<StoreError, StoreError> {
        if matches!(error, StoreError::Cancelled(_) | StoreError::Io { .. }) || error.is_full() {
            return Ok(error);
        }
        match hash_file(&self.blob_path(&base.digest), observer) {
            Ok(found) if found.digest == base.digest => Ok(error),
            Err(error @ StoreError::Cancelled(_)) => Err(error),
            // What cannot be read is damaged, too.
            Ok(_) | Err(_) => Ok(StoreError::DamagedBase { digest: *digest, base: base.digest }),
        }
    }
}

/// One blob in the making.
struct Work<'a> {
    digest: &'a Digest,
    delta: &'a Delta<&'a dyn ReadAt>,
    options: &'a LayerOptions,
    scratches: &'a Scratches,
    /// Where it is written,
    out: &'a Arc<Capped>,
    /// which is here.
    path: &'a Path,
    observer: &'a dyn Observer,
}

impl Work<'_> {
    fn make(&self, base: Blob, told: Whole) -> Result<(), StoreError> {
        let failed = making(*self.digest);
        if base.size() != told.size {
            return Err(failed(DeltaError::Malformed("what it starts from has another length")));
        }
        let (digest, size) = (told.digest, told.size);
        match (told.shape, self.delta.index().target.shape) {
            (Shape::Squashfs, Shape::Squashfs) => {
                let image = StoredImage::open(Arc::new(base), digest, size, &self.options.limits);
                let image = image.map_err(writing(*self.digest))?;
                image.apart().keep(SOURCES);
                self.image(&image, Some(image.apart()))
            }
            (Shape::Raw, Shape::Squashfs) => self.image(&self.plain(base, digest)?, None),
            (Shape::Raw, Shape::Raw) => {
                let base = self.plain(base, digest)?;
                let space = Placed(self.out);
                apply(self.delta, &[&base], &space, self.scratches, self.observer).map_err(failed)
            }
            _ => Err(failed(DeltaError::Malformed("an object is an image or a plain file"))),
        }
    }

    fn plain(&self, base: Blob, digest: Digest) -> Result<Divided<Blob>, StoreError> {
        Divided::new(base, b"", digest, self.observer).map_err(|error| making(*self.digest)(error.into()))
    }

    /// Makes what changed, then the image of it and of what did not.
    fn image(&self, base: &dyn Container, image: Option<&umiak_squashfs::Parts>) -> Result<(), StoreError> {
        let failed = making(*self.digest);
        let plain = self.scratches.file().map_err(|error| failed(error.into()))?;
        let bases = [base];
        let spooled = spool(self.delta, &bases, &plain, self.scratches, self.observer).map_err(&failed)?;
        // From here on the base is read in order.
        image.inspect(|image| image.keep(0));
        let contents = SpooledImage::new(spooled, &plain, &bases, image.is_some());
        let limits: &Limits = &self.options.limits;
        let listing = contents.listing(limits).map_err(&failed)?;
        let bases: Vec<&umiak_squashfs::Parts> = image.into_iter().collect();
        let threads: NonZeroUsize = self.options.threads;
        let from = Rebuild { listing: &listing, contents: &contents, bases: &bases, threads, limits };
        let out: Arc<dyn DiskFile> = self.out.clone();
        let out = BufWriter::with_capacity(PIECE, Stream::new(out));
        let out = umiak_squashfs::rebuild(&from, out, self.observer).map_err(writing(*self.digest))?;
        out.into_inner().map_err(std::io::IntoInnerError::into_error).at("write", self.path)?;
        let found = hash_file(self.path, self.observer)?.digest;
        check_target(*self.digest, found).map_err(failed)
    }
}

/// The file as what a delta is applied into.
struct Placed<'a>(&'a Capped);

impl ReadAt for Placed<'_> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn len(&self) -> std::io::Result<u64> {
        ReadAt::len(self.0)
    }
}

impl WriteAt for Placed<'_> {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }
}

fn making(digest: Digest) -> impl Fn(DeltaError) -> StoreError {
    move |error| match error {
        DeltaError::Cancelled(cancelled) => cancelled.into(),
        // What a reader was told comes through io.
        DeltaError::Read(error) if Cancelled::is_behind(&error) => Cancelled.into(),
        source => StoreError::BlobDelta { digest, source: Box::new(source) },
    }
}

fn writing(digest: Digest) -> impl Fn(ImageError) -> StoreError {
    move |error| match error {
        ImageError::Cancelled(cancelled) => cancelled.into(),
        source => StoreError::BlobImage { digest, source: Box::new(source) },
    }
}
