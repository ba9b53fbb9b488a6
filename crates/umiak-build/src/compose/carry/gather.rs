//! The image of a service made ready to be carried: everything that leads to it, and its layers or deltas of them.

use std::sync::Arc;

use umiak_registry::{Image, Source};
use umiak_spec::{Descriptor, Document, ImageReference, Platform, media_type};

use super::{CarriedImage, Layers, Piece};
use crate::delta::{Draft, Work};
use crate::error::BuildError;

/// Layers fetched at a time.
const PARALLEL: usize = 4;

/// One image that services use, and where it is to be had.
#[derive(Debug, Clone)]
pub struct Service {
    /// Who uses it.
    pub services: Vec<String>,
    /// Host and path, as the app's compose file has them.
    pub repository: String,
    /// Where it is: by the digest that the compose file names.
    pub image: ImageReference,
    /// The images of earlier releases of the app, one for each release: who gets the file has one of them. Empty: who gets
    /// it may have nothing.
    pub bases: Vec<ImageReference>,
}

impl Work<'_> {
    /// Fetches the image for `platform`. With bases, its layers become deltas, if there is one from every base and they
    /// are together smaller than the layers.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn carry(&self, service: &Service, platform: &Platform) -> Result<CarriedImage, BuildError> {
        let source = umiak_registry::open_watched(&service.image, self.sources, self.observer)?;
        let image = source.resolve_watched(std::slice::from_ref(platform), self.observer)?;
        let documents = self.documents(source.as_ref(), &image)?;
        let drafts = self.drafts(service, platform, &image)?;
        let layers = match drafts {
            Some(drafts) => Layers::Deltas(drafts),
            None => Layers::Full(self.full(source.as_ref(), &image)?),
        };
        Ok(CarriedImage {
            services: service.services.clone(),
            repository: service.repository.clone(),
            platform: platform.clone(),
            documents,
            config: Piece::document(media_type::OCI_CONFIG, image.config.text.as_bytes().to_vec()),
            layers,
        })
    }

    /// What the reference names, if that is an index, and the manifest.
    fn documents(&self, source: &dyn Source, image: &Image) -> Result<Vec<Piece>, BuildError> {
        let manifest = image.manifest.as_ref().ok_or_else(|| {
            BuildError::Refused(format!("{} has no manifest: take it from a registry or a layout", image.reference))
        })?;
        let mut documents = Vec::new();
        let (top, bytes) = source.top(self.observer)?;
        if top.digest != manifest.digest {
            documents.push(Piece::document(&Document::media_type_of(&bytes, &top.media_type), bytes));
        }
        let bytes = source.document(manifest, self.observer)?;
        documents.push(Piece::document(&manifest.media_type, bytes));
        Ok(documents)
    }

    fn full(&self, source: &dyn Source, image: &Image) -> Result<Vec<Piece>, BuildError> {
        let blobs = umiak_registry::fetch_all(source, &image.layers, PARALLEL, self.observer)?;
        let piece = |(layer, blob): (&umiak_registry::Layer, umiak_registry::BlobFile)| Piece {
            blob: Descriptor::new(layer.media_type.clone(), layer.digest, layer.size),
            content: Arc::new(blob),
        };
        Ok(image.layers.iter().zip(blobs).map(piece).collect())
    }

    /// A delta from each base; `None` when there is no base, when one of the deltas saves nothing, or when all together
    /// are no smaller than the layers.
    fn drafts(&self, service: &Service, platform: &Platform, image: &Image) -> Result<Option<Vec<Draft>>, BuildError> {
        if service.bases.is_empty() {
            return Ok(None);
        }
        let full: u64 = image.layers.iter().map(|layer| layer.size).sum();
        let platforms = [platform.clone()];
        let work = Work { platforms: &platforms, ..*self };
        let (mut drafts, mut size) = (Vec::new(), 0);
        for base in &service.bases {
            let draft = work.draft_images(base, &service.image)?;
            size += draft.manifest.size();
            if !draft.worth() || size >= full {
                return Ok(None);
            }
            drafts.push(draft);
        }
        Ok(Some(drafts))
    }
}
