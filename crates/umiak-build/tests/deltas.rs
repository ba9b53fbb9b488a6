//! Deltas of files and images: what is made is the target, whatever base and target are; what is not to be trusted makes nothing.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod common;
#[path = "common/deltas.rs"]
mod shelf;

use std::fs;

use common::{archive, releases};
use proptest::prelude::*;
use shelf::{Shelf, packed};
use umiak_build::BuildError;
use umiak_build::delta::{apply_file, inspect_file, make_file};
use umiak_delta::plan::Origin;
use umiak_delta::{DeltaError, Effort, MakeOptions};
use umiak_layer::LayerWriter;
use umiak_spec::delta::Content;
use umiak_spec::{Digest, Limits, Silent};
use umiak_testkit::random::Chance;
use umiak_testkit::sample::SampleLayer;
use umiak_tree::{Metadata, TreePath};

const FAST: MakeOptions = MakeOptions { effort: Effort::Fast, threads: std::num::NonZeroUsize::MIN, memory: 1 << 30 };

/// Makes and applies; whether a delta was worth making.
fn round_trip(shelf: &Shelf, base: &[u8], target: &[u8]) -> bool {
    let (base, wanted) = (shelf.write("base", base), shelf.write("target", target));
    let (delta, out) = (shelf.path("delta"), shelf.path("out"));
    let made = make_file(&base, &wanted, &delta, &FAST, &Limits::default(), &Silent).unwrap();
    assert_eq!(delta.exists(), made.worth);
    if made.worth {
        assert_eq!(fs::metadata(&delta).unwrap().len(), made.size);
        let whole = apply_file(&base, &delta, &out, &Limits::default(), &Silent).unwrap();
        assert_eq!((whole.size, whole.digest), (target.len() as u64, Digest::of(target)));
        assert_eq!(fs::read(&out).unwrap(), target);
        fs::remove_file(delta).unwrap();
    }
    assert_eq!(shelf.litter(), Vec::<String>::new());
    made.worth
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn archives_of_any_trees_come_back(seed in 0..u64::MAX, size in 1..40_usize, changes in 0..30_usize) {
        let (base, target) = releases(seed, size, changes);
        round_trip(&Shelf::new(), &archive(&base), &archive(&target));
    }

    #[test]
    fn any_bytes_come_back(
        base in prop::collection::vec(any::<u8>(), 0..5000),
        target in prop::collection::vec(any::<u8>(), 0..5000),
        cut in 0..5000_usize,
    ) {
        let shelf = Shelf::new();
        round_trip(&shelf, &base, &target);
        // Something of the base, and something else behind it.
        let mixed = [&base[..cut.min(base.len())], &target].concat();
        round_trip(&shelf, &base, &mixed);
    }

    #[test]
    fn archives_that_break_off_come_back_as_plain_bytes(seed in 0..u64::MAX, keep in 0..100_usize) {
        let (base, target) = releases(seed, 12, 6);
        let (base, target) = (archive(&base), archive(&target));
        let part = |bytes: &[u8]| bytes[..bytes.len() * keep / 100].to_vec();
        let shelf = Shelf::new();
        round_trip(&shelf, &part(&base), &target);
        round_trip(&shelf, &base, &part(&target));
        round_trip(&shelf, &part(&base), &part(&target));
    }
}

#[test]
fn random_bytes_are_not_worth_a_delta_and_an_old_file_stays() {
    let shelf = Shelf::new();
    let mut chance = Chance::new(1);
    let mut noise = || (0..30_000).map(|_| chance.bits().to_be_bytes()[0]).collect::<Vec<u8>>();
    let noise = [noise(), noise()];
    let paths = [shelf.write("a", &noise[0]), shelf.write("b", &noise[1])];
    let delta = shelf.write("delta", b"what was there");
    let made = make_file(&paths[0], &paths[1], &delta, &FAST, &Limits::default(), &Silent).unwrap();
    assert!(!made.worth && made.size > 30_000);
    assert_eq!(shelf.read("delta"), b"what was there");
    assert!(round_trip(&shelf, &noise[0], &noise[0]), "a delta to itself is always worth it");
}

/// Two releases with much in common as tars: of each file some bytes are others, one goes and one comes.
fn alike(seed: u64) -> [Vec<u8>; 2] {
    let mut chance = Chance::new(seed);
    let mut tars = [LayerWriter::new(Vec::new()), LayerWriter::new(Vec::new())];
    let add = |tar: &mut LayerWriter<Vec<u8>>, name: String, content: &[u8]| {
        let path = TreePath::from_archive(name.as_bytes(), &Limits::default()).unwrap();
        tar.file(&path, &Metadata::root_owned(0o644), content.len() as u64, &mut &content[..]).unwrap();
    };
    add(&mut tars[0], "gone".into(), &chance.bytes(3000));
    for number in 0..8 {
        let size = 1000 + chance.below(6000);
        let mut content = chance.bytes(size);
        add(&mut tars[0], format!("usr/lib/{number}"), &content);
        if number % 3 > 0 {
            for _ in 0..5 {
                let at = chance.below(content.len() - 10);
                content.splice(at..at + 3, chance.bytes(7));
            }
        }
        add(&mut tars[1], format!("usr/lib/{number}"), &content);
    }
    add(&mut tars[1], "new".into(), b"what is new");
    tars.map(|tar| tar.finish().unwrap())
}

/// Two releases, and the delta between them.
fn pair(shelf: &Shelf) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let [base, target] = alike(7);
    let paths = (shelf.write("base", &base), shelf.write("target", &target), shelf.path("delta"));
    assert!(make_file(&paths.0, &paths.1, &paths.2, &FAST, &Limits::default(), &Silent).unwrap().worth);
    let delta = shelf.read("delta");
    (base, target, delta)
}

#[test]
fn no_damaged_delta_or_base_makes_anything() {
    let shelf = Shelf::new();
    let (base, target, delta) = pair(&shelf);
    let out = shelf.path("out");
    let fails = |base: &[u8], delta: &[u8], what: &str| {
        let (base, delta) = (shelf.write("base", base), shelf.write("delta", delta));
        let made = apply_file(&base, &delta, &out, &Limits::default(), &Silent);
        assert!(matches!(made, Err(BuildError::Delta(_))), "{what}: {made:?}");
        assert!(!out.exists(), "{what}");
    };
    // All of head and index; of the streams, which have digests, some.
    for at in (0..600).chain((600..delta.len()).step_by(31)) {
        let mut changed = delta.clone();
        changed[at] ^= 1 << (at % 8);
        fails(&base, &changed, &format!("byte {at} of the delta"));
    }
    for length in (0..delta.len()).step_by(53) {
        fails(&base, &delta[..length], &format!("{length} bytes of the delta"));
    }
    fails(&base, &[&delta[..], b"\0"].concat(), "a byte more in the delta");
    for at in (0..base.len()).step_by(1997) {
        let mut changed = base.clone();
        changed[at] ^= 0x20;
        fails(&changed, &delta, &format!("byte {at} of the base"));
    }
    fails(&base[..base.len() - 512], &delta, "a short base");
    fails(&target, &delta, "the target as base");
    fails(b"", &delta, "an empty base");
    assert_eq!(shelf.litter(), Vec::<String>::new());
}

#[test]
fn what_contents_take_adds_up() {
    let shelf = Shelf::new();
    let (_, _, delta) = pair(&shelf);
    let base = shelf.path("base");
    let inspected =
        inspect_file(&shelf.path("delta"), Some(&base), &shelf.path("scratch"), &Limits::default(), &Silent).unwrap();
    assert_eq!(inspected.size, delta.len() as u64);
    let contents = inspected.contents.unwrap();
    assert!(contents.iter().all(|content| !content.name.is_empty()));
    for content in &contents {
        let has_source = matches!(content.cost.origin, Origin::Kept(_) | Origin::Patched { .. } | Origin::Again(_));
        assert_eq!(content.source.is_some(), has_source);
        let free = matches!(content.cost.origin, Origin::Kept(_) | Origin::Again(_));
        assert!(!free || content.cost.packed == 0);
    }
    let taken: u64 = contents.iter().map(|content| content.cost.packed).sum();
    let of_contents = inspected.index.streams.iter().filter(|stream| stream.id.lane.name() != "skeleton");
    let stored: u64 = of_contents.map(|stream| stream.stored).sum();
    // A model's last bytes may be ahead of the last content.
    assert!(taken <= stored && stored - taken <= 16, "{taken} of {stored}");
}

/// Three layers, of which the second changes.
fn stacks() -> [Vec<SampleLayer>; 2] {
    let [base, target] = alike(11);
    let (bottom, top) = releases(12, 20, 5);
    let (bottom, top) = (archive(&bottom), archive(&top));
    [
        vec![SampleLayer::plain(bottom.clone()), packed(&base), packed(&top)],
        vec![SampleLayer::plain(bottom), packed(&target), packed(&top)],
    ]
}

#[test]
fn images_come_back_layer_by_layer() {
    let shelf = Shelf::new();
    let [base, target] = stacks();
    shelf.image("base", &base);
    shelf.image("target", &target);
    let wanted = shelf.layers("target");
    for out in [shelf.archive("delta.tar"), shelf.at("delta")] {
        let made = shelf.work(|work| work.make_images(&shelf.at("base"), &shelf.at("target"), &out)).unwrap();
        assert_eq!(made.manifest.reused.len(), 2, "bottom and top");
        assert_eq!(made.indexes.len(), 1);
        let again = shelf.at("again");
        let rebuilt = shelf.work(|work| work.apply_images(&shelf.at("base"), &out, &again, &[])).unwrap();
        assert_eq!((rebuilt.layers, rebuilt.rebuilt, rebuilt.config), (3, 1, wanted.0));
        assert_eq!(shelf.layers("again"), wanted);
        fs::remove_dir_all(shelf.path("again")).unwrap();
    }
    assert_eq!(shelf.litter(), Vec::<String>::new());
}

#[test]
fn any_image_with_the_base_s_layers_is_a_base() {
    let shelf = Shelf::new();
    let [base, target] = stacks();
    shelf.image("base", &base);
    shelf.image("target", &target);
    let there = shelf.archive("there.tar");
    shelf.work(|work| work.make_images(&shelf.at("base"), &shelf.at("target"), &there)).unwrap();
    shelf.work(|work| work.apply_images(&shelf.at("base"), &there, &shelf.at("made"), &[])).unwrap();
    // What was made has the target's layers, uncompressed, and another manifest; one more below changes nothing.
    let back = shelf.archive("back.tar");
    shelf.work(|work| work.make_images(&shelf.at("target"), &shelf.at("base"), &back)).unwrap();
    let more = packed(&alike(99)[0]);
    shelf.image("more", &[vec![more], target].concat());
    for from in ["made", "more"] {
        let rebuilt = shelf.work(|work| work.apply_images(&shelf.at(from), &back, &shelf.at("again"), &[])).unwrap();
        assert_eq!((rebuilt.config, shelf.layers("again")), (shelf.layers("base").0, shelf.layers("base")), "{from}");
    }
}

#[test]
fn the_same_image_is_had_with_its_own_manifest() {
    let shelf = Shelf::new();
    let blobs = shelf.image("one", &stacks()[0]);
    let delta = shelf.archive("delta.tar");
    let made = shelf.work(|work| work.make_images(&shelf.at("one"), &shelf.at("one"), &delta)).unwrap();
    assert!(made.manifest.parts.is_empty() && made.stored.unwrap().size < 3000);
    let rebuilt = shelf.work(|work| work.apply_images(&shelf.at("one"), &delta, &shelf.at("again"), &[])).unwrap();
    assert_eq!((rebuilt.rebuilt, rebuilt.manifest), (0, blobs.last().unwrap().digest));
}

#[test]
fn the_same_delta_is_made_by_any_number_of_threads() {
    let shelf = Shelf::new();
    let [base, target] = stacks();
    shelf.image("base", &base);
    shelf.image("target", &target);
    let digests = [1, 2, 5].map(|threads| {
        let options = MakeOptions { threads: std::num::NonZeroUsize::new(threads).unwrap(), ..FAST };
        let made = shelf.work(|work| {
            let work = umiak_build::delta::Work { options: &options, ..*work };
            work.make_images(&shelf.at("base"), &shelf.at("target"), &shelf.archive("delta.tar"))
        });
        (made.unwrap().stored.unwrap().digest, Digest::of(&shelf.read("delta.tar")))
    });
    assert!(digests.iter().all(|digest| *digest == digests[0]));
}

#[test]
fn published_deltas_are_chosen_by_their_base() {
    let shelf = Shelf::new();
    let [zero, two] = alike(3);
    let [one, _] = alike(4);
    let layers = [vec![packed(&zero)], vec![packed(&one), packed(&zero)], vec![packed(&two)]];
    for (number, layers) in layers.iter().enumerate() {
        shelf.image(&number.to_string(), layers);
    }
    let bases = [shelf.at("0"), shelf.at("1")];
    let made = shelf.work(|work| work.publish_images(&bases, &shelf.at("2"), Some("from-{}"))).unwrap();
    assert_eq!(made.len(), 2);
    let wanted = shelf.layers("2");
    for base in ["0", "1", "2"] {
        let rebuilt = shelf.work(|work| work.apply_images(&shelf.at(base), &shelf.at("2"), &shelf.at("out"), &[]));
        if base == "2" {
            let error = rebuilt.unwrap_err();
            assert!(matches!(&error, BuildError::NoDelta { known, .. } if known.len() == 2), "{error}");
        } else {
            assert_eq!(rebuilt.unwrap().config, wanted.0);
            assert_eq!(shelf.layers("out"), wanted);
        }
    }
    let error = shelf.work(|work| work.inspect_images(&shelf.at("2"), None)).unwrap_err();
    assert!(error.to_string().contains("there are deltas"), "{error}");
    let inspected = shelf.work(|work| work.inspect_images(&shelf.at("2"), Some(&shelf.at("1")))).unwrap();
    assert!(inspected.parts.iter().any(|(_, inside)| inside.as_ref().is_some_and(|inside| inside.contents.is_some())));
    let index = String::from_utf8(shelf.read("2/index.json")).unwrap();
    assert_eq!(index.matches("\"from-").count(), 2, "{index}");
    assert!(index.contains("\"v\""), "the target keeps its tag");
}

#[test]
fn a_base_that_lacks_layers_is_told_before_anything_is_fetched() {
    let shelf = Shelf::new();
    let [base, target] = stacks();
    let blobs = shelf.image("base", &base);
    shelf.image("target", &target);
    let delta = shelf.archive("delta.tar");
    shelf.work(|work| work.make_images(&shelf.at("base"), &shelf.at("target"), &delta)).unwrap();
    // Of this base, nothing but the documents can be had.
    shelf.image("other", &base[..2]);
    for blob in &blobs[..2] {
        fs::remove_file(shelf.path("other/blobs/sha256").join(blob.digest.hex())).unwrap();
    }
    let error = shelf.work(|work| work.apply_images(&shelf.at("other"), &delta, &shelf.at("out"), &[])).unwrap_err();
    let BuildError::NotTheBase { missing, .. } = &error else { panic!("{error}") };
    assert_eq!(missing, &[base[2].diff_id]);
    assert!(!shelf.path("out").exists());
}

#[test]
fn a_damaged_blob_of_an_artifact_is_found() {
    let shelf = Shelf::new();
    let [base, target] = stacks();
    shelf.image("base", &base);
    shelf.image("target", &target);
    let made = shelf.work(|work| work.make_images(&shelf.at("base"), &shelf.at("target"), &shelf.at("delta"))).unwrap();
    // Names are not looked at where the base is.
    for part in made.manifest.parts.iter().filter(|part| part.content != Content::Names) {
        let path = shelf.path("delta/blobs/sha256").join(part.blob.digest.hex());
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        fs::write(&path, bad).unwrap();
        let result = shelf.work(|work| work.apply_images(&shelf.at("base"), &shelf.at("delta"), &shelf.at("out"), &[]));
        let error = result.unwrap_err();
        assert!(matches!(error, BuildError::Source(_) | BuildError::Delta(_)), "{error}");
        assert!(!shelf.path("out").exists());
        fs::write(&path, good).unwrap();
    }
}

#[test]
fn a_result_is_made_by_one_at_a_time() {
    let shelf = Shelf::new();
    let (_, target, _) = pair(&shelf);
    let beside = fs::File::create(shelf.path(".out.umiak")).unwrap();
    beside.lock().unwrap();
    let apply =
        || apply_file(&shelf.path("base"), &shelf.path("delta"), &shelf.path("out"), &Limits::default(), &Silent);
    assert!(matches!(apply(), Err(BuildError::Busy(_))));
    assert!(shelf.path(".out.umiak").exists(), "it is the other's");
    // The other was killed.
    drop(beside);
    fs::write(shelf.path(".out.umiak"), vec![7; target.len() * 2]).unwrap();
    apply().unwrap();
    assert_eq!(shelf.read("out"), target);
    assert_eq!(shelf.litter(), Vec::<String>::new());
    // A link laid beside is not followed.
    std::os::unix::fs::symlink(shelf.path("base"), shelf.path(".out.umiak")).unwrap();
    assert!(apply().is_err());
}

#[test]
fn a_target_beyond_the_limits_is_refused_before_it_is_begun() {
    let shelf = Shelf::new();
    let (_, target, _) = pair(&shelf);
    let limits = Limits { expanded: target.len() as u64 - 1, ..Limits::default() };
    let result = apply_file(&shelf.path("base"), &shelf.path("delta"), &shelf.path("out"), &limits, &Silent);
    assert!(matches!(result, Err(BuildError::Delta(error)) if matches!(*error, DeltaError::Limit { .. })));
    assert_eq!(shelf.litter(), Vec::<String>::new());
}

#[test]
fn a_delta_of_a_later_version_says_so() {
    let shelf = Shelf::new();
    let (_, _, mut delta) = pair(&shelf);
    delta[7] = 9;
    shelf.write("delta", &delta);
    let result = apply_file(&shelf.path("base"), &shelf.path("delta"), &shelf.path("out"), &Limits::default(), &Silent);
    assert!(matches!(result, Err(BuildError::Delta(error)) if matches!(*error, DeltaError::Version(9))));
}
