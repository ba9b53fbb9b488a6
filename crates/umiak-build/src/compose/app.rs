//! An app as it is in a registry, layout or archive: its documents, its bundle, its services and their images.
//!
//! A value; what it guarantees is guaranteed by who reads it (`read`).

use std::collections::BTreeMap;

use umiak_registry::BlobFile;
use umiak_spec::app::measures::Measures;
use umiak_spec::app::{AppManifest, LayersMeta};
use umiak_spec::{Descriptor, Digest, Platform};

use super::error::ComposeError;
use super::images::{PlatformImage, ServiceImage};
use super::pack;
use super::platforms::{AppPlatform, Wanted, best, common};
use super::unpacked::Bundle;

/// A Compose App.
#[derive(Debug, Clone)]
pub struct App {
    /// What its directory and its compose project are called on a device.
    pub name: String,
    /// Its manifest's descriptor; the digest is the app's.
    pub descriptor: Descriptor,
    /// Its manifest as it is.
    pub bytes: Vec<u8>,
    /// What the manifest says.
    pub manifest: AppManifest,
    /// The layers metadata, where the app has some.
    pub layers_meta: Option<LayersMeta>,
    /// umiak's measures, where the app has some.
    pub measures: Option<Measures>,
    /// The bundle's archive.
    pub archive: BlobFile,
    /// What is in the bundle.
    pub bundle: Bundle,
    /// The services, in the order of the compose file.
    pub services: Vec<Service>,
    /// Their images, each once.
    pub images: Vec<ServiceImage>,
}

/// A service of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its image as the compose file has it.
    pub reference: String,
    /// The platform that it asks for, whatever the device is.
    pub platform: Option<Platform>,
    /// Its image: a position in [`App::images`].
    pub image: usize,
}

impl Service {
    /// The platform that it runs as on a device of this one.
    pub(super) fn on<'p>(&'p self, device: &'p Platform) -> &'p Platform {
        self.platform.as_ref().unwrap_or(device)
    }
}

impl App {
    /// The pinned compose file, as it is.
    #[must_use]
    pub fn compose_file(&self) -> Option<&str> {
        std::str::from_utf8(self.bundle.texts.get(pack::COMPOSE_FILE)?).ok()
    }

    /// The image of a service.
    #[must_use]
    pub fn image(&self, service: &Service) -> Option<&ServiceImage> {
        self.images.get(service.image)
    }

    /// The image that an engine on `platform` runs as this service.
    #[must_use]
    pub fn image_on(&self, service: &Service, platform: &Platform) -> Option<&PlatformImage> {
        let platforms = &self.image(service)?.platforms;
        platforms.get(best(service.on(platform), platforms)?)
    }

    /// The platforms on which every service has an image that runs.
    ///
    /// # Errors
    /// [`ComposeError`]: there is none, or not one of `wanted`.
    pub fn platforms(&self, wanted: &[Wanted]) -> Result<Vec<AppPlatform>, ComposeError> {
        common(&self.images, &self.services, wanted)
    }

    /// Fails when the metadata has another size of a layer's blob than its manifest.
    pub(super) fn check_sizes(&self) -> Result<(), ComposeError> {
        let mut known: BTreeMap<Digest, (u64, &str)> = BTreeMap::new();
        let layers = self.images.iter().flat_map(|image| &image.platforms).map(|image| &image.image);
        for (layer, image) in layers.flat_map(|image| image.layers.iter().map(move |layer| (layer, image))) {
            let (size, first) = *known.entry(layer.digest).or_insert((layer.size, &image.reference));
            if size != layer.size {
                return Err(sizes(layer.digest, (first, size), (&image.reference, layer.size)));
            }
        }
        let meta = self.layers_meta.iter().flat_map(|meta| meta.architectures.values());
        let meta = meta.flat_map(|meta| &meta.layers);
        let meta = meta.filter_map(|(digest, layer)| Some((digest, "the layers metadata", layer.archive_size?)));
        let measures = self.measures.iter().flat_map(|measures| &measures.layers);
        let measures = measures.map(|(digest, layer)| (digest, "umiak's measures", layer.archive_size));
        for (digest, document, told) in meta.chain(measures) {
            match known.get(digest) {
                Some((size, image)) if *size != told => {
                    return Err(sizes(*digest, (document, told), (image, *size)));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn sizes(blob: Digest, (first, one): (&str, u64), (second, other): (&str, u64)) -> ComposeError {
    ComposeError::Sizes { blob, first: first.to_owned(), one, second: second.to_owned(), other }
}
