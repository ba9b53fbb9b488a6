//! From an image to its listing: head, tree, which tails share fragment blocks, in which order the data blocks lie.
//!
//! Rows are written so that two listings of similar trees differ in few places: names and not paths, distances and not
//! numbers, nothing that follows from sizes or contents. The format is in `docs/formats/delta-containers.md`.

use std::collections::{BTreeMap, BTreeSet, HashMap, btree_map};

use umiak_tree::{Inode, InodeId, Kind, Name, Tree};

use super::numbers::{put, zigzag};
use super::{HEAD, MAGIC, row};
use crate::StoredContent;
use crate::layout::{Superblock, flags};
use crate::reader::Fragment;

/// A content with the first name it has.
pub(super) struct Named<'a> {
    pub(super) path: Vec<u8>,
    pub(super) stored: &'a StoredContent,
}

/// The listing of an image without the encoder's level and mark, and its distinct contents that are not empty.
pub(super) fn write<'a>(
    superblock: &Superblock,
    fragments: &[Fragment],
    tree: &'a Tree<StoredContent>,
) -> (Vec<u8>, Vec<Named<'a>>) {
    let mut rows = Rows {
        tree,
        out: head(superblock),
        inodes: vec![0; tree.len()],
        next_inode: 0,
        numbers: HashMap::new(),
        contents: Vec::new(),
    };
    rows.all();
    let Rows { mut out, contents, .. } = rows;
    places(&mut out, &contents, fragments, superblock.block_size);
    (out, contents)
}

fn head(superblock: &Superblock) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEAD);
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&superblock.block_size.to_le_bytes());
    head.extend_from_slice(&superblock.image_time.to_le_bytes());
    let compressor = u8::try_from(superblock.compressor.number()).unwrap_or(u8::MAX);
    head.extend_from_slice(&[compressor, u8::from(superblock.flags & flags::EXPORTABLE != 0)]);
    // Level and mark of the encoder: only those of a target matter (`target.rs`).
    head.resize(HEAD, 0);
    head
}

struct Rows<'a> {
    tree: &'a Tree<StoredContent>,
    out: Vec<u8>,
    /// One more than the number of the row that each inode had; 0 before.
    inodes: Vec<u64>,
    next_inode: u64,
    numbers: HashMap<&'a StoredContent, u64>,
    contents: Vec<Named<'a>>,
}

impl<'a> Rows<'a> {
    fn all(&mut self) {
        let tree = self.tree;
        let mut path = Vec::new();
        self.row(InodeId::ROOT, b"", &path);
        let mut open: Vec<(btree_map::Iter<'a, Name, InodeId>, usize)> = Vec::new();
        open.extend(tree.directory(InodeId::ROOT).map(|names| (names.iter(), 0)));
        while let Some((names, length)) = open.last_mut() {
            path.truncate(*length);
            let Some((name, id)) = names.next() else {
                self.out.push(row::END);
                open.pop();
                continue;
            };
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            self.row(*id, name, &path);
            open.extend(tree.directory(*id).map(|names| (names.iter(), path.len())));
        }
    }

    fn row(&mut self, id: InodeId, name: &[u8], path: &[u8]) {
        let inode = self.tree.inode(id);
        let known = self.inodes[id.index()];
        if known > 0 {
            self.out.push(row::AGAIN);
            put(&mut self.out, self.next_inode - known);
        } else {
            self.next_inode += 1;
            self.inodes[id.index()] = self.next_inode;
            self.inode(inode, path);
        }
        self.out.extend_from_slice(name);
        self.out.push(0);
    }

    fn inode(&mut self, inode: &'a Inode<StoredContent>, path: &[u8]) {
        let metadata = &inode.metadata;
        let content = match &inode.kind {
            Kind::File(stored) if stored.size() > 0 => Some(self.content(stored, path)),
            _ => None,
        };
        let kind = match (&inode.kind, content) {
            (Kind::Directory(_), _) => row::DIRECTORY,
            (Kind::File(_), Some(None)) => row::FILE,
            (Kind::File(_), Some(Some(_))) => row::FILE_AGAIN,
            (Kind::File(_), None) => row::EMPTY_FILE,
            (Kind::Symlink(_), _) => row::SYMLINK,
            (Kind::BlockDevice(_), _) => row::BLOCK_DEVICE,
            (Kind::CharDevice(_), _) => row::CHAR_DEVICE,
            (Kind::Fifo, _) => row::FIFO,
            (Kind::Socket, _) => row::SOCKET,
        };
        let attributed = if metadata.xattrs.is_empty() { 0 } else { row::XATTRS };
        let out = &mut self.out;
        out.push(kind | attributed);
        out.extend_from_slice(&metadata.mode.to_le_bytes());
        out.extend_from_slice(&metadata.mtime.squashfs_seconds().to_le_bytes());
        out.extend_from_slice(&metadata.uid.to_le_bytes());
        out.extend_from_slice(&metadata.gid.to_le_bytes());
        if !metadata.xattrs.is_empty() {
            put(out, metadata.xattrs.len() as u64);
            for (name, value) in &metadata.xattrs {
                out.extend_from_slice(name);
                out.push(0);
                put(out, value.len() as u64);
                out.extend_from_slice(value);
            }
        }
        match &inode.kind {
            Kind::File(_) => content.flatten().into_iter().for_each(|back| put(out, back)),
            Kind::Symlink(target) => {
                put(out, target.len() as u64);
                out.extend_from_slice(target);
            }
            Kind::BlockDevice(device) | Kind::CharDevice(device) => {
                put(out, u64::from(device.major));
                put(out, u64::from(device.minor));
            }
            Kind::Directory(_) | Kind::Fifo | Kind::Socket => {}
        }
    }

    /// `None` for a content that is met for the first time, else how many contents came since.
    fn content(&mut self, stored: &'a StoredContent, path: &[u8]) -> Option<u64> {
        let next = self.contents.len() as u64;
        if let Some(number) = self.numbers.get(stored) {
            return Some(next - number - 1);
        }
        self.numbers.insert(stored, next);
        self.contents.push(Named { path: path.to_vec(), stored });
        None
    }
}

/// Which tails share a block, how many contents' data lies before it, and the order of the contents with data.
fn places(out: &mut Vec<u8>, contents: &[Named<'_>], fragments: &[Fragment], block_size: u32) {
    // By place; contents of holes only come last.
    let mut placed: Vec<(u64, usize)> = Vec::new();
    let mut tails: BTreeMap<u32, BTreeSet<(u32, usize)>> = BTreeMap::new();
    let mut own = 0;
    for (number, content) in contents.iter().enumerate() {
        if let Some((fragment, offset)) = content.stored.fragment() {
            tails.entry(fragment).or_default().insert((offset, number));
        }
        if content.stored.fragment().is_none() || content.stored.size() >= u64::from(block_size) {
            let start = if content.stored.stored() > 0 { content.stored.start() } else { u64::MAX };
            placed.push((start, own));
            own += 1;
        }
    }
    placed.sort_unstable();
    let (mut before, mut expected) = (0, 0);
    for (fragment, members) in tails {
        let start = fragments.get(fragment as usize).map_or(u64::MAX, |fragment| fragment.start);
        let now = placed.partition_point(|(place, _)| *place < start).max(before);
        put(out, (now - before) as u64);
        before = now;
        for (_, number) in members {
            put(out, zigzag(number, expected) + 1);
            expected = number + 1;
        }
        out.push(0);
    }
    out.extend([0, 0]);
    let mut order = placed.into_iter().map(|(_, number)| number).peekable();
    let mut expected = 0;
    while let Some(first) = order.next() {
        let mut last = first;
        while order.next_if_eq(&(last + 1)).is_some() {
            last += 1;
        }
        put(out, zigzag(first, expected));
        put(out, (last - first) as u64);
        expected = last + 1;
    }
}
