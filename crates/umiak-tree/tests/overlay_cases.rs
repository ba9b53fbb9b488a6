//! Changesets of small trees: the cases that pvr's overlays lose or garble, and where marks are put.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use umiak_spec::Limits;
use umiak_testkit::random::Bytes;
use umiak_tree::{
    Builder, Change, Changeset, Device, Directory, Inode, InodeId, Kind, Metadata, OPAQUE_XATTR, OverlayError,
    OverlayOptions, Stack, Tree, TreePath, apply, changeset, difference,
};

fn path(text: &str) -> TreePath {
    TreePath::from_archive(text.as_bytes(), &Limits::default()).unwrap()
}

fn file(content: &str) -> Kind<Bytes> {
    Kind::File(Bytes::of(content.as_bytes()))
}

fn symlink(target: &str) -> Kind<Bytes> {
    Kind::Symlink(target.as_bytes().into())
}

fn directory() -> Kind<Bytes> {
    Kind::Directory(Directory::new())
}

fn tree(entries: &[(&str, u16, Kind<Bytes>)]) -> Tree<Bytes> {
    let mut stack = Stack::new(Limits::default());
    stack.begin_layer().unwrap();
    for (at, mode, kind) in entries {
        stack.add(path(at), Metadata::root_owned(*mode), kind.clone()).unwrap();
    }
    stack.finish().unwrap()
}

#[track_caller]
fn patch(base: &Tree<Bytes>, target: &Tree<Bytes>) -> Changeset<Bytes> {
    let made = changeset(base, target, OverlayOptions::default()).unwrap();
    assert_eq!(difference(&apply(base, &made.tree).unwrap(), target), None);
    made
}

fn names(tree: &Tree<Bytes>) -> String {
    let mark = |kind: &Kind<Bytes>| if kind.is_whiteout() { "!" } else { "" };
    tree.walk().skip(1).map(|e| format!("{}{}", e.path, mark(&e.inode.kind))).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_changed_link_target_is_carried() {
    let base = tree(&[("a", 0o777, symlink("gone")), ("b", 0o777, symlink("/etc"))]);
    let target = tree(&[("a", 0o777, symlink("also-gone")), ("b", 0o777, symlink("/etc"))]);
    assert_eq!(names(&patch(&base, &target).tree), "/a");
}

#[test]
fn a_setuid_bit_alone_is_carried_and_its_cost_told() {
    let base = tree(&[("bin/su", 0o755, file("program"))]);
    let target = tree(&[("bin/su", 0o4755, file("program"))]);
    let made = patch(&base, &target);
    assert_eq!(names(&made.tree), "/bin /bin/su");
    assert_eq!((made.report.metadata.names, made.report.metadata.bytes, made.report.content.names), (1, 7, 0));
}

#[test]
fn parents_keep_their_mode() {
    let base = tree(&[("tmp", 0o1777, directory()), ("tmp/x", 0o644, file("1"))]);
    let target = tree(&[("tmp", 0o1777, directory()), ("tmp/x", 0o644, file("2"))]);
    let made = patch(&base, &target);
    assert_eq!(made.tree.inode(made.tree.lookup(&path("tmp")).unwrap()).metadata.mode, 0o1777);
    assert_eq!(made.report.changes.len(), 1);
}

#[test]
fn types_change_into_each_other() {
    let base = tree(&[("d/a", 0o644, file("1")), ("f", 0o644, file("2")), ("l", 0o777, symlink("d"))]);
    let target = tree(&[("d", 0o644, file("3")), ("f/b", 0o644, file("4")), ("l/c", 0o644, file("5"))]);
    let made = patch(&base, &target);
    assert_eq!(names(&made.tree), "/d /f /f/b /l /l/c");
    assert!(made.tree.inodes().all(|(_, inode)| inode.metadata.xattrs.is_empty()), "no opaque mark is needed");
}

#[test]
fn names_that_are_prefixes_of_each_other_stay_apart() {
    let none = tree(&[]);
    let both = tree(&[("foo/sub/x", 0o644, file("1")), ("foo-1.2/sub/y", 0o644, file("2"))]);
    assert_eq!(names(&patch(&none, &both).tree), names(&both));
    assert_eq!(names(&patch(&both, &none).tree), "/foo! /foo-1.2!");
}

#[test]
fn an_opaque_mark_replaces_many_whiteouts_only_where_nothing_shows_through() {
    let many: Vec<_> = (0..40).map(|n| format!("site/package-{n}")).collect();
    let mut entries: Vec<_> = many.iter().map(|name| (name.as_str(), 0o644, file(name))).collect();
    let base = tree(&entries);
    let target = tree(&[("site/new", 0o644, file("new"))]);
    let made = patch(&base, &target);
    assert_eq!(names(&made.tree), "/site /site/new");
    let site = made.tree.inode(made.tree.lookup(&path("site")).unwrap());
    assert!(site.metadata.xattrs.contains_key(OPAQUE_XATTR));
    assert_eq!(made.report.removed.names, 40);

    // One file of the base shows through: whiteouts it is, all of them names of one inode.
    entries.push(("site/stays", 0o644, file("stays")));
    let base = tree(&entries);
    let target = tree(&[("site/stays", 0o644, file("stays"))]);
    let made = patch(&base, &target);
    assert_eq!((made.tree.walk().count(), made.tree.len()), (42, 3));
}

/// `files[i]` is the inode that name `i` (a, b, c, ..) names; equal texts in different inodes are written `x` and `x'`.
fn linked(files: &[&str]) -> Tree<Bytes> {
    let mut builder = Builder::new(Metadata::root_owned(0o755));
    let mut made = std::collections::BTreeMap::new();
    for (name, content) in (b'a'..).zip(files) {
        let id = *made.entry(*content).or_insert_with(|| {
            let kind = file(content.trim_end_matches('\''));
            builder.add(Inode { metadata: Metadata::root_owned(0o644), kind }).unwrap()
        });
        builder.directory(InodeId::ROOT).unwrap().insert([name].as_slice().into(), id);
    }
    builder.finish().unwrap()
}

#[test]
fn hard_links_stay_together() {
    // One of three names gets another content: the other two are equal to the base's inode and stay below.
    assert_eq!(names(&patch(&linked(&["x", "x", "x"]), &linked(&["x", "x", "y"])).tree), "/c");
    // All names of a changed inode are carried as one inode.
    let made = patch(&linked(&["x", "x"]), &linked(&["y", "y"]));
    assert_eq!((names(&made.tree).as_str(), made.tree.len(), made.report.content.bytes), ("/a /b", 2, 1));
    // Split: one stays.
    let made = patch(&linked(&["x", "x"]), &linked(&["x", "x'"]));
    assert_eq!((names(&made.tree).as_str(), made.report.links.names), ("/b", 1));
    // Joined: all names are carried, since names below and above cannot be one inode.
    let made = patch(&linked(&["x", "x'"]), &linked(&["x", "x"]));
    assert_eq!((names(&made.tree).as_str(), made.report.links.bytes), ("/a /b", 1));
    // A new name for an unchanged inode takes the whole group up.
    let made = patch(&linked(&["x"]), &linked(&["x", "x"]));
    assert_eq!((names(&made.tree).as_str(), made.report.changes[0].change), ("/a /b", Change::Links));
    // A name less: nothing but its whiteout.
    assert_eq!(names(&patch(&linked(&["x", "x"]), &linked(&["x"])).tree), "/b!");
}

#[test]
fn mtimes_cost_content_unless_ignored() {
    let base = tree(&[("d/f", 0o644, file("12345"))]);
    let mut builder = base.clone().into_builder();
    let id = base.lookup(&path("d/f")).unwrap();
    builder.inode(id).metadata.mtime.nanoseconds = 5;
    let target = builder.finish().unwrap();
    assert!(patch(&base, &target).is_empty(), "squashfs knows whole seconds");
    let mut builder = base.clone().into_builder();
    builder.inode(id).metadata.mtime.seconds = 5;
    let target = builder.finish().unwrap();
    let made = patch(&base, &target);
    assert_eq!((made.report.mtime.names, made.report.carried_bytes()), (1, 5));
    let made = changeset(&base, &target, OverlayOptions { ignore_mtime: true }).unwrap();
    assert!(made.is_empty() && made.tree.is_empty());
    assert_eq!(made.report.mtime_ignored.bytes, 5);
}

#[test]
fn what_overlayfs_takes_for_its_own_is_refused_by_path() {
    let empty = tree(&[]);
    let device = tree(&[("dev/zero-zero", 0o600, Kind::CharDevice(Device::WHITEOUT))]);
    let error = changeset(&empty, &device, OverlayOptions::default()).unwrap_err();
    assert_eq!(error, OverlayError::Whiteout(path("dev/zero-zero")));
    // In the base it shows as nothing, so the target may well lack it.
    assert_eq!(names(&patch(&device, &tree(&[("dev/x", 0o600, file("1"))])).tree), "/dev /dev/x /dev/zero-zero!");
    let mut marked = Metadata::root_owned(0o755);
    marked.xattrs.insert(b"trusted.overlay.redirect".as_slice().into(), b"/x".as_slice().into());
    let marked: Tree<Bytes> = Tree::empty(marked);
    let error = changeset(&empty, &marked, OverlayOptions::default()).unwrap_err();
    assert!(matches!(error, OverlayError::Xattr { name, .. } if name == "trusted.overlay.redirect"));
    assert!(changeset(&marked, &empty, OverlayOptions::default()).is_err());
}
