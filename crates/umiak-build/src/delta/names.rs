//! Deltas where the base is not, but its files are: in other images, archives, squashfs images or directories.
//!
//! The names of a delta tell by digest which contents of the base it uses; whoever has them, wherever, can apply it. What is
//! lacking is told before a layer or delta is fetched. What is found is not hashed again: the target is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use umiak_delta::Delta;
use umiak_delta::container::{Container, Shape};
use umiak_delta::names::{self, Gathered, Name, NamedBase};
use umiak_registry::Source;
use umiak_spec::delta::{Content, NAMES, Part};
use umiak_spec::{DeltaManifest, Descriptor, Digest, ImageReference, ReadAt, Stretch};

use super::Work;
use super::files;
use super::opened::{Opened, OpenedLayer, Resolved};
use super::parts::{self, Bytes};
use super::place::Nameless;
use super::squashfs::{Apart, Bench};
use crate::error::{BuildError, IoContext as _};

/// Where files of a base may be besides in the image that is given as base.
#[derive(Debug, Clone)]
pub enum Also {
    /// An image, or a directory as [`ImageReference::RootFs`].
    Image(ImageReference),
    /// A tar archive, a squashfs image or a single file.
    File(PathBuf),
}

/// Bytes of a tar header.
const BLOCK: usize = 512;

/// Names that an error tells.
const TOLD: usize = 5;

impl Work<'_> {
    /// Sources that the delta in `blob` uses.
    pub(super) fn used(&self, blob: &Bytes, bases: &[&dyn Container]) -> Result<BTreeSet<usize>, BuildError> {
        let delta = Delta::open(blob).map_err(BuildError::from)?;
        names::used(&delta, bases).map_err(BuildError::from)
    }

    /// The part that names what all deltas of an artifact use.
    pub(super) fn names(
        &self,
        bases: &[&dyn Container],
        used: &BTreeSet<usize>,
        target: Digest,
    ) -> Result<(Part, Bytes), BuildError> {
        let bytes = names::write(bases, used, self.options.effort).at("read a layer in", self.scratch)?;
        let blob = Descriptor::new(NAMES.to_owned(), Digest::of(&bytes), bytes.len() as u64);
        Ok((Part { content: Content::Names, to: target, blob }, Arc::new(bytes)))
    }

    /// The bases of `delta` as its names tell them.
    pub(super) fn named(&self, source: &dyn Source, delta: &DeltaManifest) -> Result<Option<Named>, BuildError> {
        let Some(part) = delta.part(Content::Names) else { return Ok(None) };
        let blob = source.blob(&part.blob, self.observer)?;
        let bytes: Bytes = Arc::new(blob.clone());
        let actual = parts::digest(&bytes, self.observer).at("read names in", self.scratch)?;
        if actual != part.blob.digest {
            let what = "the names of its sources".to_owned();
            let expected = part.blob.digest;
            return Err(umiak_delta::DeltaError::Damaged { what, expected, actual }.into());
        }
        let skeletons = Nameless::new(self.scratch).file().at("create a scratch file in", self.scratch)?;
        let bases = names::read(blob.reader(), &self.limits, &skeletons).map_err(BuildError::from)?;
        if bases.iter().map(|base| &base.whole.digest).ne(&delta.base_diff_ids) {
            return Err(BuildError::Refused("the delta and the names of its sources are of different bases".into()));
        }
        Ok(Some(Named { bases, skeletons: Arc::new(skeletons) }))
    }

    /// Finds what may have files of the base; images are not fetched yet.
    pub(super) fn look(&self, also: &[Also]) -> Result<Vec<Seen>, BuildError> {
        let look = |also: &Also| match also {
            Also::Image(reference) => Ok(Seen::Image(Box::new(self.resolve(reference)?))),
            Also::File(path) => Ok(Seen::File(path.clone())),
        };
        also.iter().map(look).collect()
    }

    /// Fetches it.
    pub(super) fn hold(&self, seen: Vec<Seen>) -> Result<Vec<Held>, BuildError> {
        let scratch = Nameless::new(self.scratch);
        let bench = Bench { scratch: &scratch, limits: &self.limits, observer: self.observer };
        let hold = |seen: Seen| match seen {
            Seen::Image(image) => Ok(Held::Image(Box::new(self.fetch(*image, |_| true)?))),
            Seen::File(path) => {
                let bytes = files::bytes(&path)?;
                Ok(Held::File(bench.apart(bytes, &path)?))
            }
        };
        seen.into_iter().map(hold).collect()
    }
}

/// Something that may have files of a base, and is not opened yet.
pub(super) enum Seen {
    Image(Box<Resolved>),
    File(PathBuf),
}

impl Seen {
    /// The diff IDs of its layers, as far as they are known.
    pub(super) fn diff_ids(&self) -> Vec<Digest> {
        match self {
            Self::Image(image) => image.diff_ids().unwrap_or_default(),
            Self::File(_) => Vec::new(),
        }
    }
}

/// Something at hand that has contents.
pub(super) enum Held {
    Image(Box<Opened>),
    File(Apart),
}

impl Held {
    /// The image, if it is one.
    pub(super) fn image(&self) -> Option<&Opened> {
        match self {
            Self::Image(image) => Some(image),
            Self::File(_) => None,
        }
    }

    fn containers(&self) -> Vec<&dyn Container> {
        match self {
            Self::Image(image) => image.layers.iter().map(OpenedLayer::container).collect(),
            Self::File(file) => vec![file.container()],
        }
    }
}

/// Bases by name.
pub(super) struct Named {
    bases: Vec<NamedBase>,
    skeletons: Bytes,
}

impl Named {
    /// The bases, put together from what is at hand.
    ///
    /// # Errors
    /// [`BuildError::MissingFiles`].
    pub(super) fn gather<'h>(&'h self, base: &'h Opened, also: &'h [Held]) -> Result<Vec<Gathered<'h>>, BuildError> {
        let mut containers: Vec<&dyn Container> = base.layers.iter().map(OpenedLayer::container).collect();
        containers.extend(also.iter().flat_map(Held::containers));
        let mut places: BTreeMap<(Name, u64), (&dyn Container, usize)> = BTreeMap::new();
        for container in containers {
            for (number, part) in container.parts().contents.iter().enumerate() {
                places.entry((names::name(&part.digest), part.size)).or_insert((container, number));
            }
        }
        let mut gathered = Vec::new();
        let mut missing = Missing::default();
        let mut offset = 0;
        for base in &self.bases {
            let mut contents = Vec::new();
            let mut header = offset;
            for content in &base.contents {
                header += content.spacing / 2;
                let place = content.name.and_then(|name| places.get(&(name, content.size)));
                if let (Some(name), None) = (content.name, place) {
                    missing.add(
                        name,
                        content.size,
                        (base.whole.shape == Shape::Tar).then(|| self.path(header)).flatten(),
                    );
                }
                let open = |(container, number): &(&'h dyn Container, usize)| container.content(*number);
                contents.push(place.map(open).transpose().at("read a file of", Path::new("the base"))?);
            }
            let skeleton = Stretch { bytes: Arc::clone(&self.skeletons), offset, size: base.skeleton };
            gathered.push(Gathered::new(base, Arc::new(skeleton), contents));
            offset += base.skeleton;
        }
        if missing.count > 0 { Err(missing.into()) } else { Ok(gathered) }
    }

    /// What the tar header that ends at `end` of the skeletons calls its file; long names are cut as they are there.
    fn path(&self, end: u64) -> Option<String> {
        let mut header = [0; BLOCK];
        self.skeletons.read_exact_at(&mut header, end.checked_sub(BLOCK as u64)?).ok()?;
        let text = |bytes: &[u8]| {
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            String::from_utf8_lossy(&bytes[..end]).into_owned()
        };
        let (name, prefix) = (text(&header[..100]), text(&header[345..500]));
        let is_ustar = &header[257..263] == b"ustar\0" && !prefix.is_empty();
        let path = if is_ustar { format!("{prefix}/{name}") } else { name };
        (!path.is_empty()).then_some(path)
    }
}

/// Contents that nobody has.
#[derive(Default)]
struct Missing {
    count: usize,
    bytes: u64,
    told: Vec<String>,
}

impl Missing {
    fn add(&mut self, name: Name, size: u64, path: Option<String>) {
        (self.count, self.bytes) = (self.count + 1, self.bytes.saturating_add(size));
        if self.told.len() < TOLD {
            let digits: String = name.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
            self.told.push(path.map_or_else(|| digits.clone(), |path| format!("{path} ({digits})")));
        }
    }
}

impl From<Missing> for BuildError {
    fn from(Missing { count, bytes, told }: Missing) -> Self {
        Self::MissingFiles { count, bytes, told }
    }
}
