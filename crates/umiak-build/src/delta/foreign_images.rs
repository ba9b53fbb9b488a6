//! Deltas between images that others made: containers/oci-delta's artifacts and balena's delta images.
//!
//! Both lead to the same check as ours: the config is the target's by digest, and every layer is what the config says.

use std::io::{BufWriter, Write as _};
use std::sync::Arc;

use serde::Deserialize;
use umiak_delta::DeltaError;
use umiak_delta::foreign::balena::{self, DeltaImage};
use umiak_delta::foreign::{Basis, Bounds, ForeignError, rdiff, tar_diff};
use umiak_registry::{BlobFile, Image, Source};
use umiak_spec::{Descriptor, Digest, ReadAt};

use super::Work;
use super::assembled::{Assembled, Layer, ManifestText};
use super::foreign_files::foreign;
use super::opened::{Opened, Resolved, expand};
use super::parts::{self, Bytes};
use super::place::Nameless;
use super::tree_files::TreeFiles;
use crate::error::{BuildError, IoContext as _};

/// The artifact type of containers/oci-delta.
pub(super) const OCI_DELTA: &str = "application/vnd.io.github.containers.oci-delta.v1";

/// The media type of a tar-diff blob.
const TAR_DIFF: &str = "application/vnd.tar-diff";

/// A delta of another's, its documents read.
pub(super) enum Foreign {
    /// An artifact of containers/oci-delta.
    OciDelta { source: Box<dyn Source>, artifact: Box<OciDelta> },
    /// An image whose layers are librsync streams.
    Balena { source: Box<dyn Source>, image: Box<Image>, delta: Box<DeltaImage> },
}

/// The manifest of an oci-delta artifact.
#[derive(Debug, Deserialize)]
pub(super) struct OciDelta {
    subject: Descriptor,
    #[serde(default)]
    layers: Vec<OciPart>,
    #[serde(default)]
    annotations: OciAnnotations,
}

#[derive(Debug, Default, Deserialize)]
struct OciAnnotations {
    #[serde(default, rename = "io.github.containers.delta.source-config")]
    source_config: Option<Digest>,
}

#[derive(Debug, Deserialize)]
struct OciPart {
    #[serde(flatten)]
    blob: Descriptor,
    #[serde(default)]
    annotations: OciMeaning,
}

#[derive(Debug, Default, Deserialize)]
struct OciMeaning {
    #[serde(default, rename = "io.github.containers.delta.content")]
    content: Option<String>,
    #[serde(default, rename = "io.github.containers.delta.to")]
    to: Option<Digest>,
}

impl OciDelta {
    /// The part for this purpose.
    fn part(&self, content: &str, to: Option<&Digest>) -> Option<&Descriptor> {
        let is = |part: &&OciPart| {
            part.annotations.content.as_deref() == Some(content) && (to.is_none() || part.annotations.to.as_ref() == to)
        };
        self.layers.iter().find(is).map(|part| &part.blob)
    }
}

impl Work<'_> {
    /// The target image of a delta of another's.
    pub(super) fn rebuild_foreign(&self, delta: Foreign, base: Resolved) -> Result<Assembled, BuildError> {
        let held = Digest::of(base.image.config.text.as_bytes());
        let wanted = match &delta {
            Foreign::OciDelta { artifact, .. } => artifact.annotations.source_config,
            Foreign::Balena { delta, .. } => Some(delta.base),
        };
        if let Some(wanted) = wanted.filter(|wanted| *wanted != held) {
            let (expected, actual) = (format!("image {wanted}"), format!("image {held}"));
            return Err(BuildError::from(DeltaError::Base { expected, actual }));
        }
        match delta {
            Foreign::OciDelta { source, artifact } => self.oci_delta(source.as_ref(), &artifact, base),
            Foreign::Balena { source, image, delta } => self.balena(source.as_ref(), &image, &delta, base),
        }
    }

    fn oci_delta(&self, source: &dyn Source, delta: &OciDelta, base: Resolved) -> Result<Assembled, BuildError> {
        let document = |content: &str, descriptor: &Descriptor| match delta.part(content, None) {
            Some(blob) => self.carried_document(source, blob),
            None => source.document(descriptor, self.observer).map_err(BuildError::from),
        };
        let text = document("image-manifest", &delta.subject)?;
        let (manifest, config, parsed) =
            self.target((&text, &delta.subject), |manifest| document("image-config", &manifest.config))?;
        let base = self.fetch(base, |_| true)?;
        let tars: Vec<_> = base.layers.iter().map(super::opened::OpenedLayer::tar).collect();
        let files = TreeFiles::new(&tars, &self.limits, self.observer)?;
        let layers = self.layers(&manifest, &parsed.diff_ids, |named, diff_id| {
            // The artifact names a layer by its blob; of a base that names it otherwise, the diff ID is as good.
            if let Some(layer) = base.layers.iter().find(|layer| layer.parts().digest == diff_id) {
                return Ok(Layer::of_base(layer, Some(named)));
            }
            let part = delta.part("image-layer", Some(&named.digest));
            let part = part.or_else(|| delta.part("image-layer", Some(&diff_id)));
            let Some(part) = part else {
                return Err(BuildError::NotTheBase { base: base.image.reference.clone(), missing: vec![diff_id] });
            };
            if part.media_type != TAR_DIFF {
                return self.carried(source, part, diff_id);
            }
            let blob = source.blob(part, self.observer)?;
            self.make_layer(diff_id, |out, bounds| tar_diff(&files, &mut blob.reader(), out, bounds, self.observer))
        })?;
        let names = manifest.layers.iter().map(|layer| layer.digest).collect();
        let kind = delta.subject.media_type.clone();
        let manifest = Some(ManifestText { bytes: text, media_type: kind, layers: names });
        Ok(Assembled { manifest, config, layers })
    }

    fn balena(
        &self,
        source: &dyn Source,
        image: &Image,
        delta: &DeltaImage,
        base: Resolved,
    ) -> Result<Assembled, BuildError> {
        if image.layers.len() != delta.layers {
            return Err(BuildError::Refused("the delta image has not as many layers as its target".into()));
        }
        let base = self.fetch(base, |_| true)?;
        let blobs = umiak_registry::fetch_all(source, &image.layers, super::opened::PARALLEL, self.observer)?;
        let basis = Basis::new(base.layers.iter().map(|layer| &layer.bytes as &dyn ReadAt));
        let basis = basis.at("read the base in", self.scratch)?;
        let mut layers = Vec::new();
        for (number, (blob, diff_id)) in blobs.iter().zip(&delta.target.diff_ids).enumerate() {
            let digest = image.layers[number].digest;
            layers.push(self.balena_layer((blob, digest), (number, *diff_id), &base, &basis)?);
        }
        Ok(Assembled { manifest: None, config: delta.target.text.clone().into_bytes(), layers })
    }

    /// One layer of a balena delta image's target.
    fn balena_layer(
        &self,
        (blob, digest): (&BlobFile, Digest),
        (number, diff_id): (usize, Digest),
        base: &Opened,
        basis: &Basis<'_>,
    ) -> Result<Layer, BuildError> {
        let plain = expand(blob, digest, self.scratch, &self.limits, self.observer)?;
        let tar: Bytes = Arc::new(plain);
        let entry = balena::layer(parts::InOrder::new(&tar)).map_err(|error| BuildError::Balena(Box::new(error)))?;
        match entry {
            Some(mut entry) => {
                self.make_layer(diff_id, |out, bounds| rdiff(basis, &mut entry, out, bounds, self.observer))
            }
            None => match base.layers.get(number).filter(|layer| layer.parts().digest == diff_id) {
                Some(layer) => Ok(Layer::of_base(layer, None)),
                None => Err(BuildError::NotTheBase { base: base.image.reference.clone(), missing: vec![diff_id] }),
            },
        }
    }

    /// A layer that is written in order, and must hash to `diff_id`.
    fn make_layer(
        &self,
        diff_id: Digest,
        make: impl FnOnce(&mut dyn std::io::Write, &Bounds) -> Result<u64, ForeignError>,
    ) -> Result<Layer, BuildError> {
        let space = Nameless::new(self.scratch).file().at("create a scratch file in", self.scratch)?;
        let bounds = Bounds { output: self.limits.expanded, ..Bounds::default() };
        let mut out = BufWriter::with_capacity(256 << 10, &space);
        let size = make(&mut out, &bounds).map_err(foreign)?;
        out.flush().at("write in", self.scratch)?;
        drop(out);
        let bytes: Bytes = Arc::new(space);
        let actual = parts::digest(&bytes, self.observer).at("read a layer in", self.scratch)?;
        if actual != diff_id {
            return Err(BuildError::from(DeltaError::Target { expected: diff_id, actual }));
        }
        Ok(Layer::plain(diff_id, bytes, size))
    }
}
