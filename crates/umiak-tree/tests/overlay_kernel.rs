//! The law of changesets with the kernel as the judge: trees are written to a tmpfs, mounted with overlayfs, and what
//! it shows is read back.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::process::Command;

use umiak_testkit::disk;
use umiak_testkit::random::{Bytes, Chance, mutated, tree};
use umiak_tree::{OPAQUE_XATTR, OverlayOptions, Tree, apply, changeset, difference, patch};

/// A mount that goes away with its guard, also when a test fails.
struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    fn new(kind: &str, options: &str, at: &'a Path) -> Self {
        let output = Command::new("mount").args(["-t", kind, "-o", options, "umiak-test"]).arg(at).output().unwrap();
        assert!(output.status.success(), "mount {kind}: {}", String::from_utf8_lossy(&output.stderr));
        Self(at)
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

fn fresh(directory: &Path) {
    if directory.exists() {
        std::fs::remove_dir_all(directory).unwrap();
    }
    std::fs::create_dir(directory).unwrap();
}

/// What the kernel shows for `upper` above `base`: as two lower directories, and with a writable upper directory on
/// top as devices have it.
fn shown_by_kernel(area: &Path, base: &Tree<Bytes>, upper: &Tree<Bytes>, writable: bool) -> Tree<Bytes> {
    let names = ["base", "upper", "write", "work", "merged"].map(|name| area.join(name));
    names.iter().for_each(|directory| fresh(directory));
    disk::write(base, &names[0]).unwrap();
    disk::write(upper, &names[1]).unwrap();
    let mut options = format!("lowerdir={}:{}", names[1].display(), names[0].display());
    if writable {
        // A fresh upper directory brings metadata of its own for the root.
        let root = upper.inode(umiak_tree::InodeId::ROOT).metadata.clone();
        disk::write(&Tree::empty(root), &names[2]).unwrap();
        options += &format!(",upperdir={},workdir={}", names[2].display(), names[3].display());
    }
    let _merged = Mount::new("overlay", &options, &names[4]);
    disk::read(&names[4]).unwrap()
}

#[test]
#[ignore = "needs: root"]
fn the_kernel_shows_the_target() {
    let area = tempfile::tempdir().unwrap();
    let _tmpfs = Mount::new("tmpfs", "size=256m", area.path());
    let mut marked = 0;
    for seed in 0..150 {
        let mut chance = Chance::new(seed);
        // Every third tree is dense, so that whole directories lose enough names to become opaque.
        let (size, changes) = if seed % 3 == 0 { (200, 20) } else { (40, 8) };
        let base = tree(&mut chance, size).unwrap();
        let target = if seed % 5 == 0 {
            tree(&mut chance, size).unwrap()
        } else {
            mutated(&mut chance, &base, changes).unwrap()
        };
        let upper = changeset(&base, &target, OverlayOptions::default()).unwrap();
        marked += upper.tree.inodes().filter(|(_, inode)| inode.metadata.xattrs.contains_key(OPAQUE_XATTR)).count();
        for writable in [false, true] {
            let shown = shown_by_kernel(area.path(), &base, &upper.tree, writable);
            if !writable {
                assert_eq!(difference(&shown, &target), None, "seed {seed}");
                continue;
            }
            // With a writable layer the kernel keeps names of one base inode apart, as each may be copied up alone.
            assert_eq!(difference(&split(shown), &split(target.clone())), None, "seed {seed}, writable");
        }
    }
    assert!(marked > 5, "only {marked} opaque directories were tried");
}

/// What the kernel shows for layers stacked, topmost first.
fn stacked_by_kernel(area: &Path, layers: &[&Tree<Bytes>]) -> Tree<Bytes> {
    let places: Vec<_> = (0..layers.len()).map(|number| area.join(number.to_string())).collect();
    for (place, layer) in places.iter().zip(layers) {
        fresh(place);
        disk::write(layer, place).unwrap();
    }
    let merged = area.join("merged");
    fresh(&merged);
    let places: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
    let _merged = Mount::new("overlay", &format!("lowerdir={}", places.join(":")), &merged);
    disk::read(&merged).unwrap()
}

#[test]
#[ignore = "needs: root"]
fn the_kernel_shows_a_replaced_layer() {
    let area = tempfile::tempdir().unwrap();
    let _tmpfs = Mount::new("tmpfs", "size=256m", area.path());
    let mut patched = 0;
    for seed in 0..100 {
        let mut chance = Chance::new(seed);
        let below = tree(&mut chance, 60).unwrap();
        let layer = |chance: &mut Chance, shown: &Tree<Bytes>| {
            let shown = mutated(chance, shown, 8).unwrap();
            let layer = changeset(&below, &shown, OverlayOptions::default()).unwrap().tree;
            (shown, layer)
        };
        let (shown, base) = layer(&mut chance, &below);
        let (shown, target) = layer(&mut chance, &shown);
        assert_eq!(difference(&apply(&below, &target).unwrap(), &shown), None);
        let Ok(patch) = patch(below.clone(), base.clone(), target) else { continue };
        patched += 1;
        let mounted = stacked_by_kernel(area.path(), &[&patch.tree, &base, &below]);
        assert_eq!(difference(&mounted, &shown), None, "seed {seed}");
    }
    assert!(patched > 30, "only {patched} patches were tried");
}

/// The same tree with every hard link an inode of its own.
fn split(tree: Tree<Bytes>) -> Tree<Bytes> {
    let names: Vec<_> = tree.walk().filter(|e| !e.inode.kind.is_directory()).map(|e| (e.path, e.id)).collect();
    let parents: Vec<_> = names.iter().map(|(path, _)| tree.lookup(&path.split().unwrap().0).unwrap()).collect();
    let mut builder = tree.into_builder();
    for ((path, id), parent) in names.iter().zip(parents) {
        let copy = builder.get(*id).clone();
        let own = builder.add(copy).unwrap();
        builder.directory(parent).unwrap().insert(path.split().unwrap().1.into(), own);
    }
    builder.finish().unwrap()
}

#[test]
#[ignore = "needs: root"]
fn a_tree_written_to_disk_reads_back_the_same() {
    let area = tempfile::tempdir().unwrap();
    let _tmpfs = Mount::new("tmpfs", "size=64m", area.path());
    for seed in 1000..1030 {
        let written = tree(&mut Chance::new(seed), 60).unwrap();
        let directory = area.path().join(seed.to_string());
        fresh(&directory);
        disk::write(&written, &directory).unwrap();
        assert_eq!(difference(&disk::read(&directory).unwrap(), &written), None, "seed {seed}");
    }
}
