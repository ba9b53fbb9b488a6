//! `umiak image measure` on the command line: the documents that CI exchanges.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod harness;

use std::path::Path;

use harness::Place;
use umiak_layer::LayerWriter;
use umiak_spec::Digest;
use umiak_testkit::sample::{SampleImage, SampleLayer, image, index, layout};
use umiak_tree::{Metadata, TreePath};

fn tar(files: &[(&str, usize)]) -> Vec<u8> {
    let mut archive = LayerWriter::new(Vec::new());
    for (path, size) in files {
        let path = TreePath::from_archive(path.as_bytes(), &umiak_spec::Limits::default()).unwrap();
        let content = vec![b'x'; *size];
        archive.file(&path, &Metadata::root_owned(0o644), *size as u64, &mut content.as_slice()).unwrap();
    }
    archive.finish().unwrap()
}

fn sample(platform: &str, layers: &[&[u8]]) -> SampleImage {
    let layers = layers.iter().map(|layer| SampleLayer::plain(layer.to_vec())).collect();
    SampleImage { platform: platform.into(), layers }
}

fn place(name: &str) -> (Place, Vec<u8>, Vec<u8>) {
    let place = Place::new(name);
    let (files, empty) = (tar(&[("bin/tool", 5000), ("etc/settings", 10)]), vec![0; 1024]);
    let at = |name: &str| place.path().join(name);
    layout(&at("one"), "v", &image(&sample("linux/amd64", &[&files, &empty]))).unwrap();
    let both = index(&[sample("linux/amd64", &[&files, &empty]), sample("linux/arm64", &[&empty, &files])]);
    layout(&at("both"), "v", &both).unwrap();
    (place, files, empty)
}

#[test]
fn documents_of_builds_become_the_publishers() {
    let (place, files, empty) = place("measure");
    let measure = "image measure --platform linux/amd64 oci:one:v";
    let said = place.done(measure);
    let (files, empty) = (Digest::of(&files), Digest::of(&empty));
    assert!(said.out.starts_with("{\"fs_block_size\":4096,\"layers\":{\"sha256:"), "{}", said.out);
    assert!(said.out.contains(&format!("\"{empty}\":{{\"size\":0,\"usage\":20562}}")), "{}", said.out);
    // Two directories and the root, three blocks of files, two of the store; the rest is what makes the tar again.
    let usage = said.out.split(&format!("\"{files}\":{{\"size\":5010,\"usage\":")).nth(1).unwrap();
    let usage: u64 = usage.split('}').next().unwrap().parse().unwrap();
    assert!((200..700).contains(&(usage - 8 * 4096)), "{usage}");
    let small = place.done(&format!("{measure} --fs-block-size 1024"));
    assert!(small.out.contains(&format!("\"{empty}\":{{\"size\":0,\"usage\":{}}}", 5 * 1024 + 82)), "{}", small.out);

    let said = place.done(&format!("{measure} -o amd64.json"));
    assert!(said.out.is_empty() && said.err.contains("Measured"), "{}", said.err);
    assert!(said.err.contains("2 layers: 4.9 KiB in files"), "{}", said.err);
    place.done("image measure --platform linux/arm64 oci:both:v -o arm64.json");
    place.done("image measure --merge amd64=amd64.json arm64=arm64.json -o layers_meta.json");
    let merged = place.read("layers_meta.json");
    assert!(merged.starts_with("{\"amd64\":{\"fs_block_size\":4096,\"layers\":{") && merged.contains("},\"arm64\":{"));
    let all = place.done("image measure --all-platforms oci:both:v").out;
    assert!(all.contains("\"archive_size\":1024") && all.starts_with("{\"amd64\":{"), "{all}");
    assert!(all.contains(&format!("\"{empty}\":{{\"size\":0,\"usage\":12370,")), "the lowest layer of arm64: {all}");
}

#[test]
fn our_own_document_has_more_and_can_be_merged_too() {
    let (place, files, _) = place("measure-umiak");
    place.done("image measure --format umiak --device --platform linux/amd64 oci:one:v -o one.json");
    place.done("image measure --format umiak --platform linux/arm64 oci:both:v -o other.json");
    let merged = place.done("image measure --format umiak --merge one.json other.json").out;
    assert!(
        merged.starts_with("{\"schemaVersion\":1,\"platforms\":{\"linux/amd64\":{\"services\":{\"oci:one:v\":"),
        "{merged}"
    );
    assert!(merged.contains(&Digest::of(&files).to_string()) && merged.contains("\"device1\":{\"image\":"));
    assert_eq!(merged.matches("\"diffID\"").count(), 2);
}

#[test]
fn what_cannot_be_is_said() {
    let (place, ..) = place("measure-wrong");
    let wrong = |line: &str, code: i32, text: &str| {
        let said = place.run(line);
        assert_eq!(said.code, code, "{line}\n{}", said.err);
        assert!(said.err.contains(text) && said.out.is_empty(), "{line}\n{}", said.err);
    };
    wrong("image measure", 2, "IMAGE");
    wrong("image measure oci:one:v --fs-block-size 3000", 2, "1024, 2048 and 4096");
    wrong("image measure --merge one.json", 2, "ARCHITECTURE=FILE");
    wrong("image measure --merge amd64=none.json", 1, "none.json");
    wrong("image measure --platform linux/riscv64 oci:both:v", 2, "linux/riscv64");
    place.write("broken.json", "{");
    wrong("image measure --merge amd64=broken.json", 4, "broken.json");
    let dry = place.done("image measure --platform linux/amd64 oci:one:v -o new.json --dry-run");
    assert!(dry.err.contains("new.json") && !Path::new(&place.path().join("new.json")).exists());
}
