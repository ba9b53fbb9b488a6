//! What differs between two trees and what it costs to carry.

use crate::{Content, Inode, InodeId, Kind, Metadata, Tree, TreePath, WalkEntry};

/// How one name differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// The base has nothing there.
    Added,
    /// Another type, content, link target or device number.
    Content,
    /// Same content; another mode, owner or extended attributes. Its whole content is carried nevertheless.
    Metadata,
    /// Same but for the mtime (in whole seconds). Its whole content is carried nevertheless.
    Mtime,
    /// Equal in itself, but one inode with other names than in the base.
    Links,
    /// The target has nothing there.
    Removed,
}

/// One name that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Where.
    pub path: TreePath,
    /// How.
    pub change: Change,
    /// Bytes of content, counted at the first name of an inode; of a removed file what it had.
    pub bytes: u64,
}

/// How many names, and how many bytes of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Names, directories included.
    pub names: u64,
    /// Bytes of content before compression; an inode with several names counts once.
    pub bytes: u64,
}

impl Tally {
    fn count(&mut self, bytes: u64) {
        self.names += 1;
        self.bytes += bytes;
    }
}

/// What a changeset is made of. Directories that are only carried because something below them is, are not counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChangeReport {
    /// New names.
    pub added: Tally,
    /// Other contents.
    pub content: Tally,
    /// Only mode, owner or extended attributes differ: carried whole.
    pub metadata: Tally,
    /// Only the mtime differs: carried whole.
    pub mtime: Tally,
    /// Only hard links differ: carried whole.
    pub links: Tally,
    /// Names that are gone, everything below a removed directory counted.
    pub removed: Tally,
    /// Left to the base although the mtime differs (`OverlayOptions::ignore_mtime`).
    pub mtime_ignored: Tally,
    /// Every changed name in walk order of the target, then the removed ones in walk order of the base.
    pub changes: Vec<Changed>,
}

impl ChangeReport {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Bytes of content that the upper tree carries, before compression.
    #[must_use]
    pub fn carried_bytes(&self) -> u64 {
        [self.added, self.content, self.metadata, self.mtime, self.links].iter().map(|tally| tally.bytes).sum()
    }
}

/// How two inodes differ in themselves, the most important difference first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Difference {
    None,
    Mtime,
    Metadata,
    Content,
}

impl Difference {
    pub(crate) fn between<A: Content, B: Content>(lower: &Inode<A>, inode: &Inode<B>) -> Self {
        if !same_kind(&lower.kind, &inode.kind) {
            return Self::Content;
        }
        let key = |of: &Metadata| (of.mode, of.uid, of.gid);
        let (was, is) = (&lower.metadata, &inode.metadata);
        if key(was) != key(is) || was.xattrs != is.xattrs {
            Self::Metadata
        } else if was.mtime.squashfs_seconds() != is.mtime.squashfs_seconds() {
            Self::Mtime
        } else {
            Self::None
        }
    }
}

/// Same type and same content; the names of directories are not compared.
pub(crate) fn same_kind<A: Content, B: Content>(lower: &Kind<A>, kind: &Kind<B>) -> bool {
    match (lower, kind) {
        (Kind::File(a), Kind::File(b)) => a.size() == b.size() && a.digest() == b.digest(),
        (Kind::Symlink(a), Kind::Symlink(b)) => a == b,
        (Kind::CharDevice(a), Kind::CharDevice(b)) | (Kind::BlockDevice(a), Kind::BlockDevice(b)) => a == b,
        (Kind::Directory(_), Kind::Directory(_)) | (Kind::Fifo, Kind::Fifo) | (Kind::Socket, Kind::Socket) => true,
        _ => false,
    }
}

fn content_size<C: Content>(kind: &Kind<C>) -> u64 {
    match kind {
        Kind::File(content) => content.size(),
        _ => 0,
    }
}

/// Fills a [`ChangeReport`].
pub(crate) struct Reporter<'a, A> {
    base: &'a Tree<A>,
    ignore_mtime: bool,
    report: ChangeReport,
    /// Inodes whose bytes were counted: of the target, and removed ones of the base.
    counted: Vec<bool>,
    gone: Vec<bool>,
}

impl<'a, A: Content> Reporter<'a, A> {
    pub(crate) fn new(base: &'a Tree<A>, ignore_mtime: bool) -> Self {
        let gone = vec![false; base.len()];
        Self { base, ignore_mtime, report: ChangeReport::default(), counted: Vec::new(), gone }
    }

    /// One name of the target; `lower` is what the base has there.
    pub(crate) fn compare<B: Content>(&mut self, entry: &WalkEntry<'_, B>, lower: Option<InodeId>, carried: bool) {
        let inode = entry.inode;
        let difference = lower.map(|lower| Difference::between(self.base.inode(lower), inode));
        let change = match difference {
            None => Change::Added,
            Some(Difference::Content) => Change::Content,
            Some(Difference::Metadata) => Change::Metadata,
            Some(Difference::Mtime) if !self.ignore_mtime => Change::Mtime,
            Some(Difference::Mtime) if !carried => {
                self.report.mtime_ignored.count(first(&mut self.counted, entry.id, content_size(&inode.kind)));
                return;
            }
            Some(_) if carried && !inode.kind.is_directory() => Change::Links,
            Some(_) => return,
        };
        let bytes = first(&mut self.counted, entry.id, content_size(&inode.kind));
        self.push(entry.path.clone(), change, bytes);
    }

    /// One name of the base that the target lacks.
    pub(crate) fn removed(&mut self, entry: WalkEntry<'_, A>) {
        let bytes = first(&mut self.gone, entry.id, content_size(&entry.inode.kind));
        self.push(entry.path, Change::Removed, bytes);
    }

    fn push(&mut self, path: TreePath, change: Change, bytes: u64) {
        let report = &mut self.report;
        let tally = match change {
            Change::Added => &mut report.added,
            Change::Content => &mut report.content,
            Change::Metadata => &mut report.metadata,
            Change::Mtime => &mut report.mtime,
            Change::Links => &mut report.links,
            Change::Removed => &mut report.removed,
        };
        tally.count(bytes);
        report.changes.push(Changed { path, change, bytes });
    }

    pub(crate) fn finish(self) -> ChangeReport {
        self.report
    }
}

/// `bytes` the first time that `id` is met, 0 afterwards.
fn first(counted: &mut Vec<bool>, id: InodeId, bytes: u64) -> u64 {
    if counted.len() <= id.index() {
        counted.resize(id.index() + 1, false);
    }
    if std::mem::replace(&mut counted[id.index()], true) { 0 } else { bytes }
}
