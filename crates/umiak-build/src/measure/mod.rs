//! Measures of images: every layer read once, from wherever it is, without an engine and without root.
//!
//! Guarantees: what is measured was compared with the blob's digest and, where the image says one, the diff ID; a layer of
//! several images or platforms is measured once; one that was measured before is not even fetched. Layers are read
//! several at a time; of each only names and attributes are held in memory. What this does not do: judge whether
//! anything fits.

mod attach;
mod device;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;

use umiak_registry::{BlobFile, Context, ErrorKind, Image, Layer, Source, fetch_all, in_parallel};
use umiak_spec::app::measures::{Document, MeasuredLayer, Measures, ServiceImage};
use umiak_spec::{Descriptor, Digest, Document as Manifests, ImageReference, Limits, Observer, Platform};

use crate::cache::{Cache, Entry};
use crate::error::BuildError;
use crate::layers::read_verified;

pub use attach::Attached;

const PHASE: &str = "Measuring";

/// Layers fetched at a time.
const PARALLEL: usize = 4;

/// How layers are measured.
pub struct Measuring<'a> {
    /// Directory for what was measured before; may be emptied at any time.
    pub cache: Option<&'a Path>,
    /// Whether each layer is made as the store of a device makes it, to know what it takes there.
    pub device: bool,
    /// Bounds on input.
    pub limits: Limits,
    /// Layers measured at a time.
    pub threads: NonZeroUsize,
    /// Is told what happens, and may cancel.
    pub observer: &'a dyn Observer,
}

/// Which platforms of an image are measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The best for the first of these that there is one for; empty: this machine's.
    Best(Vec<Platform>),
    /// The best for each of these.
    Each(Vec<Platform>),
    /// All that the image's index names.
    All,
}

impl Measuring<'_> {
    /// Measures images for one platform or several. Services are called by the reference's text.
    ///
    /// # Errors
    /// [`BuildError`]; among them that an image is not made for a platform.
    pub fn images(
        &self,
        sources: &Context,
        references: &[ImageReference],
        which: &Which,
    ) -> Result<Measures, BuildError> {
        let mut measures = Measures::default();
        for reference in references {
            self.observer.check()?;
            let source = umiak_registry::open_watched(reference, sources, self.observer)?;
            for image in self.resolve(source.as_ref(), which)? {
                let missing: Vec<Layer> =
                    image.layers.iter().filter(|layer| !measures.layers.contains_key(&layer.digest)).cloned().collect();
                measures.layers.extend(self.layers(source.as_ref(), &missing)?);
                let services = measures.platforms.entry(image.config.platform.clone()).or_default();
                services.insert(reference.to_string(), service(&image));
            }
        }
        Ok(measures)
    }

    /// The images behind a reference.
    fn resolve(&self, source: &dyn Source, which: &Which) -> Result<Vec<Image>, BuildError> {
        let each = |platforms: &[Platform]| {
            let one = |platform: &Platform| source.resolve_watched(std::slice::from_ref(platform), self.observer);
            platforms.iter().map(one).collect::<Result<Vec<_>, _>>()
        };
        Ok(match which {
            Which::Best(platforms) => vec![source.resolve_watched(platforms, self.observer)?],
            Which::Each(platforms) => each(platforms)?,
            Which::All => match self.offered(source)? {
                platforms if platforms.is_empty() => vec![source.resolve_watched(&[], self.observer)?],
                platforms => each(&platforms)?,
            },
        })
    }

    /// The platforms that an image's index names; none where there is no index.
    fn offered(&self, source: &dyn Source) -> Result<Vec<Platform>, BuildError> {
        let (descriptor, bytes): (Descriptor, Vec<u8>) = match source.top(self.observer) {
            Ok(top) => top,
            Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let Ok(Manifests::Index(index)) = Manifests::parse(&bytes, &descriptor.media_type, &self.limits) else {
            return Ok(Vec::new());
        };
        let mut platforms: Vec<Platform> = index.images().filter_map(|entry| entry.platform.clone()).collect();
        platforms.retain(|platform| platform.os == "linux");
        platforms.sort();
        platforms.dedup();
        Ok(platforms)
    }

    /// Measures layers, each once. Only those that were not measured before are fetched.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn layers(&self, source: &dyn Source, layers: &[Layer]) -> Result<BTreeMap<Digest, MeasuredLayer>, BuildError> {
        let mut wanted: Vec<Layer> = layers.to_vec();
        wanted.sort_by_key(|layer| layer.digest);
        wanted.dedup_by_key(|layer| layer.digest);
        let mut measured = BTreeMap::new();
        wanted.retain(|layer| match self.kept(layer) {
            Some(known) => measured.insert(layer.digest, known).is_some(),
            None => true,
        });
        let blobs = fetch_all(source, &wanted, PARALLEL, self.observer)?;
        let pairs: Vec<(&Layer, BlobFile)> = wanted.iter().zip(blobs).collect();
        let found = in_parallel(&pairs, self.threads.get(), |_, (layer, blob)| self.read(layer, blob))?;
        measured.extend(wanted.iter().map(|layer| layer.digest).zip(found));
        Ok(measured)
    }

    /// Measures one layer that is at hand, or finds what was measured before.
    ///
    /// # Errors
    /// [`BuildError::Layer`], [`BuildError::WrongLayer`].
    pub fn layer(&self, layer: &Layer, blob: &BlobFile) -> Result<MeasuredLayer, BuildError> {
        self.kept(layer).map_or_else(|| self.read(layer, blob), Ok)
    }

    fn read(&self, layer: &Layer, blob: &BlobFile) -> Result<MeasuredLayer, BuildError> {
        let (limits, observer) = (&self.limits, self.observer);
        let measure = read_verified(
            layer,
            blob,
            PHASE,
            observer,
            |reader| umiak_layer::measure(reader, limits, observer),
            |measure| measure.diff_id,
        )?;
        let device = match self.device {
            true => device::files(layer.digest, blob, &self.limits, self.observer)?,
            false => None,
        };
        let measured = MeasuredLayer { archive_size: blob.len(), measure, device };
        if let Some(cache) = self.cache {
            // Not keeping it costs time later, nothing else.
            let _ = Cache::new(cache).put(Entry::Measure(layer.digest), &to_file(layer.digest, &measured));
        }
        Ok(measured)
    }

    /// What was measured before, if it says all that is asked.
    fn kept(&self, layer: &Layer) -> Option<MeasuredLayer> {
        let bytes = Cache::new(self.cache?).get(Entry::Measure(layer.digest))?;
        let mut kept = from_file(layer.digest, &bytes, &self.limits)?;
        let says_diff_id = layer.diff_id.is_none_or(|expected| kept.measure.diff_id == expected);
        match self.device {
            true => kept.device.map(drop)?,
            // The same question has the same answer, whatever was asked before.
            false => kept.device = None,
        }
        says_diff_id.then_some(kept)
    }
}

/// The image as the measures name it. One without a manifest is named by its configuration.
fn service(image: &Image) -> ServiceImage {
    let text = image.config.text.as_bytes();
    let config = Document { digest: Digest::of(text), size: text.len() as u64 };
    let manifest = image.manifest.as_ref();
    let manifest = manifest
        .map_or(Document { size: 0, ..config }, |manifest| Document { digest: manifest.digest, size: manifest.size });
    ServiceImage { manifest, config, layers: image.layers.iter().map(|layer| layer.digest).collect() }
}

/// What is kept of a layer: a document that measures it alone, and the digest of that.
fn to_file(layer: Digest, measured: &MeasuredLayer) -> Vec<u8> {
    let layers = BTreeMap::from([(layer, measured.clone())]);
    let mut bytes = Measures { layers, ..Measures::default() }.to_bytes();
    let digest = Digest::of(&bytes);
    bytes.extend(digest.as_bytes());
    bytes
}

fn from_file(layer: Digest, bytes: &[u8], limits: &Limits) -> Option<MeasuredLayer> {
    let (document, digest) = bytes.split_last_chunk::<32>()?;
    if Digest::of(document).as_bytes() != digest {
        return None;
    }
    Measures::parse(document, limits).ok()?.layers.remove(&layer)
}
