//! What the tests of this crate share: trees with contents in memory, images in memory, trees out of directories.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test file uses its part")]

pub mod random;

use std::io::Cursor;
use std::num::NonZeroUsize;
use std::sync::Arc;

use umiak_spec::{Digest, Limits, Silent};
use umiak_squashfs::{Base, FileRef, Image, ImageOptions, ImageWriter, NewContent, Report};
use umiak_tree::{Builder, Inode, InodeId, Kind, Metadata, Timestamp, Tree, TreePath};

pub type MemoryTree = Tree<Vec<u8>>;

/// Options for small trees: several blocks without large files.
pub fn small_blocks(compressor: umiak_squashfs::Compressor, threads: usize) -> ImageOptions {
    let threads = NonZeroUsize::new(threads).unwrap();
    ImageOptions { compressor, block_size: 4096, threads, ..ImageOptions::default() }
}

pub fn write(tree: &MemoryTree, options: &ImageOptions, base: Option<Base>) -> (Vec<u8>, Report) {
    let mut writer = ImageWriter::new(Cursor::new(Vec::new()), options).unwrap();
    if let Some(base) = base {
        writer = writer.with_base(base).unwrap();
    }
    let mut names = vec![TreePath::root(); tree.len()];
    tree.walk().for_each(|entry| names[entry.id.index()] = entry.path);
    let references: Tree<FileRef> = tree
        .clone()
        .try_map(|id, bytes| {
            let name = names[id.index()].as_bytes();
            let content = NewContent { size: bytes.len() as u64, digest: Digest::of(&bytes), name };
            writer.add(&content, &mut bytes.as_slice())
        })
        .unwrap();
    let (out, report) = writer.finish(&references, &Silent).unwrap();
    let image = out.into_inner();
    assert_eq!(report.bytes, image.len() as u64);
    assert_eq!(image.len() % 4096, 0);
    (image, report)
}

pub fn base_of(image: Vec<u8>) -> Base {
    let image = Arc::new(Image::open(image, &Limits::default()).unwrap());
    let tree = image.tree().unwrap();
    let digests = image.digests(&tree, NonZeroUsize::MIN, &Silent).unwrap();
    Base::new(image, &tree, &digests)
}

/// Reads everything, in three ways that must agree.
pub fn read<R: umiak_squashfs::ReadAt>(image: &Image<R>) -> Result<MemoryTree, umiak_squashfs::Error> {
    let stored = image.tree()?;
    let digests = image.digests(&stored, NonZeroUsize::new(3).unwrap(), &Silent)?;
    stored.try_map(|id, content| {
        let mut bytes = vec![0; usize::try_from(content.size()).unwrap()];
        assert_eq!(image.read_at(&content, 0, &mut bytes)?, bytes.len());
        let mut streamed = Vec::new();
        std::io::Read::read_to_end(&mut image.reader(&content), &mut streamed).unwrap();
        assert_eq!(streamed, bytes);
        assert_eq!(digests.get(id), Some(Digest::of(&bytes)));
        Ok(bytes)
    })
}

/// What squashfs keeps of a tree: whole seconds from 1970 on.
pub fn as_stored(tree: &MemoryTree) -> MemoryTree {
    let mut builder = Builder::new(tree.inode(InodeId::ROOT).metadata.clone());
    let ids: Vec<InodeId> = tree
        .inodes()
        .map(|(id, inode)| match id {
            InodeId::ROOT => {
                builder.inode(id).kind = inode.kind.clone();
                id
            }
            _ => builder.add(inode.clone()).unwrap(),
        })
        .collect();
    for id in ids {
        let metadata = &mut builder.inode(id).metadata;
        metadata.mtime = Timestamp { seconds: metadata.mtime.squashfs_seconds().into(), nanoseconds: 0 };
    }
    builder.finish().unwrap()
}

/// Bytes that do not compress, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    })
    .take(length)
    .collect()
}

/// Bytes that compress.
pub fn text(seed: u64, length: usize) -> Vec<u8> {
    let words = noise(seed, 64);
    (0..length).map(|at| b'a' + words[(at / 3 * 7 + at / 50) % 64] % 20).collect()
}

/// Puts trees together by path; parents are made.
pub struct Planting(pub Builder<Vec<u8>>);

impl Planting {
    pub fn new() -> Self {
        Self(Builder::new(Metadata::root_owned(0o755)))
    }

    pub fn directory(&mut self, path: &str) -> InodeId {
        let mut directory = InodeId::ROOT;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            directory = match self.0.child(directory, name.as_bytes()) {
                Some(child) => child,
                None => {
                    let kind = Kind::Directory(umiak_tree::Directory::new());
                    let id = self.0.add(Inode { metadata: Metadata::root_owned(0o755), kind }).unwrap();
                    self.link(directory, name.as_bytes(), id);
                    id
                }
            };
        }
        directory
    }

    fn link(&mut self, directory: InodeId, name: &[u8], id: InodeId) {
        self.0.directory(directory).unwrap().insert(name.into(), id);
    }

    pub fn add(&mut self, path: &str, kind: Kind<Vec<u8>>) -> InodeId {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let directory = self.directory(directory);
        let mode = if matches!(kind, Kind::Symlink(_)) { 0o777 } else { 0o644 };
        let mtime = Timestamp { seconds: 1_700_000_000, nanoseconds: 0 };
        let metadata = Metadata { mtime, ..Metadata::root_owned(mode) };
        let id = self.0.add(Inode { metadata, kind }).unwrap();
        self.link(directory, name.as_bytes(), id);
        id
    }

    pub fn file(&mut self, path: &str, bytes: impl Into<Vec<u8>>) -> InodeId {
        self.add(path, Kind::File(bytes.into()))
    }

    pub fn hard_link(&mut self, path: &str, id: InodeId) {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let directory = self.directory(directory);
        self.link(directory, name.as_bytes(), id);
    }

    pub fn metadata(&mut self, id: InodeId) -> &mut Metadata {
        &mut self.0.inode(id).metadata
    }

    pub fn xattr(&mut self, id: InodeId, name: &str, value: &[u8]) {
        self.metadata(id).xattrs.insert(name.as_bytes().into(), value.into());
    }

    pub fn finish(self) -> MemoryTree {
        self.0.finish().unwrap()
    }
}

/// One of everything: all kinds, owners, times, attributes, hard links, holes, duplicates, a directory with an index.
pub fn everything() -> MemoryTree {
    let mut tree = Planting::new();
    tree.metadata(InodeId::ROOT).mode = 0o1777;
    tree.metadata(InodeId::ROOT).mtime.seconds = 1_234_567_890;
    tree.file("empty", "");
    tree.file("small.txt", "hello\n");
    tree.file("copy.txt", "hello\n");
    tree.file("exact.bin", noise(1, 8192));
    let large = tree.file("usr/lib/large.so", [text(2, 300_000), noise(3, 10_000), text(4, 33_333)].concat());
    tree.hard_link("usr/lib64/large.so.1", large);
    tree.hard_link("zz/large", large);
    tree.file("holes/middle", [text(5, 131_072), vec![0; 400_000], text(6, 5)].concat());
    tree.file("holes/first", [vec![0; 262_144], text(7, 131_072)].concat());
    tree.file("holes/all", vec![0; 524_288]);
    tree.file("holes/short", vec![0; 100]);
    for number in 0..1200 {
        let name = format!("many/a-rather-long-name-for-a-file-in-a-directory-{number:05}.js");
        tree.file(&name, text(number, 30 + number as usize % 700));
    }
    tree.directory("empty-directory");
    tree.add("link", Kind::Symlink(b"usr/lib/large.so".as_slice().into()));
    tree.add("long-link", Kind::Symlink(text(9, 3000).into()));
    tree.add("dev/null", Kind::CharDevice(umiak_tree::Device { major: 1, minor: 3 }));
    tree.add("dev/disk", Kind::BlockDevice(umiak_tree::Device { major: 0xabc, minor: 0xdcba9 }));
    tree.add("dev/pipe", Kind::Fifo);
    tree.add("dev/socket", Kind::Socket);
    let whiteout = tree.add("overlay/gone", Kind::CharDevice(umiak_tree::Device::WHITEOUT));
    tree.hard_link("overlay/gone-too", whiteout);
    let opaque = tree.directory("overlay/opaque");
    tree.xattr(opaque, "trusted.overlay.opaque", b"y");
    let tool = tree.file("bin/tool", text(10, 70_000));
    *tree.metadata(tool) = Metadata { mode: 0o4755, uid: 1000, gid: 4_000_000_000, ..Metadata::root_owned(0) };
    tree.xattr(tool, "security.capability", &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for path in ["bin/first", "bin/second", "bin/third"] {
        let file = tree.file(path, path);
        tree.xattr(file, "user.shared", &text(11, 500));
        tree.xattr(file, &format!("user.{}", &path[4..]), b"own");
    }
    let link = tree.add("attributed-link", Kind::Symlink(b"x".as_slice().into()));
    tree.xattr(link, "trusted.note", b"on a link");
    let fifo = tree.add("attributed-pipe", Kind::Fifo);
    tree.xattr(fifo, "trusted.note", b"on a pipe");
    tree.file("\u{e9}t\u{e9}/na\u{ef}ve file", "unusual names");
    tree.finish()
}

/// The tree below a directory as the kernel shows it, hard links recognised, attributes included.
pub fn of_directory(root: &std::path::Path) -> MemoryTree {
    let mut builder = Builder::new(disk_metadata(root));
    let mut seen = std::collections::HashMap::new();
    let mut pending = vec![(root.to_owned(), InodeId::ROOT)];
    while let Some((directory, id)) = pending.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let status = rustix::fs::lstat(&path).unwrap();
            let is_directory = rustix::fs::FileType::from_raw_mode(status.st_mode).is_dir();
            let known = seen.get(&status.st_ino).copied().filter(|_| !is_directory);
            let child = known.unwrap_or_else(|| builder.add(disk_inode(&path, &status)).unwrap());
            seen.insert(status.st_ino, child);
            let name = std::os::unix::ffi::OsStrExt::as_bytes(path.file_name().unwrap());
            builder.directory(id).unwrap().insert(name.into(), child);
            if is_directory {
                pending.push((path, child));
            }
        }
    }
    builder.finish().unwrap()
}

fn disk_inode(path: &std::path::Path, status: &rustix::fs::Stat) -> Inode<Vec<u8>> {
    use rustix::fs::FileType;
    let device =
        umiak_tree::Device { major: rustix::fs::major(status.st_rdev), minor: rustix::fs::minor(status.st_rdev) };
    let kind = match FileType::from_raw_mode(status.st_mode) {
        FileType::Directory => Kind::Directory(umiak_tree::Directory::new()),
        FileType::RegularFile => Kind::File(std::fs::read(path).unwrap()),
        FileType::Symlink => {
            let target = std::fs::read_link(path).unwrap().into_os_string();
            Kind::Symlink(std::os::unix::ffi::OsStringExt::into_vec(target).into())
        }
        FileType::CharacterDevice => Kind::CharDevice(device),
        FileType::BlockDevice => Kind::BlockDevice(device),
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::Unknown => panic!("{path:?} has no known type"),
    };
    Inode { metadata: disk_metadata(path), kind }
}

fn disk_metadata(path: &std::path::Path) -> Metadata {
    let status = rustix::fs::lstat(path).unwrap();
    let mut list = vec![0; 1 << 16];
    let length = rustix::fs::llistxattr(path, &mut list[..]).unwrap();
    let mut xattrs = umiak_tree::Xattrs::new();
    for name in list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 1 << 16];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        value.truncate(length);
        xattrs.insert(name.into(), value.into());
    }
    Metadata {
        mode: u16::try_from(status.st_mode & 0o7777).unwrap(),
        uid: status.st_uid,
        gid: status.st_gid,
        mtime: Timestamp { seconds: status.st_mtime, nanoseconds: 0 },
        xattrs,
    }
}

/// Says where two trees differ, in words short enough to read.
pub fn assert_same(actual: &MemoryTree, expected: &MemoryTree, what: &str) {
    let mut ours = actual.walk();
    for theirs in expected.walk() {
        let ours = ours.next().unwrap_or_else(|| panic!("{what}: {} is missing", theirs.path));
        assert_eq!(ours.path, theirs.path, "{what}");
        assert_eq!(ours.inode.metadata, theirs.inode.metadata, "{what}: {}", ours.path);
        match (&ours.inode.kind, &theirs.inode.kind) {
            (Kind::File(ours), Kind::File(bytes)) => assert!(ours == bytes, "{what}: content of {}", theirs.path),
            (ours, kind) => assert_eq!(ours, kind, "{what}: {}", theirs.path),
        }
        assert_eq!(ours.id, theirs.id, "{what}: hard links of {}", ours.path);
    }
    assert!(ours.next().is_none(), "{what}: more names than expected");
}
