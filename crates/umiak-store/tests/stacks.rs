//! The law of stacks: what is mounted shows what the layers mean.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{LIMITS, layer, link, member, open, strange, with_content};
use umiak_layer::{LayerIndex, as_shown, flatten, index};
use umiak_spec::{Digest, Silent};
use umiak_squashfs::Image;
use umiak_store::{Closure, Keep, LayerOptions, Store, StoreError};
use umiak_testkit::random::{Bytes, Chance, mutated, tree};
use umiak_tree::{Content, OverlayOptions, Tree, apply, changeset, difference};

/// A content by its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known(u64, Digest);

impl Content for Known {
    fn size(&self) -> u64 {
        self.0
    }

    fn digest(&self) -> Digest {
        self.1
    }
}

fn ingest(store: &Store, tar: &[u8]) -> Result<Digest, StoreError> {
    let diff_id = Digest::of(tar);
    store.ingest_layer(&diff_id, &tar, &Keep::Whole, &LayerOptions::default(), &Silent)?;
    Ok(diff_id)
}

/// What the layers mean; nothing when they mean nothing.
fn meant(tars: &[Vec<u8>]) -> Option<Tree<Known>> {
    let indexes: Vec<LayerIndex> =
        tars.iter().map(|tar| index(tar.as_slice(), &LIMITS, &Silent)).collect::<Result<_, _>>().ok()?;
    let meant = as_shown(flatten(&indexes.iter().collect::<Vec<_>>(), &LIMITS).ok()?).unwrap();
    Some(meant.try_map(|_, content| Ok::<_, ()>(Known(content.size, content.digest))).unwrap())
}

/// The tree of an image.
fn tree_of(image: &Path) -> Tree<Known> {
    let image = Image::open(File::open(image).unwrap(), &LIMITS).unwrap();
    let tree = image.tree().unwrap();
    let convert = |_, content: umiak_squashfs::StoredContent| {
        let mut bytes = vec![0; usize::try_from(content.size()).unwrap()];
        image.read_at(&content, 0, &mut bytes).map(|_| Known(content.size(), Digest::of(&bytes)))
    };
    tree.try_map(convert).unwrap()
}

/// What overlayfs shows, by our model of it.
fn modelled(images: &[PathBuf]) -> Tree<Known> {
    let mut images = images.iter().rev().map(|image| tree_of(image));
    let first = images.next().unwrap();
    // Through overlayfs, marks of the lowest one do not show either.
    let empty = Tree::empty(first.inode(umiak_tree::InodeId::ROOT).metadata.clone());
    images.fold(apply(&empty, &first).unwrap(), |below, above| apply(&below, &above).unwrap())
}

/// Random stacks, and whether they are stored and shown.
fn random_stacks(
    seeds: std::ops::Range<u64>,
    mut shown: impl FnMut(u64, &Store, &[PathBuf], &Tree<Known>),
) -> (usize, usize) {
    let (mut stacks, mut tops) = (0, 0);
    for seed in seeds {
        let mut chance = Chance::new(seed);
        let tars: Vec<Vec<u8>> = (0..1 + chance.below(4)).map(|_| strange(&mut chance)).collect();
        let Some(meant) = meant(&tars) else { continue };
        let area = tempfile::tempdir().unwrap();
        let store = open(area.path());
        // A layer that makes sense only above others may not by itself: it leads up links of its own in circles.
        let Ok(chain) = tars.iter().map(|tar| ingest(&store, tar)).collect::<Result<Vec<_>, _>>() else { continue };
        let images = store.root(&chain, &LayerOptions::default(), &Silent).unwrap();
        assert_eq!(store.root(&chain, &LayerOptions::default(), &Silent).unwrap(), images, "seed {seed}");
        let closure = Closure { chains: [chain.clone()].into(), ..Closure::default() };
        assert!(store.missing(&closure).is_empty());
        assert!(store.check(umiak_store::Depth::Content, &Silent).unwrap().is_empty(), "seed {seed}");
        shown(seed, &store, &images, &meant);
        stacks += 1;
        tops += usize::from(images[0].extension().is_some_and(|extension| extension == "top"));
    }
    (stacks, tops)
}

#[test]
fn the_model_of_a_mount_shows_what_the_layers_mean() {
    let (stacks, tops) = random_stacks(0..150, |seed, _, images, meant| {
        assert_eq!(difference(&modelled(images), meant), None, "seed {seed}");
    });
    assert!(stacks > 80 && tops > 20 && tops < stacks, "{tops} of {stacks} have a top");
}

#[test]
fn layers_of_ordinary_builders_need_nothing_on_top() {
    let area = tempfile::tempdir().unwrap();
    let store = open(area.path());
    for seed in 0..8 {
        let mut chance = Chance::new(seed);
        let mut now = tree(&mut chance, 60).unwrap();
        let mut tars = vec![layer(&now)];
        let mut trees = vec![now.clone()];
        for _ in 0..3 {
            let next = mutated(&mut chance, &now, 8).unwrap();
            let Ok(upper) = changeset(&now, &next, OverlayOptions::default()) else { break };
            tars.push(as_layer(&upper.tree));
            trees.push(next.clone());
            now = next;
        }
        let chain: Vec<Digest> = tars.iter().map(|tar| ingest(&store, tar).unwrap()).collect();
        for length in 1..=chain.len() {
            let images = store.root(&chain[..length], &LayerOptions::default(), &Silent).unwrap();
            assert_eq!(images.len(), length, "seed {seed}: {images:?}");
            let expected = meant(&tars[..length]).unwrap();
            assert_eq!(difference(&modelled(&images), &expected), None, "seed {seed}");
        }
    }
}

/// An overlayfs tree as a layer.
fn as_layer(tree: &Tree<Bytes>) -> Vec<u8> {
    layer(tree)
}

#[test]
fn what_a_layer_does_not_say_comes_from_below() {
    let area = tempfile::tempdir().unwrap();
    let store = open(area.path());
    let sticky = |name: &str| member(name, b'5', 0, |header| header[100..107].copy_from_slice(b"0001777"));
    let lower = [
        sticky("tmp/"),
        link("lib", b'2', "usr/lib"),
        with_content("usr/lib/one", b'0', b"1"),
        with_content("kept", b'0', b"k"),
    ];
    // No entry for tmp; a file below a link; a hard link to another layer's file.
    let upper = [with_content("tmp/new", b'0', b"n"), with_content("lib/two", b'0', b"2"), link("again", b'1', "kept")];
    let tars = [lower.concat(), upper.concat()];
    let chain: Vec<Digest> = tars.iter().map(|tar| ingest(&store, tar).unwrap()).collect();
    let images = store.root(&chain, &LayerOptions::default(), &Silent).unwrap();
    assert_eq!(images.len(), 3);
    let shown = modelled(&images);
    assert_eq!(difference(&shown, &meant(&tars).unwrap()), None);
    let at = |path: &str| shown.lookup(&umiak_tree::TreePath::from_archive(path.as_bytes(), &LIMITS).unwrap());
    assert_eq!(shown.inode(at("tmp").unwrap()).metadata.mode, 0o1777);
    assert!(at("usr/lib/two").is_some());
    assert_eq!(at("again"), at("kept"));
    // What was found is found again when it is lost, and is not believed for other images.
    std::fs::remove_file(&images[0]).unwrap();
    assert_eq!(store.root(&chain, &LayerOptions::default(), &Silent).unwrap(), images);
    assert!(images[0].is_file());
    // For reading only, what was found is enough.
    let reading =
        Store::open(area.path(), std::sync::Arc::new(umiak_store::RealDisk), &umiak_store::StoreOptions::READ).unwrap();
    assert_eq!(reading.root(&chain, &LayerOptions::default(), &Silent).unwrap(), images);
}

/// What is mounted at a place; unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(arguments: &[&str], at: &Path) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let output = Command::new("mount").args(arguments).arg(at).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Mounts the images as an engine does and reads what the kernel shows.
fn mounted(images: &[PathBuf], area: &Path) -> Tree<Bytes> {
    let mut mounts = Vec::new();
    for (number, image) in images.iter().enumerate() {
        let at = area.join(number.to_string());
        mounts.push(Mounted::new(&["-t", "squashfs", "-o", "loop,ro", image.to_str().unwrap()], &at));
    }
    if let [alone] = mounts.as_slice() {
        return umiak_testkit::disk::read(&alone.0).unwrap();
    }
    let lowers: Vec<&str> = mounts.iter().map(|mount| mount.0.to_str().unwrap()).collect();
    let merged = Mounted::new(
        &["-t", "overlay", "-o", &format!("lowerdir={}", lowers.join(":")), "umiak-test"],
        &area.join("merged"),
    );
    let shown = umiak_testkit::disk::read(&merged.0).unwrap();
    drop(merged);
    shown
}

#[test]
#[ignore = "needs: mount, root"]
fn linux_shows_what_the_layers_mean() {
    let (stacks, tops) = random_stacks(1000..1100, |seed, _, images, meant| {
        let area = tempfile::tempdir().unwrap();
        let shown = mounted(images, area.path());
        assert_eq!(difference(&shown, meant), None, "seed {seed}: {images:?}");
    });
    assert!(stacks > 40 && tops > 10, "{tops} of {stacks} have a top");
}
