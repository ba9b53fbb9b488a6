//! The tree that a container engine makes when it unpacks one layer into a directory of its own: what there is, not what
//! is in it.
//!
//! As Docker does it: directories without an entry are made, an entry takes the place of what had its name (a directory
//! stays when a directory comes), whiteouts are devices, opaque directories have an attribute, the root's own entry
//! says nothing. A hard link to what is not in the layer, which Docker refuses, counts as an empty file.

use std::collections::BTreeMap;

use umiak_tree::{Metadata, OPAQUE_XATTR, TreePath};

use crate::{Body, Entry};

/// Number of an inode.
pub(super) type Id = usize;

const ROOT: Id = 0;

/// What is unpacked.
pub(super) struct Unpacked {
    inodes: Vec<Inode>,
    /// Counts names as they are made.
    made: u64,
}

/// One inode.
pub(super) struct Inode {
    pub kind: Kind,
    /// Attributes: name and length of the value.
    pub xattrs: BTreeMap<Box<[u8]>, u64>,
    names: u64,
    /// When it was made.
    pub made: u64,
}

/// What an inode is.
pub(super) enum Kind {
    /// Names, each with its inode and when it was made.
    Directory(BTreeMap<Box<[u8]>, (Id, u64)>),
    /// Bytes.
    File(u64),
    /// Bytes of the target.
    Symlink(u64),
    Special,
    Whiteout,
}

impl Unpacked {
    pub(super) fn new() -> Self {
        let root = Inode { kind: Kind::Directory(BTreeMap::new()), xattrs: BTreeMap::new(), names: 1, made: 0 };
        Self { inodes: vec![root], made: 0 }
    }

    /// What is there at the end.
    pub(super) fn inodes(&self) -> impl Iterator<Item = &Inode> {
        self.inodes.iter().filter(|inode| inode.names > 0)
    }

    /// Unpacks one entry.
    pub(super) fn add(&mut self, entry: &Entry<u64>) {
        let Some((parent, name)) = entry.path.split() else {
            if matches!(entry.body, Body::Opaque) {
                self.set(ROOT, OPAQUE_XATTR, 1);
            }
            return;
        };
        if matches!(entry.body, Body::Opaque) {
            let directory = self.directory(&entry.path);
            return self.set(directory, OPAQUE_XATTR, 1);
        }
        let directory = self.directory(&parent);
        let there = self.child(directory, name);
        let kind = match &entry.body {
            Body::Directory => match there.filter(|there| self.is_directory(*there)) {
                Some(there) => return self.set_all(there, &entry.metadata),
                None => Kind::Directory(BTreeMap::new()),
            },
            Body::HardLink(target) => {
                let target = self.find(target).filter(|target| !self.is_directory(*target));
                self.remove(directory, name);
                let target = target.filter(|target| self.inodes[*target].names > 0);
                let target = target.unwrap_or_else(|| self.inode(Kind::File(0)));
                self.name(directory, name, target);
                return self.set_all(target, &entry.metadata);
            }
            // Docker makes the device only where there is nothing.
            Body::Whiteout if there.is_some() => return,
            Body::Whiteout => Kind::Whiteout,
            Body::File(size) => Kind::File(*size),
            Body::Symlink(target) => Kind::Symlink(target.len() as u64),
            Body::CharDevice(_) | Body::BlockDevice(_) | Body::Fifo | Body::Opaque => Kind::Special,
        };
        self.remove(directory, name);
        let made = self.inode(kind);
        self.name(directory, name, made);
        if !matches!(entry.body, Body::Whiteout) {
            self.set_all(made, &entry.metadata);
        }
    }

    fn inode(&mut self, kind: Kind) -> Id {
        self.inodes.push(Inode { kind, xattrs: BTreeMap::new(), names: 0, made: self.made });
        self.inodes.len() - 1
    }

    fn is_directory(&self, id: Id) -> bool {
        matches!(self.inodes[id].kind, Kind::Directory(_))
    }

    fn child(&self, directory: Id, name: &[u8]) -> Option<Id> {
        match &self.inodes[directory].kind {
            Kind::Directory(names) => names.get(name).map(|(id, _)| *id),
            _ => None,
        }
    }

    fn find(&self, path: &TreePath) -> Option<Id> {
        path.components().try_fold(ROOT, |at, name| self.child(at, name))
    }

    /// The directory at `path`, made if need be.
    fn directory(&mut self, path: &TreePath) -> Id {
        let mut at = ROOT;
        for name in path.components() {
            at = match self.child(at, name).filter(|child| self.is_directory(*child)) {
                Some(child) => child,
                None => {
                    self.remove(at, name);
                    let made = self.inode(Kind::Directory(BTreeMap::new()));
                    self.name(at, name, made);
                    made
                }
            };
        }
        at
    }

    fn name(&mut self, directory: Id, name: &[u8], id: Id) {
        self.made += 1;
        if let Kind::Directory(names) = &mut self.inodes[directory].kind {
            names.insert(name.into(), (id, self.made));
            self.inodes[id].names += 1;
        }
    }

    /// Takes a name away, and everything below it.
    fn remove(&mut self, directory: Id, name: &[u8]) {
        let Kind::Directory(names) = &mut self.inodes[directory].kind else { return };
        let mut pending: Vec<Id> = names.remove(name).map(|(id, _)| id).into_iter().collect();
        while let Some(id) = pending.pop() {
            self.inodes[id].names -= 1;
            if let Kind::Directory(names) = &mut self.inodes[id].kind {
                pending.extend(std::mem::take(names).into_values().map(|(id, _)| id));
            }
        }
    }

    fn set(&mut self, id: Id, name: &[u8], length: u64) {
        self.inodes[id].xattrs.insert(name.into(), length);
    }

    /// Sets the attributes that a Linux file system takes there.
    fn set_all(&mut self, id: Id, metadata: &Metadata) {
        let of_user = matches!(self.inodes[id].kind, Kind::File(_) | Kind::Directory(_));
        for (name, value) in &metadata.xattrs {
            let known =
                [&b"trusted."[..], b"security.", b"system.posix_acl_"].iter().any(|known| name.starts_with(known));
            if known || (of_user && name.starts_with(b"user.")) {
                self.set(id, name, value.len() as u64);
            }
        }
    }
}
