//! Deltas of an app's images, published with the app.
//!
//! They are stored in the app's own repository, where its publisher may write, whatever repositories its images are in;
//! there they are referrers of the images' manifests, and the app's measures name them. Guarantees: everything is stored
//! before the app that names it; a delta that saves nothing is not stored.

use umiak_registry::{Sink, open_sink, put_delta};
use umiak_spec::app::measures::{DeltaOf, KnownDelta};
use umiak_spec::{ImageReference, Platform, ReadAt};

use super::Draft;
use super::carry::Read;
use crate::delta::Work;
use crate::error::BuildError;

/// Blobs sent at a time.
const PARALLEL: usize = 4;

/// A delta that was looked for, between two images of a service.
#[derive(Debug, Clone)]
pub struct PublishedDelta {
    /// The service.
    pub service: String,
    /// The platform of both images.
    pub platform: Platform,
    /// The layers of the target as they are in its registry: what is fetched without the delta.
    pub full_size: u64,
    /// The delta; none where it would save nothing.
    pub known: Option<KnownDelta>,
}

impl Work<'_> {
    /// Makes and stores the deltas that lead from the images of `bases` to those of `draft`, and names them in the draft.
    /// Images that did not change, and services that a base has not, have none.
    ///
    /// # Errors
    /// [`BuildError`]; the app is not published then, and what was stored is in nobody's way.
    pub fn publish_deltas(&self, draft: &mut Draft, bases: &[Read<'_>]) -> Result<Vec<PublishedDelta>, BuildError> {
        if matches!(draft.app, ImageReference::OciArchive { .. }) {
            let text = "an archive is written at once: publish deltas to a registry or a layout";
            return Err(BuildError::Refused(text.into()));
        }
        let sink = open_sink(&draft.app, self.sources)?;
        let mut published = Vec::new();
        for base in bases {
            for platform in &draft.platforms {
                published.extend(self.deltas_of(draft, &platform.platform, *base, sink.as_ref())?);
            }
        }
        sink.finish(self.observer)?;
        draft.deltas.extend(published.iter().filter_map(|delta| delta.known));
        draft.deltas.sort_unstable();
        draft.deltas.dedup();
        Ok(published)
    }

    /// The deltas on one platform from one base.
    fn deltas_of(
        &self,
        draft: &Draft,
        platform: &Platform,
        base: Read<'_>,
        sink: &dyn Sink,
    ) -> Result<Vec<PublishedDelta>, BuildError> {
        let platforms = [platform.clone()];
        let work = Work { platforms: &platforms, ..*self };
        let (mut published, mut done) = (Vec::new(), Vec::new());
        for service in &draft.services {
            let target = draft.image_on(service, platform);
            let Some(known) = base.app.services.iter().find(|known| known.name == service.name) else { continue };
            let from = base.app.image_on(known, platform).and_then(|image| image.image.manifest.as_ref());
            let target = target.and_then(|image| image.image.manifest.as_ref());
            let (Some(target), Some(from)) = (target, from) else { continue };
            let (target, from) = (target.digest, from.digest);
            if from == target || done.contains(&(from, target)) {
                continue;
            }
            done.push((from, target));
            let bases = work.place(&known.reference, base.place)?;
            let made = work.draft_images(&bases, &work.place(&service.reference, &draft.app)?)?;
            let full_size = made.manifest.full_size;
            let known = if made.worth() && made.manifest.size() < full_size {
                let contents: Vec<&dyn ReadAt> = made.contents.iter().map(|bytes| bytes as &dyn ReadAt).collect();
                let stored = put_delta(sink, &made.manifest, &contents, None, PARALLEL, self.observer)?;
                let size = made.manifest.size();
                Some(KnownDelta { of: DeltaOf::Image, base: from, target, artifact: stored.digest, size })
            } else {
                None
            };
            published.push(PublishedDelta {
                service: service.name.clone(),
                platform: platform.clone(),
                full_size,
                known,
            });
        }
        Ok(published)
    }
}
