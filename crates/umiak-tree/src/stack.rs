//! Stacks layers into one tree, as the layer section of the OCI image specification says.
//!
//! A layer is a set of changes. Its entries are collected first and applied together when the layer ends, so the
//! order in which an archive happens to hold them matters only where the specification lets it:
//!
//! 1. whiteouts and opaque marks remove what *lower* layers put there, never anything of their own layer;
//! 2. entries are added in order, the last of one name wins; a directory over a directory keeps the names inside and
//!    takes the later metadata; any other pair replaces; missing parents become directories of root, mode `0755`;
//! 3. hard links are resolved: to what their own layer put under the target's name, before or after the link, or
//!    else to what lay there in the lower layers (even if this layer whites that name out: a rename).
//!
//! A parent component that is a symbolic link is followed inside the tree, as tools that extract layers do: `..`
//! never climbs above the root and an absolute target starts at the root. The last component is never followed.
//!
//! What this does not do: know the `.wh.` names of tar layers (umiak-layer does) or touch file contents.

use std::collections::{BTreeMap, BTreeSet};

use umiak_spec::Limits;

use crate::way::{Next, Way};
use crate::{Builder, Directory, Inode, InodeId, Kind, Metadata, Name, Tree, TreeError, TreePath};

/// How many symbolic links the parents of one entry may lead through (Linux: 40).
pub(crate) const MAX_HOPS: usize = 40;

/// Why layers do not stack to a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StackError {
    /// The root of the tree is described as something else than a directory.
    #[error("layer {layer} makes the root something else than a directory")]
    RootReplaced {
        /// Which layer, counted from 0 at the bottom.
        layer: usize,
    },
    /// A hard link to a name that neither its layer nor a lower one has.
    #[error("layer {layer}: hard link {path} points at {target}, which does not exist")]
    LinkTarget {
        /// Which layer, counted from 0 at the bottom.
        layer: usize,
        /// The link.
        path: TreePath,
        /// What it should be another name of.
        target: TreePath,
    },
    /// A hard link to a directory.
    #[error("layer {layer}: hard link {path} points at directory {target}")]
    LinkToDirectory {
        /// Which layer, counted from 0 at the bottom.
        layer: usize,
        /// The link.
        path: TreePath,
        /// The directory.
        target: TreePath,
    },
    /// The parents of an entry lead through too many symbolic links, or round in a circle.
    #[error("layer {layer}: the parents of {path} lead through more than {MAX_HOPS} symbolic links")]
    Circular {
        /// Which layer, counted from 0 at the bottom.
        layer: usize,
        /// The entry.
        path: TreePath,
    },
    /// An entry would lie deeper than `Limits::depth` once symbolic links are followed.
    #[error("layer {layer}: {path} lies deeper than the limit of {limit} nested directories")]
    TooDeep {
        /// Which layer, counted from 0 at the bottom.
        layer: usize,
        /// The entry.
        path: TreePath,
        /// `Limits::depth`.
        limit: usize,
    },
    /// A symbolic link on the way to an entry names a component longer than `Limits::name`.
    #[error("layer {layer}: a symbolic link above {path} leads to a name longer than {limit} bytes")]
    LongName {
        /// Which layer, counted from 0 at the bottom.
        layer: usize,
        /// The entry.
        path: TreePath,
        /// `Limits::name`.
        limit: usize,
    },
    /// More entries than `Limits::entries` over all layers.
    #[error("layer {layer}: more than the limit of {limit} entries")]
    TooMany {
        /// Which layer, counted from 0 at the bottom.
        layer: usize,
        /// `Limits::entries`.
        limit: usize,
    },
    /// The result is no tree.
    #[error("the stacked layers make no tree")]
    Tree(#[from] TreeError),
}

enum Change<C> {
    Add(TreePath, Metadata, Kind<C>),
    Link { path: TreePath, target: TreePath, lower: Option<InodeId> },
}

/// A hard link waiting for the end of its layer. Until then an inode of its own holds the name.
struct Waiting {
    directory: InodeId,
    name: Name,
    path: TreePath,
    target: TreePath,
    lower: Option<InodeId>,
}

/// Links that lead to each other, by the inode that holds their place.
type Chain<'w> = Vec<(InodeId, &'w Waiting)>;

/// Layers applied bottom to top. Call [`Stack::begin_layer`] before the changes of each layer.
pub struct Stack<C> {
    builder: Builder<C>,
    limits: Limits,
    /// Layers begun so far; the layer at hand is number `layers - 1`.
    layers: usize,
    entries: usize,
    /// Paths whose lower content goes; `true` keeps the directory itself (an opaque mark).
    removals: Vec<(TreePath, bool)>,
    changes: Vec<Change<C>>,
    /// Hard links of the layer being applied by the inode that holds their place.
    waiting: BTreeMap<InodeId, Waiting>,
    /// Hard links that lead nowhere are left out, and listed here.
    loose: Option<Vec<TreePath>>,
}

/// What to do at a parent component that is no directory.
#[derive(Clone, Copy, PartialEq)]
enum Missing {
    Create,
    GiveUp,
}

impl<C> Stack<C> {
    /// No layers yet: an empty root directory of root, mode `0755`.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            builder: Builder::new(Metadata::root_owned(0o755)),
            limits,
            layers: 0,
            entries: 0,
            removals: Vec::new(),
            changes: Vec::new(),
            waiting: BTreeMap::new(),
            loose: None,
        }
    }

    /// For a layer without those below it: hard links whose target is missing are left out. See [`Stack::finish_loose`].
    #[must_use]
    pub fn loose(limits: Limits) -> Self {
        Self { loose: Some(Vec::new()), ..Self::new(limits) }
    }

    /// Ends the layer before, if there is one, and starts the next.
    ///
    /// # Errors
    /// What the layer before did wrong.
    pub fn begin_layer(&mut self) -> Result<(), StackError> {
        self.end_layer()?;
        self.layers += 1;
        Ok(())
    }

    /// An entry. The names inside a [`Kind::Directory`] are ignored: they come as entries of their own.
    ///
    /// # Errors
    /// [`StackError::TooMany`].
    pub fn add(&mut self, path: TreePath, metadata: Metadata, kind: Kind<C>) -> Result<(), StackError> {
        self.count()?;
        self.changes.push(Change::Add(path, metadata, kind));
        Ok(())
    }

    /// A hard link: `path` becomes another name of what `target` names.
    ///
    /// # Errors
    /// [`StackError::TooMany`].
    pub fn link(&mut self, path: TreePath, target: TreePath) -> Result<(), StackError> {
        self.count()?;
        self.changes.push(Change::Link { path, target, lower: None });
        Ok(())
    }

    /// Removes what lower layers have at `path`, with all below it.
    ///
    /// # Errors
    /// [`StackError::TooMany`].
    pub fn whiteout(&mut self, path: TreePath) -> Result<(), StackError> {
        self.count()?;
        self.removals.push((path, false));
        Ok(())
    }

    /// Removes what lower layers have inside directory `path`; the directory stays.
    ///
    /// # Errors
    /// [`StackError::TooMany`].
    pub fn opaque(&mut self, path: TreePath) -> Result<(), StackError> {
        self.count()?;
        self.removals.push((path, true));
        Ok(())
    }

    /// The tree that all layers together show.
    ///
    /// # Errors
    /// What the last layer did wrong.
    pub fn finish(self) -> Result<Tree<C>, StackError> {
        Ok(self.finish_loose()?.0)
    }

    /// The same, and the hard links that a [`Stack::loose`] left out.
    ///
    /// # Errors
    /// What the last layer did wrong.
    pub fn finish_loose(mut self) -> Result<(Tree<C>, Vec<TreePath>), StackError> {
        self.end_layer()?;
        Ok((self.builder.finish()?, self.loose.unwrap_or_default()))
    }

    fn layer(&self) -> usize {
        self.layers.saturating_sub(1)
    }

    fn count(&mut self) -> Result<(), StackError> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(StackError::TooMany { layer: self.layer(), limit: self.limits.entries });
        }
        Ok(())
    }

    fn end_layer(&mut self) -> Result<(), StackError> {
        let mut changes = std::mem::take(&mut self.changes);
        for change in &mut changes {
            if let Change::Link { target, lower, .. } = change {
                *lower = self.find(target)?;
            }
        }
        for (path, keep) in std::mem::take(&mut self.removals) {
            self.remove(&path, keep)?;
        }
        // Everything from here on is of this layer.
        let start = self.builder.len();
        for change in changes {
            match change {
                Change::Add(path, metadata, kind) => self.apply_entry(&path, metadata, kind)?,
                Change::Link { path, target, lower } => self.apply_link(path, target, lower, start)?,
            }
        }
        self.resolve_links()
    }

    fn remove(&mut self, path: &TreePath, keep: bool) -> Result<(), StackError> {
        let Some((parent, name)) = path.split() else {
            self.clear(InodeId::ROOT);
            return Ok(());
        };
        let Some(directory) = self.directory_of(&parent, path, Missing::GiveUp)? else { return Ok(()) };
        if keep {
            if let Some(child) = self.builder.child(directory, name) {
                self.clear(child);
            }
        } else if let Some(names) = self.builder.directory(directory) {
            names.remove(name);
        }
        Ok(())
    }

    fn clear(&mut self, id: InodeId) {
        if let Some(names) = self.builder.directory(id) {
            names.clear();
        }
    }

    fn apply_entry(&mut self, path: &TreePath, metadata: Metadata, kind: Kind<C>) -> Result<(), StackError> {
        let Some((parent, name)) = path.split() else {
            if !kind.is_directory() {
                return Err(StackError::RootReplaced { layer: self.layer() });
            }
            self.builder.inode(InodeId::ROOT).metadata = metadata;
            return Ok(());
        };
        let Some(directory) = self.directory_of(&parent, path, Missing::Create)? else { return Ok(()) };
        if kind.is_directory() {
            if let Some(child) = self.builder.child(directory, name)
                && self.builder.get(child).kind.is_directory()
            {
                self.builder.inode(child).metadata = metadata;
                return Ok(());
            }
            self.name(directory, name, Inode { metadata, kind: Kind::Directory(Directory::new()) })?;
        } else {
            self.name(directory, name, Inode { metadata, kind })?;
        }
        Ok(())
    }

    fn apply_link(
        &mut self,
        path: TreePath,
        target: TreePath,
        lower: Option<InodeId>,
        start: usize,
    ) -> Result<(), StackError> {
        let Some((parent, name)) = path.split() else {
            return Err(StackError::RootReplaced { layer: self.layer() });
        };
        let found = self.find(&target)?;
        if path == target && found.is_some() {
            return Ok(());
        }
        let name = Name::from(name);
        let Some(directory) = self.directory_of(&parent, &path, Missing::Create)? else { return Ok(()) };
        match found {
            Some(id) if self.builder.get(id).kind.is_directory() => {
                Err(StackError::LinkToDirectory { layer: self.layer(), path, target })
            }
            Some(id) if id.index() >= start && !self.waiting.contains_key(&id) => {
                self.insert(directory, name, id);
                Ok(())
            }
            _ => {
                let held = Inode { metadata: Metadata::root_owned(0), kind: Kind::Fifo };
                let id = self.name(directory, &name, held)?;
                self.waiting.insert(id, Waiting { directory, name, path, target, lower });
                Ok(())
            }
        }
    }

    /// Gives every name that still waits the inode its target has now.
    fn resolve_links(&mut self) -> Result<(), StackError> {
        let waiting = std::mem::take(&mut self.waiting);
        for held in waiting.keys() {
            // A whole chain is resolved at once, so that long ones are walked only once.
            let (chain, target) = match self.chain(*held, &waiting) {
                Err(StackError::LinkTarget { .. }) if self.loose.is_some() => {
                    self.leave_out(*held, &waiting);
                    continue;
                }
                chain => chain?,
            };
            for (held, link) in chain {
                if self.builder.child(link.directory, &link.name) == Some(held) {
                    self.insert(link.directory, link.name.clone(), target);
                }
            }
        }
        Ok(())
    }

    /// Takes the name of a link that leads nowhere away again.
    fn leave_out(&mut self, held: InodeId, waiting: &BTreeMap<InodeId, Waiting>) {
        let Some(link) = waiting.get(&held) else { return };
        if self.builder.child(link.directory, &link.name) == Some(held)
            && let Some(names) = self.builder.directory(link.directory)
        {
            names.remove(&link.name);
        }
        self.loose.get_or_insert_default().push(link.path.clone());
    }

    /// The links that lead from the one at `first` to an inode that is no link, and that inode. A link whose name was
    /// taken by something else meanwhile leads nowhere: no chain.
    fn chain<'w>(
        &self,
        first: InodeId,
        waiting: &'w BTreeMap<InodeId, Waiting>,
    ) -> Result<(Chain<'w>, InodeId), StackError> {
        let mut chain = Vec::new();
        let mut seen = BTreeSet::new();
        let mut id = first;
        while let Some(link) = waiting.get(&id) {
            let lost =
                || StackError::LinkTarget { layer: self.layer(), path: link.path.clone(), target: link.target.clone() };
            if chain.is_empty() && self.builder.child(link.directory, &link.name) != Some(id) {
                break;
            }
            if !seen.insert(id) {
                return Err(lost());
            }
            chain.push((id, link));
            // Another spelling of the link's own name finds the link itself.
            id = self.find(&link.target)?.filter(|found| *found != id).or(link.lower).ok_or_else(lost)?;
            if self.builder.get(id).kind.is_directory() {
                let (path, target) = (link.path.clone(), link.target.clone());
                return Err(StackError::LinkToDirectory { layer: self.layer(), path, target });
            }
        }
        Ok((chain, id))
    }

    fn name(&mut self, directory: InodeId, name: &[u8], inode: Inode<C>) -> Result<InodeId, StackError> {
        let id = self.builder.add(inode)?;
        self.insert(directory, name.into(), id);
        Ok(id)
    }

    fn insert(&mut self, directory: InodeId, name: Name, id: InodeId) {
        if let Some(names) = self.builder.directory(directory) {
            names.insert(name, id);
        }
    }

    /// What `path` names now; the last component is not followed.
    fn find(&self, path: &TreePath) -> Result<Option<InodeId>, StackError> {
        let Some((parent, name)) = path.split() else { return Ok(Some(InodeId::ROOT)) };
        let mut way = self.way(&parent, path);
        while let Some(next) = way.step(&self.builder)? {
            if next != Next::Entered {
                return Ok(None);
            }
        }
        Ok(self.builder.child(way.here(), name))
    }

    /// The directory `parent`, symbolic links followed. With [`Missing::Create`], what is missing on the way, or is
    /// no directory, becomes one.
    fn directory_of(
        &mut self,
        parent: &TreePath,
        entry: &TreePath,
        missing: Missing,
    ) -> Result<Option<InodeId>, StackError> {
        let mut way = self.way(parent, entry);
        while let Some(next) = way.step(&self.builder)? {
            match next {
                Next::Entered => {}
                Next::Absent(_) if missing == Missing::GiveUp => return Ok(None),
                Next::Absent(name) => {
                    let kind = Kind::Directory(Directory::new());
                    let id = self.name(way.here(), &name, Inode { metadata: Metadata::root_owned(0o755), kind })?;
                    way.enter(id)?;
                }
            }
        }
        Ok(Some(way.here()))
    }

    fn way(&self, parent: &TreePath, entry: &TreePath) -> Way {
        Way::new(parent, entry, self.layer(), &self.limits)
    }
}
