//! Reading an app: manifest, metadata, bundle, services, images.
//!
//! Guarantees: every document and the bundle were compared with the digests that lead to them, the bundle with its index, the
//! sizes that the metadata tells with those of the manifests: who plans with them is not misled. Apps that others
//! published are read alike. What this does not do: fetch layers.

use std::collections::BTreeMap;

use umiak_registry::{Error, ErrorKind, Source};
use umiak_spec::app::measures::Measures;
use umiak_spec::app::{AppError, AppManifest, BundleIndex, LayersMeta, app_name};
use umiak_spec::{ImageReference, Platform, RegistryName};

use super::Work;
use super::app::{App, Service};
use super::error::ComposeError;
use super::images::{Images, Places, Reader, ServiceImage};
use super::platforms::Wanted;
use super::project::{Named, services};
use super::unpacked::Bundle;
use crate::error::BuildError;

impl Work<'_> {
    /// The manifest of an app, as it is.
    ///
    /// # Errors
    /// [`BuildError`]: also when it is no app's.
    pub fn manifest(&self, app: &ImageReference) -> Result<(AppManifest, Vec<u8>), BuildError> {
        let source = umiak_registry::open_watched(app, self.sources, self.observer)?;
        let (_, bytes) = source.top(self.observer)?;
        let refused = |source| ComposeError::App { app: app.to_string(), source: Box::new(source) };
        Ok((AppManifest::parse(&bytes, &self.limits).map_err(refused)?, bytes))
    }

    /// Reads an app and the documents of its images, for all platforms or for the architectures that are `wanted`.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn read(&self, app: &ImageReference, wanted: &[Wanted]) -> Result<App, BuildError> {
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
        named: Vec<Named>,
        images: &dyn Images,
        wanted: &[Wanted],
    ) -> Result<(Vec<Service>, Vec<ServiceImage>), BuildError> {
        let mut by_reference: BTreeMap<String, usize> = BTreeMap::new();
        let (mut services, mut read) = (Vec::new(), Vec::new());
        for Named { service, image, platform } in &named {
            let reference = ImageReference::Bare(image.clone()).to_string();
            let at = match by_reference.get(&reference) {
                Some(at) => *at,
                None => {
                    let same = named.iter().filter(|named| named.image == *image);
                    let own: Vec<&Platform> = same.filter_map(|named| named.platform.as_ref()).collect();
                    read.push(self.image(service, image, images, &|offered| asked(wanted, &own, offered))?);
                    by_reference.insert(reference.clone(), read.len() - 1);
                    read.len() - 1
                }
            };
            services.push(Service { name: service.clone(), reference, platform: platform.clone(), image: at });
        }
        if services.is_empty() { Err(ComposeError::NoServices.into()) } else { Ok((services, read)) }
    }

    fn image(
        &self,
        service: &str,
        image: &RegistryName,
        images: &dyn Images,
        wanted: &(dyn Fn(&Platform) -> bool + Sync),
    ) -> Result<ServiceImage, BuildError> {
        let failed = |source: Error| ComposeError::Image {
            image: ImageReference::Bare(image.clone()).to_string(),
            services: vec![service.to_owned()],
            source: Box::new(source),
        };
        let source = images.open(image, self.observer).map_err(failed)?;
        let (top, bytes) = source.top(self.observer).map_err(failed)?;
        let name = format!("{}/{}", image.host, image.repository);
        Ok(self.reader(&name, source.as_ref(), wanted).read(&top, &bytes).map_err(failed)?)
    }

    /// Reads the documents of images called `name`.
    pub(super) fn reader<'r>(
        &'r self,
        name: &'r str,
        source: &'r dyn Source,
        wanted: &'r (dyn Fn(&Platform) -> bool + Sync),
    ) -> Reader<'r> {
        Reader { name, source, wanted, limits: &self.limits, observer: self.observer }
    }
}

/// Whether images for `offered` are looked at: `wanted` has it, or nothing is asked for in particular, or a service asks
/// for it whatever the device is. A variant that is asked for may be served by another one.
pub(super) fn asked(wanted: &[Wanted], own: &[&Platform], offered: &Platform) -> bool {
    wanted.is_empty()
        || wanted.iter().any(|wanted| wanted.may_take(offered))
        || own.iter().any(|platform| platform.rank(offered).is_some())
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
