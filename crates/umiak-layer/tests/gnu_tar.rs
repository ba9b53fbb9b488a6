//! GNU tar as the judge: archives that it makes of real directories in every format are read by us, and archives that
//! we make are extracted by it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use common::{archivable, indexed, tree_of, written};
use umiak_layer::Body;
use umiak_spec::Digest;
use umiak_testkit::disk;
use umiak_testkit::random::Bytes;
use umiak_tree::{Kind, Timestamp, Tree, difference};

fn tar(arguments: &[&str], directory: &Path) {
    let output = Command::new("tar").args(arguments).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "tar {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The archive that tar makes of `directory`.
fn archived(arguments: &[&str], directory: &Path) -> Vec<u8> {
    let archive = directory.with_extension("tar");
    let name = archive.to_str().unwrap();
    tar(&[&["--create", "--numeric-owner", "--file", name], arguments, &["."]].concat(), directory);
    std::fs::read(archive).unwrap()
}

fn changed(tree: Tree<Bytes>, change: impl Fn(&mut umiak_tree::Inode<Bytes>, u32)) -> Tree<Bytes> {
    let names = tree.name_counts();
    let ids: Vec<_> = tree.inodes().map(|(id, _)| id).collect();
    let mut builder = tree.into_builder();
    ids.into_iter().for_each(|id| change(builder.inode(id), names[id.index()]));
    builder.finish().unwrap()
}

#[test]
#[ignore = "needs: tar, root"]
fn trees_that_tar_archives_read_the_same_in_every_format() {
    let area = tempfile::tempdir().unwrap();
    let mut compared = 0;
    for seed in 0..12 {
        // V7 has neither devices nor pipes, ustar no large owners, and tar archives every name of a pipe or a device as
        // one of its own: what cannot be said is left out of the tree.
        for format in ["pax", "gnu", "oldgnu", "ustar", "v7"] {
            let tree = changed(archivable(seed, 40), |inode, names| {
                if format != "pax" {
                    inode.metadata.xattrs.clear();
                }
                if matches!(format, "ustar" | "v7") {
                    inode.metadata.uid = inode.metadata.uid.min(65_534);
                }
                let special = matches!(inode.kind, Kind::Fifo | Kind::CharDevice(_) | Kind::BlockDevice(_));
                if special && (format == "v7" || names > 1) {
                    inode.kind = Kind::Symlink(b"instead".as_slice().into());
                    inode.metadata.mode = 0o777;
                    inode.metadata.xattrs.clear();
                }
            });
            let longest = tree.walk().map(|entry| entry.path.as_bytes().len()).max().unwrap_or(0);
            if matches!(format, "ustar" | "v7") && longest > 90 {
                continue;
            }
            compared += 1;
            let directory = area.path().join(format!("{seed}-{format}"));
            std::fs::create_dir(&directory).unwrap();
            disk::write(&tree, &directory).unwrap();
            let format_option = format!("--format={format}");
            let mut arguments = vec![format_option.as_str()];
            if format == "pax" {
                arguments.extend(["--xattrs", "--xattrs-include=*"]);
            }
            let layer = archived(&arguments, &directory);
            assert_eq!(difference(&tree_of(&layer), &tree), None, "seed {seed}, {format}");
        }
    }
    assert!(compared > 45, "only {compared} trees had names that ustar and V7 can say");
}

#[test]
#[ignore = "needs: tar, root"]
fn trees_that_we_write_extract_the_same() {
    let area = tempfile::tempdir().unwrap();
    for seed in 100..112 {
        let tree = changed(archivable(seed, 50), |inode, _| {
            inode.metadata.mtime = Timestamp { seconds: inode.metadata.mtime.seconds - 2, nanoseconds: 250_000_000 };
        });
        let directory = area.path().join(seed.to_string());
        std::fs::create_dir(&directory).unwrap();
        let archive = area.path().join("ours.tar");
        std::fs::write(&archive, written(&tree)).unwrap();
        let name = archive.to_str().unwrap();
        tar(&["-x", "-p", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-f", name], &directory);
        let extracted = disk::read(&directory).unwrap();
        assert_eq!(difference(&extracted, &tree), None, "seed {seed}");
        // The times before 1970 and the fractions, which `difference` does not look at.
        for (entry, twin) in extracted.walk().zip(tree.walk()) {
            assert_eq!(entry.inode.metadata.mtime, twin.inode.metadata.mtime, "seed {seed}, {}", entry.path);
        }
    }
}

#[test]
#[ignore = "needs: tar"]
fn sparse_files_read_the_same_in_every_format() {
    let area = tempfile::tempdir().unwrap();
    let directory = area.path().join("sparse");
    std::fs::create_dir(&directory).unwrap();
    // Enough extents for the extension blocks of the old format (4 in the header, 21 in each block).
    let extents = [("many", 60_u32), ("few", 3), ("hole", 0)];
    for (name, count) in extents {
        let file = File::create(directory.join(name)).unwrap();
        file.set_len(u64::from(count) * 65_536 + 100_000).unwrap();
        for number in 0..count {
            file.write_all_at(&[b"abcdefghij"[number as usize % 10]; 5000], u64::from(number) * 65_536 + 8192).unwrap();
        }
    }
    std::fs::write(directory.join("after"), b"read from the right place").unwrap();
    for format in [
        &["--format=gnu"][..],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
        &["--format=oldgnu"],
    ] {
        let layer = archived(&[&["--sparse", "--hole-detection=raw"], format].concat(), &directory);
        assert!(layer.len() < 1 << 20, "{format:?}: tar found no holes");
        let index = indexed(&layer).unwrap();
        let mut files = 0;
        for entry in &index.entries {
            let Body::File(content) = entry.body else { continue };
            let bytes = std::fs::read(directory.join(std::str::from_utf8(entry.path.as_bytes()).unwrap())).unwrap();
            assert_eq!(
                (content.size, content.digest),
                (bytes.len() as u64, Digest::of(&bytes)),
                "{format:?} {entry:?}"
            );
            files += 1;
        }
        assert_eq!(files, 4);
    }
}

#[test]
#[ignore = "needs: tar"]
fn long_names_and_links_read_the_same() {
    let area = tempfile::tempdir().unwrap();
    let directory = area.path().join("long");
    let deep = directory.join("d".repeat(120)).join("e".repeat(120));
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(deep.join("f".repeat(200)), b"deep").unwrap();
    std::os::unix::fs::symlink("t".repeat(300), deep.join("link")).unwrap();
    std::fs::hard_link(deep.join("f".repeat(200)), directory.join("z")).unwrap();
    let expected = disk::read(&directory);
    for format in ["--format=gnu", "--format=pax"] {
        let read = tree_of(&archived(&[format, "--sort=name"], &directory));
        assert_eq!(difference(&read, expected.as_ref().unwrap()), None, "{format}");
    }
}
