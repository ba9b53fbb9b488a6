//! Directories in which overlayfs would show the whiteouts of a layer.
//!
//! Overlayfs hides whiteouts when it merges directories. One that is in a single layer is shown as it is, and its whiteouts with
//! it: names that are listed and cannot be looked up. That happens when a layer hides a name in a directory that no layer below
//! has (or that the layer itself has made opaque). A directory of that name on top makes it a merged one.

use std::collections::BTreeSet;

use umiak_tree::{Builder, Directory, Inode, InodeId, Kind, OPAQUE_XATTR, Tree, TreeError, TreePath};

/// Those directories of `trees`, bottom first. If there is only one tree and it has any mark: at least its root, so that it is not
/// mounted without overlayfs.
pub(crate) fn bare<C>(trees: &[Tree<C>]) -> BTreeSet<TreePath> {
    let mut bare = BTreeSet::new();
    for (number, tree) in trees.iter().enumerate() {
        for entry in tree.walk() {
            let Kind::Directory(names) = &entry.inode.kind else { continue };
            let is_marked = entry.inode.metadata.xattrs.contains_key(OPAQUE_XATTR);
            if trees.len() == 1 && is_marked {
                bare.insert(TreePath::root());
            }
            let hides = names.values().any(|child| tree.inode(*child).kind.is_whiteout());
            if hides && merged(trees, &entry.path) == [number] {
                bare.insert(entry.path);
            }
        }
    }
    bare
}

/// The trees whose directories make the one at `path`, topmost first.
fn merged<C>(trees: &[Tree<C>], path: &TreePath) -> Vec<usize> {
    let mut merged = Vec::new();
    for (number, tree) in trees.iter().enumerate().rev() {
        match found(tree, path) {
            Found::Absent => {}
            Found::Directory => merged.push(number),
            Found::Last => {
                merged.push(number);
                break;
            }
            Found::Hidden => break,
        }
    }
    merged
}

/// What one tree has at a path.
enum Found {
    Absent,
    /// A directory, with what is below.
    Directory,
    /// A directory, without what is below.
    Last,
    /// Neither it nor anything below shows.
    Hidden,
}

fn found<C>(tree: &Tree<C>, path: &TreePath) -> Found {
    let mut here = InodeId::ROOT;
    let mut opaque = false;
    for name in path.components() {
        let absent = if opaque { Found::Hidden } else { Found::Absent };
        let Some(names) = tree.directory(here) else { return Found::Hidden };
        let Some(child) = names.get(name) else { return absent };
        here = *child;
        if tree.directory(here).is_none() {
            return Found::Hidden;
        }
        opaque |= tree.inode(here).metadata.xattrs.contains_key(OPAQUE_XATTR);
    }
    if opaque { Found::Last } else { Found::Directory }
}

/// The tree with these directories as well, as `meant` has them. Those that it has not are not shown and left out.
pub(crate) fn with_directories<C: Clone, D>(
    upper: Tree<C>,
    meant: &Tree<D>,
    directories: &BTreeSet<TreePath>,
) -> Result<Tree<C>, TreeError> {
    let mut builder = upper.into_builder();
    for path in directories {
        if meant.lookup(path).is_some_and(|id| meant.directory(id).is_some()) {
            add(&mut builder, meant, path)?;
        }
    }
    builder.finish()
}

fn add<C, D>(builder: &mut Builder<C>, meant: &Tree<D>, path: &TreePath) -> Result<(), TreeError> {
    let (mut here, mut there) = (InodeId::ROOT, InodeId::ROOT);
    for name in path.components() {
        let Some(next) = meant.directory(there).and_then(|names| names.get(name)) else { return Ok(()) };
        there = *next;
        here = match builder.child(here, name) {
            Some(child) => child,
            None => {
                let kind = Kind::Directory(Directory::new());
                let id = builder.add(Inode { metadata: meant.inode(there).metadata.clone(), kind })?;
                if let Some(names) = builder.directory(here) {
                    names.insert(name.into(), id);
                }
                id
            }
        };
    }
    Ok(())
}
