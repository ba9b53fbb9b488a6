//! The tree itself: inodes in an arena, the root first.
//!
//! Guarantees of a finished [`Tree`]: it has a root directory; every inode is reachable; directories have exactly
//! one parent and form no cycle; only non-directories have several names.

use std::collections::BTreeMap;

use crate::{Directory, Inode, Kind, Metadata, Name, TreePath};

/// Names an inode of one tree. Numbers are dense, the root is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeId(u32);

impl InodeId {
    /// The root directory of any tree.
    pub const ROOT: Self = Self(0);

    /// Position in the arena.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A complete file tree; `C` is what a regular file's content is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree<C> {
    inodes: Vec<Inode<C>>,
}

/// Why a [`Builder`] refuses an operation or its result is no tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// More inodes than fit in 32 bits.
    #[error("more than {} inodes", u32::MAX)]
    TooMany,
    /// A directory is reached by two names: hard links to directories do not exist.
    #[error("directory {0} is also reached by another name: a loop or a hard link to a directory")]
    SharedDirectory(TreePath),
    /// A name points at an inode that does not exist.
    #[error("{0} names an inode that does not exist")]
    Dangling(TreePath),
}

impl<C> Tree<C> {
    /// A tree of an empty root directory.
    #[must_use]
    pub fn empty(root: Metadata) -> Self {
        Self { inodes: vec![Inode { metadata: root, kind: Kind::Directory(Directory::new()) }] }
    }

    /// The inode with this number. `id` must come from this tree.
    #[must_use]
    pub fn inode(&self, id: InodeId) -> &Inode<C> {
        &self.inodes[id.index()]
    }

    /// How many inodes there are, the root included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inodes.len()
    }

    /// Whether only the root is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inodes.len() == 1
    }

    /// All inodes in arena order with their numbers.
    pub fn inodes(&self) -> impl Iterator<Item = (InodeId, &Inode<C>)> {
        (0..).map(InodeId).zip(&self.inodes)
    }

    /// Names of directory `id`; `None` when it is no directory.
    #[must_use]
    pub fn directory(&self, id: InodeId) -> Option<&Directory> {
        match &self.inode(id).kind {
            Kind::Directory(names) => Some(names),
            _ => None,
        }
    }

    /// The inode at `path`, symbolic links not followed.
    #[must_use]
    pub fn lookup(&self, path: &TreePath) -> Option<InodeId> {
        path.components().try_fold(InodeId::ROOT, |directory, name| self.directory(directory)?.get(name).copied())
    }

    /// Every name of the tree, the root first, a directory before its children, siblings sorted by bytes.
    #[must_use]
    pub fn walk(&self) -> Walk<'_, C> {
        Walk { tree: self, pending: vec![(TreePath::root(), InodeId::ROOT)] }
    }

    /// How many names each inode has (`st_nlink` of non-directories), in arena order.
    #[must_use]
    pub fn name_counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.inodes.len()];
        counts[0] = 1;
        for inode in &self.inodes {
            if let Kind::Directory(names) = &inode.kind {
                names.values().for_each(|id| counts[id.index()] += 1);
            }
        }
        counts
    }

    /// The tree as a builder, to be changed; inode numbers stay until [`Builder::finish`].
    #[must_use]
    pub fn into_builder(self) -> Builder<C> {
        Builder { inodes: self.inodes }
    }

    /// The same tree with every file's content replaced by `convert(id, content)`; inode numbers stay.
    ///
    /// # Errors
    /// The first error of `convert`.
    pub fn try_map<D, E>(self, mut convert: impl FnMut(InodeId, C) -> Result<D, E>) -> Result<Tree<D>, E> {
        let convert_inode = |(id, inode): (u32, Inode<C>)| {
            let kind = match inode.kind {
                Kind::File(content) => Kind::File(convert(InodeId(id), content)?),
                Kind::Directory(names) => Kind::Directory(names),
                Kind::Symlink(target) => Kind::Symlink(target),
                Kind::CharDevice(device) => Kind::CharDevice(device),
                Kind::BlockDevice(device) => Kind::BlockDevice(device),
                Kind::Fifo => Kind::Fifo,
                Kind::Socket => Kind::Socket,
            };
            Ok(Inode { metadata: inode.metadata, kind })
        };
        Ok(Tree { inodes: (0..).zip(self.inodes).map(convert_inode).collect::<Result<_, E>>()? })
    }
}

/// One name met by [`Tree::walk`].
#[derive(Debug)]
pub struct WalkEntry<'a, C> {
    /// Where it is.
    pub path: TreePath,
    /// Which inode it names.
    pub id: InodeId,
    /// That inode.
    pub inode: &'a Inode<C>,
}

/// Iterator of [`Tree::walk`].
pub struct Walk<'a, C> {
    tree: &'a Tree<C>,
    pending: Vec<(TreePath, InodeId)>,
}

impl<'a, C> Iterator for Walk<'a, C> {
    type Item = WalkEntry<'a, C>;

    fn next(&mut self) -> Option<Self::Item> {
        let (path, id) = self.pending.pop()?;
        let inode = self.tree.inode(id);
        if let Kind::Directory(names) = &inode.kind {
            self.pending.extend(names.iter().rev().map(|(name, child)| (path.join(name), *child)));
        }
        Some(WalkEntry { path, id, inode })
    }
}

/// Puts a tree together from inodes and names in any order; [`Builder::finish`] checks it and renumbers the inodes
/// in walk order, so that equal trees get equal numbers whatever the order they were built in.
#[derive(Debug)]
pub struct Builder<C> {
    inodes: Vec<Inode<C>>,
}

impl<C> Builder<C> {
    /// Starts with a root directory.
    #[must_use]
    pub fn new(root: Metadata) -> Self {
        Self { inodes: Tree::empty(root).inodes }
    }

    /// Adds an inode without a name.
    ///
    /// # Errors
    /// [`TreeError::TooMany`].
    pub fn add(&mut self, inode: Inode<C>) -> Result<InodeId, TreeError> {
        let id = u32::try_from(self.inodes.len()).map_err(|_| TreeError::TooMany)?;
        self.inodes.push(inode);
        Ok(InodeId(id))
    }

    /// The inode with this number, to be read or changed.
    pub fn inode(&mut self, id: InodeId) -> &mut Inode<C> {
        &mut self.inodes[id.index()]
    }

    /// The inode with this number.
    #[must_use]
    pub fn get(&self, id: InodeId) -> &Inode<C> {
        &self.inodes[id.index()]
    }

    /// How many inodes were added so far, the root included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inodes.len()
    }

    /// Whether only the root is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inodes.len() == 1
    }

    /// Names of directory `id`, to be changed; `None` when it is no directory.
    pub fn directory(&mut self, id: InodeId) -> Option<&mut BTreeMap<Name, InodeId>> {
        match &mut self.inodes[id.index()].kind {
            Kind::Directory(names) => Some(names),
            _ => None,
        }
    }

    /// The child `name` of directory `id`.
    #[must_use]
    pub fn child(&self, id: InodeId, name: &[u8]) -> Option<InodeId> {
        match &self.inodes[id.index()].kind {
            Kind::Directory(names) => names.get(name).copied(),
            _ => None,
        }
    }

    /// The finished tree: unreachable inodes dropped, the others numbered in walk order.
    ///
    /// # Errors
    /// [`TreeError`] when a directory has two names or is its own ancestor, or a name points nowhere.
    pub fn finish(self) -> Result<Tree<C>, TreeError> {
        let mut renumbered: Vec<Option<InodeId>> = vec![None; self.inodes.len()];
        let mut order = Vec::with_capacity(self.inodes.len());
        let mut pending = vec![(TreePath::root(), InodeId::ROOT)];
        while let Some((path, id)) = pending.pop() {
            let inode = self.inodes.get(id.index()).ok_or_else(|| TreeError::Dangling(path.clone()))?;
            if renumbered[id.index()].is_some() {
                if inode.kind.is_directory() {
                    return Err(TreeError::SharedDirectory(path));
                }
                continue;
            }
            renumbered[id.index()] = Some(InodeId(u32::try_from(order.len()).map_err(|_| TreeError::TooMany)?));
            order.push(id);
            if let Kind::Directory(names) = &inode.kind {
                pending.extend(names.iter().rev().map(|(name, child)| (path.join(name), *child)));
            }
        }
        let mut taken: Vec<Option<Inode<C>>> = self.inodes.into_iter().map(Some).collect();
        let mut inodes = Vec::with_capacity(order.len());
        for id in order {
            let Some(mut inode) = taken[id.index()].take() else { continue };
            if let Kind::Directory(names) = &mut inode.kind {
                names.values_mut().for_each(|child| *child = renumbered[child.index()].unwrap_or(*child));
            }
            inodes.push(inode);
        }
        Ok(Tree { inodes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &'static str) -> Inode<&'static str> {
        Inode { metadata: Metadata::root_owned(0o644), kind: Kind::File(content) }
    }

    fn name(text: &str) -> Name {
        text.as_bytes().into()
    }

    #[test]
    fn finish_numbers_in_walk_order_and_keeps_hard_links() {
        let mut builder = Builder::new(Metadata::root_owned(0o755));
        let lost = builder.add(file("unreachable")).unwrap();
        let second = builder.add(file("b")).unwrap();
        let first = builder.add(file("a")).unwrap();
        assert_eq!(lost.index(), 1);
        let root = builder.directory(InodeId::ROOT).unwrap();
        root.insert(name("z"), second);
        root.insert(name("a"), first);
        root.insert(name("link"), second);
        let tree = builder.finish().unwrap();
        assert_eq!(tree.len(), 3);
        let walked: Vec<_> = tree.walk().map(|e| (e.path.to_string(), e.id.index())).collect();
        assert_eq!(walked, [("/".into(), 0), ("/a".into(), 1), ("/link".into(), 2), ("/z".into(), 2)]);
        assert_eq!(tree.name_counts(), [1, 1, 2]);
    }

    #[test]
    fn a_directory_loop_is_refused() {
        let mut builder: Builder<()> = Builder::new(Metadata::root_owned(0o755));
        builder.directory(InodeId::ROOT).unwrap().insert(name("self"), InodeId::ROOT);
        assert!(matches!(builder.finish(), Err(TreeError::SharedDirectory(_))));
    }
}
