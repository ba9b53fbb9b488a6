//! What the planner has to know of an app.
//!
//! Guarantee: nothing is guessed. Where an app has no measures its layers metadata is used, and where it has neither, only
//! the lengths of blobs are known; the planner then answers with bounds.

use umiak_plan::{App, Blob, BlobKind, Contents, Image, Layer, Service};
use umiak_spec::app::LayersMeta;
use umiak_spec::app::measures::Measures;
use umiak_spec::{Descriptor, Digest};

use super::content::{ComposeApp, Content, Made, Reader, ServiceImage};
use super::error::ResolveError;

impl Reader<'_> {
    /// The app as the planner sees it.
    pub(crate) fn wanted(&self, content: &Content) -> Result<App, ResolveError> {
        let app = &content.app;
        let (own, bundle) = match &content.made {
            Made::Compose(compose) => (compose_blobs(app.top.digest, compose), Some(compose.bundle.unpacked.clone())),
            Made::Image(_) => (Vec::new(), None),
            Made::Pvr(pvr) => {
                // Covers are made here of files that come, and take their place as if they came.
                let sizes = self.object_sizes(app, pvr)?.into_iter().chain(pvr.covers());
                let objects = sizes.map(|(digest, size)| Blob::new(BlobKind::Object, digest, size));
                let state = Blob::new(BlobKind::Manifest, app.top.digest, app.top.size);
                ([state].into_iter().chain(objects).collect(), None)
            }
        };
        let compose = match &content.made {
            Made::Compose(compose) => Some(compose.as_ref()),
            _ => None,
        };
        let measures = compose.and_then(|app| app.measures.as_ref());
        let meta = compose.and_then(|app| app.layers_meta.as_ref());
        let service = |image: &ServiceImage| {
            let attached = if measures.is_none() { self.measures(image)? } else { None };
            let known = Known { measures: measures.or(attached.as_ref()), meta };
            Ok(Service { name: image.service.clone(), image: planned(image, known) })
        };
        let services = content.images().iter().map(service).collect::<Result<_, ResolveError>>()?;
        Ok(App { name: app.name.clone(), digest: app.top.digest, own, bundle, services })
    }
}

fn compose_blobs(top: Digest, compose: &ComposeApp) -> Vec<Blob> {
    let (config, _) = compose.manifest.form.config();
    let kind = |document: &Descriptor| match document.digest {
        digest if digest == top => BlobKind::Manifest,
        digest if digest == config.digest => BlobKind::Config,
        digest if digest == compose.manifest.bundle.digest => BlobKind::Bundle,
        _ => BlobKind::Meta,
    };
    compose.own.iter().map(|document| Blob::new(kind(document), document.digest, document.size)).collect()
}

fn planned(image: &ServiceImage, known: Known<'_>) -> Image {
    let config = image.image.config.text.as_bytes();
    let config = Blob::new(BlobKind::Config, Digest::of(config), config.len() as u64);
    let manifest = image.image.manifest.as_ref().map(|manifest| manifest.digest);
    let others = image.documents.iter().filter(|document| document.digest != config.digest);
    let kind = |document: &Descriptor| match manifest == Some(document.digest) {
        true => BlobKind::Manifest,
        false => BlobKind::Index,
    };
    let manifests = others.map(|document| Blob::new(kind(document), document.digest, document.size)).collect();
    let layer = |layer: &umiak_registry::Layer| Layer {
        digest: layer.digest,
        size: layer.size,
        diff_id: layer.diff_id.unwrap_or(layer.digest),
        contents: known.contents(image, layer),
        files: None,
    };
    Image { config, manifests, layers: image.image.layers.iter().map(layer).collect() }
}

/// What documents tell of layers.
#[derive(Clone, Copy)]
struct Known<'a> {
    /// The app's, or what was attached to the image.
    measures: Option<&'a Measures>,
    /// The app's layers metadata.
    meta: Option<&'a LayersMeta>,
}

impl Known<'_> {
    /// The most that is told of a layer.
    fn contents(self, image: &ServiceImage, layer: &umiak_registry::Layer) -> Contents {
        let measured = self.measures.and_then(|measures| measures.layers.get(&layer.digest));
        // What the image's own config says otherwise is another layer.
        if let Some(measured) = measured.filter(|found| layer.diff_id.is_none_or(|id| id == found.measure.diff_id)) {
            return measured.into();
        }
        let meta = self.meta.and_then(|meta| meta.architectures.get(&image.platform.architecture));
        let usage = meta.and_then(|meta| {
            let found = meta.layers.get(&layer.digest)?;
            let block_size = u32::try_from(meta.fs_block_size).ok()?;
            Some(Contents::Usage { size: found.size, usage: found.usage, block_size })
        });
        usage.unwrap_or_else(|| plain(layer))
    }
}

/// A blob that is the layer itself tells how long that is.
fn plain(layer: &umiak_registry::Layer) -> Contents {
    if layer.diff_id == Some(layer.digest) { Contents::Expanded(layer.size) } else { Contents::Unknown }
}
