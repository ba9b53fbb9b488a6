//! What one copy is made of: the image, or an app and before it the images of its services.

use std::num::NonZeroUsize;

use umiak_build::BuildError;
use umiak_build::compose::{Places, Work};
use umiak_registry::{
    Choice, Content, Context as Sources, Copied, Copy, Sink, Source, content, open_sink_from, open_watched,
};
use umiak_spec::{Descriptor, ImageReference, Observer};

use super::place::host;
use crate::commands::image::fetching;
use crate::error::{Failure, Kind};

/// One image or artifact on its way.
pub struct Job {
    /// Where it comes from.
    pub from: ImageReference,
    /// Where it goes.
    pub place: ImageReference,
    pub source: Box<dyn Source>,
    pub content: Content,
}

impl Job {
    /// Finds what `from` has of `choice`.
    pub fn find(
        sources: &Sources,
        from: ImageReference,
        choice: &Choice,
        place: impl FnOnce(&Content) -> Result<ImageReference, Failure>,
        observer: &dyn Observer,
    ) -> Result<Self, Failure> {
        let source = open_watched(&from, sources, observer).map_err(fetching)?;
        let content = content(source.as_ref(), &from, choice, &sources.limits, observer).map_err(fetching)?;
        let place = place(&content)?;
        Ok(Self { from, place, source, content })
    }

    /// The images of an app's services, whole, for where the app goes: into the same layout or archive, or into the same
    /// registry, under their own repositories' names.
    pub fn services(
        sources: &Sources,
        app: &ImageReference,
        to: &ImageReference,
        referrers: bool,
        observer: &dyn Observer,
    ) -> Result<Vec<Self>, Failure> {
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let work = Work { sources, limits: sources.limits, threads, device: false, observer };
        let read = work.read(app, &[])?;
        let places = Places { sources, app };
        // Their digests are in the compose file: what they name is not divided.
        let choice = Choice { all_platforms: true, referrers, ..Choice::default() };
        let mut jobs = Vec::new();
        for image in &read.images {
            let name = match image.reference.parse().map_err(BuildError::Reference)? {
                ImageReference::Bare(name) | ImageReference::Registry(name) => name,
                other => return Err(Failure::new(Kind::Usage, format!("{other} is no image of a service"))),
            };
            let near = places.find(&name, observer).map_err(fetching)?;
            let place = match (host(to), name.digest) {
                (Some(host), Some(digest)) => {
                    format!("docker://{host}/{}@{digest}", name.repository).parse().map_err(BuildError::Reference)?
                }
                _ => without_tag(to),
            };
            jobs.push(Self::find(sources, near, &choice, |_| Ok(place), observer)?);
        }
        Ok(jobs)
    }

    /// The sink of this one: a registry's own; the layout or archive is the same for all.
    pub fn sink(&self, sources: &Sources) -> Result<Box<dyn Sink>, Failure> {
        open_sink_from(&self.place, Some(&self.from), sources).map_err(fetching)
    }

    /// The copy of it.
    pub fn copy<'a>(&'a self, sink: &'a dyn Sink, parallel: usize, observer: &'a dyn Observer) -> Copy<'a> {
        Copy { source: self.source.as_ref(), from: &self.from, sink, parallel, observer }
    }
}

/// A job that was done, or in a dry run would have been.
pub struct Done<'a> {
    pub job: &'a Job,
    pub missing: Vec<Descriptor>,
    pub copied: Option<Copied>,
}

fn without_tag(place: &ImageReference) -> ImageReference {
    let mut place = place.clone();
    if let ImageReference::Layout { selector, .. } | ImageReference::OciArchive { selector, .. } = &mut place {
        *selector = None;
    }
    place
}
