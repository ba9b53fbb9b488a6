//! What a file system would have kept: inodes, names, a log of changes, and which of them are durable.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Component, Path};

use super::Loss;

/// An inode: its place in the row of all that ever were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeId(usize);

const ROOT: NodeId = NodeId(0);

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    directory: NodeId,
    name: OsString,
}

/// One change.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// Nothing that could be lost.
    Nothing,
    /// A name for `node`.
    Add { entry: Entry, node: NodeId },
    /// `node` has another name; what had it before has lost it.
    Move { from: Entry, to: Entry, node: NodeId },
    /// The nodes have each other's names.
    Exchange { entries: (Entry, Entry), nodes: (NodeId, NodeId) },
    /// The name is gone.
    Remove { entry: Entry, node: NodeId },
    /// Bytes.
    Write { node: NodeId, offset: u64, bytes: Box<[u8]> },
    /// Cut or lengthened.
    SetLen { node: NodeId, length: u64 },
    /// Lengthened at least to this.
    Allocate { node: NodeId, length: u64 },
}

impl Change {
    /// The file whose content it changes.
    fn file(&self) -> Option<NodeId> {
        match self {
            Self::Write { node, .. } | Self::SetLen { node, .. } | Self::Allocate { node, .. } => Some(*node),
            _ => None,
        }
    }

    fn touches(&self, directory: NodeId) -> bool {
        match self {
            Self::Add { entry, .. } | Self::Remove { entry, .. } => entry.directory == directory,
            Self::Move { from, to, .. } => from.directory == directory || to.directory == directory,
            Self::Exchange { entries: (one, other), .. } => one.directory == directory || other.directory == directory,
            _ => false,
        }
    }
}

/// Names and contents as they are at one moment.
#[derive(Clone, Default)]
struct Tree {
    names: BTreeMap<Entry, NodeId>,
    files: BTreeMap<NodeId, Vec<u8>>,
}

impl Tree {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Nothing => {}
            Change::Add { entry, node } => {
                self.names.insert(entry.clone(), *node);
            }
            Change::Move { from, to, node } => {
                self.forget(from, *node);
                self.names.insert(to.clone(), *node);
            }
            Change::Exchange { entries: (one, other), nodes: (first, second) } => {
                self.names.insert(one.clone(), *second);
                self.names.insert(other.clone(), *first);
            }
            Change::Remove { entry, node } => self.forget(entry, *node),
            Change::Write { node, offset, bytes } => self.write(*node, *offset, bytes),
            Change::SetLen { node, length } => self.files.entry(*node).or_default().resize(size(*length), 0),
            Change::Allocate { node, length } => {
                let file = self.files.entry(*node).or_default();
                file.resize(size(*length).max(file.len()), 0);
            }
        }
    }

    fn forget(&mut self, entry: &Entry, node: NodeId) {
        if self.names.get(entry) == Some(&node) {
            self.names.remove(entry);
        }
    }

    fn write(&mut self, node: NodeId, offset: u64, bytes: &[u8]) {
        let (file, start) = (self.files.entry(node).or_default(), size(offset));
        let end = start + bytes.len();
        file.resize(file.len().max(end), 0);
        file[start..end].copy_from_slice(bytes);
    }
}

fn size(length: u64) -> usize {
    usize::try_from(length).expect("a test's file fits into memory")
}

/// A file system since it was mounted.
pub(super) struct Model {
    /// As it was then, all durable.
    base: Tree,
    log: Vec<(Change, bool)>,
    /// As it is now, names only.
    live: Tree,
    directories: Vec<bool>,
}

impl Model {
    /// Everything in the directory `root`, but for lock files.
    pub(super) fn import(root: &Path) -> io::Result<Self> {
        let mut model = Self { base: Tree::default(), log: Vec::new(), live: Tree::default(), directories: vec![true] };
        model.import_below(root, ROOT)?;
        model.live.names.clone_from(&model.base.names);
        Ok(model)
    }

    fn import_below(&mut self, path: &Path, directory: NodeId) -> io::Result<()> {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let (name, path) = (entry.file_name(), entry.path());
            if name == "lock" || name == "updater" {
                continue;
            }
            let is_directory = entry.file_type()?.is_dir();
            let node = self.new_node(is_directory);
            self.base.names.insert(Entry { directory, name }, node);
            if is_directory {
                self.import_below(&path, node)?;
            } else {
                self.base.files.insert(node, fs::read(&path)?);
            }
        }
        Ok(())
    }

    fn new_node(&mut self, is_directory: bool) -> NodeId {
        self.directories.push(is_directory);
        NodeId(self.directories.len() - 1)
    }

    pub(super) fn new_file(&mut self) -> NodeId {
        self.new_node(false)
    }

    pub(super) fn new_directory(&mut self) -> NodeId {
        self.new_node(true)
    }

    /// The name `path` in the directory that holds it.
    pub(super) fn entry(&self, root: &Path, path: &Path) -> io::Result<Entry> {
        let name = path.file_name().ok_or_else(|| stranger(path))?;
        let directory = self.node(root, path.parent().ok_or_else(|| stranger(path))?)?;
        Ok(Entry { directory, name: name.to_owned() })
    }

    /// What is at `path` now.
    pub(super) fn node(&self, root: &Path, path: &Path) -> io::Result<NodeId> {
        let inside = path.strip_prefix(root).map_err(|_| stranger(path))?;
        let mut node = ROOT;
        for component in inside.components() {
            let Component::Normal(name) = component else { return Err(stranger(path)) };
            let entry = Entry { directory: node, name: name.to_owned() };
            node = *self.live.names.get(&entry).ok_or_else(|| stranger(path))?;
        }
        Ok(node)
    }

    pub(super) fn add(&mut self, change: Change) {
        if change.file().is_none() {
            self.live.apply(&change);
        }
        if !matches!(change, Change::Nothing) {
            self.log.push((change, false));
        }
    }

    pub(super) fn sync_file(&mut self, node: NodeId) {
        self.log.iter_mut().filter(|(change, _)| change.file() == Some(node)).for_each(|(_, durable)| *durable = true);
    }

    pub(super) fn sync_directory(&mut self, node: NodeId) {
        self.log.iter_mut().filter(|(change, _)| change.touches(node)).for_each(|(_, durable)| *durable = true);
    }

    pub(super) fn sync_all(&mut self) {
        self.log.iter_mut().for_each(|(_, durable)| *durable = true);
    }

    /// Takes in what is in the directory `path` and was not made through the disk; to be followed by [`Model::sync_all`],
    /// for before that nothing vouches for it.
    pub(super) fn adopt(&mut self, root: &Path, path: &Path) -> io::Result<()> {
        let directory = self.node(root, path)?;
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let (is_directory, name) = (entry.file_type()?.is_dir(), entry.file_name());
            let name = Entry { directory, name };
            let known = self.live.names.get(&name).copied();
            let node = known.unwrap_or_else(|| self.new_node(is_directory));
            if known.is_none() {
                self.add(Change::Add { entry: name, node });
                if !is_directory {
                    let bytes = fs::read(entry.path())?.into();
                    self.add(Change::Write { node, offset: 0, bytes });
                }
            }
            if is_directory {
                self.adopt(root, &entry.path())?;
            }
        }
        Ok(())
    }

    /// Writes what is left after `loss` into the new directory `into`.
    pub(super) fn materialize(&self, loss: Loss, into: &Path) -> io::Result<()> {
        let mut tree = self.base.clone();
        let mut random = Random(match loss {
            Loss::Some(seed) => seed,
            _ => 0,
        });
        for (change, durable) in &self.log {
            let kept = *durable
                || match loss {
                    Loss::Nothing => true,
                    Loss::Everything => false,
                    Loss::Contents => change.file().is_none(),
                    Loss::Some(_) => random.next().is_multiple_of(2),
                };
            match change {
                // Part of a write that is otherwise lost may have come to the disk.
                Change::Write { node, offset, bytes } if !kept && matches!(loss, Loss::Some(_)) => {
                    let torn = size(random.next()) % (bytes.len() + 1);
                    if torn > 0 && random.next().is_multiple_of(2) {
                        tree.write(*node, *offset, &bytes[..torn]);
                    }
                }
                change if kept => tree.apply(change),
                _ => {}
            }
        }
        fs::create_dir(into)?;
        let mut first = BTreeMap::new();
        self.write_below(&tree, ROOT, into, &mut first, 0)
    }

    fn write_below(
        &self,
        tree: &Tree,
        directory: NodeId,
        into: &Path,
        first: &mut BTreeMap<NodeId, std::path::PathBuf>,
        depth: usize,
    ) -> io::Result<()> {
        if depth > 64 {
            return Err(io::Error::other("directories in a circle"));
        }
        let start = Entry { directory, name: OsString::new() };
        for (entry, node) in tree.names.range(start..).take_while(|(entry, _)| entry.directory == directory) {
            let path = into.join(&entry.name);
            if self.directories[node.0] {
                fs::create_dir(&path)?;
                self.write_below(tree, *node, &path, first, depth + 1)?;
            } else if let Some(existing) = first.get(node) {
                fs::hard_link(existing, &path)?;
            } else {
                fs::write(&path, tree.files.get(node).map_or(&[][..], Vec::as_slice))?;
                first.insert(*node, path);
            }
        }
        Ok(())
    }
}

fn stranger(path: &Path) -> io::Error {
    io::Error::other(format!("{} was not made through this disk", path.display()))
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
