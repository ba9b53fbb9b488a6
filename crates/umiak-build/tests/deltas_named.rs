//! Deltas where their base is not, but its files are: what is made is the target, and what is lacking is told.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod common;
#[path = "common/deltas.rs"]
mod shelf;

use std::fs;

use common::{archive, releases};
use shelf::{Shelf, packed};
use umiak_build::BuildError;
use umiak_build::delta::Also;
use umiak_delta::DeltaError;
use umiak_layer::LayerWriter;
use umiak_spec::delta::Content;
use umiak_spec::{Digest, ImageReference, Limits};
use umiak_testkit::random::Chance;
use umiak_testkit::sample::SampleLayer;
use umiak_tree::{Metadata, TreePath};

type File = (String, Vec<u8>);

/// Files that compress badly, so that a delta pays.
fn files(seed: u64, count: usize) -> Vec<File> {
    let mut chance = Chance::new(seed);
    let mut file = |number: usize| {
        let size = 2000 + chance.below(5000);
        (format!("usr/lib/{seed}/{number}"), chance.bytes(size))
    };
    (0..count).map(&mut file).collect()
}

fn tar(files: &[File]) -> Vec<u8> {
    let mut tar = LayerWriter::new(Vec::new());
    for (name, content) in files {
        let path = TreePath::from_archive(name.as_bytes(), &Limits::default()).unwrap();
        tar.file(&path, &Metadata::root_owned(0o644), content.len() as u64, &mut content.as_slice()).unwrap();
    }
    tar.finish().unwrap()
}

/// The same with a few bytes changed in some.
fn changed(files: &[File]) -> Vec<File> {
    let mut files = files.to_vec();
    for (_, content) in files.iter_mut().step_by(3) {
        content.splice(700..703, *b"changed");
    }
    files
}

/// A delta from `base` to `target`, both of a common layer and one of files, in the layout `delta`.
fn published(shelf: &Shelf) -> (SampleLayer, Vec<File>) {
    let (bottom, _) = releases(3, 20, 5);
    let bottom = SampleLayer::plain(archive(&bottom));
    let files = files(1, 12);
    shelf.image("base", &[bottom.clone(), packed(&tar(&files))]);
    shelf.image("target", &[bottom.clone(), packed(&tar(&changed(&files)))]);
    shelf.work(|work| work.make_images(&shelf.at("base"), &shelf.at("target"), &shelf.at("delta"))).unwrap();
    (bottom, files)
}

fn apply(shelf: &Shelf, base: &str, also: &[Also]) -> Result<(), BuildError> {
    let rebuilt = shelf.work(|work| work.apply_images(&shelf.at(base), &shelf.at("delta"), &shelf.at("out"), also))?;
    assert_eq!(rebuilt.layers, 2);
    assert_eq!(shelf.layers("out"), shelf.layers("target"));
    fs::remove_dir_all(shelf.path("out")).unwrap();
    assert_eq!(shelf.litter(), Vec::<String>::new());
    Ok(())
}

#[test]
fn the_files_of_a_base_may_be_anywhere_in_another_image() {
    let shelf = Shelf::new();
    let (bottom, mut there) = published(&shelf);
    // Other names, another order, other files between them, two layers.
    there.reverse();
    for (number, (name, _)) in there.iter_mut().enumerate() {
        *name = format!("opt/{number}");
    }
    there.splice(5..5, files(2, 4));
    let (one, two) = there.split_at(7);
    shelf.image("other", &[bottom, packed(&tar(one)), packed(&tar(two))]);
    apply(&shelf, "other", &[]).unwrap();
}

#[test]
fn the_files_of_a_base_may_be_in_several_places() {
    let shelf = Shelf::new();
    let (bottom, files) = published(&shelf);
    let (one, rest) = files.split_at(3);
    let (two, three) = rest.split_at(4);
    shelf.image("one", &[bottom, packed(&tar(one))]);
    shelf.image("two", &[packed(&tar(two))]);
    let directory = shelf.path("three");
    for (name, content) in three {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let (image, path) = (Also::Image(shelf.at("two")), Also::Image(ImageReference::RootFs { path: directory }));
    apply(&shelf, "one", &[image.clone(), path]).unwrap();
    let file = Also::File(shelf.write("three.tar", &tar(three)));
    apply(&shelf, "one", &[image, file]).unwrap();
}

#[test]
fn what_is_nowhere_is_told_by_name() {
    let shelf = Shelf::new();
    let (bottom, files) = published(&shelf);
    shelf.image("other", &[bottom, packed(&tar(&files[2..]))]);
    let error = apply(&shelf, "other", &[]).unwrap_err();
    let BuildError::MissingFiles { count, bytes, told } = &error else { panic!("{error}") };
    assert_eq!((*count, *bytes), (2, (files[0].1.len() + files[1].1.len()) as u64));
    for ((name, content), told) in files.iter().zip(told) {
        assert_eq!(told, &format!("{name} ({})", Digest::of(content).short()));
    }
    assert!(!shelf.path("out").exists());
}

#[test]
fn names_that_are_damaged_make_nothing() {
    let shelf = Shelf::new();
    let (bottom, files) = published(&shelf);
    shelf.image("other", &[bottom, packed(&tar(&[&files[..], &files[..1]].concat()))]);
    apply(&shelf, "other", &[]).unwrap();
    let source = umiak_spec::DeltaManifest::parse(&manifest(&shelf), &Limits::default()).unwrap();
    let blob = source.part(Content::Names).unwrap().blob.digest;
    let path = shelf.path("delta/blobs/sha256").join(blob.hex());
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = apply(&shelf, "other", &[]).unwrap_err();
    assert!(
        matches!(&error, BuildError::Source(_))
            || matches!(&error, BuildError::Delta(error) if matches!(**error, DeltaError::Damaged { .. })),
        "{error}"
    );
    assert!(!shelf.path("out").exists());
}

/// The delta's manifest: the only one in its layout.
fn manifest(shelf: &Shelf) -> Vec<u8> {
    let index: serde_json::Value = serde_json::from_slice(&shelf.read("delta/index.json")).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    shelf.read(&format!("delta/blobs/sha256/{digest}"))
}
