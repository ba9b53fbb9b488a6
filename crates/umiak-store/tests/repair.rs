//! Any one file of a layer is damaged: it is found, told, and made whole again out of what else is there; or what is lost is named.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use common::{LIMITS, layer, open, with_content};
use umiak_spec::{Digest, Silent};
use umiak_store::{Damage, Depth, Keep, LayerOptions, Object, Repaired, Store};
use umiak_testkit::random::{Chance, tree};

fn ingest(store: &Store, tar: &[u8]) -> Digest {
    let diff_id = Digest::of(tar);
    store.ingest_layer(&diff_id, &tar, &Keep::Whole, &LayerOptions::default(), &Silent).unwrap();
    diff_id
}

fn exported(store: &Store, diff_id: &Digest) -> Vec<u8> {
    let mut tar = Vec::new();
    store.layer_reader(diff_id, &LIMITS).unwrap().read_to_end(&mut tar).unwrap();
    tar
}

fn findings(store: &Store) -> Vec<Damage> {
    store.check(Depth::Content, &Silent).unwrap()
}

/// A layer of many contents, and another one with the same contents under other names and one content less.
fn pair() -> (Vec<u8>, Vec<u8>) {
    let mut chance = Chance::new(11);
    let files: Vec<Vec<u8>> = (0..40).map(|number| chance.bytes(200 + number * 700)).collect();
    let tar = |prefix: &str, files: &[Vec<u8>]| {
        let members = files.iter().enumerate();
        let mut tar: Vec<u8> =
            members.flat_map(|(at, file)| with_content(&format!("{prefix}{at}"), b'0', file)).collect();
        // One name twice: the first content is in no tree.
        tar.extend(with_content(&format!("{prefix}0"), b'0', b"another content of the first name"));
        tar.extend(with_content("d/.wh.hidden", b'0', b""));
        tar.extend([0; 1024]);
        tar
    };
    (tar("one", &files), tar("other", &files[1..]))
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn held(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    files(directory).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Ways in which a file goes bad.
fn mutations(bytes: &[u8]) -> Vec<Option<Vec<u8>>> {
    let mut ways = vec![None, Some(Vec::new()), Some(bytes[..bytes.len() / 2].to_vec()), Some(vec![0; bytes.len()])];
    for at in (0..bytes.len()).step_by((bytes.len() / 23).max(1)) {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 0x40;
        ways.push(Some(flipped));
    }
    let mut block = bytes.to_vec();
    let length = block.len();
    block[length / 3..length / 2].fill(0);
    ways.push(Some(block));
    ways.retain(|way| way.as_deref() != Some(bytes));
    ways
}

#[test]
fn every_file_of_a_layer_may_go_bad() {
    let area = tempfile::tempdir().unwrap();
    let store = open(area.path());
    let (tar, other) = pair();
    // Everything is in one of the other two layers.
    let all = [tar[..512 + 512].to_vec(), with_content("last", b'0', b"another content of the first name")].concat();
    let (diff_id, _, _) = (ingest(&store, &tar), ingest(&store, &other), ingest(&store, &all));
    let images = store.root(&[diff_id], &LayerOptions::default(), &Silent).unwrap();
    assert_eq!(images.len(), 2, "a directory of its own that hides a name needs a top");
    assert_eq!(findings(&store), []);
    assert_eq!(store.repair_layer(&diff_id, &LayerOptions::default(), &Silent).unwrap(), Repaired::Sound);
    let directory = area.path().join("layers").join(diff_id.hex());
    let whole = held(&directory);
    assert_eq!(whole.len(), 7, "{whole:?}");
    let mut outcomes = std::collections::BTreeMap::<String, usize>::new();
    for (path, bytes) in &whole {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        for way in mutations(bytes) {
            match &way {
                None => fs::remove_file(path).unwrap(),
                Some(bytes) => fs::write(path, bytes).unwrap(),
            }
            let found = findings(&store);
            assert!(
                matches!(found.as_slice(), [Damage { object: Object::Layer(layer), .. }] if *layer == diff_id),
                "{name}: {found:?}"
            );
            let repaired = store.repair_layer(&diff_id, &LayerOptions::default(), &Silent).unwrap();
            let label = format!("{name}: {}", format!("{repaired:?}").split([' ', '(']).next().unwrap());
            *outcomes.entry(label).or_default() += 1;
            if repaired == Repaired::LostSkeleton {
                assert!(name == "skeleton.squashfs", "{name}");
                assert_eq!(findings(&store).len(), 1);
                // As it would be fetched again.
                let fetched = tar.as_slice();
                store.replace_layer(&diff_id, &fetched, &Keep::Whole, &LayerOptions::default(), &Silent).unwrap();
            } else {
                assert!(!matches!(repaired, Repaired::Sound | Repaired::Lost(_)), "{name}: {repaired:?}");
            }
            assert_eq!(findings(&store), [], "{name}");
            assert_eq!(exported(&store, &diff_id), tar, "{name}");
            store.root(&[diff_id], &LayerOptions::default(), &Silent).unwrap();
            assert!(held(&directory) == whole, "{name}: other files than before");
        }
    }
    let of = |label: &str| outcomes.get(label).copied().unwrap_or(0);
    assert!(of("image.squashfs: Rewritten") > 20, "{outcomes:?}");
    assert!(of("record: Record") > 20 && of("record~: Record") > 20, "{outcomes:?}");
}

#[test]
fn what_is_nowhere_else_is_named() {
    let area = tempfile::tempdir().unwrap();
    let store = open(area.path());
    let (tar, other) = pair();
    let (diff_id, _) = (ingest(&store, &tar), ingest(&store, &other));
    let image = area.path().join("layers").join(diff_id.hex()).join("image.squashfs");
    fs::write(&image, [0; 4096]).unwrap();
    let before = held(image.parent().unwrap());
    let repaired = store.repair_layer(&diff_id, &LayerOptions::default(), &Silent).unwrap();
    // The first file's second content is in the other layer, and its first one in the skeleton: nothing is lost but what neither has.
    assert!(matches!(repaired, Repaired::Rewritten { contents: 40, .. }), "{repaired:?}");
    fs::write(&image, [0; 4096]).unwrap();
    store
        .discard_damage(&Damage { object: Object::Layer(Digest::of(&other)), fault: umiak_store::Fault::Foreign })
        .unwrap();
    let Repaired::Lost(lost) = store.repair_layer(&diff_id, &LayerOptions::default(), &Silent).unwrap() else {
        panic!()
    };
    assert_eq!(lost.len(), 40);
    assert_eq!(lost.iter().find(|lost| lost.size == 200 + 39 * 700).unwrap().path.as_deref(), Some("/one39"));
    assert!(held(image.parent().unwrap()) == before, "a repair that cannot be done changes nothing");
}

#[test]
fn both_records_may_be_lost() {
    let area = tempfile::tempdir().unwrap();
    let store = open(area.path());
    let tar = layer(&tree(&mut Chance::new(4), 60).unwrap());
    let diff_id = ingest(&store, &tar);
    let directory = area.path().join("layers").join(diff_id.hex());
    let before = held(&directory);
    for bad in [None, Some(b"{}".as_slice())] {
        for name in ["record", "record~"] {
            match bad {
                None => fs::remove_file(directory.join(name)).unwrap(),
                Some(bytes) => fs::write(directory.join(name), bytes).unwrap(),
            }
        }
        assert_eq!(findings(&store).len(), 1);
        assert!(store.layer_record(&diff_id).is_err());
        assert_eq!(store.repair_layer(&diff_id, &LayerOptions::default(), &Silent).unwrap(), Repaired::Record);
        assert!(held(&directory) == before);
    }
}
