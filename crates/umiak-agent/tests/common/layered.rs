//! Real layers for the made-up registry: tars that the store takes in, and deltas between them that it applies.

use std::io;
use std::sync::Arc;

use umiak_delta::container::{Container, Part, Parts, Shape};
use umiak_delta::{MakeOptions, make};
use umiak_layer::{Skeleton, SkeletonView, skeleton};
use umiak_spec::{Digest, Limits, ReadAt, Silent};

pub use umiak_testkit::tar::tar;

/// A tar in memory as the maker of a delta sees it.
struct Tar<'a> {
    bytes: &'a [u8],
    skeleton: Skeleton,
    parts: Parts,
}

impl<'a> Tar<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let skeleton = skeleton(bytes, &Limits::default(), &Silent).unwrap();
        let part = |content: &umiak_layer::SkeletonContent| Part {
            name: content.name.clone(),
            size: content.size,
            digest: content.digest,
            spacing: content.spacing(),
        };
        let contents = skeleton.contents.iter().map(part).collect();
        let (size, digest) = (skeleton.archive, skeleton.diff_id);
        let parts = Parts { shape: Shape::Tar, size, digest, skeleton: skeleton.size, contents };
        Self { bytes, skeleton, parts }
    }
}

impl Container for Tar<'_> {
    fn parts(&self) -> &Parts {
        &self.parts
    }

    fn skeleton(&self) -> io::Result<Arc<dyn ReadAt + '_>> {
        Ok(Arc::new(SkeletonView::new(&self.skeleton, self.bytes)))
    }

    fn content(&self, number: usize) -> io::Result<Arc<dyn ReadAt + '_>> {
        let content = &self.skeleton.contents[number];
        let start = usize::try_from(content.offset).unwrap();
        Ok(Arc::new(&self.bytes[start..start + usize::try_from(content.size).unwrap()]))
    }
}

/// The delta from one layer to another.
pub fn delta(base: &[u8], target: &[u8]) -> Vec<u8> {
    let (base, target) = (Tar::new(base), Tar::new(target));
    let mut bytes = Vec::new();
    make(&[&base as &dyn Container], &target, &MakeOptions::default(), &mut bytes, &Silent).unwrap();
    bytes
}

/// The digest of an uncompressed layer.
pub fn diff_id(tar: &[u8]) -> Digest {
    Digest::of(tar)
}
