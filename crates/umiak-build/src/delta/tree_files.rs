//! The files that layers show together, by their paths: what a tar-diff blob takes its bytes from.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use umiak_delta::container::Container as _;
use umiak_delta::foreign::Files;
use umiak_layer::{LayerContent, LayerError};
use umiak_spec::{Digest, Limits, Observer, ReadAt};
use umiak_tree::{Kind, Tree, TreePath};

use super::parts::{InOrder, Tar};
use crate::error::BuildError;

/// Files of a stack of tars. Names of hard links count, symbolic links on the way do not.
pub(super) struct TreeFiles<'a> {
    tree: Tree<LayerContent>,
    /// By digest: in which tar, and which content of it.
    places: BTreeMap<Digest, (&'a Tar, usize)>,
    limits: Limits,
}

impl<'a> TreeFiles<'a> {
    /// Of these tars, bottom first.
    pub(super) fn new(tars: &[&'a Tar], limits: &Limits, observer: &dyn Observer) -> Result<Self, BuildError> {
        let mut indexes = Vec::new();
        let mut places = BTreeMap::new();
        for tar in tars {
            let index = umiak_layer::index(InOrder::new(tar.bytes()), limits, observer);
            indexes.push(index.map_err(|error| match error {
                LayerError::Cancelled(cancelled) => cancelled.into(),
                source => BuildError::Archive { path: Path::new("base").to_owned(), source },
            })?);
            for (number, part) in tar.parts().contents.iter().enumerate() {
                places.insert(part.digest, (*tar, number));
            }
        }
        let indexes: Vec<_> = indexes.iter().collect();
        let tree = umiak_layer::flatten(&indexes, limits)
            .map_err(|source| BuildError::Stack { image: "the base".into(), source })?;
        Ok(Self { tree, places, limits: *limits })
    }
}

impl Files for TreeFiles<'_> {
    fn open(&self, path: &[u8]) -> io::Result<Box<dyn ReadAt + '_>> {
        let path = TreePath::from_archive(path, &self.limits).map_err(io::Error::other)?;
        let id = self.tree.lookup(&path).ok_or(io::ErrorKind::NotFound)?;
        let Kind::File(content) = &self.tree.inode(id).kind else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        };
        if content.size == 0 {
            return Ok(Box::new(&[] as &[u8]));
        }
        // Files with holes are no contents of a tar.
        let (tar, number) = self.places.get(&content.digest).ok_or(io::ErrorKind::Unsupported)?;
        Ok(Box::new(tar.content(*number)?))
    }
}
