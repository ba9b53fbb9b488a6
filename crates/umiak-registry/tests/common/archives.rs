//! Archives as other programs write them.

use std::fs;
use std::path::Path;

use umiak_testkit::sample::{self, SampleImage};

use super::tar;

/// All files of a layout in one archive.
pub fn archive_of(layout: &Path) -> Vec<u8> {
    let mut files = vec!["oci-layout".to_owned(), "index.json".to_owned()];
    for entry in fs::read_dir(layout.join("blobs/sha256")).unwrap() {
        files.push(format!("blobs/sha256/{}", entry.unwrap().file_name().to_string_lossy()));
    }
    let contents: Vec<Vec<u8>> = files.iter().map(|file| fs::read(layout.join(file)).unwrap()).collect();
    let members: Vec<(&str, &[u8])> =
        files.iter().map(String::as_str).zip(contents.iter().map(Vec::as_slice)).collect();
    tar(&members)
}

/// What `docker save` wrote before it knew OCI layouts.
pub fn docker_archive(sample: &SampleImage, tags: &str) -> Vec<u8> {
    let blobs = sample::image(sample);
    let config = &blobs[sample.layers.len()];
    let manifest = format!(
        r#"[{{"Config":"{}.json","RepoTags":{tags},"Layers":["a/layer.tar","b/layer.tar"]}}]"#,
        config.digest.hex()
    );
    tar(&[
        ("a/layer.tar", &sample.layers[0].blob),
        ("b/layer.tar", &sample.layers[1].blob),
        (&format!("{}.json", config.digest.hex()), &config.bytes),
        ("manifest.json", manifest.as_bytes()),
    ])
}
