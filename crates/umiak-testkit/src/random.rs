//! Trees made by chance from a seed: every kind of inode, hard links, extended attributes, names that are hard on
//! naive code. The same seed gives the same tree everywhere.
//!
//! Property tests draw a seed and a size; a smaller size is a smaller tree, so that a failure shrinks.

use std::sync::Arc;

use umiak_spec::Digest;
use umiak_tree::{
    Content, Device, Directory, Inode, InodeId, Kind, Metadata, Name, Timestamp, Tree, TreeError, Xattrs,
};

/// A file's content held in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bytes(pub Arc<[u8]>);

impl Bytes {
    /// Takes a copy of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl Content for Bytes {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }
}

/// Bytes that do not compress.
#[must_use]
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut chance = Chance::new(seed);
    (0..length).map(|_| (chance.bits() >> 56) as u8).collect()
}

/// A deterministic source of chance (SplitMix64).
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// Starts from `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit` (0 when `limit` is 0).
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.bits() % (limit.max(1) as u64)).unwrap_or(0)
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of `choices`, which must not be empty.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// `length` bytes, some of them runs of zeros.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let run = (1 + self.below(2000)).min(length - bytes.len());
            if self.once_in(3) {
                bytes.resize(bytes.len() + run, 0);
            } else {
                bytes.extend((0..run).map(|_| (self.bits() >> 56) as u8));
            }
        }
        bytes
    }
}

/// Few names, so that two trees meet often: prefixes of each other, bytes that sort before `/`, bytes that are no
/// UTF-8, a newline, quotes, a name of 255 bytes.
fn name(chance: &mut Chance) -> Name {
    const NAMES: [&[u8]; 16] = [
        b"foo",
        b"foo-1.2",
        b"foo.d",
        b"foo bar",
        b"foo0",
        b"a",
        b"b",
        b"c",
        b"lib",
        b"\xff\xfe",
        b"new\nline",
        b"quo\"te'",
        b"\x01",
        b"..x",
        "\u{fc}".as_bytes(),
        b"~",
    ];
    if chance.once_in(60) { vec![b'n'; 255].into() } else { (*chance.pick(&NAMES)).into() }
}

fn metadata(chance: &mut Chance, kind: &Kind<Bytes>) -> Metadata {
    let modes: &[u16] = if kind.is_directory() { &[0o755, 0o1777, 0o2775, 0o700] } else { &[0o644, 0o755, 0o4755, 0] };
    let mode = if matches!(kind, Kind::Symlink(_)) { 0o777 } else { *chance.pick(modes) };
    let seconds = *chance.pick(&[0, 1, 1_700_000_000, 1_700_000_001, 4_000_000_000]);
    let mtime = Timestamp { seconds, nanoseconds: 0 };
    let (uid, gid) = (*chance.pick(&[0, 0, 1000, 65_534, 3_000_000]), *chance.pick(&[0, 0, 5]));
    Metadata { mode, uid, gid, mtime, xattrs: xattrs(chance, kind) }
}

fn xattrs(chance: &mut Chance, kind: &Kind<Bytes>) -> Xattrs {
    let mut xattrs = Xattrs::new();
    // The kernel refuses user attributes on anything but files and directories.
    let user = matches!(kind, Kind::File(_) | Kind::Directory(_));
    if user && chance.once_in(6) {
        let value = chance.bytes(20);
        xattrs.insert(b"user.note".as_slice().into(), value.into());
    }
    if user && chance.once_in(12) {
        xattrs.insert(b"user.empty".as_slice().into(), Box::default());
    }
    if chance.once_in(12) {
        xattrs.insert(b"trusted.mark".as_slice().into(), b"\0\xff".as_slice().into());
    }
    if matches!(kind, Kind::File(_)) && chance.once_in(10) {
        // vfs_cap_data, revision 2: cap_net_raw permitted and effective.
        let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        xattrs.insert(b"security.capability".as_slice().into(), capability.as_slice().into());
    }
    xattrs
}

fn kind(chance: &mut Chance) -> Kind<Bytes> {
    match chance.below(16) {
        0..=6 => {
            let length = *chance.pick(&[0, 1, 5, 5, 511, 512, 4096, 9000]);
            // Contents repeat, so that equal files under other names occur.
            let mut few = Chance::new(chance.bits() % 3);
            Kind::File(Bytes(few.bytes(length).into()))
        }
        7..=10 => Kind::Directory(Directory::new()),
        11 | 12 => Kind::Symlink((*chance.pick(&[&b"foo"[..], b"/etc/passwd", b"../a", b"\xff"])).into()),
        13 => Kind::CharDevice(Device { major: 1, minor: 3 }),
        14 => Kind::BlockDevice(*chance.pick(&[Device { major: 0, minor: 0 }, Device { major: 259, minor: 70_000 }])),
        _ => {
            if chance.once_in(2) {
                Kind::Fifo
            } else {
                Kind::Socket
            }
        }
    }
}

/// Some directory; one of them more often than the others, so that it gets many names and loses many.
fn directory(chance: &mut Chance, tree: &Tree<Bytes>) -> InodeId {
    let all = tree.inodes().filter(|(_, inode)| inode.kind.is_directory());
    let ids: Vec<_> = all.map(|(id, _)| id).collect();
    if chance.once_in(3) { ids[ids.len().min(3) - 1] } else { *chance.pick(&ids) }
}

/// A tree of about `size` names.
///
/// # Errors
/// None in practice: what it builds is a tree.
pub fn tree(chance: &mut Chance, size: usize) -> Result<Tree<Bytes>, TreeError> {
    let mut tree = Tree::empty(Metadata::root_owned(0o755));
    for _ in 0..size {
        tree = add(chance, tree)?;
    }
    Ok(tree)
}

/// `tree` after `changes` changes of any kind.
///
/// # Errors
/// None in practice: what it builds is a tree.
pub fn mutated(chance: &mut Chance, tree: &Tree<Bytes>, changes: usize) -> Result<Tree<Bytes>, TreeError> {
    let mut tree = tree.clone();
    for _ in 0..changes {
        tree = match chance.below(6) {
            0 | 1 => add(chance, tree)?,
            2 => remove(chance, tree)?,
            3 => touch(chance, tree)?,
            4 => rewrite(chance, tree)?,
            _ => unlink_twin(chance, tree)?,
        };
    }
    Ok(tree)
}

fn add(chance: &mut Chance, tree: Tree<Bytes>) -> Result<Tree<Bytes>, TreeError> {
    let others: Vec<_> = tree.inodes().filter(|(_, inode)| !inode.kind.is_directory()).map(|(id, _)| id).collect();
    let parent = directory(chance, &tree);
    let mut builder = tree.into_builder();
    let id = if !others.is_empty() && chance.once_in(5) {
        *chance.pick(&others)
    } else {
        let kind = kind(chance);
        let metadata = metadata(chance, &kind);
        builder.add(Inode { metadata, kind })?
    };
    if let Some(names) = builder.directory(parent) {
        names.insert(name(chance), id);
    }
    builder.finish()
}

fn remove(chance: &mut Chance, tree: Tree<Bytes>) -> Result<Tree<Bytes>, TreeError> {
    let parent = directory(chance, &tree);
    let mut builder = tree.into_builder();
    if let Some(names) = builder.directory(parent) {
        let keys: Vec<_> = names.keys().cloned().collect();
        if !keys.is_empty() && chance.once_in(4) {
            names.clear();
        } else if !keys.is_empty() {
            names.remove(chance.pick(&keys));
        }
    }
    builder.finish()
}

/// Other metadata: all of it, or the mtime, or the mode alone.
fn touch(chance: &mut Chance, tree: Tree<Bytes>) -> Result<Tree<Bytes>, TreeError> {
    let ids: Vec<_> = tree.inodes().map(|(id, _)| id).collect();
    let mut builder = tree.into_builder();
    let inode = builder.inode(*chance.pick(&ids));
    let fresh = metadata(chance, &inode.kind);
    match chance.below(3) {
        0 => inode.metadata = fresh,
        1 => inode.metadata.mtime = fresh.mtime,
        _ => inode.metadata.mode = fresh.mode,
    }
    builder.finish()
}

/// Another content for one inode, its type possibly changed; all its names stay.
fn rewrite(chance: &mut Chance, tree: Tree<Bytes>) -> Result<Tree<Bytes>, TreeError> {
    let ids: Vec<_> = tree.inodes().filter(|(_, inode)| !inode.kind.is_directory()).map(|(id, _)| id).collect();
    let mut builder = tree.into_builder();
    if !ids.is_empty() {
        let id = *chance.pick(&ids);
        let kind = kind(chance);
        if !kind.is_directory() {
            let metadata = metadata(chance, &kind);
            *builder.inode(id) = Inode { metadata, kind };
        }
    }
    builder.finish()
}

/// Makes one name of an inode with several an inode of its own, equal to the rest.
fn unlink_twin(chance: &mut Chance, tree: Tree<Bytes>) -> Result<Tree<Bytes>, TreeError> {
    let counts = tree.name_counts();
    let shared: Vec<_> = tree.walk().filter(|entry| counts[entry.id.index()] > 1).map(|entry| entry.path).collect();
    if shared.is_empty() {
        return add(chance, tree);
    }
    let path = chance.pick(&shared).clone();
    let (Some((parent, name)), Some(id)) = (path.split(), tree.lookup(&path)) else { return Ok(tree) };
    let (copy, parent) = (tree.inode(id).clone(), tree.lookup(&parent).unwrap_or(InodeId::ROOT));
    let mut builder = tree.into_builder();
    let own = builder.add(copy)?;
    if let Some(names) = builder.directory(parent) {
        names.insert(name.into(), own);
    }
    builder.finish()
}
