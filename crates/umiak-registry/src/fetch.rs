//! All layers of an image at hand: several at a time, announced together, so that the total is known from the start.

use std::collections::BTreeMap;

use umiak_spec::Observer;

use crate::announced::Announced;
use crate::blob::BlobFile;
use crate::download::PHASE;
use crate::error::Error;
use crate::image::Layer;
use crate::parallel::in_parallel;
use crate::source::Source;

/// Fetches layers, `parallel` at a time; the results are in the order of `layers`. What `observer` was told to expect
/// and what it was told is done are the same in the end.
///
/// # Errors
/// The first error; the other fetches are given up.
pub fn fetch_all(
    source: &dyn Source,
    layers: &[Layer],
    parallel: usize,
    observer: &dyn Observer,
) -> Result<Vec<BlobFile>, Error> {
    // An image may have the same layer twice.
    let missing: BTreeMap<_, _> = layers.iter().map(|layer| (layer.digest, source.missing(layer))).collect();
    let announced = Announced::new(PHASE, missing.values().sum(), observer);
    let blobs = in_parallel(layers, parallel, |_, layer| {
        observer.check()?;
        source.fetch(layer, &announced)
    })?;
    // What another process fetched meanwhile was announced and has not come from here.
    announced.close();
    Ok(blobs)
}
