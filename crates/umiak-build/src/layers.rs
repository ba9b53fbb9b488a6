//! The layers of one source image: fetched, verified, indexed.
//!
//! Guarantees: what an index says is what the verified blob holds (blob digest and diff ID were compared while it was
//! made); a layer that was indexed before is not decompressed again to know what is in it. File contents are not kept:
//! [`Layers::each_content`] streams them again.

use std::io::Read;
use std::num::NonZeroUsize;

use umiak_layer::{LayerContent, LayerError, LayerIndex};
use umiak_registry::{BlobFile, BlobReader, Layer, Source, in_parallel};
use umiak_spec::{Digest, Limits, Observer, Verified};
use umiak_tree::Tree;

use crate::cache::{Cache, Entry};
use crate::error::BuildError;
use crate::prepare::prepare;

const PHASE: &str = "Reading";

/// Layers fetched at a time: enough to fill a link that is far away.
const PARALLEL: usize = 4;

/// One layer at hand.
struct Known {
    digest: Digest,
    blob: BlobFile,
    index: LayerIndex,
}

/// All layers of an image, bottom first.
pub(crate) struct Layers {
    layers: Vec<Known>,
    limits: Limits,
}

impl Layers {
    /// Fetches what is not at hand and indexes what was not indexed before.
    pub(crate) fn load(
        source: &dyn Source,
        layers: &[Layer],
        cache: &Cache,
        limits: &Limits,
        threads: NonZeroUsize,
        observer: &dyn Observer,
    ) -> Result<Self, BuildError> {
        let blobs = umiak_registry::fetch_all(source, layers, PARALLEL, observer)?;
        let pairs: Vec<(&Layer, BlobFile)> = layers.iter().zip(blobs).collect();
        let layers = in_parallel(&pairs, threads.get(), |_, (layer, blob)| {
            let index = index(layer, blob, cache, limits, observer)?;
            Ok::<_, BuildError>(Known { digest: layer.digest, blob: blob.clone(), index })
        })?;
        Ok(Self { layers, limits: *limits })
    }

    /// The file tree that an app's root is made of, and what a person should know of it.
    pub(crate) fn tree(&self, image: &str) -> Result<(Tree<LayerContent>, Vec<String>), BuildError> {
        let indexes: Vec<&LayerIndex> = self.layers.iter().map(|layer| &layer.index).collect();
        let stack = |source| BuildError::Stack { image: image.to_owned(), source };
        let tree = umiak_layer::flatten(&indexes, &self.limits).map_err(stack)?;
        prepare(tree).map_err(|source| stack(source.into()))
    }

    /// Streams the contents of `wanted` entries (sorted) of layer `number` to `take`.
    pub(crate) fn each_content(
        &self,
        number: u32,
        wanted: &[u32],
        observer: &dyn Observer,
        mut take: impl FnMut(u32, &mut dyn Read) -> Result<(), BuildError>,
    ) -> Result<(), BuildError> {
        let Some(layer) = self.layers.get(number as usize) else { return Ok(()) };
        let wrong = |source| BuildError::Layer { layer: layer.digest, source };
        let take = |ordinal, content: &mut dyn Read| take(ordinal, content).map_err(Taking::Build);
        umiak_layer::for_each_content(layer.blob.reader(), &layer.index, wanted, &self.limits, observer, take).map_err(
            |error| match error {
                Taking::Build(error) => error,
                Taking::Layer(LayerError::Cancelled(cancelled)) => cancelled.into(),
                Taking::Layer(error) => wrong(error),
            },
        )
    }
}

/// Which side of a content pass failed.
enum Taking {
    Layer(LayerError),
    Build(BuildError),
}

impl From<LayerError> for Taking {
    fn from(error: LayerError) -> Self {
        Self::Layer(error)
    }
}

/// What `read` makes of a layer's blob, which it reads to its end; the blob is compared with its digest, and what came of
/// it with the layer's diff ID.
pub(crate) fn read_verified<T>(
    layer: &Layer,
    blob: &BlobFile,
    phase: &'static str,
    observer: &dyn Observer,
    read: impl FnOnce(&mut Verified<Advancing<'_, BlobReader>>) -> Result<T, LayerError>,
    diff_id: impl FnOnce(&T) -> Digest,
) -> Result<T, BuildError> {
    observer.expect(phase, blob.len());
    let mut reader = Verified::new(Advancing { inner: blob.reader(), observer, phase });
    let failed = |error| match error {
        LayerError::Cancelled(cancelled) => cancelled.into(),
        source => BuildError::Layer { layer: layer.digest, source },
    };
    let value = read(&mut reader).map_err(failed)?;
    let (digest, _) = reader.finish().map_err(|source| failed(LayerError::Read(source)))?;
    let wrong = |expected, found| Err(BuildError::WrongLayer { layer: layer.digest, expected, found });
    if digest != layer.digest {
        return wrong(layer.digest, digest);
    }
    match (layer.diff_id, diff_id(&value)) {
        (Some(expected), found) if found != expected => wrong(expected, found),
        _ => Ok(value),
    }
}

/// The index of one layer, from the cache or by reading it.
fn index(
    layer: &Layer,
    blob: &BlobFile,
    cache: &Cache,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<LayerIndex, BuildError> {
    let diff_id = layer.diff_id;
    let kept = cache.get(Entry::Layer(layer.digest));
    let kept = kept.and_then(|bytes| LayerIndex::from_bytes(&bytes, limits).ok());
    if let Some(index) = kept.filter(|index| diff_id.is_none_or(|expected| index.diff_id == expected)) {
        return Ok(index);
    }
    let index = read_verified(
        layer,
        blob,
        PHASE,
        observer,
        |reader| umiak_layer::index(reader, limits, observer),
        |index| index.diff_id,
    )?;
    // Not keeping it costs time later, nothing else.
    let _ = cache.put(Entry::Layer(layer.digest), &index.to_bytes());
    Ok(index)
}

/// Tells the observer what was read.
pub(crate) struct Advancing<'a, R> {
    pub(crate) inner: R,
    pub(crate) observer: &'a dyn Observer,
    pub(crate) phase: &'static str,
}

impl<R: Read> Read for Advancing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.observer.advance(self.phase, count as u64);
        Ok(count)
    }
}
