//! What the writer refuses, and that it stays refused.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test fails by panicking")]

mod common;

use std::io::Cursor;

use umiak_spec::{Digest, Silent};
use umiak_squashfs::{Compressor, Error, ImageOptions, ImageWriter, NewContent, check};
use umiak_tree::{Device, Kind, Metadata, Tree};

fn writer() -> ImageWriter<Cursor<Vec<u8>>> {
    ImageWriter::new(Cursor::new(Vec::new()), &common::small_blocks(Compressor::Zstd, 2)).unwrap()
}

#[test]
fn contents_that_are_not_what_was_announced_break_the_image() {
    let bytes = common::text(1, 10_000);
    let announced = NewContent { size: 10_000, digest: Digest::of(&bytes), name: b"dir/file" };
    let mut changed = bytes.clone();
    changed[9_999] ^= 1;
    for wrong in [&bytes[..9_999], &[&bytes[..], b"x"].concat(), &changed] {
        let mut writer = writer();
        let error = writer.add(&announced, &mut &*wrong).unwrap_err();
        assert!(matches!(&error, Error::Mismatch { name, .. } if name == "dir/file"), "{error}");
        assert!(matches!(writer.add(&announced, &mut bytes.as_slice()), Err(Error::Broken)));
        let empty = Tree::empty(Metadata::root_owned(0o755));
        assert!(matches!(writer.finish(&empty, &Silent), Err(Error::Broken)));
    }
}

#[test]
fn a_known_content_is_not_read_again() {
    struct Unread;
    impl std::io::Read for Unread {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            panic!("read again")
        }
    }
    let bytes = common::text(1, 10_000);
    let content = NewContent { size: 10_000, digest: Digest::of(&bytes), name: b"a" };
    let mut writer = writer();
    assert_eq!(writer.add_known(&content).unwrap(), None);
    let first = writer.add(&content, &mut bytes.as_slice()).unwrap();
    assert_eq!(writer.add(&content, &mut Unread).unwrap(), first);
    assert_eq!(writer.add_known(&content).unwrap(), Some(first));
    let lying = NewContent { size: 9, ..content };
    assert!(matches!(writer.add_known(&lying), Err(Error::Mismatch { .. })));
}

#[test]
fn options_that_squashfs_does_not_have_are_refused() {
    let refused =
        |options: ImageOptions| matches!(ImageWriter::new(Cursor::new(Vec::new()), &options), Err(Error::Options(_)));
    let default = ImageOptions::default();
    for block_size in [0, 2048, 5000, 2 << 20] {
        assert!(refused(ImageOptions { block_size, ..default }), "{block_size}");
    }
    assert!(refused(ImageOptions { compressor: Compressor::Lzo, ..default }));
    assert!(refused(ImageOptions { level: Some(10), ..default }));
    assert!(refused(ImageOptions { compressor: Compressor::Lz4, level: Some(1), ..default }));
    assert!(!refused(ImageOptions { compressor: Compressor::Zstd, level: Some(22), ..default }));
}

#[test]
fn trees_that_squashfs_cannot_hold_are_refused_with_the_path() {
    let mut tree = common::Planting::new();
    let file = tree.file("a/b", "");
    tree.xattr(file, "user.fine", b"");
    tree.xattr(file, "system.posix_acl_access", b"x");
    let error = check(&tree.finish()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("/a/b") && text.contains("system.posix_acl_access"), "{text}");
    assert!(matches!(error, Error::Xattr { .. }));

    let mut tree = common::Planting::new();
    tree.add("device", Kind::CharDevice(Device { major: 5000, minor: 0 }));
    assert!(matches!(check(&tree.finish()), Err(Error::Inode { .. })));
    let mut tree = common::Planting::new();
    tree.add("link", Kind::Symlink(vec![b'x'; 65_536].into()));
    assert!(matches!(check(&tree.finish()), Err(Error::Inode { .. })));
    let mut tree = common::Planting::new();
    for owner in 0..70_000 {
        let file = tree.file(&owner.to_string(), "");
        tree.metadata(file).uid = owner;
    }
    assert!(matches!(check(&tree.finish()), Err(Error::TooMany { .. })));
}
