//! Tags followed once: what several platforms take from one reference is of one moment.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use umiak_build::BuildError;
use umiak_pvr::app::SourceDocument;
use umiak_registry::{Context, Image, Place, open_watched};
use umiak_spec::{ImageReference, Observer, Platform};

use crate::error::ReleaseError;

/// References and what they lead to.
pub(super) struct Pins<'a> {
    sources: &'a Context,
    observer: &'a dyn Observer,
    /// What each reference was pinned to; `None` where there are no manifests.
    known: Mutex<BTreeMap<String, Option<ImageReference>>>,
}

impl<'a> Pins<'a> {
    pub(super) fn new(sources: &'a Context, observer: &'a dyn Observer) -> Self {
        Self { sources, observer, known: Mutex::new(BTreeMap::new()) }
    }

    /// The image of a source document for its platform.
    pub(super) fn image(&self, document: &SourceDocument) -> Result<Image, ReleaseError> {
        let name = document.docker_name().unwrap_or("");
        let text = match document.docker_tag() {
            Some(tag) if tag.starts_with("sha256:") => format!("{name}@{tag}"),
            Some(tag) => format!("{name}:{tag}"),
            None => name.to_owned(),
        };
        let reference: ImageReference = text.parse().map_err(ReleaseError::Reference)?;
        let platform: Vec<Platform> =
            document.docker_platform().and_then(|text| text.parse().ok()).into_iter().collect();
        let sources = self.sources(document)?;
        let pinned = self.pinned(&text, name, &reference, &sources);
        let resolve = |reference: &ImageReference| {
            let source = open_watched(reference, &sources, self.observer)?;
            source.resolve_watched(&platform, self.observer)
        };
        Ok(resolve(&pinned.unwrap_or(reference)).map_err(BuildError::from)?)
    }

    /// The sources, in the order that a source document asks for.
    pub(super) fn sources(&self, document: &SourceDocument) -> Result<Context, ReleaseError> {
        let mut sources = self.sources.clone();
        if let Some(order) = document.docker_source() {
            sources.order = Place::parse_list(order).map_err(BuildError::from)?;
        }
        Ok(sources)
    }

    /// The reference by digest. Who comes second waits for who came first.
    fn pinned(&self, text: &str, name: &str, reference: &ImageReference, sources: &Context) -> Option<ImageReference> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pinned) = known.get(text) {
            return pinned.clone();
        }
        let source = open_watched(reference, sources, self.observer).ok()?;
        // What cannot be pinned now is looked up by tag, and says then what is wrong with it.
        let (top, _) = source.top(self.observer).ok()?;
        let pinned = ImageReference::pinned(name, &format!("{name}@{}", top.digest)).ok();
        known.insert(text.to_owned(), pinned.clone());
        pinned
    }
}
