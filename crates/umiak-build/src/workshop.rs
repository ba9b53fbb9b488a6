//! What making apps needs: the repository, caches, sources, limits, and someone to tell about it.

use std::num::NonZeroUsize;
use std::path::Path;

use umiak_pvr::app::{SourceDocument, SourceKind};
use umiak_spec::{ImageReference, Limits, Observer, Platform};

use crate::cache::Cache;
use crate::error::BuildError;
use crate::image::SourceImage;
use crate::layers::Layers;

/// Where and with what apps are made. The caller holds the repository's lock.
pub struct Workshop<'a> {
    /// Root of the device repository: the directory with `.pvr`.
    pub repository: &'a Path,
    /// Directory for layer indexes and content lists; may be emptied at any time.
    pub cache: &'a Path,
    /// How registries, daemons and layouts are reached.
    pub sources: &'a umiak_registry::Context,
    /// Platforms to pick from an index for apps that name none, best first; empty: this machine's.
    pub platforms: &'a [Platform],
    /// Bounds on input.
    pub limits: Limits,
    /// Threads for reading and compressing.
    pub threads: NonZeroUsize,
    /// Seconds since 1970 that images carry as their time of making.
    pub image_time: u32,
    /// Is told what happens, and may cancel.
    pub observer: &'a dyn Observer,
}

impl Workshop<'_> {
    pub(crate) fn cache(&self) -> Cache {
        Cache::new(self.cache)
    }

    /// Writes into `document` where the app comes from.
    pub(crate) fn point_at(
        &self,
        document: &mut SourceDocument,
        kind: SourceKind,
        from: &str,
    ) -> Result<(), BuildError> {
        match kind {
            SourceKind::Docker => {
                let reference: ImageReference = from.parse().map_err(BuildError::Reference)?;
                document.set_docker_name(Some(&reference.name()));
                document.set_docker_tag(reference.tag_or_digest().as_deref());
                Ok(())
            }
            SourceKind::Rootfs => {
                document.set_rootfs_url(Some(from));
                Ok(())
            }
            SourceKind::Pvr => Err(BuildError::Refused("apps of other devices are taken with `get`".into())),
        }
    }

    /// The image that `document` names now, or the one that `pinned` (`name@digest`) names.
    pub(crate) fn image(&self, document: &SourceDocument, pinned: Option<&str>) -> Result<SourceImage, BuildError> {
        let reference = self.reference(document, pinned)?;
        let platforms = match document.docker_platform() {
            Some(platform) => vec![platform.parse().map_err(BuildError::Platform)?],
            None => self.platforms.to_vec(),
        };
        self.observer.check()?;
        let source = umiak_registry::open_watched(&reference, self.sources, self.observer)?;
        let image = source.resolve_watched(&platforms, self.observer)?;
        Ok(SourceImage { source, image })
    }

    fn reference(&self, document: &SourceDocument, pinned: Option<&str>) -> Result<ImageReference, BuildError> {
        if let Some(path) = document.rootfs_url() {
            return Ok(ImageReference::RootFs { path: self.repository.join(path) });
        }
        let name = document.docker_name().unwrap_or("");
        if let Some(pinned) = pinned {
            return ImageReference::pinned(name, pinned).map_err(BuildError::Reference);
        }
        let text = match document.docker_tag() {
            Some(tag) if tag.starts_with("sha256:") => format!("{name}@{tag}"),
            Some(tag) => format!("{name}:{tag}"),
            None => name.to_owned(),
        };
        text.parse().map_err(BuildError::Reference)
    }

    /// Fetches and indexes the layers of `image`.
    pub(crate) fn layers(&self, image: &SourceImage) -> Result<Layers, BuildError> {
        let SourceImage { source, image } = image;
        Layers::load(source.as_ref(), &image.layers, &self.cache(), &self.limits, self.threads, self.observer)
    }
}
