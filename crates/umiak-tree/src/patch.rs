//! A layer kept as a patch above the layer that it replaces.
//!
//! ```text
//! whole            as a patch
//!   …                …            layers above: the same
//!   target           patch
//!   below            base         what the base shows above the same layers below
//!                    below
//! ```
//!
//! Layers are trees as overlayfs mounts them, with its whiteouts and opaque marks. The law: whatever is mounted above or below, the
//! patch above the base shows what the target shows. It holds for this `below` alone: another one may show through another
//! name.
//!
//! A patch holds contents of the target only. Where the base hides or replaces what the target leaves to the layers below, the
//! patch would have to repeat theirs, and there is none.

use std::convert::Infallible;

use crate::{
    Changeset, Content, Inode, Kind, OverlayError, OverlayOptions, Tree, TreeError, TreePath, apply, changeset,
};

/// Why a layer cannot be a patch above another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// A file of the layers below, which the base hides, would have to be repeated.
    #[error("{0} is of a layer below and hidden by the base")]
    Below(TreePath),
    /// What overlayfs cannot show.
    #[error(transparent)]
    Overlay(#[from] OverlayError),
    /// The layers do not stack.
    #[error("the layers make no tree")]
    Tree(#[from] TreeError),
}

/// The tree that, mounted above `base` above `below`, shows what `target` shows above `below`. `below` is what the layers below
/// show together, without marks; `base` and `target` are layers.
///
/// # Errors
/// [`PatchError`]: there is no such tree, or not of the target's contents alone.
pub fn patch<C: Content + Clone>(below: Tree<C>, base: Tree<C>, target: Tree<C>) -> Result<Changeset<C>, PatchError> {
    let (below, base, target) = (marked(below, false), marked(base, false), marked(target, true));
    let (base, target) = (apply(&below, &base)?, apply(&below, &target)?);
    let Changeset { tree, report } = changeset(&base, &target, OverlayOptions::default())?;
    let foreign = |inode: &Inode<Owned<C>>| matches!(&inode.kind, Kind::File(file) if !file.own);
    if let Some(entry) = tree.walk().find(|entry| foreign(entry.inode)) {
        return Err(PatchError::Below(entry.path));
    }
    let Ok(tree) = tree.try_map(|_, file| Ok::<_, Infallible>(file.content));
    Ok(Changeset { tree, report })
}

/// A content, and whether it is the target's.
#[derive(Debug, Clone)]
struct Owned<C> {
    content: C,
    own: bool,
}

impl<C: Content> Content for Owned<C> {
    fn size(&self) -> u64 {
        self.content.size()
    }

    fn digest(&self) -> umiak_spec::Digest {
        self.content.digest()
    }
}

fn marked<C>(tree: Tree<C>, own: bool) -> Tree<Owned<C>> {
    let Ok(tree) = tree.try_map(|_, content| Ok::<_, Infallible>(Owned { content, own }));
    tree
}
