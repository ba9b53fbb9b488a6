//! Measures that were attached to an image: what its layers take here, where no app says it.
//!
//! Guarantees: one list, one manifest and one document are asked for, and only while a layer of the image is missing; what
//! cannot be had or read is as if it were not there, for measures only tell.

use umiak_spec::app::measures::{Measures, attached};
use umiak_spec::{Descriptor, ImageReference};

use super::content::{Reader, ServiceImage};
use super::error::ResolveError;

impl Reader<'_> {
    /// The measures of an image, from the first place that has some.
    pub(crate) fn measures(&self, image: &ServiceImage) -> Result<Option<Measures>, ResolveError> {
        let here = |layer: &umiak_spec::Digest| matches!(self.store.layer_record(layer), Ok(Some(_)));
        if !self.online || image.diff_ids().iter().all(here) {
            return Ok(None);
        }
        let Some(manifest) = &image.image.manifest else { return Ok(None) };
        for place in &image.places {
            match self.attached(place, manifest) {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(ResolveError::Cancelled(cancelled)) => return Err(cancelled.into()),
                Err(error) => self.observer.note(&format!("no measures from {place}: {error}")),
            }
        }
        Ok(None)
    }

    fn attached(&self, place: &ImageReference, image: &Descriptor) -> Result<Option<Measures>, ResolveError> {
        let documents = self.documents(place.clone());
        let listed = documents.source()?.referrers(&image.digest, Some(attached::ARTIFACT_TYPE), self.observer);
        let listed = listed.map_err(ResolveError::source(place.to_string()))?;
        let Some(referrer) = listed.first() else { return Ok(None) };
        let manifest = documents.get(&referrer.descriptor)?;
        let limits = &self.sources.limits;
        let unreadable = |source| ResolveError::Document { what: format!("the measures of {place}"), source };
        let Some(document) = attached::document(&manifest, limits).map_err(unreadable)? else { return Ok(None) };
        let refused = |source| ResolveError::App { what: place.to_string(), source: Box::new(source) };
        Measures::parse(&documents.get(&document)?, limits).map(Some).map_err(refused)
    }
}
