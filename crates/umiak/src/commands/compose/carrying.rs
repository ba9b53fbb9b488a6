//! What carrying apps has in common: apps that were read, and what works on their images.

use std::path::{Path, PathBuf};

use umiak_build::BuildError;
use umiak_build::compose::App;
use umiak_build::compose::carry::Read;
use umiak_build::delta::Work;
use umiak_delta::MakeOptions;
use umiak_spec::{ImageReference, Limits, Platform, Selector};

use super::{Apps, reference};
use crate::cli::plain_file;
use crate::error::Failure;

/// An app and where it was read.
pub struct Known {
    /// What it says.
    pub app: App,
    /// Where it is.
    pub place: ImageReference,
}

impl Known {
    /// The same for the library.
    pub fn read(&self) -> Read<'_> {
        Read { app: &self.app, place: &self.place }
    }
}

/// Reads the app that `name` means, for `platforms` or for all; the name of a file means a bundle.
pub fn known(apps: &Apps<'_>, name: &str, platforms: &[Platform]) -> Result<Known, Failure> {
    known_at(apps, place(name)?, platforms)
}

/// Where the app is that `name` means; the name of a file means a bundle.
pub fn place(name: &str) -> Result<ImageReference, Failure> {
    match plain_file(name) {
        Some(path) => Ok(bundle(&path)),
        None => reference(name),
    }
}

/// The same where a tag alone means another release of the app at `of`.
pub fn release(apps: &Apps<'_>, name: &str, of: &ImageReference, platforms: &[Platform]) -> Result<Known, Failure> {
    let is_tag = !name.contains(['/', ':', '@']) && plain_file(name).is_none();
    match with_tag(of, name).filter(|_| is_tag) {
        Some(place) => known_at(apps, place, platforms),
        None => known(apps, name, platforms),
    }
}

/// The place of another release of the app at `place`.
fn with_tag(place: &ImageReference, tag: &str) -> Option<ImageReference> {
    let selector = Some(Selector::Tag(tag.to_owned()));
    match place {
        ImageReference::Registry(name) | ImageReference::Bare(name) => {
            format!("docker://{}:{tag}", name.written()).parse().ok()
        }
        ImageReference::Layout { path, .. } => Some(ImageReference::Layout { path: path.clone(), selector }),
        _ => None,
    }
}

/// The same of a place.
pub fn known_at(apps: &Apps<'_>, place: ImageReference, platforms: &[Platform]) -> Result<Known, Failure> {
    let wanted = platforms.iter().map(|platform| platform.to_string().parse()).collect::<Result<Vec<_>, _>>();
    let app = apps.work().read(&place, &wanted.map_err(BuildError::Platform)?)?;
    Ok(Known { app, place })
}

/// The app in a bundle.
pub fn bundle(path: &Path) -> ImageReference {
    ImageReference::OciArchive { path: path.to_owned(), selector: None }
}

/// Reads platforms.
pub fn platforms<'t>(texts: impl IntoIterator<Item = &'t String>) -> Result<Vec<Platform>, Failure> {
    let platforms = texts.into_iter().map(|text| text.parse());
    Ok(platforms.collect::<Result<_, _>>().map_err(BuildError::Platform)?)
}

/// What works on images and their deltas.
pub fn images<'a>(apps: &'a Apps<'_>, scratch: &'a Path, options: &'a MakeOptions) -> Work<'a> {
    Work {
        sources: &apps.sources,
        platforms: &[],
        scratch,
        options,
        limits: Limits::default(),
        observer: &apps.progress,
    }
}

/// The directory that `path` is in: what is made for it on the way can be there, too.
pub fn beside(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
