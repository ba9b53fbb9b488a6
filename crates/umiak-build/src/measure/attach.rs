//! Measures put beside images, where devices find them: for images that belong to no app.

use umiak_registry::{Context, open_sink};
use umiak_spec::app::measures::{Measures, attached};
use umiak_spec::media_type::OCI_MANIFEST;
use umiak_spec::{DeltaManifest, Descriptor, Digest, ImageReference, Platform};

use super::{Measuring, Which, service};
use crate::error::BuildError;

/// Measures that were attached to one image.
#[derive(Debug, Clone)]
pub struct Attached {
    /// The image.
    pub image: ImageReference,
    /// What it is made for.
    pub platform: Platform,
    /// The image's manifest.
    pub subject: Digest,
    /// What was attached.
    pub artifact: Descriptor,
}

impl Measuring<'_> {
    /// Measures images and attaches to each manifest what was measured of it: platforms that are built elsewhere attach
    /// their own, and are in nobody's way.
    ///
    /// # Errors
    /// [`BuildError`]; among them that the image is in no registry and no layout.
    pub fn attach(
        &self,
        sources: &Context,
        references: &[ImageReference],
        which: &Which,
    ) -> Result<Vec<Attached>, BuildError> {
        let mut all = Vec::new();
        for reference in references {
            self.observer.check()?;
            let source = umiak_registry::open_watched(reference, sources, self.observer)?;
            let sink = open_sink(reference, sources)?;
            for image in self.resolve(source.as_ref(), which)? {
                let subject = image.manifest.clone().ok_or_else(|| {
                    BuildError::Refused(format!("{reference} has no manifest: take it from a registry or a layout"))
                })?;
                let platform = image.config.platform.clone();
                let services = [(reference.to_string(), service(&image))].into();
                let layers = self.layers(source.as_ref(), &image.layers)?;
                let measures =
                    Measures { platforms: [(platform.clone(), services)].into(), layers, deltas: Vec::new() };
                let bytes = measures.to_bytes();
                let document = Descriptor::new(attached::MEDIA_TYPE, Digest::of(&bytes), bytes.len() as u64);
                let (config, empty) = DeltaManifest::config();
                sink.put_blob(&config, &empty, self.observer)?;
                sink.put_blob(&document, &bytes, self.observer)?;
                let manifest = attached::artifact(&subject, &document);
                let artifact = sink.put_manifest(&manifest, OCI_MANIFEST, None, self.observer)?;
                all.push(Attached { image: reference.clone(), platform, subject: subject.digest, artifact });
            }
            sink.finish(self.observer)?;
        }
        Ok(all)
    }
}
