//! The law of patches in the store: in its stack a patch shows what the whole layer shows, gives back the same tar, and becomes the
//! same whole layer again.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{LIMITS, layer, open, piece, with_content};
use proptest::prelude::*;
use umiak_spec::{Digest, Observer, Silent};
use umiak_squashfs::Image;
use umiak_store::{Closure, Keep, LayerOptions, LayerReport, PruneRequest, Store, StoreError};
use umiak_testkit::random::{Bytes, Chance, mutated, tree};
use umiak_tree::{Metadata, Tree, apply, difference};

const QUIET: &dyn Observer = &Silent;

fn ingest(store: &Store, tar: &[u8], keep: &Keep) -> Result<LayerReport, StoreError> {
    store.ingest_layer(&Digest::of(tar), &tar, keep, &LayerOptions::default(), QUIET)
}

fn exported(store: &Store, tar: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.layer_reader(&Digest::of(tar), &LIMITS).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// The tree in the image of a layer, contents read.
fn image(root: &Path, diff_id: &Digest) -> Tree<Bytes> {
    let path = root.join("layers").join(diff_id.hex()).join("image.squashfs");
    let image = Image::open(File::open(path).unwrap(), &LIMITS).unwrap();
    let read = |_, stored| {
        let mut bytes = Vec::new();
        image.reader(&stored).read_to_end(&mut bytes).map(|_| Bytes::of(&bytes))
    };
    image.tree().unwrap().try_map(read).unwrap()
}

fn mounted(layers: &[Tree<Bytes>]) -> Tree<Bytes> {
    let nothing = Tree::empty(Metadata::root_owned(0o755));
    layers.iter().fold(nothing, |below, above| apply(&below, above).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn a_patch_shows_what_the_whole_layer_shows(
        below in proptest::collection::vec(piece(), 0..5),
        both in proptest::collection::vec(piece(), 0..6),
        base in proptest::collection::vec(piece(), 0..3),
        target in proptest::collection::vec(piece(), 0..3),
    ) {
        let areas = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let (store, plain) = (open(areas[0].path()), open(areas[1].path()));
        // So that most targets are worth a patch.
        let large = with_content("large", b'0', &[7; 4000]);
        let tar = |pieces: &[Vec<u8>]| [std::slice::from_ref(&large), both.as_slice(), pieces].concat().concat();
        let (below, base, target) = (below.concat(), tar(&base), tar(&target));
        let keep = Keep::Patch { base: Digest::of(&base), below: vec![Digest::of(&below)] };
        for tar in [&below, &base] {
            prop_assume!(ingest(&store, tar, &Keep::Whole).is_ok());
        }
        let Ok(report) = ingest(&store, &target, &keep) else {
            prop_assert!(ingest(&plain, &target, &Keep::Whole).is_err());
            return Ok(());
        };
        let whole = ingest(&plain, &target, &Keep::Whole).unwrap();
        prop_assert!(exported(&store, &target) == target);
        let [below_id, base_id, target_id] = [&below, &base, &target].map(|tar| Digest::of(tar));
        if report.record.is_whole() {
            prop_assert_eq!(report.record, whole.record);
            return Ok(());
        }
        let images = [&below_id, &base_id, &target_id].map(|diff_id| image(areas[0].path(), diff_id));
        let expected = mounted(&[images[0].clone(), image(areas[1].path(), &target_id)]);
        prop_assert_eq!(difference(&mounted(&images), &expected), None);
        let converted = store.convert_layer(&target_id, &Keep::Whole, &LayerOptions::default(), QUIET).unwrap();
        prop_assert_eq!(&converted.record, &whole.record);
        prop_assert!(exported(&store, &target) == target);
        let back = store.convert_layer(&target_id, &keep, &LayerOptions::default(), QUIET).unwrap();
        prop_assert_eq!(back.record, report.record);
    }
}

/// Two releases of a layer that have most in common.
fn releases(seed: u64) -> (Vec<u8>, Vec<u8>) {
    let mut chance = Chance::new(seed);
    let base = tree(&mut chance, 120).unwrap();
    let target = mutated(&mut chance, &base, 6).unwrap();
    let large = chance.bytes(200_000);
    let tar = |tree| [with_content("large", b'0', &large), layer(tree)].concat();
    (tar(&base), tar(&target))
}

#[test]
fn a_patch_is_small_and_lives_by_its_base() {
    let area = tempfile::tempdir().unwrap();
    let store = open(area.path());
    let (base, target) = releases(11);
    let [base_id, target_id] = [&base, &target].map(|tar| Digest::of(tar));
    let whole = ingest(&store, &base, &Keep::Whole).unwrap().record;
    let keep = Keep::Patch { base: base_id, below: Vec::new() };
    let patch = ingest(&store, &target, &keep).unwrap().record;
    assert!(!patch.is_whole() && patch.image.bytes * 4 < whole.image.bytes, "{patch:?}");
    assert_eq!(exported(&store, &target), target);

    // In another stack it cannot be mounted, and no ref says that it can.
    let chain = |layers: &[Digest]| Closure { chains: BTreeSet::from([layers.to_vec()]), ..Closure::default() };
    let name = "app".parse().unwrap();
    let refused = store.set_ref(&name, &chain(&[base_id, target_id]));
    assert!(matches!(&refused, Err(StoreError::Incomplete(missing)) if missing.chains.len() == 1), "{refused:?}");
    store.set_ref(&name, &chain(&[target_id])).unwrap();

    // The base is no ref's, and stays as long as the patch needs it.
    let planned = || store.prune_plan(&PruneRequest::default()).unwrap();
    assert_eq!(planned().objects, []);
    let options = LayerOptions::default();
    assert!(store.convert_layer(&base_id, &keep, &options, QUIET).unwrap().record.is_whole());
    store.convert_layer(&target_id, &Keep::Whole, &options, QUIET).unwrap();
    assert_eq!(planned().objects.len(), 1);
    store.prune(&planned()).unwrap();
    assert!(store.layer(&base_id, &LIMITS).unwrap().is_none());
    assert_eq!(exported(&store, &target), target);
    store.set_ref(&name, &chain(&[target_id])).unwrap();
}

#[test]
fn what_cannot_be_a_patch_is_kept_whole() {
    let area = tempfile::tempdir().unwrap();
    let store = open(area.path());
    let (base, target) = releases(12);
    let [base_id, target_id] = [&base, &target].map(|tar| Digest::of(tar));
    let other = layer(&tree(&mut Chance::new(99), 40).unwrap());
    ingest(&store, &base, &Keep::Whole).unwrap();
    let whole = |keep: Keep| {
        let record = ingest(&store, &target, &keep).unwrap().record;
        let plan = PruneRequest { keep: [base_id].into(), ..PruneRequest::default() };
        store.prune(&store.prune_plan(&plan).unwrap()).unwrap();
        record.is_whole()
    };
    assert!(!whole(Keep::Patch { base: base_id, below: Vec::new() }));
    assert!(whole(Keep::Patch { base: Digest::of(&other), below: Vec::new() }), "the base is not here");
    assert!(whole(Keep::Patch { base: base_id, below: vec![Digest::of(&other)] }), "what is below is not here");
    assert!(whole(Keep::Patch { base: target_id, below: Vec::new() }), "of itself");
    // Nothing in common: not worth it.
    let unlike = with_content("unlike", b'0', &Chance::new(5).bytes(90_000));
    assert!(ingest(&store, &unlike, &Keep::Patch { base: base_id, below: Vec::new() }).unwrap().record.is_whole());
    // A patch is no base.
    ingest(&store, &target, &Keep::Patch { base: base_id, below: Vec::new() }).unwrap();
    let (_, third) = releases(12);
    let third = [third, with_content("third", b'0', b"3")].concat();
    assert!(ingest(&store, &third, &Keep::Patch { base: target_id, below: Vec::new() }).unwrap().record.is_whole());
}

/// What is mounted at a place; unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(arguments: &[&str], at: PathBuf) -> Self {
        std::fs::create_dir(&at).unwrap();
        let output = Command::new("mount").args(arguments).arg(&at).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Self(at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// What the kernel shows for these images, the topmost first.
fn shown_by_kernel(images: &[PathBuf]) -> Tree<Bytes> {
    let area = tempfile::tempdir().unwrap();
    let mount = |(number, image): (usize, &PathBuf)| {
        Mounted::new(
            &["-t", "squashfs", "-o", "loop,ro", image.to_str().unwrap()],
            area.path().join(number.to_string()),
        )
    };
    let mounts: Vec<Mounted> = images.iter().enumerate().map(mount).collect();
    let [_, _, ..] = mounts.as_slice() else { return umiak_testkit::disk::read(&mounts[0].0).unwrap() };
    let lowers: Vec<&str> = mounts.iter().map(|mount| mount.0.to_str().unwrap()).collect();
    let options = format!("lowerdir={}", lowers.join(":"));
    let merged = Mounted::new(&["-t", "overlay", "-o", &options, "umiak-test"], area.path().join("merged"));
    umiak_testkit::disk::read(&merged.0).unwrap()
}

#[test]
#[ignore = "needs: mount, root"]
fn linux_shows_the_target_above_its_base() {
    let mut patches = 0;
    for seed in 0..30 {
        let areas = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [store, plain] = [0, 1].map(|area| open(areas[area].path()));
        let below = layer(&tree(&mut Chance::new(seed + 500), 30).unwrap());
        let (base, target) = releases(seed);
        let [below_id, base_id, target_id] = [&below, &base, &target].map(|tar| Digest::of(tar));
        for tar in [&below, &base] {
            ingest(&store, tar, &Keep::Whole).unwrap();
        }
        let patch = Keep::Patch { base: base_id, below: vec![below_id] };
        let record = ingest(&store, &target, &patch).unwrap().record;
        patches += usize::from(!record.is_whole());
        for tar in [&below, &target] {
            ingest(&plain, tar, &Keep::Whole).unwrap();
        }
        let root = |store: &Store| store.root(&[below_id, target_id], &LayerOptions::default(), QUIET).unwrap();
        let images = root(&store);
        assert!(images.len() >= if record.is_whole() { 2 } else { 3 }, "{images:?}");
        assert_eq!(difference(&shown_by_kernel(&images), &shown_by_kernel(&root(&plain))), None, "seed {seed}");
    }
    assert!(patches > 15, "{patches}");
}
