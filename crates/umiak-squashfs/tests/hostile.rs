//! Images that lie: every one ends in a typed error or a tree, in bounded time and memory, never in a panic.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test fails by panicking")]

mod common;

use common::{small_blocks, write};
use umiak_spec::Limits;
use umiak_squashfs::{Compressor, Error, Image};

/// Limits as a small device has them, so that what passes them is cheap to read.
fn limits() -> Limits {
    Limits { file: 1 << 20, expanded: 8 << 20, entries: 5000, depth: 20, xattr: 4096, ..Limits::default() }
}

/// Reads all there is; contents as far as they go.
fn exercise(bytes: &[u8]) -> Result<(), Error> {
    let image = Image::open(bytes, &limits())?;
    let tree = image.tree()?;
    let digests = image.digests(&tree, std::num::NonZeroUsize::MIN, &umiak_spec::Silent);
    for (_, inode) in tree.inodes() {
        if let umiak_tree::Kind::File(content) = &inode.kind {
            let _ = image.read_at(content, content.size() / 2, &mut [0; 5000]);
        }
    }
    digests.map(|_| ())
}

fn small_tree() -> common::MemoryTree {
    let mut tree = common::Planting::new();
    tree.file("a.txt", "text");
    let large = tree.file("b/large", [common::text(1, 9000), vec![0; 8192], common::noise(1, 5000)].concat());
    tree.hard_link("c/link", large);
    tree.add("c/symbolic", umiak_tree::Kind::Symlink(b"../a.txt".as_slice().into()));
    for number in 0..40 {
        let file = tree.file(&format!("many/{number}"), common::text(number, 200));
        tree.xattr(file, "user.number", format!("value {}", number % 3).as_bytes());
    }
    tree.finish()
}

#[test]
fn changed_bytes_give_errors_not_panics() {
    let tree = small_tree();
    let mut refused = 0;
    for compressor in Compressor::WRITABLE {
        let (good, _) = write(&tree, &small_blocks(compressor, 1), None);
        exercise(&good).unwrap();
        let mut random = common::noise(compressor as u64 + 1, 40_000).into_iter();
        let mut next = || u32::from_le_bytes(std::array::from_fn(|_| random.next().unwrap())) as usize;
        // The tables follow the blocks: half of the changes go there, a quarter into the superblock.
        let tables = u64::from_le_bytes(good[64..72].try_into().unwrap()) as usize;
        for round in 0..1200 {
            let mut bad = good.clone();
            for _ in 0..=round % 3 {
                let at = match round % 4 {
                    0 => next() % 96,
                    1 => next() % bad.len(),
                    _ => tables + next() % (bad.len() - tables),
                };
                bad[at] = [0, 0xff, bad[at] ^ (1 << (next() % 8)), next() as u8][round / 4 % 4];
            }
            refused += usize::from(exercise(&bad).is_err());
        }
    }
    assert!(refused > 1000, "only {refused} of the changed images were refused");
}

#[test]
fn cut_images_are_refused() {
    let (good, _) = write(&small_tree(), &small_blocks(Compressor::Zstd, 1), None);
    let used = u64::from_le_bytes(good[40..48].try_into().unwrap()) as usize;
    for length in (0..used).step_by(97).chain([used - 1]) {
        assert!(exercise(&good[..length]).is_err(), "{length}");
        // The same with a superblock that agrees.
        if length >= 96 {
            let mut bad = good[..length].to_vec();
            bad[40..48].copy_from_slice(&(length as u64).to_le_bytes());
            assert!(exercise(&bad).is_err(), "{length}");
        }
    }
    exercise(&good[..used]).unwrap();
}

/// An image put together by hand: stored metadata, no files.
struct ByHand {
    inodes: Vec<u8>,
    directories: Vec<u8>,
    root: u64,
}

impl ByHand {
    /// A directory inode whose listing is `length` bytes at `offset` of the directory table.
    fn directory(offset: u16, length: u16) -> Vec<u8> {
        let mut inode = vec![1, 0, 0xed, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0];
        inode.extend((length + 3).to_le_bytes());
        inode.extend(offset.to_le_bytes());
        inode.extend([0; 4]);
        inode
    }

    /// A run of one directory entry for the inode at `place`.
    fn entry(name: &[u8], place: u16) -> Vec<u8> {
        let mut run = vec![0; 12];
        run.extend(place.to_le_bytes());
        run.extend([0, 0, 1, 0]);
        run.extend((name.len() as u16 - 1).to_le_bytes());
        run.extend(name);
        run
    }

    fn build(&self) -> Vec<u8> {
        let block = |plain: &[u8]| [&(plain.len() as u16 | 0x8000).to_le_bytes()[..], plain].concat();
        let mut image = vec![0; 96];
        let mut places = Vec::new();
        for table in [&self.inodes[..], &self.directories, &[0; 4]] {
            places.push(image.len() as u64);
            image.extend(block(table));
        }
        let ids = image.len() as u64;
        image.extend(places[2].to_le_bytes());
        let none = u64::MAX;
        let longs = [self.root, image.len() as u64, ids, none, places[0], places[1], none, none];
        let mut head = [0x7371_7368_u32, 9, 0, 131_072, 0].map(u32::to_le_bytes).concat();
        head.extend([1_u16, 17, 0, 1, 4, 0].map(u16::to_le_bytes).concat());
        head.extend(longs.map(u64::to_le_bytes).concat());
        image[..96].copy_from_slice(&head);
        image
    }
}

#[test]
fn directories_that_are_no_tree_are_refused() {
    let name = |name: &[u8]| ByHand {
        inodes: [ByHand::directory(0, 20 + name.len() as u16), ByHand::directory(0, 0)].concat(),
        directories: ByHand::entry(name, 32),
        root: 0,
    };
    exercise(&name(b"fine").build()).unwrap();
    for bad in [&b".."[..], b".", b"a/b", b"nul\0", &[b'n'; 256]] {
        assert!(matches!(exercise(&name(bad).build()), Err(Error::Name { .. })), "{bad:?}");
    }
    // The root inside itself, and one listing that is reached through a chain of directories without end.
    let looped = ByHand { directories: ByHand::entry(b"self", 0), ..name(b"self") };
    assert!(matches!(exercise(&looped.build()), Err(Error::Tree(_))));
    let deep = ByHand {
        inodes: (0..40).flat_map(|number| ByHand::directory(number * 22, 22)).collect(),
        directories: (0..40).flat_map(|number| ByHand::entry(b"in", (number + 1) * 32)).collect(),
        root: 0,
    };
    assert!(matches!(exercise(&deep.build()), Err(Error::Limit { what: "nested directories", .. })));
    let twice = ByHand {
        inodes: [ByHand::directory(0, 42), ByHand::directory(0, 0), ByHand::directory(0, 0)].concat(),
        directories: [ByHand::entry(b"a", 32), ByHand::entry(b"b", 32)].concat(),
        root: 0,
    };
    assert!(matches!(exercise(&twice.build()), Err(Error::Tree(_))));
    let repeated = ByHand { directories: [ByHand::entry(b"a", 32), ByHand::entry(b"a", 64)].concat(), ..twice };
    assert!(matches!(exercise(&repeated.build()), Err(Error::Name { .. })));
}

#[test]
fn more_names_than_allowed_are_refused_however_few_the_inodes() {
    let mut tree = common::Planting::new();
    let file = tree.file("f", "");
    for directory in 0..80 {
        for name in 0..80 {
            tree.hard_link(&format!("d{directory}/n{name}"), file);
        }
    }
    let (image, _) = write(&tree.finish(), &small_blocks(Compressor::Lz4, 1), None);
    assert!(matches!(exercise(&image), Err(Error::Limit { what: "names", .. })));
}

#[test]
fn contents_beyond_the_limits_are_refused_before_they_are_read() {
    let mut tree = common::Planting::new();
    tree.file("large", vec![0; 2 << 20]);
    let (image, _) = write(&tree.finish(), &small_blocks(Compressor::Xz, 1), None);
    assert!(matches!(exercise(&image), Err(Error::Limit { what: "bytes in one file", .. })));
    let mut tree = common::Planting::new();
    for number in 0..9_u8 {
        tree.file(&number.to_string(), [vec![0; 1_000_000], vec![number]].concat());
    }
    let (image, _) = write(&tree.finish(), &small_blocks(Compressor::Xz, 1), None);
    assert!(matches!(exercise(&image), Err(Error::Limit { what: "bytes in all files", .. })));
}
