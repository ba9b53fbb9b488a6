//! What we say that layers take, and what a Docker daemon on real file systems makes of them: to the block.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::XattrFlags;
use umiak_layer::HashSeed;
use umiak_spec::app::measures::{self, LayerMeasure};
use umiak_spec::{Limits, Silent};
use umiak_testkit::dockerd::Dockerd;
use umiak_testkit::overlay2::{StoredLayer, load};
use umiak_testkit::random::Chance;
use umiak_testkit::volume::{FileSystem, Volume};

/// A directory as a layer, by GNU tar.
fn layer(scratch: &Path, name: &str, fill: impl FnOnce(&Path)) -> PathBuf {
    let (directory, tar) = (scratch.join(name), scratch.join(format!("{name}.tar")));
    fs::create_dir(&directory).unwrap();
    fill(&directory);
    let options = ["--sort=name", "--format=posix", "--sparse", "--xattrs", "--xattrs-include=*", "--numeric-owner"];
    let made = Command::new("tar").args(options).arg("-C").arg(&directory).arg("-cf").arg(&tar).arg(".").status();
    assert!(made.unwrap().success());
    fs::remove_dir_all(directory).unwrap();
    tar
}

fn file(directory: &Path, name: &str, size: usize) {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, Chance::new(size as u64).bytes(size)).unwrap();
}

/// A large directory of files, one of directories, and files of all sizes.
fn many(root: &Path) {
    for number in 0..1500 {
        file(root, &format!("var/lib/dpkg/info/package-{}.list", number * 7919 % 1511), number % 60);
    }
    for number in 0..350 {
        file(root, &format!("usr/share/doc/library{number}-with-a-name/copyright"), number * 13);
    }
    for size in [0, 1, 511, 512, 513, 1023, 1024, 1025, 4095, 4096, 4097, 65_535, 65_537, 3_000_000] {
        file(root, &format!("sizes/{size}"), size);
    }
}

/// Links, attributes, devices, a file with holes.
fn odd(root: &Path) {
    file(root, "a/file", 5000);
    for length in [1, 59, 60, 61, 300, 1000] {
        symlink("t".repeat(length), root.join(format!("a/link-{length}"))).unwrap();
    }
    (0..30).for_each(|number| fs::hard_link(root.join("a/file"), root.join(format!("a/name-{number}"))).unwrap());
    for (name, length) in [("small", 10), ("exact", 68), ("over", 69), ("large", 700)] {
        file(root, &format!("x/{name}"), 1);
        let value = vec![b'v'; length];
        rustix::fs::setxattr(root.join(format!("x/{name}")), "user.a", &value, XattrFlags::empty()).unwrap();
    }
    rustix::fs::setxattr(root.join("x"), "trusted.mark", b"y", XattrFlags::empty()).unwrap();
    let made = Command::new("mkfifo").arg(root.join("a/pipe")).status();
    assert!(made.unwrap().success());
    let mut holes = File::create(root.join("a/holes")).unwrap();
    holes.write_all(b"begin").unwrap();
    holes.set_len(900_000).unwrap();
}

/// What hides and replaces things of the layers below.
fn changes(root: &Path) {
    for name in ["var/lib/dpkg/info/.wh.package-1.list", "sizes/.wh.4096", "usr/share/doc/.wh..wh..opq", "a/new"] {
        file(root, name, 0);
    }
    (0..200).for_each(|number| file(root, &format!("usr/share/doc/.wh.library{number}-with-a-name"), 0));
    file(root, "usr/share/doc/other/copyright", 100);
    file(root, "deep/er/and/deeper/still", 100);
}

fn busybox(root: &Path) {
    fs::create_dir(root.join("bin")).unwrap();
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    ["sh", "ls", "cat"].iter().for_each(|name| symlink("busybox", root.join("bin").join(name)).unwrap());
}

/// Bytes of the maps of large files and directories, and how many large directories there are. Where a file or directory of
/// more than four blocks lies in more than four pieces, it has a map: that is for the allocator to say, and differs from run
/// to run. Everything else is the same each time.
fn maps(root: &Path, block: u64) -> (u64, u64) {
    let (mut maps, mut large, mut pending) = (0, 0, vec![root.to_owned()]);
    let mut seen = std::collections::BTreeSet::new();
    while let Some(path) = pending.pop() {
        let found = fs::symlink_metadata(&path).unwrap();
        if (found.is_file() || found.is_dir()) && found.len() > 4 * block && seen.insert(found.ino()) {
            maps += found.blocks() * 512 - found.len().next_multiple_of(block);
            large += u64::from(found.is_dir());
        }
        if found.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    (maps, large)
}

/// What decides how large directories are split: made known to both sides.
const SEED: HashSeed = [0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 1, 2, 3, 4, 5, 6, 7, 8];

fn measured(tar: &Path) -> LayerMeasure {
    umiak_layer::measure_with(File::open(tar).unwrap(), &SEED, &Limits::default(), &Silent).unwrap()
}

/// Every image loaded into a daemon on a fresh file system: each layer, how many are below it, and what is stored.
fn loaded(
    images: &[Vec<&PathBuf>],
    kind: FileSystem,
    block: u32,
    mut each: impl FnMut(&LayerMeasure, usize, &StoredLayer),
) {
    let scratch = tempfile::tempdir().unwrap();
    let seed: &[&str] = &["-N", "40000", "-E", "hash_seed=12345678-9abc-def0-0102-030405060708"];
    let more = if kind == FileSystem::Ext4 { seed } else { &[] };
    let volume = Volume::make_with(scratch.path(), "disk", kind, block, 400 << 20, more).unwrap();
    let daemon = Dockerd::start(&volume.path().join("docker")).unwrap();
    for (number, image) in images.iter().enumerate() {
        let layers: Vec<PathBuf> = image.iter().map(|path| (*path).clone()).collect();
        let stored = load(&daemon, scratch.path(), &format!("image:{number}"), &layers).unwrap();
        for (below, (tar, stored)) in layers.iter().zip(&stored).enumerate() {
            each(&measured(tar), below, stored);
        }
    }
    daemon.stop().unwrap();
}

#[test]
#[ignore = "needs: docker.io, iproute2, util-linux, e2fsprogs, xfsprogs, mount, busybox-static, tar, root"]
fn layers_take_what_we_say() {
    let scratch = tempfile::tempdir().unwrap();
    let (busybox, many) = (layer(scratch.path(), "busybox", busybox), layer(scratch.path(), "many", many));
    let (odd, changes) = (layer(scratch.path(), "odd", odd), layer(scratch.path(), "changes", changes));
    let empty = scratch.path().join("empty.tar");
    fs::write(&empty, [0; 1024]).unwrap();
    let images = [
        vec![&busybox],
        vec![&busybox, &many],
        vec![&busybox, &many, &odd, &changes, &empty],
        vec![&odd, &empty],
        vec![&many, &changes],
    ];
    for block in [4096, 1024] {
        let (mut layers, mut exact) = (0, 0);
        loaded(&images, FileSystem::Ext4, block, |ours, below, theirs| {
            let say = format!("blocks of {block}, {below} below: {ours:?}");
            assert_eq!(ours.size, theirs.size, "{say}");
            let block = u64::from(block);
            let (maps, large) = maps(&theirs.directory, block);
            let expected = ours.overlay2(measures::FileSystem::Ext4, block, below).unwrap();
            let over = expected.checked_sub(theirs.usage - maps).unwrap_or_else(|| panic!("{theirs:?} {maps} {say}"));
            assert!(over <= large * block, "{over} for maps of {large} directories: {theirs:?} {maps} {say}");
            exact += usize::from(large == 0);
            // Of a file with holes the CRC is another one, and compresses otherwise.
            let has_holes = ours.largest_file == 900_000;
            let difference = ours.tar_split.abs_diff(theirs.tar_split_size);
            assert!(difference <= u64::from(has_holes) * 2, "{difference}: {say}");
            layers += 1;
        });
        assert!(layers == 12 && exact >= 6, "{exact} of {layers} layers have no large directory");
    }
    loaded(&images, FileSystem::Xfs, 4096, |ours, below, theirs| {
        // The index of a large directory is estimated.
        let fixed = measures::overlay2_blocks(measures::FileSystem::Xfs, 4096, below);
        let most = (ours.tree_blocks_at_most(measures::FileSystem::Xfs, 4096).unwrap() + fixed) * 4096;
        let expected = ours.overlay2(measures::FileSystem::Xfs, 4096, below).unwrap();
        assert!(theirs.usage <= most && expected.abs_diff(theirs.usage) <= 2 * 4096, "{expected}: {theirs:?} {ours:?}");
    });
}
