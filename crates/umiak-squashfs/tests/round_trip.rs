//! What we write is what we read, whatever the compressor and the number of threads, with and without a base.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test fails by panicking")]

mod common;

use common::random::{grow, steps};
use common::{as_stored, base_of, everything, read, small_blocks, write};
use proptest::prelude::*;
use umiak_spec::Limits;
use umiak_squashfs::{BaseMatch, Compressor, Image, ImageOptions};

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
