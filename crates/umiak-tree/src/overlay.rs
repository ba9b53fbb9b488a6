//! The overlayfs upper tree that turns one tree into another.
//!
//! The law: mounting the changeset of `base` and `target` above `base` (as lower or as upper directory) shows exactly
//! `target`: names, types, contents, modes, owners, extended attributes, link targets, mtimes in whole seconds (what
//! squashfs stores), and which names are one inode. [`crate::apply`] is the model of that mount.
//!
//! How it is expressed:
//! - a name that `target` lacks is a whiteout: a character device 0/0. All whiteouts are names of one inode;
//! - a directory is in the upper tree when anything at or below it is, always with the target's metadata;
//! - anything else that differs in any way is carried whole. Overlayfs cannot change metadata alone, so a new mode
//!   costs the whole content; the [`ChangeReport`] counts that apart;
//! - an opaque directory only where nothing of the base shows through and the mark is smaller than the whiteouts it
//!   saves, and never at the root, where the kernel does not look for it. A directory that replaces something else
//!   needs none: overlayfs does not look below it.
//!
//! Hard links: an inode stays in the base only if all its names are names of one equal base inode. If one name is new
//! or differs, all names of the inode are carried, since a name in the base and one above cannot be one inode. When
//! one base inode is split into several equal ones, the first stays. What the kernel cannot show: `st_nlink` of an
//! inode that stays counts the base's names, also those that are now hidden.

use std::collections::BTreeMap;

use crate::report::{Difference, Reporter};
use crate::{
    Builder, ChangeReport, Content, Device, Directory, Inode, InodeId, Kind, Metadata, Name, OPAQUE_XATTR, Tree,
    TreeError, TreePath,
};

/// Extended attributes with this prefix belong to overlayfs and cannot be shown through it.
const OVERLAY_XATTRS: &[u8] = b"trusted.overlay.";

/// What an opaque mark costs in a squashfs image, roughly: its part of the table of extended attributes and the
/// larger inode. Fewer bytes of whiteouts than this are left as whiteouts.
const OPAQUE_COST: usize = 96;

/// What a whiteout costs besides its name: a directory entry.
const WHITEOUT_COST: usize = 8;

/// What a changeset leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OverlayOptions {
    /// Leave to the base what differs in mtime alone: files and other non-directories, and directories that have no
    /// other reason to be in the upper tree.
    pub ignore_mtime: bool,
}

/// The upper tree and what it is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changeset<C> {
    /// To be mounted above the base.
    pub tree: Tree<C>,
    /// What differs and what it costs.
    pub report: ChangeReport,
}

impl<C> Changeset<C> {
    /// Whether base and target are the same, as far as the options let them differ.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.report.is_empty()
    }
}

/// Which of the two trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The tree below.
    Base,
    /// The tree to be shown.
    Target,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Base => "base",
            Self::Target => "target",
        })
    }
}

/// What overlayfs cannot show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OverlayError {
    /// The target has a character device 0/0, which overlayfs takes for a whiteout.
    #[error("{0} of the target is a character device 0/0, which overlayfs hides")]
    Whiteout(TreePath),
    /// A `trusted.overlay.*` attribute, which overlayfs takes for its own and hides.
    #[error("{path} of the {side} has the extended attribute `{name}`, which belongs to overlayfs")]
    Xattr {
        /// The inode that has it.
        path: TreePath,
        /// Its full name.
        name: String,
        /// Which tree.
        side: Side,
    },
    /// The upper tree could not be put together.
    #[error("the changeset makes no tree")]
    Tree(#[from] TreeError),
}

/// The upper tree that shows `target` when mounted above `base`.
///
/// # Errors
/// [`OverlayError`] when a tree holds what overlayfs takes for its own marks.
pub fn changeset<A: Content, B: Content + Clone>(
    base: &Tree<A>,
    target: &Tree<B>,
    options: OverlayOptions,
) -> Result<Changeset<B>, OverlayError> {
    check(base, Side::Base)?;
    check(target, Side::Target)?;
    let plan = Plan::new(base, target, options);
    let upper = Upper { plan: &plan, base, target, names: BTreeMap::new(), whiteout: None }.build()?;
    Ok(Changeset { tree: upper, report: plan.report() })
}

fn check<C>(tree: &Tree<C>, side: Side) -> Result<(), OverlayError> {
    let path_of = |id| tree.walk().find(|entry| entry.id == id).map(|entry| entry.path).unwrap_or_default();
    for (id, inode) in tree.inodes() {
        if let Some(name) = inode.metadata.xattrs.keys().find(|name| name.starts_with(OVERLAY_XATTRS)) {
            let name = String::from_utf8_lossy(name).into_owned();
            return Err(OverlayError::Xattr { path: path_of(id), name, side });
        }
        if side == Side::Target && inode.kind.is_whiteout() {
            return Err(OverlayError::Whiteout(path_of(id)));
        }
    }
    Ok(())
}

/// What the base has under the names of one target inode.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Below {
    /// No name looked at yet.
    Unknown,
    /// Every name so far names this inode.
    One(InodeId),
    /// Names without counterpart, or of several inodes.
    Other,
}

/// What becomes of every target inode, by its number.
struct Plan<'a, A, B> {
    base: &'a Tree<A>,
    target: &'a Tree<B>,
    options: OverlayOptions,
    below: Vec<Below>,
    /// Is in the upper tree when its parent is not opaque.
    carried: Vec<bool>,
    /// A directory that could be made opaque and gains from it.
    opaque: Vec<bool>,
}

impl<'a, A: Content, B: Content> Plan<'a, A, B> {
    fn new(base: &'a Tree<A>, target: &'a Tree<B>, options: OverlayOptions) -> Self {
        let count = target.len();
        let mut plan = Self {
            base,
            target,
            options,
            below: vec![Below::Unknown; count],
            carried: vec![false; count],
            opaque: vec![false; count],
        };
        plan.pair();
        plan.decide_others();
        plan.decide_directories();
        plan
    }

    /// Finds the counterparts. Inodes are numbered in walk order, so a directory comes before what it holds.
    fn pair(&mut self) {
        self.below[0] = Below::One(InodeId::ROOT);
        for (id, inode) in self.target.inodes() {
            let Kind::Directory(names) = &inode.kind else { continue };
            let lower = self.lower_names(id);
            for (name, child) in names {
                let counterpart = lower.and_then(|lower| lower.get(name)).copied();
                let below = &mut self.below[child.index()];
                *below = match (*below, counterpart) {
                    (Below::Unknown, Some(found)) => Below::One(found),
                    (Below::One(known), Some(found)) if known == found => *below,
                    _ => Below::Other,
                };
            }
        }
    }

    /// The base directory that a target directory is merged with.
    fn lower_names(&self, id: InodeId) -> Option<&'a Directory> {
        match self.below[id.index()] {
            Below::One(lower) => self.base.directory(lower),
            _ => None,
        }
    }

    /// What is no directory stays in the base if it is there, equal, with all its names and no others of the target's.
    fn decide_others(&mut self) {
        let mut taken = vec![false; self.base.len()];
        for (id, inode) in self.target.inodes() {
            if inode.kind.is_directory() {
                continue;
            }
            let stays = match self.below[id.index()] {
                Below::One(lower) if self.equal(self.base.inode(lower), inode) => {
                    !std::mem::replace(&mut taken[lower.index()], true)
                }
                _ => false,
            };
            self.carried[id.index()] = !stays;
        }
    }

    fn equal(&self, lower: &Inode<A>, inode: &Inode<B>) -> bool {
        match Difference::between(lower, inode) {
            Difference::None => true,
            Difference::Mtime => self.options.ignore_mtime,
            _ => false,
        }
    }

    /// Children before parents: which directories the upper tree needs, and where an opaque mark pays.
    fn decide_directories(&mut self) {
        // Whether anything of the base shows at or below, and what the whiteouts at and below cost. The first is known
        // beforehand of everything but directories, which may have names before and after.
        let mut shows: Vec<bool> = self.carried.iter().map(|carried| !carried).collect();
        let mut cost = vec![0_usize; self.target.len()];
        for (id, inode) in self.target.inodes().collect::<Vec<_>>().into_iter().rev() {
            let Kind::Directory(names) = &inode.kind else { continue };
            let own = self.missing(id).map(|(name, _)| name.len() + WHITEOUT_COST).sum::<usize>();
            let children = || names.values().map(|child| child.index());
            let differs = match self.below[id.index()] {
                Below::One(lower) => !self.equal(self.base.inode(lower), inode),
                _ => true,
            };
            let index = id.index();
            self.carried[index] = differs || own > 0 || children().any(|child| self.carried[child]);
            shows[index] = !self.carried[index] || children().any(|child| shows[child]);
            cost[index] = own + children().map(|child| cost[child]).sum::<usize>();
            // The kernel always merges the roots, marked or not.
            self.opaque[index] = id != InodeId::ROOT && !shows[index] && cost[index] > OPAQUE_COST;
            if self.opaque[index] {
                cost[index] = OPAQUE_COST;
            }
        }
    }

    /// Names of the base directory below `id` that the target directory lacks.
    fn missing(&self, id: InodeId) -> impl Iterator<Item = (&'a Name, InodeId)> {
        let names = self.target.directory(id);
        let lower = self.lower_names(id).into_iter().flatten();
        lower.filter(move |(name, _)| names.is_some_and(|names| !names.contains_key(*name))).map(|(n, id)| (n, *id))
    }

    fn report(&self) -> ChangeReport {
        let mut reporter = Reporter::new(self.base, self.options.ignore_mtime);
        for entry in self.target.walk() {
            let lower = entry.path.split().map_or(Some(InodeId::ROOT), |_| self.base.lookup(&entry.path));
            reporter.compare(&entry, lower, self.carried[entry.id.index()]);
        }
        for entry in self.base.walk() {
            if self.target.lookup(&entry.path).is_none() {
                reporter.removed(entry);
            }
        }
        reporter.finish()
    }
}

/// Writes the upper tree down.
struct Upper<'a, A, B> {
    plan: &'a Plan<'a, A, B>,
    base: &'a Tree<A>,
    target: &'a Tree<B>,
    /// Carried inodes that are no directories: target number to upper number.
    names: BTreeMap<InodeId, InodeId>,
    whiteout: Option<InodeId>,
}

impl<A: Content, B: Content + Clone> Upper<'_, A, B> {
    fn build(mut self) -> Result<Tree<B>, TreeError> {
        debug_assert!(self.base.directory(InodeId::ROOT).is_some());
        let root = self.target.inode(InodeId::ROOT).metadata.clone();
        let mut builder = Builder::new(root);
        // (target directory, upper directory, whether it lies in an opaque one)
        let mut pending = vec![(InodeId::ROOT, InodeId::ROOT, false)];
        while let Some((id, upper, hidden)) = pending.pop() {
            let merged = !hidden && self.plan.lower_names(id).is_some();
            let opaque = merged && self.plan.opaque[id.index()];
            if opaque {
                let xattrs = &mut builder.inode(upper).metadata.xattrs;
                xattrs.insert(OPAQUE_XATTR.into(), b"y".as_slice().into());
            }
            let mut names = Directory::new();
            for (name, child) in self.target.directory(id).into_iter().flatten() {
                let inode = self.target.inode(*child);
                if !self.plan.carried[child.index()] {
                    continue;
                }
                if inode.kind.is_directory() {
                    let kind = Kind::Directory(Directory::new());
                    let made = builder.add(Inode { metadata: inode.metadata.clone(), kind })?;
                    names.insert(name.clone(), made);
                    pending.push((*child, made, hidden || opaque));
                } else {
                    names.insert(name.clone(), self.carry(*child, inode, &mut builder)?);
                }
            }
            if merged && !opaque {
                for (name, _) in self.plan.missing(id) {
                    names.insert(name.clone(), self.whiteout(&mut builder)?);
                }
            }
            if let Some(directory) = builder.directory(upper) {
                *directory = names;
            }
        }
        builder.finish()
    }

    fn carry(&mut self, id: InodeId, inode: &Inode<B>, builder: &mut Builder<B>) -> Result<InodeId, TreeError> {
        if let Some(upper) = self.names.get(&id) {
            return Ok(*upper);
        }
        let upper = builder.add(inode.clone())?;
        self.names.insert(id, upper);
        Ok(upper)
    }

    fn whiteout(&mut self, builder: &mut Builder<B>) -> Result<InodeId, TreeError> {
        if let Some(id) = self.whiteout {
            return Ok(id);
        }
        let kind = Kind::CharDevice(Device::WHITEOUT);
        let id = builder.add(Inode { metadata: Metadata::root_owned(0), kind })?;
        self.whiteout = Some(id);
        Ok(id)
    }
}
