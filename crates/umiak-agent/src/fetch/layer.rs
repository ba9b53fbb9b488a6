//! A layer's blob in the store as the uncompressed tar that a layer is made of.

use std::io::{self, Read};

use umiak_layer::Plain;
use umiak_spec::{Digest, Limits};
use umiak_store::{LayerSource, Store};

/// A blob of the store that holds a layer: plain, gzip or zstd, which its first bytes tell.
pub struct StoredBlob<'a> {
    store: &'a Store,
    blob: Digest,
    limits: Limits,
}

impl<'a> StoredBlob<'a> {
    /// The blob, which must be in the store when it is opened.
    #[must_use]
    pub const fn new(store: &'a Store, blob: Digest, limits: Limits) -> Self {
        Self { store, blob, limits }
    }
}

impl LayerSource for StoredBlob<'_> {
    fn open(&self) -> io::Result<Box<dyn Read + Send + '_>> {
        let blob = self.store.blob(&self.blob).map_err(io::Error::other)?.ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Plain::new(blob.into_file(), &self.limits)?))
    }
}
