//! Images at hand: their layers fetched, uncompressed and taken apart.
//!
//! Guarantees: every blob was compared with its digest, every uncompressed layer with its diff ID. Uncompressed layers
//! are files without a name in the scratch directory.

use std::path::Path;
use std::sync::Arc;

use umiak_delta::container::{Container, Parts};
use umiak_registry::{BlobFile, Image, Layer, Source};
use umiak_spec::{Digest, ImageReference, Limits, Observer, Verified};

use super::Work;
use super::parts::{Bytes, Tar};
use super::place::Nameless;
use crate::error::{BuildError, IoContext as _};

/// Layers fetched at a time.
pub(super) const PARALLEL: usize = 4;

/// An image of which nothing but manifest and config was fetched.
pub(super) struct Resolved {
    pub(super) source: Box<dyn Source>,
    pub(super) image: Image,
}

impl Resolved {
    /// The diff IDs of its layers, where its config says them.
    pub(super) fn diff_ids(&self) -> Option<Vec<Digest>> {
        self.image.layers.iter().map(|layer| layer.diff_id).collect()
    }
}

/// An image whose layers are here, uncompressed and taken apart.
pub(super) struct Opened {
    pub(super) source: Box<dyn Source>,
    pub(super) image: Image,
    pub(super) layers: Vec<OpenedLayer>,
}

impl Opened {
    /// What its layers hash to.
    pub(super) fn diff_ids(&self) -> Vec<Digest> {
        self.layers.iter().map(|layer| layer.parts().digest).collect()
    }

    /// The layer that is `layer`, of this image or another.
    pub(super) fn find(&self, layer: &Layer) -> Option<&OpenedLayer> {
        let same = |opened: &&OpenedLayer| match layer.diff_id {
            Some(diff_id) => opened.parts().digest == diff_id,
            None => opened.layer.digest == layer.digest,
        };
        self.layers.iter().find(same)
    }

    /// Its layers in the order in which a delta numbers them.
    pub(super) fn in_order<'s>(&'s self, diff_ids: &'s [Digest]) -> impl Iterator<Item = &'s OpenedLayer> {
        let find = |diff_id: &Digest| self.layers.iter().find(|layer| layer.parts().digest == *diff_id);
        diff_ids.iter().filter_map(find)
    }
}

/// One layer at hand.
pub(super) struct OpenedLayer {
    pub(super) layer: Layer,
    pub(super) blob: BlobFile,
    pub(super) bytes: Bytes,
    tar: Tar,
}

impl OpenedLayer {
    pub(super) fn parts(&self) -> &Parts {
        self.tar.parts()
    }

    pub(super) fn tar(&self) -> &Tar {
        &self.tar
    }

    pub(super) fn container(&self) -> &dyn Container {
        &self.tar
    }
}

impl Work<'_> {
    /// Manifest and config of an image.
    pub(super) fn resolve(&self, reference: &ImageReference) -> Result<Resolved, BuildError> {
        let source = umiak_registry::open_watched(reference, self.sources, self.observer)?;
        let image = source.resolve_watched(self.platforms, self.observer)?;
        Ok(Resolved { source, image })
    }

    /// Fetches an image with all its layers.
    pub(super) fn open(&self, reference: &ImageReference) -> Result<Opened, BuildError> {
        self.fetch(self.resolve(reference)?, |_| true)
    }

    /// Fetches the layers of an image; those that `wanted` refuses by diff ID are neither fetched nor opened.
    pub(super) fn fetch(
        &self,
        Resolved { source, image }: Resolved,
        wanted: impl Fn(&Digest) -> bool,
    ) -> Result<Opened, BuildError> {
        let layers: Vec<Layer> =
            image.layers.iter().filter(|layer| layer.diff_id.as_ref().is_none_or(&wanted)).cloned().collect();
        let blobs = umiak_registry::fetch_all(source.as_ref(), &layers, PARALLEL, self.observer)?;
        let pairs: Vec<(Layer, BlobFile)> = layers.into_iter().zip(blobs).collect();
        let open = |_: usize, (layer, blob): &(Layer, BlobFile)| self.open_layer(layer, blob);
        let layers = umiak_registry::in_parallel(&pairs, self.options.threads.get(), open)?;
        Ok(Opened { source, image, layers })
    }

    fn open_layer(&self, layer: &Layer, blob: &BlobFile) -> Result<OpenedLayer, BuildError> {
        let name = layer.digest.to_string();
        let bytes: Bytes = if layer.diff_id == Some(layer.digest) {
            Arc::new(blob.clone())
        } else {
            Arc::new(expand(blob, layer.digest, self.scratch, &self.limits, self.observer)?)
        };
        let tar = Tar::open(Arc::clone(&bytes), Path::new(&name), &self.limits, self.observer)?;
        let found = tar.parts().digest;
        if let Some(expected) = layer.diff_id.filter(|expected| *expected != found) {
            return Err(BuildError::WrongLayer { layer: layer.digest, expected, found });
        }
        Ok(OpenedLayer { layer: layer.clone(), blob: blob.clone(), bytes, tar })
    }
}

/// The blob uncompressed, in a file without a name; the blob's digest is verified.
pub(super) fn expand(
    blob: &BlobFile,
    digest: Digest,
    scratch: &Path,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<std::fs::File, BuildError> {
    let file = Nameless::new(scratch).file().at("create a scratch file in", scratch)?;
    let mut verified = Verified::new(blob.reader());
    let unreadable = |source| BuildError::Layer { layer: digest, source: umiak_layer::LayerError::Read(source) };
    {
        let mut plain = umiak_layer::decompress(&mut verified, limits).map_err(unreadable)?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            observer.check()?;
            let length = plain.read(&mut buffer).map_err(unreadable)?;
            if length == 0 {
                break;
            }
            std::io::Write::write_all(&mut &file, &buffer[..length]).at("write in", scratch)?;
        }
    }
    let (found, _) = verified.finish().map_err(unreadable)?;
    if found == digest { Ok(file) } else { Err(BuildError::WrongLayer { layer: digest, expected: digest, found }) }
}
