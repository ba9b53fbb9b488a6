//! An app that was read, gathered with everything that its services need on some platforms.

use std::sync::Arc;

use umiak_registry::{ErrorKind, Source};
use umiak_spec::app::Form;
use umiak_spec::{Descriptor, ImageReference, Platform, Selector, app, media_type};

use super::{Carried, CarriedImage, Piece, Service, loaded_name};
use crate::compose::images::registry_name;
use crate::compose::{App, Places};
use crate::delta::Work;
use crate::error::BuildError;

/// An app and where it was read from.
#[derive(Clone, Copy)]
pub struct Read<'a> {
    /// What it says.
    pub app: &'a App,
    /// Where it is.
    pub place: &'a ImageReference,
}

impl Work<'_> {
    /// Fetches everything of an app for `platforms`. `bases` are earlier releases, of which who gets it has one: the
    /// images of services then become deltas, where that pays. A service that one of them has not comes as it is.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn gather(&self, read: Read<'_>, platforms: &[Platform], bases: &[Read<'_>]) -> Result<Carried, BuildError> {
        let source = umiak_registry::open_watched(read.place, self.sources, self.observer)?;
        let app = read.app;
        let mut images: Vec<CarriedImage> = Vec::new();
        for platform in platforms {
            for service in &app.services {
                let chosen = app.image_on(service, platform).ok_or_else(|| app.not_made_for(service, platform))?;
                let (repository, _) = service.reference.split_once('@').unwrap_or((&service.reference, ""));
                let name = chosen.image.manifest.as_ref().map(|manifest| loaded_name(repository, &manifest.digest));
                let same = |known: &&mut CarriedImage| known.platform == *platform && known.loaded_name() == name;
                if let Some(known) = images.iter_mut().find(same) {
                    known.services.push(service.name.clone());
                    continue;
                }
                let wanted = Service {
                    services: vec![service.name.clone()],
                    repository: repository.to_owned(),
                    image: self.place(&service.reference, read.place)?,
                    bases: self.bases(&service.name, bases)?.unwrap_or_default(),
                };
                // A service may ask for another platform than the device has.
                let image = self.carry(&wanted, &chosen.platform)?;
                images.push(CarriedImage { platform: platform.clone(), ..image });
            }
        }
        let mut manifest = app.descriptor.clone();
        manifest.artifact_type = (app.manifest.form == Form::Artifact).then(|| app::ARTIFACT_TYPE.to_owned());
        Ok(Carried {
            name: app.name.clone(),
            tag: tag(read),
            manifest: Piece { blob: manifest, content: Arc::new(app.bytes.clone()) },
            blobs: self.blobs(source.as_ref(), app)?,
            project: app.archive.clone(),
            images,
            signed: self.signed(source.as_ref(), read.place, &app.descriptor.digest)?,
        })
    }

    /// What the app's manifest names.
    fn blobs(&self, source: &dyn Source, app: &App) -> Result<Vec<Piece>, BuildError> {
        let (config, bytes) = app.manifest.form.config();
        let mut pieces = vec![Piece { blob: config, content: Arc::new(bytes.to_vec()) }];
        let indexes = app.manifest.layers_indexes.iter();
        let indexes = indexes.map(|index| Descriptor::new(media_type::OCI_INDEX, index.digest, index.size));
        for index in indexes {
            let bytes = source.document(&index, self.observer)?;
            pieces.push(Piece { blob: index, content: Arc::new(bytes) });
        }
        for blob in app.manifest.blobs() {
            match source.blob(blob, self.observer) {
                Ok(content) => pieces.push(Piece { blob: blob.clone(), content: Arc::new(content) }),
                // Nothing keeps it in a registry that removes what no manifest names.
                Err(error)
                    if error.kind() == ErrorKind::NotFound && Some(blob) == app.manifest.bundle_index.as_ref() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(pieces)
    }

    /// The images of a service in earlier releases; none if one of them has no such service.
    fn bases(&self, service: &str, bases: &[Read<'_>]) -> Result<Option<Vec<ImageReference>>, BuildError> {
        let mut found = Vec::new();
        for base in bases {
            let Some(service) = base.app.services.iter().find(|known| known.name == service) else { return Ok(None) };
            found.push(self.place(&service.reference, base.place)?);
        }
        Ok(Some(found))
    }

    /// Where a pinned image is: beside the app, or in its registry.
    ///
    /// # Errors
    /// [`BuildError`]: the name is none, what is beside the app cannot be read.
    pub fn place(&self, image: &str, app: &ImageReference) -> Result<ImageReference, BuildError> {
        let name = registry_name(image).map_err(BuildError::Reference)?;
        Ok(Places { sources: self.sources, app }.find(&name, self.observer)?)
    }
}

/// The tag that it was asked for by, or that it has in the file; else twelve digits of its digest.
fn tag(read: Read<'_>) -> String {
    let tag = match read.place {
        ImageReference::Registry(name) | ImageReference::Bare(name) => name.tag.clone(),
        ImageReference::Layout { selector: Some(Selector::Tag(tag)), .. }
        | ImageReference::OciArchive { selector: Some(Selector::Tag(tag)), .. } => Some(tag.clone()),
        _ => None,
    };
    let tag = tag.or_else(|| read.app.descriptor.annotations.ref_name.clone());
    tag.unwrap_or_else(|| read.app.descriptor.digest.hex()[..12].to_owned())
}
