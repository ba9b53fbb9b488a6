//! What overlayfs shows when one tree is mounted above another: the model that [`crate::changeset`] is tested with.
//!
//! Follows the kernel: a whiteout hides the name below, an opaque directory hides all below it (but the roots always merge), two directories merge
//! with the upper one's metadata, everything else of the upper tree replaces. Whiteouts and `trusted.overlay.*`
//! attributes do not show, whichever tree they are in.
//!
//! Not modelled: redirects, metadata-only copies, and what `st_nlink` and `st_ino` read.

use std::collections::BTreeMap;

use crate::{Builder, Directory, Inode, InodeId, Kind, Metadata, Name, OPAQUE_XATTR, Tree, TreeError};

/// The merged tree of `upper` above `base`.
///
/// # Errors
/// [`TreeError::TooMany`].
pub fn apply<C: Clone>(base: &Tree<C>, upper: &Tree<C>) -> Result<Tree<C>, TreeError> {
    let mut merge = Merge {
        builder: Builder::new(shown(&upper.inode(InodeId::ROOT).metadata)),
        below: Part { tree: base, made: BTreeMap::new() },
        above: Part { tree: upper, made: BTreeMap::new() },
    };
    let mut pending = vec![Pair { made: InodeId::ROOT, below: Some(InodeId::ROOT), above: Some(InodeId::ROOT) }];
    while let Some(pair) = pending.pop() {
        merge.directory(&pair, &mut pending)?;
    }
    merge.builder.finish()
}

/// One merged directory and what it is merged from.
struct Pair {
    made: InodeId,
    below: Option<InodeId>,
    above: Option<InodeId>,
}

/// One of the two trees, and which of its inodes have been copied.
struct Part<'a, C> {
    tree: &'a Tree<C>,
    made: BTreeMap<InodeId, InodeId>,
}

struct Merge<'a, C> {
    builder: Builder<C>,
    below: Part<'a, C>,
    above: Part<'a, C>,
}

impl<C: Clone> Merge<'_, C> {
    fn directory(&mut self, pair: &Pair, pending: &mut Vec<Pair>) -> Result<(), TreeError> {
        let empty = Directory::new();
        let (below_tree, above_tree) = (self.below.tree, self.above.tree);
        let mark = pair.above.and_then(|id| above_tree.inode(id).metadata.xattrs.get(OPAQUE_XATTR));
        let opaque = pair.made != InodeId::ROOT && mark.is_some_and(|value| **value == *b"y");
        let above = pair.above.and_then(|id| above_tree.directory(id)).unwrap_or(&empty);
        let below = pair.below.filter(|_| !opaque).and_then(|id| below_tree.directory(id)).unwrap_or(&empty);
        let mut names = Directory::new();
        for (name, id) in above {
            let kind = &above_tree.inode(*id).kind;
            if kind.is_whiteout() {
                continue;
            }
            let merged = below.get(name).copied().filter(|lower| below_tree.directory(*lower).is_some());
            let made = self.above.copy(*id, &mut self.builder)?;
            if kind.is_directory() {
                pending.push(Pair { made, below: merged, above: Some(*id) });
            }
            names.insert(name.clone(), made);
        }
        let hidden = |name: &Name| above.contains_key(name);
        for (name, id) in below.iter().filter(|(name, _)| !hidden(name)) {
            let kind = &below_tree.inode(*id).kind;
            if kind.is_whiteout() {
                continue;
            }
            let made = self.below.copy(*id, &mut self.builder)?;
            if kind.is_directory() {
                pending.push(Pair { made, below: Some(*id), above: None });
            }
            names.insert(name.clone(), made);
        }
        if let Some(directory) = self.builder.directory(pair.made) {
            *directory = names;
        }
        Ok(())
    }
}

impl<C: Clone> Part<'_, C> {
    /// The inode in the merged tree; directories come out empty and are filled later.
    fn copy(&mut self, id: InodeId, builder: &mut Builder<C>) -> Result<InodeId, TreeError> {
        if let Some(made) = self.made.get(&id) {
            return Ok(*made);
        }
        let inode = self.tree.inode(id);
        let kind = match &inode.kind {
            Kind::Directory(_) => Kind::Directory(Directory::new()),
            kind => kind.clone(),
        };
        let made = builder.add(Inode { metadata: shown(&inode.metadata), kind })?;
        self.made.insert(id, made);
        Ok(made)
    }
}

/// The metadata without what belongs to overlayfs.
fn shown(metadata: &Metadata) -> Metadata {
    let mut shown = metadata.clone();
    shown.xattrs.retain(|name, _| !name.starts_with(b"trusted.overlay."));
    shown
}
