//! Blobs on their way into the store.
//!
//! ```text
//! Wanted --Source::deliver--> Landed (checkpoints, byte budget) --finish--> blob of the store, verified and named
//! ```
//!
//! Guarantees: a blob gets its name only when its digest is right, whatever the server sends; what has come is kept
//! across processes and power cuts and is picked up where the last checkpoint was, so that no more than
//! [`umiak_store::CHECKPOINT`] of all blobs and what is on its way is fetched twice; pieces of different content are found out and
//! fetched once more from the start, and then no more; several blobs come at once, all within the rate and budget of
//! `umiak_registry::Flow`. An error says what is kept. What this does not do: choose what is fetched.

mod error;
mod layer;

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};

use umiak_registry::{Delivered, Landing, Source, in_parallel};
use umiak_spec::{Descriptor, Observer};
use umiak_store::{Ingest, Store, StoreError};

pub use error::{Cause, FetchError};
pub use layer::StoredBlob;

/// How blobs are fetched.
#[derive(Debug, Clone, Copy)]
pub struct FetchOptions {
    /// Blobs at a time.
    pub parallel: NonZeroUsize,
    /// Bytes that may come in all; then the fetch ends with [`Cause::Budget`], and what has come is kept.
    pub most: Option<u64>,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self { parallel: NonZeroUsize::MIN.saturating_add(2), most: None }
    }
}

/// A blob that is to be in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its digest and length.
    pub blob: Descriptor,
}

impl Wanted {
    /// A blob.
    #[must_use]
    pub const fn new(blob: Descriptor) -> Self {
        Self { blob }
    }
}

/// Fetches blobs into a store.
pub struct Fetch<'a> {
    store: &'a Store,
    options: FetchOptions,
    observer: &'a dyn Observer,
    /// Bytes that have come.
    came: AtomicU64,
}

impl<'a> Fetch<'a> {
    /// Into `store`; `observer` may end it.
    #[must_use]
    pub fn new(store: &'a Store, options: FetchOptions, observer: &'a dyn Observer) -> Self {
        Self { store, options, observer, came: AtomicU64::new(0) }
    }

    /// Bytes that have come so far, those of blobs that are not whole included.
    #[must_use]
    pub fn came(&self) -> u64 {
        self.came.load(Ordering::Relaxed)
    }

    /// Fetches what of `wanted` is not in the store, each from its source; what is named twice comes once.
    ///
    /// # Errors
    /// [`FetchError`] of the foremost blob that failed; the others that were on their way are whole or kept.
    pub fn all(&self, wanted: &[(Wanted, &dyn Source)]) -> Result<(), FetchError> {
        let mut once = BTreeMap::new();
        for (number, (blob, _)) in wanted.iter().enumerate() {
            once.entry(blob.blob.digest).or_insert(number);
        }
        let mut order: Vec<usize> = once.into_values().collect();
        order.sort_unstable();
        in_parallel(&order, self.options.parallel.get(), |_, number| {
            let (blob, source) = &wanted[*number];
            self.one(blob, *source)
        })?;
        Ok(())
    }

    /// Fetches a blob, or the rest of one, unless it is in the store.
    ///
    /// # Errors
    /// [`FetchError`]; what has come is kept unless the error says otherwise.
    pub fn one(&self, wanted: &Wanted, source: &dyn Source) -> Result<(), FetchError> {
        let blob = &wanted.blob;
        if self.store.has_blob(&blob.digest) {
            return Ok(());
        }
        let first = self.attempt(blob, source);
        match first {
            // Pieces that are not of this blob, from an earlier run or a confused server: once more, from the start.
            Err(FetchError { cause: Cause::Pieces { .. }, .. }) => {
                self.observer.note(&format!("{} came damaged, fetching all of it again", blob.digest.short()));
                self.attempt(blob, source)
            }
            other => other,
        }
    }

    fn attempt(&self, blob: &Descriptor, source: &dyn Source) -> Result<(), FetchError> {
        let failed = |kept: u64, cause: Cause| FetchError { blob: blob.digest, size: blob.size, kept, cause };
        let ingest = self.store.ingest(&blob.digest, blob.size).map_err(|error| failed(0, error.into()))?;
        let mut landed = Landed { fetch: self, ingest, failure: None };
        let delivered = source.deliver(blob, &mut landed, self.observer);
        let Landed { mut ingest, failure, .. } = landed;
        match (delivered, failure) {
            (Ok(delivered), _) => ingest.finish().map_err(|error| match error {
                StoreError::WrongDigest { found, .. } if delivered == Delivered::Pieces => {
                    failed(0, Cause::Pieces { found })
                }
                StoreError::WrongDigest { found, .. } => failed(0, Cause::Wrong { found }),
                error => failed(blob.size, error.into()),
            }),
            (Err(_), Some(cause)) => Err(failed(ingest.offset(), cause)),
            (Err(error), None) => {
                // Durable now rather than at the next checkpoint; where even that fails, the last one counts.
                let _ = ingest.checkpoint();
                Err(failed(ingest.offset(), error.into()))
            }
        }
    }
}

/// A blob of the store that is written.
struct Landed<'f, 'a> {
    fetch: &'f Fetch<'a>,
    ingest: Ingest<'a>,
    /// Why no more is taken.
    failure: Option<Cause>,
}

impl Landed<'_, '_> {
    fn taken<T>(&mut self, result: Result<T, StoreError>) -> io::Result<T> {
        result.map_err(|error| self.refuse(error.into()))
    }

    fn refuse(&mut self, cause: Cause) -> io::Error {
        self.failure = Some(cause);
        io::Error::other("the store takes no more")
    }
}

impl Landing for Landed<'_, '_> {
    fn offset(&self) -> u64 {
        self.ingest.offset()
    }

    fn validator(&self) -> Option<&str> {
        self.ingest.validator()
    }

    fn restart(&mut self, validator: Option<&str>) -> io::Result<()> {
        let result = self.ingest.restart(validator);
        self.taken(result)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let count = bytes.len() as u64;
        let before = self.fetch.came.fetch_add(count, Ordering::Relaxed);
        let result = self.ingest.write(bytes);
        self.taken(result)?;
        match self.fetch.options.most {
            Some(most) if before.saturating_add(count) > most => Err(self.refuse(Cause::Budget { most })),
            _ => Ok(()),
        }
    }
}
