//! Binary deltas of files and images: joining containers, the delta codec and registries.
//!
//! ```text
//! make:   base, target -> parts (headers, files) -> umiak_delta::make -> blob -> applied once, compared -> file,
//! artifact apply:  base -> parts, blob -> umiak_delta::apply -> beside its place -> verified -> renamed
//! ```

mod assembled;
mod device;
mod files;
mod foreign_files;
mod foreign_images;
mod found;
mod images;
mod inspect;
mod names;
mod opened;
mod package;
mod parts;
pub(crate) mod place;
mod rebuild;
mod squashfs;
mod tree_files;
mod worth;

use std::path::Path;

use umiak_delta::MakeOptions;
use umiak_delta::index::Index;
use umiak_registry::Sink;
use umiak_spec::{DeltaManifest, Descriptor, Digest, ImageReference, Limits, Observer, Platform, ReadAt};

use crate::error::BuildError;

pub use assembled::{Assembled, Layer as AssembledLayer, ManifestText};
pub use files::{apply_file, make_file};
pub use foreign_files::{DeltaFile, apply_foreign_file};
pub use images::Draft;
pub use inspect::{Inspected, InspectedContent, InspectedImage, inspect_file};
pub use names::Also;
pub use package::{MadePackage, Package, PackageWork};

/// With what deltas of images are made and applied.
pub struct Work<'a> {
    /// How registries, daemons and layouts are reached.
    pub sources: &'a umiak_registry::Context,
    /// Platforms to pick from an index, best first; empty: this machine's.
    pub platforms: &'a [Platform],
    /// Directory for uncompressed layers while they are needed; nothing stays there.
    pub scratch: &'a Path,
    /// How deltas are made.
    pub options: &'a MakeOptions,
    /// Bounds on input.
    pub limits: Limits,
    /// Is told what happens, and may cancel.
    pub observer: &'a dyn Observer,
}

/// A delta that was made.
#[derive(Debug, Clone)]
pub struct Made {
    /// What it says of itself.
    pub index: Index,
    /// Bytes.
    pub size: u64,
    /// Whether it is smaller than the compressed target; otherwise nothing was written.
    pub worth: bool,
}

/// A delta between images that was made.
#[derive(Debug, Clone)]
pub struct Published {
    /// The artifact.
    pub manifest: DeltaManifest,
    /// Where it is; none when no layer gets smaller by a delta, and nothing was stored.
    pub stored: Option<Descriptor>,
    /// Of each layer that is a delta, by diff ID.
    pub indexes: Vec<(Digest, Index)>,
}

/// An image that was made from a delta.
#[derive(Debug, Clone, Copy)]
pub struct Rebuilt {
    /// Digest of the manifest that was stored.
    pub manifest: Digest,
    /// The image ID.
    pub config: Digest,
    /// Layers in all.
    pub layers: usize,
    /// Layers whose blobs are not the registry's, because they are uncompressed.
    pub rebuilt: usize,
    /// Bytes of all layers uncompressed.
    pub expanded: u64,
}

impl Work<'_> {
    /// Makes the delta between two images and stores it as an artifact at `out`.
    ///
    /// # Errors
    /// [`BuildError`]; the artifact's manifest is stored last.
    pub fn make_images(
        &self,
        base: &ImageReference,
        target: &ImageReference,
        out: &ImageReference,
    ) -> Result<Published, BuildError> {
        check_place(out)?;
        let draft = self.draft_images(base, target)?;
        let sink = draft.worth().then(|| umiak_registry::open_sink(out, self.sources)).transpose()?;
        let tag = sink.as_ref().and_then(|sink| sink.tag().map(str::to_owned));
        let published = self.store(draft, sink.as_deref(), tag.as_deref())?;
        sink.map_or(Ok(()), |sink| sink.finish(self.observer))?;
        Ok(published)
    }

    /// Makes the deltas from several images to `target` and stores them where the target is, as its referrers. Each is
    /// tagged `tag`, if there is one, with `{}` replaced by twelve digits of the base's digest.
    ///
    /// # Errors
    /// [`BuildError`]; nothing is stored until all deltas are made.
    pub fn publish_images(
        &self,
        bases: &[ImageReference],
        target: &ImageReference,
        tag: Option<&str>,
    ) -> Result<Vec<Published>, BuildError> {
        check_place(target)?;
        let out = target;
        let target = self.open(target)?;
        let mut drafts = Vec::new();
        for base in bases {
            let base = self.open(base)?;
            let digest = base.image.manifest.as_ref().map(|manifest| manifest.digest);
            let digest = digest.unwrap_or_else(|| Digest::of(base.image.config.text.as_bytes()));
            drafts.push((digest, self.draft(&base, &target)?));
        }
        let sink = umiak_registry::open_sink(out, self.sources)?;
        let mut published = Vec::new();
        for (base, draft) in drafts {
            let tag = tag.map(|tag| tag.replace("{}", &base.hex()[..12]));
            published.push(self.store(draft, Some(sink.as_ref()), tag.as_deref())?);
        }
        sink.finish(self.observer)?;
        Ok(published)
    }

    fn store(&self, draft: Draft, sink: Option<&dyn Sink>, tag: Option<&str>) -> Result<Published, BuildError> {
        let worth = draft.worth();
        let Draft { manifest, contents, indexes } = draft;
        let Some(sink) = sink.filter(|_| worth) else {
            return Ok(Published { manifest, stored: None, indexes });
        };
        let contents: Vec<&dyn ReadAt> = contents.iter().map(|bytes| bytes as &dyn ReadAt).collect();
        let parallel = opened::PARALLEL;
        let stored = umiak_registry::put_delta(sink, &manifest, &contents, tag, parallel, self.observer)?;
        Ok(Published { manifest, stored: Some(stored), indexes })
    }
}

/// Fails for places that nothing can be stored at, before any work is done. Nothing is created.
fn check_place(out: &ImageReference) -> Result<(), BuildError> {
    match out {
        ImageReference::DockerArchive { .. } | ImageReference::Daemon(_) | ImageReference::RootFs { .. } => {
            let text = format!("{out} cannot be written to: say a registry, oci: or oci-archive:");
            Err(umiak_registry::Error::Unsupported(text).into())
        }
        ImageReference::Layout { .. }
        | ImageReference::OciArchive { .. }
        | ImageReference::Registry(_)
        | ImageReference::Bare(_) => Ok(()),
    }
}
