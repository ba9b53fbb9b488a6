//! An app as it is in a registry, layout or archive: its documents, its bundle, its services and their images.
//!
//! Guarantees: every document and the bundle were compared with the digests that lead to them, the bundle with its index, the
//! sizes that the metadata tells with those of the manifests: who plans with them is not misled. Apps that others
//! published are read alike. What this does not do: fetch layers.

use std::collections::BTreeMap;

use umiak_registry::{BlobFile, Error, ErrorKind, Source};
use umiak_spec::app::measures::Measures;
use umiak_spec::app::{AppError, AppManifest, BundleIndex, LayersMeta, app_name};
use umiak_spec::{Descriptor, Digest, ImageReference, Platform};

use super::Work;
use super::error::ComposeError;
use super::images::registry_name;
use super::images::{Images, Places, PlatformImage, Reader, ServiceImage};
use super::platforms::{AppPlatform, Wanted, common};
use super::unpacked::Bundle;
use crate::error::BuildError;

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
    /// Its image: a position in [`App::images`].
    pub image: usize,
}

/// Finds the services in a bundle: names, and the images that the compose file pins.
pub type FindServices<'a> = dyn Fn(&Bundle) -> Result<Vec<(String, String)>, BuildError> + 'a;

impl App {
    /// The image of a service.
    #[must_use]
    pub fn image(&self, service: &Service) -> Option<&ServiceImage> {
        self.images.get(service.image)
    }

    /// The image that an engine on `platform` runs as this service.
    #[must_use]
    pub fn image_on(&self, service: &Service, platform: &Platform) -> Option<&PlatformImage> {
        let platforms = &self.image(service)?.platforms;
        let offered = platforms.iter().map(|image| &image.platform);
        platforms.get(Platform::choose(std::slice::from_ref(platform), offered)?)
    }

    /// The platforms on which every service has an image that runs.
    ///
    /// # Errors
    /// [`ComposeError`]: there is none, or not one of `wanted`.
    pub fn platforms(&self, wanted: &[Wanted]) -> Result<Vec<AppPlatform>, ComposeError> {
        let services: Vec<_> = self.services.iter().map(|service| (service.name.clone(), service.image)).collect();
        common(&self.images, &services, wanted)
    }

    /// Fails when the metadata has another size of a layer's blob than its manifest.
    fn check_sizes(&self) -> Result<(), ComposeError> {
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

impl Work<'_> {
    /// Reads an app and the documents of its images, for all platforms or for the architectures that are `wanted`.
    /// `services` finds the services and their images in the bundle.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn read_with(
        &self,
        app: &ImageReference,
        wanted: &[Wanted],
        services: &FindServices<'_>,
    ) -> Result<App, BuildError> {
        let source = umiak_registry::open_watched(app, self.sources, self.observer)?;
        let source = source.as_ref();
        let (descriptor, bytes) = source.top(self.observer)?;
        let refused = |source| ComposeError::App { app: app.to_string(), source: Box::new(source) };
        let manifest = AppManifest::parse(&bytes, &self.limits).map_err(refused)?;
        let layers_meta = match &manifest.layers_meta {
            Some(document) => {
                let bytes = source.document(document, self.observer)?;
                Some(LayersMeta::parse(&bytes, &self.limits).map_err(refused)?)
            }
            None => None,
        };
        let measures = match &manifest.measures {
            Some(document) => {
                let bytes = source.document(document, self.observer)?;
                Some(Measures::parse(&bytes, &self.limits).map_err(refused)?)
            }
            None => None,
        };
        let archive = source.blob(&manifest.bundle, self.observer)?;
        let bundle = Bundle::read(archive.reader(), &self.limits, self.observer)?;
        self.compare(source, &manifest, &bundle).map_err(|error| match error {
            Compared::Registry(error) => BuildError::from(error),
            Compared::App(error) => refused(error).into(),
        })?;
        let places = Places { sources: self.sources, app };
        let (services, images) = self.images(services(&bundle)?, &places, wanted)?;
        // A file that carries the app may be called anything.
        let name = descriptor.annotations.app_name.clone().unwrap_or_else(|| app_name(app));
        let app = App { name, descriptor, bytes, manifest, layers_meta, measures, archive, bundle, services, images };
        app.check_sizes()?;
        Ok(app)
    }

    /// The bundle and its index, where the app has one. One that is gone is no error: nothing keeps it in a registry that
    /// removes what no manifest names.
    fn compare(&self, source: &dyn Source, manifest: &AppManifest, bundle: &Bundle) -> Result<(), Compared> {
        let Some(descriptor) = &manifest.bundle_index else { return Ok(()) };
        let bytes = match source.document(descriptor, self.observer) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.observer.note("the index of the bundle is gone: a device cannot check what it unpacks");
                return Ok(());
            }
            result => result?,
        };
        let index = BundleIndex::parse(&bytes, &self.limits)?;
        match bundle.differs(&index) {
            Some(name) => {
                let reason = format!("`{name}` in the bundle is not what its index says");
                Err(AppError::Inconsistent { what: "the app", reason }.into())
            }
            None => Ok(()),
        }
    }

    /// The images of services: each is looked at once.
    fn images(
        &self,
        named: Vec<(String, String)>,
        images: &dyn Images,
        wanted: &[Wanted],
    ) -> Result<(Vec<Service>, Vec<ServiceImage>), BuildError> {
        let mut by_reference: BTreeMap<String, usize> = BTreeMap::new();
        let (mut services, mut read) = (Vec::new(), Vec::new());
        for (name, reference) in named {
            let image = match by_reference.get(&reference) {
                Some(at) => *at,
                None => {
                    read.push(self.image(&name, &reference, images, wanted)?);
                    by_reference.insert(reference.clone(), read.len() - 1);
                    read.len() - 1
                }
            };
            services.push(Service { name, reference, image });
        }
        if services.is_empty() { Err(ComposeError::NoServices.into()) } else { Ok((services, read)) }
    }

    fn image(
        &self,
        service: &str,
        reference: &str,
        images: &dyn Images,
        wanted: &[Wanted],
    ) -> Result<ServiceImage, BuildError> {
        let user = || format!("the service {service}");
        let name = registry_name(reference).map_err(|source| ComposeError::Reference { user: user(), source })?;
        let failed = |source: Error| ComposeError::Image {
            image: reference.to_owned(),
            services: vec![service.to_owned()],
            source: Box::new(source),
        };
        let source = images.open(&name, self.observer).map_err(failed)?;
        let (top, bytes) = source.top(self.observer).map_err(failed)?;
        let name = format!("{}/{}", name.host, name.repository);
        let wanted = |platform: &Platform| asked(wanted, platform);
        Ok(self.reader(&name, source.as_ref(), &wanted).read(&top, &bytes).map_err(failed)?)
    }

    /// Reads the documents of images called `name`.
    fn reader<'r>(
        &'r self,
        name: &'r str,
        source: &'r dyn Source,
        wanted: &'r (dyn Fn(&Platform) -> bool + Sync),
    ) -> Reader<'r> {
        Reader { name, source, wanted, limits: &self.limits, observer: self.observer }
    }
}

/// Whether `wanted` has the platform, or nothing is asked for in particular. A variant that is asked for may be served by
/// another one.
fn asked(wanted: &[Wanted], platform: &Platform) -> bool {
    wanted.is_empty() || wanted.iter().any(|wanted| wanted.may_take(platform))
}

/// Why a bundle was not compared, or is not what its index says.
enum Compared {
    Registry(Error),
    App(AppError),
}

impl From<Error> for Compared {
    fn from(error: Error) -> Self {
        Self::Registry(error)
    }
}

impl From<AppError> for Compared {
    fn from(error: AppError) -> Self {
        Self::App(error)
    }
}
