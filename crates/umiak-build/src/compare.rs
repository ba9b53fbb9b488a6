//! Two images side by side: layers that both have, and what differs between their trees.
//!
//! Guarantees: layers are verified before they are looked into, and kept as for an app; what differs is what a patch would
//! have to carry. Nothing is written but caches.

use std::num::NonZeroUsize;
use std::path::Path;

use umiak_registry::{Image, Layer};
use umiak_spec::{ImageReference, Limits, Observer, Platform};
use umiak_tree::{ChangeReport, OverlayOptions};

use crate::cache::Cache;
use crate::error::BuildError;
use crate::image::SourceImage;
use crate::layers::Layers;

/// With what images are compared.
pub struct Comparison<'a> {
    /// How registries, daemons and layouts are reached.
    pub sources: &'a umiak_registry::Context,
    /// Platforms to pick from an index, best first; empty: this machine's.
    pub platforms: &'a [Platform],
    /// Directory for layer indexes; may be emptied at any time.
    pub cache: &'a Path,
    /// Threads for reading.
    pub threads: NonZeroUsize,
    /// Bounds on input.
    pub limits: Limits,
    /// Is told what happens, and may cancel.
    pub observer: &'a dyn Observer,
}

/// Which of two images have a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Having {
    /// Only the base.
    Base,
    /// Both.
    Both,
    /// Both, in another compression: the same diff ID in another blob, which is the target's.
    Repacked,
    /// Only the target.
    Target,
}

/// What differs between two images.
#[derive(Debug)]
pub struct ImageDiff {
    /// The first.
    pub base: Image,
    /// The second.
    pub target: Image,
    /// The base's own layers, then all of the target's, bottom first.
    pub layers: Vec<(Having, Layer)>,
    /// What differs between the trees.
    pub files: ChangeReport,
}

impl Comparison<'_> {
    /// Compares two images.
    ///
    /// # Errors
    /// [`BuildError`]: one of them cannot be had, or holds what no patch can show.
    pub fn images(&self, base: &ImageReference, target: &ImageReference) -> Result<ImageDiff, BuildError> {
        let [base, target] = [self.open(base)?, self.open(target)?];
        let cache = Cache::new(self.cache);
        let tree = |of: &SourceImage| {
            let (source, layers) = (of.source.as_ref(), &of.image.layers);
            let layers = Layers::load(source, layers, &cache, &self.limits, self.threads, self.observer)?;
            layers.tree(of.reference()).map(|(tree, _)| tree)
        };
        let (lower, upper) = (tree(&base)?, tree(&target)?);
        let files = umiak_tree::changeset(&lower, &upper, OverlayOptions::default())
            .map_err(|source| BuildError::Changeset { base: base.reference().into(), source })?
            .report;
        let layers = layers(&base.image.layers, &target.image.layers);
        Ok(ImageDiff { base: base.image, target: target.image, layers, files })
    }

    fn open(&self, reference: &ImageReference) -> Result<SourceImage, BuildError> {
        let source = umiak_registry::open_watched(reference, self.sources, self.observer)?;
        let image = source.resolve_watched(self.platforms, self.observer)?;
        Ok(SourceImage { source, image })
    }
}

fn layers(base: &[Layer], target: &[Layer]) -> Vec<(Having, Layer)> {
    let has = |layers: &[Layer], layer: &Layer| {
        let same =
            |other: &&Layer| other.digest == layer.digest || other.diff_id.is_some() && other.diff_id == layer.diff_id;
        layers.iter().find(same).map(|other| other.digest == layer.digest)
    };
    let gone = base.iter().filter(|layer| has(target, layer).is_none()).map(|layer| (Having::Base, layer.clone()));
    let is = target.iter().map(|layer| {
        let having = match has(base, layer) {
            Some(true) => Having::Both,
            Some(false) => Having::Repacked,
            None => Having::Target,
        };
        (having, layer.clone())
    });
    gone.chain(is).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use umiak_spec::Digest;

    fn layer(blob: &str, plain: &str) -> Layer {
        let diff_id = Some(Digest::of(plain.as_bytes()));
        Layer { digest: Digest::of(blob.as_bytes()), size: 1, media_type: String::new(), diff_id }
    }

    #[test]
    fn layers_are_told_apart_by_what_is_in_them() {
        let (base, target) =
            ([layer("a", "a"), layer("b", "b"), layer("c", "c")], [layer("a", "a"), layer("B", "b"), layer("d", "d")]);
        let having: Vec<Having> = layers(&base, &target).into_iter().map(|(having, _)| having).collect();
        assert_eq!(having, [Having::Base, Having::Both, Having::Repacked, Having::Target]);
    }
}
