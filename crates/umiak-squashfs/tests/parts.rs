//! Images taken apart come together again, bit for bit, whatever is at hand; listings that lie do no harm.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test fails by panicking")]

mod common;

use std::collections::HashSet;
use std::io::{self, Cursor};
use std::num::NonZeroUsize;
use std::sync::Arc;

use common::random::{grow, steps};
use common::{Planting, everything, small_blocks, write};
use proptest::prelude::*;
use umiak_spec::{Digest, Limits, ReadAt, Silent};
use umiak_squashfs::{Compressor, Contents, Error, ImageOptions, Parts, Rebuild, content_names, rebuild, take_apart};

const ONE: NonZeroUsize = NonZeroUsize::MIN;

/// Contents of a target: from bases where these have them, else in memory.
struct Known {
    plain: Vec<Vec<u8>>,
    bases: Vec<Option<(usize, usize)>>,
    /// Whether contents that bases have may be asked for: a base of other settings has no blocks to copy.
    opened: bool,
}

impl Known {
    fn new(target: &Parts, bases: &[&Parts], opened: bool) -> Self {
        let digests = target.digests(ONE, &Silent).unwrap();
        let plain: Vec<Vec<u8>> = (0..digests.len()).map(|number| content(target, number)).collect();
        assert!(plain.iter().zip(&digests).all(|(plain, digest)| Digest::of(plain) == *digest));
        let held: Vec<Vec<Digest>> =
            bases.iter().map(|base| base.digests(NonZeroUsize::new(2).unwrap(), &Silent).unwrap()).collect();
        let find = |digest: &Digest| {
            let base = held.iter().position(|held| held.contains(digest))?;
            Some((base, held[base].iter().position(|held| held == digest)?))
        };
        Self { plain, bases: digests.iter().map(find).collect(), opened }
    }
}

impl Contents for Known {
    fn count(&self) -> usize {
        self.plain.len()
    }

    fn size(&self, number: usize) -> u64 {
        self.plain[number].len() as u64
    }

    fn in_base(&self, number: usize) -> Option<(usize, usize)> {
        self.bases[number]
    }

    fn open(&self, number: usize) -> io::Result<Arc<dyn ReadAt + '_>> {
        assert!(self.opened || self.bases[number].is_none(), "a base has content {number}");
        Ok(Arc::new(self.plain[number].as_slice()))
    }
}

fn content(parts: &Parts, number: usize) -> Vec<u8> {
    let reader = parts.content(number).unwrap();
    let mut bytes = vec![0; reader.len().unwrap() as usize];
    reader.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn apart(image: &[u8]) -> Parts {
    take_apart(Arc::new(image.to_vec()), &Limits::default()).unwrap()
}

fn target(image: &[u8]) -> Option<Parts> {
    apart(image).rebuildable(ONE, &Limits::default(), &Silent).unwrap()
}

fn together(listing: &[u8], contents: &Known, bases: &[&Parts], threads: usize) -> Result<Vec<u8>, Error> {
    let (threads, limits) = (NonZeroUsize::new(threads).unwrap(), Limits::default());
    let from = Rebuild { listing, contents, bases, threads, limits: &limits };
    Ok(rebuild(&from, Cursor::new(Vec::new()), &Silent)?.into_inner())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn what_was_taken_apart_comes_together(
        first in steps(), second in steps(), keep in 0..60_usize, choice in 0..4_usize, threads in 1..3_usize,
    ) {
        let options = small_blocks(Compressor::WRITABLE[choice], threads);
        let base = write(&grow(&first), &options, None).0;
        let kept: Vec<_> = first.into_iter().take(keep).chain(second).collect();
        let image = write(&grow(&kept), &options, None).0;
        let (base, parts) = (apart(&base), target(&image).unwrap());
        let bases = [&base];
        let known = Known::new(&parts, &bases, false);
        prop_assert!(together(parts.listing(), &known, &bases, threads).unwrap() == image);
        let sizes: Vec<u64> = parts.contents().iter().map(|content| content.size).collect();
        let names: Vec<Vec<u8>> = parts.contents().iter().map(|content| content.name.clone()).collect();
        prop_assert_eq!(content_names(parts.listing(), &sizes, &Limits::default()).unwrap(), names);
        let alone = Known::new(&parts, &[], false);
        prop_assert!(together(parts.listing(), &alone, &[], threads).unwrap() == image);
    }
}

#[test]
fn everything_comes_together_whatever_the_settings() {
    let tree = everything();
    let levels = [
        (Compressor::Xz, Some(2)),
        (Compressor::Xz, None),
        (Compressor::Xz, Some(8)),
        (Compressor::Zstd, Some(1)),
        (Compressor::Zstd, Some(19)),
        (Compressor::Gzip, Some(1)),
        (Compressor::Gzip, None),
        (Compressor::Lz4, None),
    ];
    for (compressor, level) in levels {
        for (block_size, exportable) in [(4096, true), (131_072, false)] {
            let options =
                ImageOptions { compressor, level, block_size, exportable, image_time: 77, ..ImageOptions::default() };
            let image = write(&tree, &options, None).0;
            let parts = target(&image).unwrap();
            let known = Known::new(&parts, &[], false);
            assert!(together(parts.listing(), &known, &[], 2).unwrap() == image, "{options:?}");
        }
    }
}

#[test]
fn a_base_of_other_settings_gives_contents_but_no_blocks() {
    let tree = everything();
    let image = write(&tree, &small_blocks(Compressor::Xz, 1), None).0;
    let parts = target(&image).unwrap();
    let level = ImageOptions { level: Some(9), ..small_blocks(Compressor::Xz, 1) };
    for other in [level, small_blocks(Compressor::Lz4, 1), ImageOptions::default()] {
        let base = apart(&write(&tree, &other, None).0);
        let bases = [&base];
        let known = Known::new(&parts, &bases, true);
        assert!(known.bases.iter().all(Option::is_some));
        assert!(together(parts.listing(), &known, &bases, 1).unwrap() == image);
    }
}

#[test]
fn images_that_are_not_quite_ours_are_told_apart() {
    let image = write(&everything(), &small_blocks(Compressor::Zstd, 1), None).0;
    let mut longer = image.clone();
    longer.extend([0; 4096]);
    assert!(target(&longer).is_none());
    // A flag that nothing depends on, a byte of the padding.
    for at in [24, image.len() - 1] {
        let mut other = image.clone();
        other[at] ^= 1;
        assert!(target(&other).is_none(), "{at}");
    }
    // Blocks of another level in an image that says nothing of it.
    let options = ImageOptions { level: Some(9), ..small_blocks(Compressor::Gzip, 1) };
    let mut other = write(&everything(), &ImageOptions { level: Some(1), ..options }, None).0;
    assert!(target(&other).is_some());
    other[98..102].copy_from_slice(&9_u32.to_le_bytes());
    assert!(target(&other).is_none());
}

#[test]
fn another_encoder_is_refused_before_anything_is_written() {
    let image = write(&everything(), &small_blocks(Compressor::Zstd, 1), None).0;
    let parts = target(&image).unwrap();
    let known = Known::new(&parts, &[], false);
    let mut listing = parts.listing().to_vec();
    listing[15] ^= 1;
    assert!(matches!(together(&listing, &known, &[], 1), Err(Error::Encoder { compressor: "zstd" })));
    // A base says nothing of the encoder.
    assert_eq!(apart(&image).listing()[14..19], [0; 5]);
    assert!(together(apart(&image).listing(), &known, &[], 1).is_err());
}

/// A tree of one of each kind of row, small enough to be read.
fn one_of_each() -> common::MemoryTree {
    use umiak_tree::{Device, Kind};
    let mut tree = Planting::new();
    let file = tree.file("a", common::text(1, 5000));
    tree.hard_link("b", file);
    tree.file("c", common::text(1, 5000));
    tree.file("d", "");
    tree.add("e/f", Kind::Symlink(b"../a".as_slice().into()));
    tree.add("e/g", Kind::CharDevice(Device { major: 1, minor: 300 }));
    tree.add("e/h", Kind::Fifo);
    let file = tree.file("i", "short");
    tree.xattr(file, "user.x", b"y");
    tree.finish()
}

fn golden() -> Vec<u8> {
    let image = write(&one_of_each(), &small_blocks(Compressor::Lz4, 1), None).0;
    target(&image).unwrap().listing().to_vec()
}

#[test]
fn a_listing_has_the_known_bytes() {
    let (mode, time) = ("a401", "00f15365");
    let metadata = format!("{mode}{time}0000000000000000");
    let directory = "ed01000000000000000000000000";
    let rows = [
        "53514c01 00100000 00000000 05 01 00".to_owned() + " " + MARK,
        format!("02 {directory} 00"),
        format!("03 {metadata} 6100"),
        "01 00 6200".into(),
        format!("04 {metadata} 00 6300"),
        format!("05 {metadata} 6400"),
        format!("02 {directory} 6500"),
        "06 ff01 00f15365 0000000000000000 04 2e2e2f61 6600".into(),
        format!("08 {metadata} 01 ac02 6700"),
        format!("09 {metadata} 6800"),
        "00".into(),
        format!("83 {metadata} 01 757365722e7800 01 79 6900"),
        "00".into(),
        // One block of its own, then both tails in one fragment block.
        "01 01 01 00 0000".into(),
        "00 00".into(),
    ];
    let expected: String = rows.concat().split(' ').collect();
    let listing: String = golden().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(listing, expected);
}

/// What LZ4 makes of the known text, shortened.
const MARK: &str = "5e1ee683";

#[test]
fn changed_listings_give_errors_or_images_and_never_panic() {
    let good = golden();
    let image = write(&one_of_each(), &small_blocks(Compressor::Lz4, 1), None).0;
    let known = Known::new(&target(&image).unwrap(), &[], false);
    assert!(together(&good, &known, &[], 1).unwrap() == image);
    let (mut refused, mut all) = (0, 0);
    for at in 0..good.len() {
        assert!(together(&good[..at], &known, &[], 1).is_err(), "cut at {at}");
        for change in [1, 2, 0x10, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] ^= change;
            all += 1;
            match together(&bad, &known, &[], 1) {
                Ok(other) => {
                    assert!(other != image && other.len() < 3 * image.len(), "{at} {change}");
                    umiak_squashfs::Image::open(other, &Limits::default()).unwrap().tree().unwrap();
                }
                Err(Error::Broken) => panic!("{at} {change}"),
                Err(_) => refused += 1,
            }
        }
    }
    // Times, owners and modes may be anything.
    assert!(refused * 3 > all, "{refused} of {all}");
    for more in 1..9 {
        assert!(together(&[good.clone(), vec![0; more]].concat(), &known, &[], 1).is_err());
    }
}

#[test]
fn a_changed_file_changes_little_of_a_listing() {
    let listing = |change: bool| {
        let mut tree = Planting::new();
        for number in 0..2000_u64 {
            let length = 100 + number as usize * 37 % 1500;
            tree.file(&format!("usr/lib/{}/file-{number:05}.js", number / 100), common::text(number, length));
        }
        if change {
            tree.file("usr/lib/10/file-01050b.js", common::text(9999, 777));
        }
        let image = write(&tree.finish(), &small_blocks(Compressor::Lz4, 1), None).0;
        target(&image).unwrap().listing().to_vec()
    };
    let (base, target) = (listing(false), listing(true));
    let known: HashSet<&[u8]> = base.windows(12).collect();
    let new = target.windows(12).filter(|part| !known.contains(part)).count();
    assert!(new < 100, "{new} of {}", target.len());
}
