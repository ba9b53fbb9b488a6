//! Layers made by deltas out of the store: the same tar as the delta's maker had, in the same files as if it had come whole.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use common::{LIMITS, layer, open, with_content};
use umiak_delta::container::{Container, Part, Parts, Shape};
use umiak_delta::{Delta, DeltaError, Effort, MakeOptions, make, names};
use umiak_layer::{Skeleton, SkeletonView, skeleton};
use umiak_spec::{Digest, ReadAt, Silent};
use umiak_store::{Applied, Keep, LayerDelta, LayerOptions, Store, StoreError};
use umiak_testkit::random::{Chance, mutated, tree};

/// A tar in memory as the maker of a delta sees it.
struct Tar {
    bytes: Vec<u8>,
    skeleton: Skeleton,
    parts: Parts,
}

impl Tar {
    fn new(bytes: Vec<u8>) -> Self {
        let skeleton = skeleton(bytes.as_slice(), &LIMITS, &Silent).unwrap();
        let part = |content: &umiak_layer::SkeletonContent| Part {
            name: content.name.clone(),
            size: content.size,
            digest: content.digest,
            spacing: content.spacing(),
        };
        let contents = skeleton.contents.iter().map(part).collect();
        let (size, digest) = (skeleton.archive, skeleton.diff_id);
        let parts = Parts { shape: Shape::Tar, size, digest, skeleton: skeleton.size, contents };
        Self { bytes, skeleton, parts }
    }

    fn id(&self) -> Digest {
        self.parts.digest
    }
}

impl Container for Tar {
    fn parts(&self) -> &Parts {
        &self.parts
    }

    fn skeleton(&self) -> io::Result<Arc<dyn ReadAt + '_>> {
        Ok(Arc::new(SkeletonView::new(&self.skeleton, self.bytes.as_slice())))
    }

    fn content(&self, number: usize) -> io::Result<Arc<dyn ReadAt + '_>> {
        let content = &self.skeleton.contents[number];
        let start = usize::try_from(content.offset).unwrap();
        Ok(Arc::new(&self.bytes[start..start + usize::try_from(content.size).unwrap()]))
    }
}

/// Two base layers and a target that has something of both, something new and something changed.
struct Sample {
    bases: [Tar; 2],
    target: Tar,
    delta: Vec<u8>,
    names: Vec<u8>,
}

fn sample(seed: u64) -> Sample {
    let mut chance = Chance::new(seed);
    let trees = [tree(&mut chance, 80).unwrap(), tree(&mut chance, 80).unwrap()];
    let (large, fresh) = (chance.bytes(300_000), chance.bytes(40_000));
    let mut changed: Vec<u8> = (0..9000_u32).flat_map(|line| format!("line {}\n", line * line).into_bytes()).collect();
    let text = changed.clone();
    changed.splice(5000..5003, *b"in the middle of it");
    let file = |name, content: &[u8]| with_content(name, b'0', content);
    let lower = [file("large", &large), layer(&trees[0])].concat();
    let upper = [file("text", &text), layer(&trees[1])].concat();
    let mixed = layer(&mutated(&mut chance, &trees[1], 10).unwrap());
    let target = [file("large", &large), file("text", &changed), file("fresh", &fresh), file("twice", &fresh), mixed];
    let (bases, target) = ([Tar::new(lower), Tar::new(upper)], Tar::new(target.concat()));
    let containers: Vec<&dyn Container> = bases.iter().map(|base| base as &dyn Container).collect();
    let mut delta = Vec::new();
    make(&containers, &target, &MakeOptions::default(), &mut delta, &Silent).unwrap();
    let used: BTreeSet<usize> = names::used(&Delta::open(delta.as_slice()).unwrap(), &containers).unwrap();
    let names = names::write(&containers, &used, Effort::Fast).unwrap();
    Sample { bases, target, delta, names }
}

fn ingest(store: &Store, tar: &Tar) {
    let options = LayerOptions::default();
    store.ingest_layer(&tar.id(), &tar.bytes.as_slice(), &Keep::Whole, &options, &Silent).unwrap();
}

fn applied(store: &Store, sample: &Sample, keep: &Keep, named: bool) -> Result<Applied, StoreError> {
    let names = named.then_some(&sample.names as &dyn ReadAt);
    let delta = LayerDelta { blob: &sample.delta, names };
    store.apply_delta(&sample.target.id(), delta, keep, &LayerOptions::default(), &Silent)
}

fn is_exported(store: &Store, tar: &Tar) -> bool {
    let mut reader = store.layer_reader(&tar.id(), &LIMITS).unwrap();
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    bytes == tar.bytes
}

fn is_clean(root: &Path) -> bool {
    std::fs::read_dir(root.join("staging")).unwrap().next().is_none()
}

#[test]
fn a_delta_makes_the_layer_that_would_have_come() {
    let sample = sample(1);
    let areas = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (store, plain) = (open(areas[0].path()), open(areas[1].path()));
    sample.bases.iter().for_each(|base| ingest(&store, base));
    let made = applied(&store, &sample, &Keep::Whole, false).unwrap();
    assert!(is_exported(&store, &sample.target) && is_clean(areas[0].path()));
    // What stays is not written beside: the large file and most of the tree.
    let skeleton = sample.target.parts.skeleton;
    assert!(made.spooled < skeleton + 250_000, "{} of {}", made.spooled, sample.target.bytes.len());
    ingest(&plain, &sample.target);
    let record = plain.layer_record(&sample.target.id()).unwrap().unwrap();
    assert_eq!(made.layer.record, record);
    assert!(applied(&store, &sample, &Keep::Whole, false).unwrap().layer.was_here);
}

#[test]
fn a_delta_makes_a_patch() {
    let sample = sample(2);
    let area = tempfile::tempdir().unwrap();
    let store = open(area.path());
    sample.bases.iter().for_each(|base| ingest(&store, base));
    let keep = Keep::Patch { base: sample.bases[0].id(), below: Vec::new() };
    let record = applied(&store, &sample, &keep, false).unwrap().layer.record;
    assert_eq!(record.base, Some(sample.bases[0].id()));
    assert!(is_exported(&store, &sample.target));
    // A delta may start from a layer that is a patch: its tar is what counts.
    let mut next = sample.target.bytes.clone();
    next.splice(0..0, with_content("next", b'0', b"release"));
    let next = Tar::new(next);
    let mut delta = Vec::new();
    make(&[&sample.target], &next, &MakeOptions::default(), &mut delta, &Silent).unwrap();
    let delta = LayerDelta { blob: &delta, names: None };
    store.apply_delta(&next.id(), delta, &Keep::Whole, &LayerOptions::default(), &Silent).unwrap();
    assert!(is_exported(&store, &next));
}

#[test]
fn files_of_a_base_may_be_in_other_layers() {
    let sample = sample(3);
    let area = tempfile::tempdir().unwrap();
    let store = open(area.path());
    let refused = applied(&store, &sample, &Keep::Whole, false);
    assert!(matches!(refused, Err(StoreError::NoLayer(base)) if base == sample.bases[0].id()), "{refused:?}");
    let refused = applied(&store, &sample, &Keep::Whole, true);
    assert!(matches!(refused, Err(StoreError::MissingContents { count, .. }) if count > 1), "{refused:?}");
    // The lower base in other clothes: the same files under other names.
    ingest(&store, &sample.bases[1]);
    let mut other = with_content("before", b'0', b"another layer");
    for number in 0..sample.bases[0].parts.contents.len() {
        let content = sample.bases[0].content(number).unwrap();
        let mut bytes = vec![0; usize::try_from(content.len().unwrap()).unwrap()];
        content.read_exact_at(&mut bytes, 0).unwrap();
        other.extend(with_content(&format!("file-{number}"), b'0', &bytes));
    }
    ingest(&store, &Tar::new(other));
    applied(&store, &sample, &Keep::Whole, true).unwrap();
    assert!(is_exported(&store, &sample.target) && is_clean(area.path()));
}

#[test]
fn nothing_wrong_is_made_and_nothing_is_left() {
    let sample = sample(4);
    let area = tempfile::tempdir().unwrap();
    let store = open(area.path());
    sample.bases.iter().for_each(|base| ingest(&store, base));
    let other = Digest::of(b"another layer");
    let delta = LayerDelta { blob: &sample.delta, names: None };
    let refused = store.apply_delta(&other, delta, &Keep::Whole, &LayerOptions::default(), &Silent);
    assert!(matches!(refused, Err(StoreError::WrongDigest { .. })), "{refused:?}");
    for at in (0..sample.delta.len()).step_by(sample.delta.len() / 40) {
        let mut blob = sample.delta.clone();
        blob[at] ^= 4;
        let delta = LayerDelta { blob: &blob, names: None };
        let refused =
            store.apply_delta(&sample.target.id(), delta, &Keep::Whole, &LayerOptions::default(), &Silent).unwrap_err();
        assert!(matches!(refused, StoreError::Delta { .. } | StoreError::WrongDigest { .. }), "{at}: {refused:?}");
    }
    // A base whose image is not what it was: a failure, or the right layer all the same.
    let place = area.path().join("layers").join(sample.bases[0].id().hex()).join("image.squashfs");
    let image = std::fs::read(&place).unwrap();
    let mut failed = 0;
    for at in (100..image.len()).step_by(image.len() / 30) {
        let mut damaged = image.clone();
        damaged[at..(at + 64).min(image.len())].fill(0x55);
        std::fs::write(&place, damaged).unwrap();
        match applied(&store, &sample, &Keep::Whole, false) {
            Ok(made) => {
                assert!(is_exported(&store, &sample.target));
                assert!(!made.layer.was_here);
                let plan = umiak_store::PruneRequest {
                    keep: sample.bases.iter().map(Tar::id).collect(),
                    ..umiak_store::PruneRequest::default()
                };
                store.prune(&store.prune_plan(&plan).unwrap()).unwrap();
            }
            Err(_) => failed += 1,
        }
        assert!(store.layer_record(&sample.target.id()).unwrap().is_none() && is_clean(area.path()));
    }
    assert!(failed > 20, "{failed}");
}

#[test]
fn names_of_other_bases_are_refused() {
    let (one, other) = (sample(5), sample(6));
    let area = tempfile::tempdir().unwrap();
    let store = open(area.path());
    let delta = LayerDelta { blob: &one.delta, names: Some(&other.names) };
    let refused = store.apply_delta(&one.target.id(), delta, &Keep::Whole, &LayerOptions::default(), &Silent);
    assert!(
        matches!(&refused, Err(StoreError::Delta { source, .. }) if matches!(**source, DeltaError::Malformed(_))),
        "{refused:?}"
    );
}
