//! A layer by itself as a directory tree for overlayfs, to be mounted above the layers below it, whichever these are.
//!
//! - a whiteout is a character device 0/0 under the name it hides; all of them are names of one inode;
//! - a directory whose name the layer hides as well, or that is marked opaque, has `trusted.overlay.opaque`;
//! - what a whiteout or an opaque mark inside a hidden directory says is said already, and left out;
//! - what overlayfs takes for its own marks cannot be shown and is left out: attributes `trusted.overlay.*` (and those that
//!   squashfs has no place for), and a real character device 0/0 is a whiteout.
//!
//! It cannot say everything that a layer says, because some of that depends on what lies below: a hard link to a file of a lower
//! layer, an entry whose parent is a symbolic link or has metadata only in a lower layer, metadata of the root, an opaque root. Who
//! stacks such trees compares what a mount shows ([`umiak_tree::apply`]) with what the layers mean ([`crate::flatten()`]) and mounts
//! the difference on top.

use std::collections::BTreeSet;

use umiak_spec::Limits;
use umiak_tree::{
    Builder, Device, Directory, Inode, InodeId, Kind, Metadata, Name, OPAQUE_XATTR, Stack, StackError, Tree, TreeError,
    TreePath,
};

use crate::entry::Body;
use crate::flatten::add;
use crate::index::{LayerContent, LayerIndex};

/// Number `number` of a stack as an overlayfs tree of its own.
///
/// # Errors
/// [`StackError`], as of a stack of this layer alone; a hard link that leads out of the layer is none.
pub fn lower(layer: &LayerIndex, number: u32, limits: &Limits) -> Result<Tree<LayerContent>, StackError> {
    let mut stack = Stack::loose(*limits);
    stack.begin_layer()?;
    // Sorted by bytes, a directory comes before what is in it.
    let mut said = BTreeSet::new();
    for entry in &layer.entries {
        match &entry.body {
            Body::Whiteout => drop(said.insert((&entry.path, Mark::Hides))),
            Body::Opaque => drop(said.insert((&entry.path, Mark::Empties))),
            _ => add(&mut stack, number, entry)?,
        }
    }
    let (tree, _) = stack.finish_loose()?;
    let mut marks = Marks { builder: showable(tree), whiteout: None };
    for (path, mark) in said {
        match mark {
            Mark::Hides => marks.hide(path)?,
            Mark::Empties => marks.empty(path)?,
        }
    }
    Ok(marks.builder.finish()?)
}

/// Whether overlayfs over squashfs can show an attribute of this name.
#[must_use]
pub fn is_showable(name: &[u8]) -> bool {
    let known = [&b"user."[..], b"security.", b"trusted."].iter().any(|prefix| name.starts_with(prefix));
    known && !name.starts_with(b"trusted.overlay.")
}

/// The tree without what overlayfs cannot show; a device 0/0 stays, since it is what hides what it would have hidden.
fn showable(tree: Tree<LayerContent>) -> Builder<LayerContent> {
    let ids: Vec<InodeId> = tree.inodes().map(|(id, _)| id).collect();
    let mut builder = tree.into_builder();
    for id in ids {
        builder.inode(id).metadata.xattrs.retain(|name, _| is_showable(name));
    }
    builder
}

/// A stack of layers as overlayfs can show it: attributes and devices that it takes for its own are left out.
///
/// # Errors
/// [`TreeError`]: not for a tree that is one.
pub fn as_shown(tree: Tree<LayerContent>) -> Result<Tree<LayerContent>, TreeError> {
    let whiteouts: BTreeSet<InodeId> =
        tree.inodes().filter(|(_, inode)| inode.kind.is_whiteout()).map(|(id, _)| id).collect();
    let ids: Vec<InodeId> = tree.inodes().map(|(id, _)| id).collect();
    let mut builder = showable(tree);
    if whiteouts.is_empty() {
        return builder.finish();
    }
    for id in ids {
        if let Some(names) = builder.directory(id) {
            names.retain(|_, child| !whiteouts.contains(child));
        }
    }
    builder.finish()
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    /// What lower layers have at the path.
    Hides,
    /// What lower layers have inside the directory.
    Empties,
}

struct Marks {
    builder: Builder<LayerContent>,
    whiteout: Option<InodeId>,
}

/// Where the parent of a marked path is.
enum Place {
    Directory(InodeId),
    /// The mark is said already, or there is no directory to say it in.
    Nowhere,
}

impl Marks {
    /// Hides what lower layers have at `path`.
    fn hide(&mut self, path: &TreePath) -> Result<(), StackError> {
        let Some((parent, name)) = path.split() else { return Ok(()) };
        let Place::Directory(parent) = self.place(&parent)? else { return Ok(()) };
        match self.builder.child(parent, name) {
            Some(own) => self.mark(own),
            None => {
                let whiteout = self.whiteout()?;
                self.name(parent, name.into(), whiteout);
            }
        }
        Ok(())
    }

    /// Hides what lower layers have in directory `path`.
    fn empty(&mut self, path: &TreePath) -> Result<(), StackError> {
        if let Place::Directory(directory) = self.place(path)? {
            self.mark(directory);
        }
        Ok(())
    }

    fn mark(&mut self, id: InodeId) {
        // At the root the kernel does not look for it.
        if id != InodeId::ROOT && self.builder.get(id).kind.is_directory() {
            let xattrs = &mut self.builder.inode(id).metadata.xattrs;
            xattrs.insert(OPAQUE_XATTR.into(), b"y".as_slice().into());
        }
    }

    /// The directory `path`; where nothing says what it is, a new one.
    fn place(&mut self, path: &TreePath) -> Result<Place, StackError> {
        let mut here = InodeId::ROOT;
        for name in path.components() {
            if self.builder.get(here).metadata.xattrs.contains_key(OPAQUE_XATTR) {
                return Ok(Place::Nowhere);
            }
            here = match self.builder.child(here, name) {
                Some(child) if self.builder.get(child).kind.is_directory() => child,
                Some(_) => return Ok(Place::Nowhere),
                None => {
                    let kind = Kind::Directory(Directory::new());
                    let id = self.builder.add(Inode { metadata: Metadata::root_owned(0o755), kind })?;
                    self.name(here, name.into(), id);
                    id
                }
            };
        }
        let said = self.builder.get(here).metadata.xattrs.contains_key(OPAQUE_XATTR);
        Ok(if said { Place::Nowhere } else { Place::Directory(here) })
    }

    fn whiteout(&mut self) -> Result<InodeId, TreeError> {
        if let Some(id) = self.whiteout {
            return Ok(id);
        }
        let kind = Kind::CharDevice(Device::WHITEOUT);
        let id = self.builder.add(Inode { metadata: Metadata::root_owned(0), kind })?;
        self.whiteout = Some(id);
        Ok(id)
    }

    fn name(&mut self, directory: InodeId, name: Name, id: InodeId) {
        if let Some(names) = self.builder.directory(directory) {
            names.insert(name, id);
        }
    }
}
