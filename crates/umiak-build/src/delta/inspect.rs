//! What a delta holds, and with the base at hand what each file takes of it.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use umiak_delta::container::{Bases, Container, Shape};
use umiak_delta::index::Index;
use umiak_delta::inspect::{Cost, costs};
use umiak_delta::plan::Origin;
use umiak_delta::{Delta, DeltaError};
use umiak_spec::delta::Part;
use umiak_spec::{DeltaManifest, ImageReference, Limits, Observer, ReadAt};

use super::found::{Found, check_base};
use super::opened::{Opened, OpenedLayer};
use super::parts::{self, Bytes};
use super::place::Nameless;
use super::{Work, files, squashfs};
use crate::error::{BuildError, IoContext as _};

/// One delta blob.
#[derive(Debug, Clone)]
pub struct Inspected {
    /// What it says of itself.
    pub index: Index,
    /// Bytes of the blob.
    pub size: u64,
    /// Of these, head and index.
    pub overhead: u64,
    /// Its contents in the target's order; none where the base is not at hand.
    pub contents: Option<Vec<InspectedContent>>,
}

/// One content of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectedContent {
    /// Where it is in the target, or, where the target does not say so, in the base.
    pub name: Vec<u8>,
    /// What it is made from, where it is made from something of the base.
    pub source: Option<Vec<u8>>,
    /// How it is made and what that takes.
    pub cost: Cost,
}

/// A delta between images.
#[derive(Debug, Clone)]
pub struct InspectedImage {
    /// The artifact.
    pub manifest: DeltaManifest,
    /// What it carries, and what is in each part that is a delta.
    pub parts: Vec<(Part, Option<Inspected>)>,
}

/// Looks into the delta file `delta`; with the file `base` also at what each content takes.
///
/// # Errors
/// [`BuildError`].
pub fn inspect_file(
    delta: &Path,
    base: Option<&Path>,
    scratch: &Path,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<Inspected, BuildError> {
    let file = File::open(delta).at("open", delta)?;
    let opened = Delta::open(&file).map_err(BuildError::from)?;
    let mut inspected = of(&opened);
    if let Some(base) = base {
        let base = files::open_base(&opened, base, &Nameless::new(scratch), limits, observer)?;
        inspected.contents = Some(contents(&opened, &[base.container()], scratch, limits, observer)?);
    }
    Ok(inspected)
}

impl Work<'_> {
    /// Looks into a delta between images; with the image `base` also at what each content takes. `delta` is found as
    /// [`Work::apply_images`] finds it; without a base there must be but one.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn inspect_images(
        &self,
        delta: &ImageReference,
        base: Option<&ImageReference>,
    ) -> Result<InspectedImage, BuildError> {
        let base = base.map(|base| self.resolve(base)).transpose()?;
        let Found::Ours { source, manifest } = self.find(delta, base.as_ref(), false)? else {
            return Err(BuildError::Refused(format!("{delta} is a delta of another program: it can be applied")));
        };
        let base = match base {
            Some(base) => {
                if let Some(held) = base.diff_ids() {
                    check_base(&manifest, &held, &base.image.reference)?;
                }
                let base = self.fetch(base, |diff_id| manifest.base_diff_ids.contains(diff_id))?;
                check_base(&manifest, &base.diff_ids(), &base.image.reference)?;
                Some(base)
            }
            None => None,
        };
        let mut inspected = Vec::new();
        for part in &manifest.parts {
            let blob = part.is_delta().then(|| source.blob(&part.blob, self.observer)).transpose()?;
            let looked = blob.map(|blob| self.inspect_layer(Arc::new(blob), &manifest, base.as_ref())).transpose()?;
            inspected.push((part.clone(), looked));
        }
        Ok(InspectedImage { manifest: *manifest, parts: inspected })
    }

    fn inspect_layer(
        &self,
        blob: Bytes,
        manifest: &DeltaManifest,
        base: Option<&Opened>,
    ) -> Result<Inspected, BuildError> {
        let delta = Delta::open(blob).map_err(BuildError::from)?;
        let mut inspected = of(&delta);
        if let Some(base) = base {
            let bases: Vec<&dyn Container> =
                base.in_order(&manifest.base_diff_ids).map(OpenedLayer::container).collect();
            inspected.contents = Some(contents(&delta, &bases, self.scratch, &self.limits, self.observer)?);
        }
        Ok(inspected)
    }
}

fn of(delta: &Delta<impl ReadAt>) -> Inspected {
    let (index, overhead) = (delta.index().clone(), delta.overhead());
    let size = overhead + index.streams.iter().map(|stream| stream.stored).sum::<u64>();
    Inspected { index, size, overhead, contents: None }
}

/// Applies a delta to see what each content takes, and what its name is.
fn contents(
    delta: &Delta<impl ReadAt>,
    bases: &[&dyn Container],
    scratch: &Path,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<Vec<InspectedContent>, BuildError> {
    let nameless = Nameless::new(scratch);
    let space = nameless.file().at("create a scratch file in", scratch)?;
    let costs = costs(delta, bases, &space, &nameless, observer).map_err(BuildError::from)?;
    let target = delta.index().target;
    let names: Vec<Vec<u8>> = match target.shape {
        Shape::Tar => {
            let opened = parts::open_as(Shape::Tar, Arc::new(space), Path::new("target"), limits, observer)?;
            let actual = opened.parts().digest;
            if actual != target.digest {
                return Err(BuildError::from(DeltaError::Target { expected: target.digest, actual }));
            }
            opened.parts().contents.iter().map(|part| part.name.clone()).collect()
        }
        Shape::Squashfs => {
            let sizes: Vec<u64> = costs.iter().map(|cost| cost.size).collect();
            squashfs::names(&space, delta.index().skeleton, &sizes, Path::new("target"), limits)?
        }
        Shape::Raw => Vec::new(),
    };
    let sources = Bases::new(bases);
    let name = |source| sources.part(source).map(|part| part.name.clone());
    let mut inspected: Vec<InspectedContent> = Vec::new();
    for (number, cost) in costs.into_iter().enumerate() {
        let source = match cost.origin {
            Origin::Kept(source) | Origin::Patched { source, .. } => name(source),
            Origin::New(_) => None,
            Origin::Again(content) => inspected.get(content).map(|content| content.name.clone()),
        };
        let known = names.get(number).cloned().or_else(|| source.clone());
        inspected.push(InspectedContent { name: known.unwrap_or_default(), source, cost });
    }
    Ok(inspected)
}
