//! All layers of an image at hand: several at a time, announced together, so that the total is known from the start.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use umiak_spec::{Cancelled, Observer};

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
    let announced = Announced { observer, left: AtomicU64::new(missing.values().sum()) };
    let total = announced.left.load(Ordering::Relaxed);
    if total > 0 {
        observer.expect(PHASE, total);
    }
    let blobs = in_parallel(layers, parallel, |_, layer| {
        observer.check()?;
        source.fetch(layer, &announced)
    })?;
    // What another process fetched meanwhile was announced and has not come from here.
    match announced.left.into_inner() {
        0 => {}
        rest => observer.advance(PHASE, rest),
    }
    Ok(blobs)
}

/// An observer that has heard of so many bytes already.
struct Announced<'a> {
    observer: &'a dyn Observer,
    left: AtomicU64,
}

impl Observer for Announced<'_> {
    fn expect(&self, phase: &'static str, bytes: u64) {
        let take = |left: u64| Some(left.saturating_sub(bytes));
        let known = if phase == PHASE {
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).unwrap_or(0)
        } else {
            0
        };
        if bytes > known {
            self.observer.expect(phase, bytes - known);
        }
    }

    fn advance(&self, phase: &'static str, bytes: u64) {
        self.observer.advance(phase, bytes);
    }

    fn note(&self, text: &str) {
        self.observer.note(text);
    }

    fn check(&self) -> Result<(), Cancelled> {
        self.observer.check()
    }
}
