//! Real peers: Linux mounts ours, unsquashfs unpacks ours, and we read what mksquashfs makes.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{as_stored, assert_same, everything, of_directory, read, write};
use umiak_spec::Limits;
use umiak_squashfs::{Compressor, Image, ImageOptions};

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

/// A mounted image; unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(image: &Path, at: &Path) -> Self {
        std::fs::create_dir(at).unwrap();
        run(Command::new("mount").args(["-t", "squashfs", "-o", "loop,ro"]).arg(image).arg(at));
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn options(compressor: Compressor, block_size: u32) -> ImageOptions {
    ImageOptions { compressor, block_size, image_time: 1_000_000_000, ..ImageOptions::default() }
}

#[test]
#[ignore = "needs: mount, root"]
fn linux_shows_the_tree_we_wrote() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = everything();
    for compressor in Compressor::WRITABLE {
        for block_size in [4096, 131_072, 1 << 20] {
            let name = format!("{}-{block_size}", compressor.name());
            let image = scratch.path().join(format!("{name}.squashfs"));
            std::fs::write(&image, write(&tree, &options(compressor, block_size), None).0).unwrap();
            let mounted = Mounted::new(&image, &scratch.path().join(&name));
            assert_same(&of_directory(&mounted.0), &as_stored(&tree), &name);
            assert_links(&mounted.0, block_size);
        }
    }
}

/// Link counts and blocks as `stat` shows them.
fn assert_links(root: &Path, block_size: u32) {
    use std::os::unix::fs::MetadataExt;
    let status = |path: &str| std::fs::symlink_metadata(root.join(path)).unwrap();
    assert_eq!(status("usr/lib/large.so").nlink(), 3);
    assert_eq!(status("overlay/gone").nlink(), 2);
    assert_eq!(status("overlay").nlink(), 3);
    assert_eq!(status("empty-directory").nlink(), 2);
    // In a block of 1 MiB this file is a tail, which has no holes.
    assert_eq!(status("holes/all").blocks(), if block_size > 524_288 { 1024 } else { 1 });
    assert_eq!(status("holes/all").size(), 524_288);
    // The index of a directory of several metadata blocks finds names anywhere, and says no to the others.
    for number in [0, 1, 449, 1198, 1199] {
        assert!(status(&format!("many/a-rather-long-name-for-a-file-in-a-directory-{number:05}.js")).is_file());
    }
    for absent in ["many/a", "many/a-rather-long-name-for-a-file-in-a-directory-00450", "many/zzz"] {
        assert!(std::fs::symlink_metadata(root.join(absent)).is_err());
    }
}

#[test]
#[ignore = "needs: mount, root"]
fn overlayfs_honours_our_whiteouts_and_opaque_directories() {
    let scratch = tempfile::tempdir().unwrap();
    let place = |name: &str| scratch.path().join(name);
    let mut lower = common::Planting::new();
    lower.file("overlay/gone", "hidden");
    lower.file("overlay/stays", "seen");
    lower.file("overlay/opaque/inside", "hidden");
    for (name, tree) in [("lower", lower.finish()), ("upper", everything())] {
        let image = write(&tree, &options(Compressor::Xz, 131_072), None).0;
        std::fs::write(place(&format!("{name}.squashfs")), image).unwrap();
    }
    let lower = Mounted::new(&place("lower.squashfs"), &place("lower"));
    let upper = Mounted::new(&place("upper.squashfs"), &place("upper"));
    std::fs::create_dir(place("merged")).unwrap();
    let layers = format!("lowerdir={}:{}", upper.0.display(), lower.0.display());
    run(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &layers]).arg(place("merged")));
    let merged = Mounted(place("merged"));
    let mut names: Vec<_> =
        std::fs::read_dir(merged.0.join("overlay")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["opaque", "stays"]);
    assert_eq!(std::fs::read_dir(merged.0.join("overlay/opaque")).unwrap().count(), 0);
}

#[test]
#[ignore = "needs: squashfs-tools, root"]
fn unsquashfs_unpacks_what_we_wrote() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = everything();
    for compressor in Compressor::WRITABLE {
        let image = scratch.path().join(format!("{}.squashfs", compressor.name()));
        std::fs::write(&image, write(&tree, &options(compressor, 131_072), None).0).unwrap();
        let into = scratch.path().join(compressor.name());
        run(Command::new("unsquashfs").args(["-quiet", "-no-progress", "-strict-errors", "-d"]).arg(&into).arg(&image));
        assert_same(&of_directory(&into), &as_stored(&tree), compressor.name());
        let listing = run(Command::new("unsquashfs").arg("-s").arg(&image));
        assert!(listing.contains(&format!("Compression {}", compressor.name())), "{listing}");
    }
}

/// A directory with one of everything, made by unpacking ours.
fn unpacked(scratch: &Path) -> PathBuf {
    let image = scratch.join("source.squashfs");
    std::fs::write(&image, write(&everything(), &options(Compressor::Lz4, 131_072), None).0).unwrap();
    let into = scratch.join("source");
    run(Command::new("unsquashfs").args(["-quiet", "-no-progress", "-strict-errors", "-d"]).arg(&into).arg(&image));
    into
}

#[test]
#[ignore = "needs: squashfs-tools, root"]
fn we_read_what_mksquashfs_makes() {
    let scratch = tempfile::tempdir().unwrap();
    let source = unpacked(scratch.path());
    let expected = of_directory(&source);
    let made = [
        "-comp gzip",
        "-comp gzip -Xcompression-level 1 -Xstrategy default,filtered,huffman_only",
        "-comp xz",
        "-comp xz -Xbcj x86,arm,armthumb,powerpc,sparc,ia64",
        "-comp xz -Xdict-size 50% -b 1M",
        "-comp lzo",
        "-comp lzo -Xalgorithm lzo1x_1_15",
        "-comp lz4",
        "-comp lz4 -Xhc -b 1M",
        "-comp zstd",
        "-comp zstd -Xcompression-level 22 -b 4K",
        "-comp lzma",
        "-comp xz -no-fragments -no-duplicates",
        "-comp zstd -always-use-fragments -no-sparse",
        "-comp zstd -noI",
        "-comp zstd -noId",
        "-comp zstd -noD",
        "-comp zstd -noF",
        "-comp zstd -noX",
        "-comp gzip -noI -noId -noD -noF -noX -b 8K",
        "-comp xz -no-exports -nopad",
        "-comp lz4 -b 4K -no-hardlinks",
    ];
    for arguments in made {
        let image = scratch.path().join("made.squashfs");
        let _ = std::fs::remove_file(&image);
        let fixed = ["-noappend", "-quiet", "-no-progress", "-mkfs-time", "5"];
        run(Command::new("mksquashfs").arg(&source).arg(&image).args(fixed).args(arguments.split(' ')));
        let image = Image::open(std::fs::File::open(&image).unwrap(), &Limits::default()).unwrap();
        assert_eq!(image.superblock().image_time, 5);
        if arguments.contains("-no-hardlinks") {
            assert!(image.tree().unwrap().len() > expected.len());
        } else {
            assert_same(&read(&image).unwrap(), &expected, arguments);
        }
    }
}

#[test]
#[ignore = "needs: squashfs-tools, root"]
fn we_copy_blocks_out_of_what_mksquashfs_made() {
    let scratch = tempfile::tempdir().unwrap();
    let source = unpacked(scratch.path());
    let tree = of_directory(&source);
    for arguments in ["-comp xz", "-comp zstd -always-use-fragments", "-comp lz4 -Xhc", "-comp gzip -noD -noF"] {
        let made = scratch.path().join("made.squashfs");
        let _ = std::fs::remove_file(&made);
        let fixed = ["-noappend", "-quiet", "-no-progress"];
        run(Command::new("mksquashfs").arg(&source).arg(&made).args(fixed).args(arguments.split(' ')));
        let base = common::base_of(std::fs::read(&made).unwrap());
        let compressor = Compressor::WRITABLE.into_iter().find(|one| arguments.contains(one.name())).unwrap();
        let (image, report) = write(&tree, &options(compressor, 131_072), Some(base));
        assert!(report.copied_blocks > 0, "{arguments}: {report:?}");
        let image = Image::open(image, &Limits::default()).unwrap();
        assert_same(&read(&image).unwrap(), &tree, arguments);
    }
}

#[test]
#[ignore = "needs: squashfs-tools, root"]
fn what_mksquashfs_made_is_taken_apart_and_known_not_to_be_ours() {
    let scratch = tempfile::tempdir().unwrap();
    let source = unpacked(scratch.path());
    let expected = of_directory(&source);
    for arguments in ["-comp xz", "-comp gzip", "-comp lz4 -no-fragments", "-comp zstd -always-use-fragments -b 4K"] {
        let made = scratch.path().join("made.squashfs");
        let _ = std::fs::remove_file(&made);
        let fixed = ["-noappend", "-quiet", "-no-progress"];
        run(Command::new("mksquashfs").arg(&source).arg(&made).args(fixed).args(arguments.split(' ')));
        let image: std::sync::Arc<dyn umiak_spec::ReadAt> = std::sync::Arc::new(std::fs::File::open(&made).unwrap());
        let parts = umiak_squashfs::take_apart(image, &Limits::default()).unwrap();
        for (number, part) in parts.contents().iter().enumerate() {
            let mut bytes = vec![0; part.size as usize];
            umiak_spec::ReadAt::read_exact_at(&parts.content(number).unwrap(), &mut bytes, 0).unwrap();
            let id =
                expected.lookup(&umiak_tree::TreePath::from_archive(&part.name, &Limits::default()).unwrap()).unwrap();
            assert!(matches!(&expected.inode(id).kind, umiak_tree::Kind::File(content) if *content == bytes));
        }
        let one = std::num::NonZeroUsize::MIN;
        assert!(parts.rebuildable(one, &Limits::default(), &umiak_spec::Silent).unwrap().is_none(), "{arguments}");
    }
}
