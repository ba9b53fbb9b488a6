//! Names the first difference of two trees, for people and for tests.

use std::collections::BTreeMap;

use crate::report::same_kind;
use crate::{Content, Inode, InodeId, Kind, Tree};

/// The first path, in walk order, where the trees differ, and how; `None` when they are equal: same names, types,
/// contents, modes, owners, extended attributes, link targets, device numbers, mtimes in whole seconds as squashfs
/// stores them, and the same names are one inode.
#[must_use]
pub fn difference<A: Content, B: Content>(a: &Tree<A>, b: &Tree<B>) -> Option<String> {
    let (mut left, mut right) = (a.walk(), b.walk());
    let mut partners = Partners::default();
    loop {
        match (left.next(), right.next()) {
            (None, None) => return None,
            (Some(a), None) => return Some(format!("{} is only in the first tree", a.path)),
            (None, Some(b)) => return Some(format!("{} is only in the second tree", b.path)),
            // Walks go component by component, so the earlier one is the one the other tree lacks.
            (Some(a), Some(b)) if a.path != b.path => {
                let first = a.path.components().lt(b.path.components());
                let (path, which) = if first { (a.path, "first") } else { (b.path, "second") };
                return Some(format!("{path} is only in the {which} tree"));
            }
            (Some(a), Some(b)) => {
                if let Some(how) = inode_difference(a.inode, b.inode) {
                    return Some(format!("{}: {how}", a.path));
                }
                if !partners.meet(a.id, b.id) {
                    return Some(format!("{}: is not one inode with the same other names", a.path));
                }
            }
        }
    }
}

#[derive(Default)]
struct Partners {
    of_first: BTreeMap<InodeId, InodeId>,
    of_second: BTreeMap<InodeId, InodeId>,
}

impl Partners {
    fn meet(&mut self, a: InodeId, b: InodeId) -> bool {
        *self.of_first.entry(a).or_insert(b) == b && *self.of_second.entry(b).or_insert(a) == a
    }
}

fn inode_difference<A: Content, B: Content>(a: &Inode<A>, b: &Inode<B>) -> Option<String> {
    if !same_kind(&a.kind, &b.kind) {
        return Some(format!("{} or {}", kind_text(&a.kind), kind_text(&b.kind)));
    }
    let (a, b) = (&a.metadata, &b.metadata);
    if a.mode != b.mode {
        return Some(format!("mode {:04o} or {:04o}", a.mode, b.mode));
    }
    if (a.uid, a.gid) != (b.uid, b.gid) {
        return Some(format!("owner {}:{} or {}:{}", a.uid, a.gid, b.uid, b.gid));
    }
    if a.mtime.squashfs_seconds() != b.mtime.squashfs_seconds() {
        return Some(format!("mtime {} or {}", a.mtime.seconds, b.mtime.seconds));
    }
    if a.xattrs != b.xattrs {
        let name = a.xattrs.iter().find(|(name, value)| b.xattrs.get(*name) != Some(value)).map(|(name, _)| name);
        let name = name.or_else(|| b.xattrs.keys().find(|name| !a.xattrs.contains_key(*name)));
        let name = name.map(|name| String::from_utf8_lossy(name).into_owned()).unwrap_or_default();
        return Some(format!("extended attribute `{name}` differs"));
    }
    None
}

fn kind_text<C: Content>(kind: &Kind<C>) -> String {
    match kind {
        Kind::Directory(_) => "directory".into(),
        Kind::File(content) => format!("file of {} bytes with {}", content.size(), content.digest().short()),
        Kind::Symlink(target) => format!("symbolic link to `{}`", String::from_utf8_lossy(target)),
        Kind::CharDevice(device) => format!("character device {}/{}", device.major, device.minor),
        Kind::BlockDevice(device) => format!("block device {}/{}", device.major, device.minor),
        Kind::Fifo => "pipe".into(),
        Kind::Socket => "socket".into(),
    }
}
