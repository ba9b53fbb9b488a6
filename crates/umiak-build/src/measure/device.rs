//! What a layer takes in the store of a device: its files are made as the store makes them, and only their lengths kept.
//!
//! Guarantee: exactly the bytes that a device's store will have of the layer when it keeps it whole, on any machine. A layer
//! that no device can keep has no sizes, and is no failure: whoever has Docker alone can use it all the same.

use std::io::{self, Read};

use umiak_layer::{LayerError, Plain};
use umiak_registry::BlobFile;
use umiak_spec::delta::StoredFiles;
use umiak_spec::{Digest, Limits, Observer};
use umiak_store::{LayerOptions, LayerSource, StoreError, layer_sizes};

use crate::error::BuildError;

/// Makes the layer's files, and says how long they are.
pub(super) fn files(
    layer: Digest,
    blob: &BlobFile,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<Option<StoredFiles>, BuildError> {
    let options = LayerOptions { limits: *limits, ..LayerOptions::default() };
    match layer_sizes(&Unpacked { blob, limits }, &options, observer) {
        Ok(sizes) => Ok(Some(StoredFiles { image: sizes.image, skeleton: sizes.skeleton, record: sizes.record })),
        Err(StoreError::Layer { source: LayerError::Read(error), .. }) if error.raw_os_error().is_some() => {
            Err(BuildError::Layer { layer, source: LayerError::Read(error) })
        }
        Err(StoreError::Layer { .. } | StoreError::Stack { .. }) => Ok(None),
        Err(StoreError::Cancelled(cancelled)) => Err(cancelled.into()),
        Err(source) => Err(BuildError::Device { layer, source: Box::new(source) }),
    }
}

/// A blob as the tar that is in it.
struct Unpacked<'a> {
    blob: &'a BlobFile,
    limits: &'a Limits,
}

impl LayerSource for Unpacked<'_> {
    fn open(&self) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(Plain::new(self.blob.reader(), self.limits)?))
    }
}
