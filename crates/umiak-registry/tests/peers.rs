//! Layouts and archives that skopeo and umoci make.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;
use std::path::Path;

use common::{assert_layers, bytes, context, image, platform, run, source};
use umiak_spec::{Limits, Silent};
use umiak_testkit::sample;

fn sample_layout(directory: &Path) -> sample::SampleImage {
    let sample = image("linux/amd64", 5, 100_000);
    sample::layout(directory, "1", &sample::image(&sample)).unwrap();
    sample
}

#[test]
#[ignore = "needs: skopeo"]
fn archives_of_skopeo_give_the_layers_they_were_made_from() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let place = |name: &str| directory.path().join(name).display().to_string();
    let sample = sample_layout(&directory.path().join("layout"));
    let from = format!("oci:{}:1", place("layout"));
    let (docker, oci) = (place("docker.tar"), place("oci.tar"));
    let name = "registry.example/team/app:1";
    run("skopeo", &["copy", "-q", &from, &format!("docker-archive:{docker}:{name}")]);
    run("skopeo", &["copy", "-q", "--dest-compress-format=gzip", &from, &format!("oci-archive:{oci}:1")]);

    for reference in [format!("docker-archive:{docker}"), format!("docker-archive:{docker}:{name}")] {
        let source = source(&reference, &context).unwrap();
        let found = source.resolve(&[platform("linux/amd64")]).unwrap();
        assert!(found.config.text.contains("/bin/app"));
        assert_layers(source.as_ref(), &found, &sample);
    }
    let source = source(&format!("oci-archive:{oci}:1"), &context).unwrap();
    let found = source.resolve(&[]).unwrap();
    for (layer, expected) in found.layers.iter().zip(&sample.layers) {
        let blob = source.fetch(layer, &Silent).unwrap();
        let index = umiak_layer::index(blob.reader(), &Limits::default(), &Silent).unwrap();
        assert_eq!(Some(index.diff_id), layer.diff_id);
        assert_eq!(index.diff_id, expected.diff_id);
    }
}

#[test]
#[ignore = "needs: skopeo"]
fn layouts_of_skopeo_in_gzip_and_zstd_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let place = |name: &str| directory.path().join(name).display().to_string();
    let sample = sample_layout(&directory.path().join("layout"));
    let from = format!("oci:{}:1", place("layout"));
    for format in ["gzip", "zstd"] {
        let to = format!("oci:{}:{format}", place("copies"));
        run("skopeo", &["copy", "-q", "--dest-compress", &format!("--dest-compress-format={format}"), &from, &to]);
    }
    for format in ["gzip", "zstd"] {
        let source = source(&format!("oci:{}:{format}", place("copies")), &context).unwrap();
        let found = source.resolve(&[]).unwrap();
        for (layer, expected) in found.layers.iter().zip(&sample.layers) {
            let blob = source.fetch(layer, &Silent).unwrap();
            let mut plain = Vec::new();
            let mut reader = umiak_layer::decompress(blob.reader(), &Limits::default()).unwrap();
            std::io::Read::read_to_end(&mut reader, &mut plain).unwrap();
            assert_eq!(plain, expected.blob, "{format}");
        }
    }
}

#[test]
#[ignore = "needs: umoci"]
fn a_layout_of_umoci_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let layout = directory.path().join("layout").display().to_string();
    let root = directory.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("file"), "content").unwrap();
    let image = format!("{layout}:1");
    run("umoci", &["init", "--layout", &layout]);
    run("umoci", &["new", "--image", &image]);
    run("umoci", &["insert", "--rootless", "--image", &image, &root.display().to_string(), "/srv"]);
    run("umoci", &["config", "--image", &image, "--architecture", "arm64", "--config.cmd", "/srv/file"]);
    let source = source(&format!("oci:{image}"), &context).unwrap();
    let found = source.resolve(&[platform("linux/arm64")]).unwrap();
    assert!(found.config.text.contains("/srv/file"));
    let blob = source.fetch(&found.layers[0], &Silent).unwrap();
    assert_eq!(bytes(&blob).len() as u64, found.layers[0].size);
    let index = umiak_layer::index(blob.reader(), &Limits::default(), &Silent).unwrap();
    assert_eq!(Some(index.diff_id), found.layers[0].diff_id);
}
