//! The law of layers: what was taken in comes out again, bit for bit, whatever it is; and nothing else gets a name.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::io::{self, Read};

use common::{LIMITS, cut_piece, layer, open, piece, written};
use proptest::prelude::*;
use umiak_spec::{Digest, ReadAt as _, Silent};
use umiak_store::{Keep, LayerOptions, LayerSource, Store, StoreError};
use umiak_testkit::random::{Chance, mutated, tree};

fn ingest(store: &Store, tar: &[u8]) -> Result<Digest, StoreError> {
    let diff_id = Digest::of(tar);
    store.ingest_layer(&diff_id, &tar, &Keep::Whole, &LayerOptions::default(), &Silent)?;
    Ok(diff_id)
}

fn exported(store: &Store, diff_id: &Digest) -> Vec<u8> {
    let mut tar = Vec::new();
    store.layer_reader(diff_id, &LIMITS).unwrap().read_to_end(&mut tar).unwrap();
    tar
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_taken_in_comes_out_again(
        pieces in proptest::collection::vec(piece(), 0..8),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..2),
        cut in any::<Option<prop::sample::Index>>(),
    ) {
        let area = tempfile::tempdir().unwrap();
        let store = open(area.path());
        let tar = cut_piece(pieces, damage, cut);
        match ingest(&store, &tar) {
            Ok(diff_id) => {
                prop_assert!(exported(&store, &diff_id) == tar);
                let layer = store.layer(&diff_id, &LIMITS).unwrap().unwrap();
                let index = umiak_layer::index(tar.as_slice(), &LIMITS, &Silent);
                prop_assert_eq!(layer.index(&Silent).unwrap(), index.unwrap());
            }
            Err(StoreError::Layer { .. } | StoreError::Stack { .. }) => {
                prop_assert!(std::fs::read_dir(area.path().join("layers")).unwrap().next().is_none());
                prop_assert!(std::fs::read_dir(area.path().join("staging")).unwrap().next().is_none());
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[test]
fn random_trees_come_out_again_and_every_content_is_found() {
    let area = tempfile::tempdir().unwrap();
    let store = open(area.path());
    let mut tars = Vec::new();
    for seed in 0..12 {
        let tar = written(seed, 80);
        assert_eq!(exported(&store, &ingest(&store, &tar).unwrap()), tar, "seed {seed}");
        tars.push(tar);
    }
    let contents = store.contents(&LIMITS).unwrap();
    let mut seen = 0;
    for tar in &tars {
        for content in umiak_layer::skeleton(tar.as_slice(), &LIMITS, &Silent).unwrap().contents {
            let prefix = content.digest.as_bytes().first_chunk().copied().unwrap();
            let (digest, found) = contents.find(&prefix).unwrap();
            let mut bytes = vec![0; usize::try_from(found.size()).unwrap()];
            found.read_exact_at(&mut bytes, 0).unwrap();
            assert_eq!((digest, Digest::of(&bytes)), (content.digest, content.digest));
            seen += 1;
        }
    }
    assert!(seen > 100);
    assert!(contents.find(&[7; 16]).is_none());
}

#[test]
fn files_do_not_depend_on_what_else_is_stored() {
    let mut chance = Chance::new(5);
    let base = tree(&mut chance, 300).unwrap();
    let target = mutated(&mut chance, &base, 20).unwrap();
    let large = chance.bytes(700_000);
    let tar = |tree| [common::with_content("large", b'0', &large), layer(tree)].concat();
    let (base, target) = (tar(&base), tar(&target));
    let alone = tempfile::tempdir().unwrap();
    let both = tempfile::tempdir().unwrap();
    let (one, other) = (open(alone.path()), open(both.path()));
    ingest(&other, &base).unwrap();
    let options = LayerOptions::default();
    let diff_id = Digest::of(&target);
    let report = other.ingest_layer(&diff_id, &target.as_slice(), &Keep::Whole, &options, &Silent).unwrap();
    assert!(report.copied_bytes > 300_000, "{report:?}");
    let again = one.ingest_layer(&diff_id, &target.as_slice(), &Keep::Whole, &options, &Silent).unwrap();
    assert_eq!((again.copied_bytes, again.was_here), (0, false));
    assert_eq!(again.record, report.record);
    let sizes = umiak_store::layer_sizes(&target.as_slice(), &options, &Silent).unwrap();
    let length = std::fs::metadata(alone.path().join("layers").join(diff_id.hex()).join("record")).unwrap().len();
    assert_eq!(sizes.record, length);
    let predicted = (sizes.diff_id, sizes.tar, sizes.image, sizes.skeleton);
    let record = again.record.clone();
    assert_eq!(predicted, (record.diff_id, record.size, record.image.bytes, record.skeleton.bytes));
    let threads = LayerOptions { threads: 3.try_into().unwrap(), ..options };
    assert_eq!(
        one.replace_layer(&diff_id, &target.as_slice(), &Keep::Whole, &threads, &Silent).unwrap().record,
        again.record
    );
    assert!(one.ingest_layer(&diff_id, &target.as_slice(), &Keep::Whole, &options, &Silent).unwrap().was_here);
}

/// Gives another tar from the second time on.
struct Changing(Vec<Vec<u8>>, std::sync::atomic::AtomicUsize);

impl LayerSource for Changing {
    fn open(&self) -> io::Result<Box<dyn Read + Send + '_>> {
        let turn = self.1.fetch_add(1, std::sync::atomic::Ordering::SeqCst).min(self.0.len() - 1);
        Ok(Box::new(self.0[turn].as_slice()))
    }
}

#[test]
fn a_source_that_lies_makes_no_layer() {
    let area = tempfile::tempdir().unwrap();
    let store = open(area.path());
    let tar = written(3, 40);
    let wrong = Digest::of(b"another");
    let options = LayerOptions::default();
    let refused = store.ingest_layer(&wrong, &tar.as_slice(), &Keep::Whole, &options, &Silent);
    assert!(matches!(refused, Err(StoreError::WrongDigest { wanted, .. }) if wanted == wrong), "{refused:?}");
    let diff_id = Digest::of(&tar);
    let mut taken = 0;
    for at in (0..tar.len()).step_by(97) {
        let mut other = tar.clone();
        other[at] ^= 0x10;
        for other in [other, tar[..at].to_vec()] {
            let source = Changing(vec![tar.clone(), other], std::sync::atomic::AtomicUsize::new(0));
            if store.replace_layer(&diff_id, &source, &Keep::Whole, &options, &Silent).is_ok() {
                // It was not asked for these bytes again: the same are elsewhere in the tar.
                assert_eq!(exported(&store, &diff_id), tar, "byte {at}");
                taken += 1;
            }
        }
    }
    assert!(taken < tar.len() / 97 / 2, "{taken}");
    assert!(std::fs::read_dir(area.path().join("staging")).unwrap().next().is_none());
}
