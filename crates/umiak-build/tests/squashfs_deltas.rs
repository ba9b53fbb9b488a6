//! Deltas between squashfs images: by their files, bit for bit, and as plain files where our writer did not make them.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod common;

use std::fs;
use std::io::Cursor;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use common::{archive, releases};
use proptest::prelude::*;
use umiak_build::BuildError;
use umiak_build::delta::{Made, apply_file, inspect_file, make_file};
use umiak_delta::container::Shape;
use umiak_delta::{DeltaError, Effort, MakeOptions};
use umiak_spec::{Digest, Limits, Silent};
use umiak_squashfs::{Compressor, Image, ImageOptions, ImageWriter, NewContent, check};
use umiak_testkit::random::Bytes;
use umiak_tree::{Builder, Directory, Inode, InodeId, Kind, Metadata, Tree};

const FAST: MakeOptions = MakeOptions { effort: Effort::Fast, threads: std::num::NonZeroUsize::MIN, memory: 1 << 30 };

fn squash(tree: &Tree<Bytes>, options: &ImageOptions) -> Vec<u8> {
    write(tree, ImageWriter::new(Cursor::new(Vec::new()), options).unwrap())
}

fn write(tree: &Tree<Bytes>, mut writer: ImageWriter<Cursor<Vec<u8>>>) -> Vec<u8> {
    let tree = tree.clone().try_map(|id, content| {
        let name = format!("{}.x", id.index());
        let new = NewContent { size: content.0.len() as u64, digest: Digest::of(&content.0), name: name.as_bytes() };
        writer.add(&new, &mut &content.0[..])
    });
    writer.finish(&tree.unwrap(), &Silent).unwrap().0.into_inner()
}

/// Files named by what is in them.
fn files(files: &[(&str, Vec<u8>)]) -> Tree<Bytes> {
    let mut builder = Builder::new(Metadata::root_owned(0o755));
    let kind = Kind::Directory(Directory::new());
    let directory = builder.add(Inode { metadata: Metadata::root_owned(0o755), kind }).unwrap();
    builder.directory(InodeId::ROOT).unwrap().insert(b"lib".as_slice().into(), directory);
    for (name, bytes) in files {
        let kind = Kind::File(Bytes(bytes.as_slice().into()));
        let id = builder.add(Inode { metadata: Metadata::root_owned(0o644), kind }).unwrap();
        builder.directory(directory).unwrap().insert(name.as_bytes().into(), id);
    }
    builder.finish().unwrap()
}

/// Bytes that compress to about half, and nothing in them twice.
fn text(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32).to_le_bytes()[0] % 16 + b'a'
    };
    (0..length).map(|_| next()).collect()
}

struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    fn make(&self, base: &[u8], target: &[u8]) -> Made {
        let (base, target) = (self.write("base", base), self.write("target", target));
        make_file(&base, &target, &self.path("delta"), &FAST, &Limits::default(), &Silent).unwrap()
    }

    fn apply(&self) -> Result<Vec<u8>, BuildError> {
        apply_file(&self.path("base"), &self.path("delta"), &self.path("out"), &Limits::default(), &Silent)?;
        Ok(fs::read(self.path("out")).unwrap())
    }

    /// Nothing is left but what was asked for.
    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn images_of_any_trees_come_back(
        seed in 0..u64::MAX, size in 1..40_usize, changes in 0..30_usize, choice in 0..4_usize,
    ) {
        let (base, target) = releases(seed, size, changes);
        prop_assume!(check(&base).is_ok() && check(&target).is_ok());
        let options =
            ImageOptions { compressor: Compressor::WRITABLE[choice], block_size: 4096, ..ImageOptions::default() };
        let (tar, base, target) = (archive(&base), squash(&base, &options), squash(&target, &options));
        // From the image, and from an archive of what is in it.
        for base in [&base, &tar] {
            let bench = Bench::new();
            let made = bench.make(base, &target);
            prop_assert_eq!(made.index.target.shape, Shape::Squashfs);
            if made.worth {
                prop_assert!(bench.apply().unwrap() == target);
                prop_assert_eq!(bench.names(), ["base", "delta", "out", "target"]);
            }
        }
    }
}

/// Two releases whose shared blocks all move: a file in front grows, one in the middle changes a little.
fn two_releases() -> (Tree<Bytes>, Tree<Bytes>) {
    let large = text(3, 700_000);
    let mut changed = large.clone();
    changed[123_456] ^= 3;
    changed.splice(300_000..300_000, text(4, 100));
    let others: Vec<(String, Vec<u8>)> =
        (0..200).map(|number| (format!("{number:03}.js"), text(100 + number, 900))).collect();
    let tree = |front: Vec<u8>, large: Vec<u8>| {
        let mut all = vec![("a.bin", front), ("large.so", large), ("other.so", text(5, 400_000))];
        all.extend(others.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())));
        files(&all)
    };
    (tree(text(1, 10_000), large), tree(text(2, 14_000), changed))
}

#[test]
fn a_delta_of_images_is_as_small_as_one_of_archives() {
    let (base, target) = two_releases();
    let bench = Bench::new();
    let archives = bench.make(&archive(&base), &archive(&target));
    for compressor in Compressor::WRITABLE {
        let options = ImageOptions { compressor, ..ImageOptions::default() };
        let (base, target) = (squash(&base, &options), squash(&target, &options));
        let images = bench.make(&base, &target);
        assert_eq!((images.worth, images.index.bases[0].shape), (true, Shape::Squashfs));
        assert!(images.size * 5 <= archives.size * 6, "{} for {}: {compressor:?}", images.size, archives.size);
        assert!(bench.apply().unwrap() == target);
        let inspected =
            inspect_file(&bench.path("delta"), Some(&bench.path("base")), bench.0.path(), &Limits::default(), &Silent);
        let contents = inspected.unwrap().contents.unwrap();
        assert_eq!(contents.len(), 203);
        assert!(contents.iter().any(|content| content.name == b"lib/large.so" && content.source.is_some()));
        // The one that is new has no source to be named by.
        let front = contents.iter().find(|content| content.name == b"lib/a.bin").unwrap();
        assert!(front.cost.packed > 5000, "{front:?}");
    }
}

#[test]
fn an_archive_is_made_from_an_image() {
    let (base, target) = two_releases();
    let bench = Bench::new();
    let target = archive(&target);
    let made = bench.make(&squash(&base, &ImageOptions::default()), &target);
    assert_eq!((made.worth, made.index.target.shape, made.index.bases[0].shape), (true, Shape::Tar, Shape::Squashfs));
    assert!(made.size < 50_000, "{}", made.size);
    assert!(bench.apply().unwrap() == target);
}

#[test]
fn an_image_with_other_blocks_than_ours_is_a_plain_file() {
    let (base, target) = two_releases();
    let bench = Bench::new();
    let (base, mut target) = (squash(&base, &ImageOptions::default()), squash(&target, &ImageOptions::default()));
    // What is behind the image is no part of it.
    target.extend([7; 100]);
    let made = bench.make(&base, &target);
    assert_eq!((made.worth, made.index.target.shape, made.index.bases[0].shape), (true, Shape::Raw, Shape::Raw));
    assert!(bench.apply().unwrap() == target);
}

/// Bytes of which encoders that try harder make less.
fn repetitive(seed: u64, length: usize) -> Vec<u8> {
    let words: Vec<Vec<u8>> =
        (0..60).map(|word| text(seed * 100 + word, 3 + usize::try_from(word).unwrap() % 9)).collect();
    let order = text(seed, length);
    order
        .iter()
        .enumerate()
        .flat_map(|(at, byte)| words[(usize::from(*byte) * 7 + at * at) % 60].clone())
        .take(length)
        .collect()
}

#[test]
fn an_image_with_a_strange_block_is_a_plain_file_when_that_one_changes() {
    let options = ImageOptions { compressor: Compressor::Gzip, block_size: 4096, ..ImageOptions::default() };
    let names: Vec<String> = (0..12).map(|number| format!("{number:02}")).collect();
    let tree = |strange: u64| {
        let seed = |number| if number == 1 { strange } else { number };
        let all = (0..12).zip(&names).map(|(number, name)| (name.as_str(), repetitive(seed(number), 8192)));
        files(&all.collect::<Vec<_>>())
    };
    // Blocks of a low level, copied into an image of a high one: no sample meets them.
    let low = squash(&files(&[("01", repetitive(99, 8192))]), &ImageOptions { level: Some(1), ..options });
    let low = Arc::new(Image::open(low, &Limits::default()).unwrap());
    let stored = low.tree().unwrap();
    let digests = low.digests(&stored, std::num::NonZeroUsize::MIN, &Silent).unwrap();
    let base = umiak_squashfs::Base::new(Arc::clone(&low), &stored, &digests);
    let target =
        write(&tree(99), ImageWriter::new(Cursor::new(Vec::new()), &options).unwrap().with_base(base).unwrap());
    assert!(target != squash(&tree(99), &options));
    let bench = Bench::new();
    // Where the base has these blocks, they are copied.
    let mut base = target.clone();
    base[8] ^= 1;
    for (base, shape) in [(base, Shape::Squashfs), (squash(&tree(98), &options), Shape::Raw)] {
        let made = bench.make(&base, &target);
        assert_eq!((made.worth, made.index.target.shape), (true, shape));
        assert!(bench.apply().unwrap() == target);
    }
}

#[test]
fn a_wrong_base_is_refused() {
    let (base, target) = two_releases();
    let bench = Bench::new();
    let base = squash(&base, &ImageOptions::default());
    bench.make(&base, &squash(&target, &ImageOptions::default()));
    let mut flipped = base.clone();
    flipped[5000] ^= 1;
    let mut headless = base.clone();
    headless[0] = 0;
    let other = squash(&target, &ImageOptions { image_time: 1, ..ImageOptions::default() });
    for bad in [&flipped, &headless, &base[..base.len() - 1].to_vec(), &other, &Vec::new()] {
        bench.write("base", bad);
        let Err(BuildError::Delta(error)) = bench.apply() else { panic!("a wrong base was taken") };
        assert!(matches!(*error, DeltaError::Base { .. }), "{error}");
        assert_eq!(bench.names(), ["base", "delta", "target"]);
    }
}

#[test]
fn a_changed_delta_gives_an_error_and_no_file() {
    let bench = Bench::new();
    let image = |seed| files(&[("a", text(seed, 3000)), ("b", text(9, 20_000)), ("c", text(8, 700))]);
    let small = ImageOptions { compressor: Compressor::Zstd, block_size: 4096, ..ImageOptions::default() };
    assert!(bench.make(&squash(&image(1), &small), &squash(&image(2), &small)).worth);
    let good = fs::read(bench.path("delta")).unwrap();
    for at in (0..good.len()).filter(|at| *at < 64 || at % 61 == 0) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        bench.write("delta", &bad);
        assert!(bench.apply().is_err(), "{at}");
        bench.write("delta", &good[..at]);
        assert!(bench.apply().is_err(), "cut at {at}");
    }
    assert_eq!(bench.names(), ["base", "delta", "target"]);
}

#[test]
#[ignore = "needs: squashfs-tools"]
fn images_of_mksquashfs_are_bases_and_as_targets_plain_files() {
    let (base, target) = two_releases();
    let bench = Bench::new();
    let made_by_peer = |tree: &Tree<Bytes>, name: &str| {
        let (directory, image) = (bench.path("root"), bench.path(name));
        for entry in tree.walk() {
            let path = directory.join(std::str::from_utf8(entry.path.as_bytes()).unwrap());
            match &entry.inode.kind {
                Kind::File(bytes) => fs::write(path, &bytes.0).unwrap(),
                _ => fs::create_dir_all(path).unwrap(),
            }
        }
        let arguments = ["-comp", "xz", "-quiet", "-no-progress", "-noappend"];
        let done = Command::new("mksquashfs").arg(&directory).arg(&image).args(arguments).status().unwrap();
        assert!(done.success());
        fs::remove_dir_all(directory).unwrap();
        fs::read(image).unwrap()
    };
    let (theirs, ours) = (made_by_peer(&base, "a"), squash(&target, &ImageOptions::default()));
    let made = bench.make(&theirs, &ours);
    assert_eq!(
        (made.worth, made.index.target.shape, made.index.bases[0].shape),
        (true, Shape::Squashfs, Shape::Squashfs)
    );
    assert!(made.size < 50_000, "{}", made.size);
    assert!(bench.apply().unwrap() == ours);
    let target = made_by_peer(&target, "b");
    let made = bench.make(&theirs, &target);
    assert_eq!(made.index.target.shape, Shape::Raw);
    assert!(bench.apply().unwrap() == target);
}
