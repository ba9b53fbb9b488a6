//! What we write is what we read, whatever the compressor and the number of threads, with and without a base.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test fails by panicking")]

mod common;

use common::{as_stored, base_of, everything, read, small_blocks, write};
use proptest::prelude::*;
use umiak_spec::Limits;
use umiak_squashfs::{BaseMatch, Compressor, Image, ImageOptions};
use umiak_tree::{Builder, Device, Inode, InodeId, Kind, Metadata, Timestamp};

fn open(bytes: Vec<u8>) -> Image<Vec<u8>> {
    Image::open(bytes, &Limits::default()).unwrap()
}

#[test]
fn everything_survives_every_compressor_and_block_size() {
    let tree = everything();
    for compressor in Compressor::WRITABLE {
        for block_size in [4096, 131_072, 1 << 20] {
            let options = ImageOptions { compressor, block_size, image_time: 77, ..ImageOptions::default() };
            let image = open(write(&tree, &options, None).0);
            assert_eq!((image.superblock().image_time, image.superblock().compressor), (77, compressor));
            assert!(read(&image).unwrap() == as_stored(&tree), "{compressor:?} {block_size}");
        }
    }
}

#[test]
fn the_bytes_do_not_depend_on_threads_or_on_our_own_base() {
    let tree = everything();
    for compressor in Compressor::WRITABLE {
        let options = small_blocks(compressor, 1);
        let (image, report) = write(&tree, &options, None);
        assert_eq!(report.base, None);
        for threads in 2..=4 {
            assert!(write(&tree, &small_blocks(compressor, threads), None).0 == image, "{compressor:?} {threads}");
        }
        let (rebuilt, report) = write(&tree, &options, Some(base_of(image.clone())));
        assert_eq!((report.base, report.compressed_blocks), (Some(BaseMatch::Same), 0), "{compressor:?}");
        assert!(rebuilt == image, "{compressor:?}");
    }
}

#[test]
fn a_base_of_other_settings_is_told_apart() {
    let tree = everything();
    let level = |level| ImageOptions { level: Some(level), ..small_blocks(Compressor::Zstd, 2) };
    let (ours, theirs) = (level(3), level(19));
    let (foreign, _) = write(&tree, &theirs, None);
    let (rebuilt, report) = write(&tree, &ours, Some(base_of(foreign.clone())));
    assert_eq!(report.base, Some(BaseMatch::Foreign));
    assert!(report.copied_blocks > 0);
    assert!(read(&open(rebuilt)).unwrap() == as_stored(&tree));
    let (plain, report) = write(&tree, &small_blocks(Compressor::Xz, 2), Some(base_of(foreign)));
    assert_eq!((report.base, report.copied_blocks), (Some(BaseMatch::Unusable), 0));
    assert!(plain == write(&tree, &small_blocks(Compressor::Xz, 1), None).0);
}

/// One step of making a tree: at most three names deep from few names, so that collisions are common.
#[derive(Debug, Clone)]
struct Step {
    path: Vec<u8>,
    kind: u8,
    size: usize,
    seed: u64,
    metadata: (u16, u32, i64, u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let path = proptest::collection::vec(0..6_u8, 1..4);
    let size = prop_oneof![0..40_usize, 4000..4200_usize, 0..30_000_usize];
    let metadata = (0..=0o7777_u16, prop_oneof![0..3_u32, any::<u32>()], any::<i64>(), 0..5_u8);
    let step = (path, 0..12_u8, size, 0..6_u64, metadata);
    let step = step.prop_map(|(path, kind, size, seed, metadata)| Step { path, kind, size, seed, metadata });
    proptest::collection::vec(step, 0..60)
}

fn content(step: &Step) -> Vec<u8> {
    match step.seed {
        0 => vec![0; step.size],
        1 => [common::text(1, 4096), vec![0; step.size]].concat(),
        2 => common::noise(2, step.size),
        seed => common::text(seed, step.size),
    }
}

fn grow(steps: &[Step]) -> common::MemoryTree {
    let mut builder: Builder<Vec<u8>> = Builder::new(Metadata::root_owned(0o750));
    let mut last_file = None;
    for step in steps {
        let (mode, owner, seconds, attributes) = step.metadata;
        let mut metadata = Metadata { mode, uid: owner, gid: owner / 2, ..Metadata::root_owned(0) };
        metadata.mtime = Timestamp { seconds: seconds >> 30, nanoseconds: 5 };
        for number in 0..attributes {
            let prefix = ["user", "trusted", "security"][usize::from(number) % 3];
            let value = common::text(step.seed, step.size % 50);
            metadata.xattrs.insert(format!("{prefix}.n{number}").into_bytes().into(), value.into());
        }
        let device = Device { major: owner & 0xfff, minor: owner >> 12 };
        let kind = match step.kind {
            0 | 1 => Kind::Directory(umiak_tree::Directory::new()),
            2 => Kind::Symlink(common::text(step.seed, 1 + step.size % 300).into()),
            3 => Kind::CharDevice(device),
            4 => Kind::BlockDevice(device),
            5 => Kind::Fifo,
            6 => Kind::Socket,
            _ => Kind::File(content(step)),
        };
        let mut directory = InodeId::ROOT;
        let (name, parents) = step.path.split_last().unwrap();
        for parent in parents {
            if let Some(child) = builder.child(directory, &[b'd', b'0' + parent])
                && builder.directory(child).is_some()
            {
                directory = child;
            }
        }
        let name = match step.kind {
            0 | 1 => vec![b'd', b'0' + name],
            _ => vec![b'f', b'0' + name, b'.', b'0' + step.kind],
        };
        if builder.child(directory, &name).is_some() {
            continue;
        }
        let id = match (step.kind, last_file) {
            (7, Some(file)) => file,
            _ => builder.add(Inode { metadata, kind }).unwrap(),
        };
        if step.kind >= 2 {
            last_file = Some(id);
        }
        builder.directory(directory).unwrap().insert(name.into(), id);
    }
    builder.finish().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn random_trees_survive(steps in steps(), choice in 0..4_usize, threads in 1..4_usize) {
        let tree = grow(&steps);
        let options = small_blocks(Compressor::WRITABLE[choice], threads);
        let image = open(write(&tree, &options, None).0);
        prop_assert!(read(&image).unwrap() == as_stored(&tree));
    }

    #[test]
    fn a_base_changes_nothing_but_the_time_taken(first in steps(), second in steps(), keep in 0..60_usize) {
        let base = grow(&first);
        let kept = first.into_iter().take(keep).chain(second);
        let target = grow(&kept.collect::<Vec<_>>());
        let options = small_blocks(Compressor::Zstd, 2);
        let (image, _) = write(&base, &options, None);
        let (with, report) = write(&target, &options, Some(base_of(image)));
        prop_assert_eq!(report.base, Some(BaseMatch::Same));
        prop_assert!(with == write(&target, &options, None).0);
    }
}
