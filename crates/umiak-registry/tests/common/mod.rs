//! What the tests of this crate share: a context, small archives, sample images.

#![allow(clippy::unwrap_used, dead_code, reason = "a test may panic, and not every test uses everything")]

use std::io::Read as _;
use std::path::Path;

use umiak_layer::LayerWriter;
use umiak_registry::{BlobFile, Context, Error, Image, Place, Source, open};
use umiak_spec::{Limits, Platform};
use umiak_testkit::sample::{SampleImage, SampleLayer};
use umiak_tree::{Metadata, TreePath};

pub mod archives;
pub mod copying;
pub mod deltas;
pub mod failing;
pub mod remote;
pub mod watch;

/// Everything under `directory`: no daemon, no credentials, no environment.
pub fn context(directory: &Path) -> Context {
    Context {
        cache: directory.join("cache"),
        order: vec![Place::Remote, Place::Local],
        docker_socket: directory.join("docker.sock"),
        registry: remote::settings(),
        limits: Limits::default(),
    }
}

/// The source that `reference` names.
pub fn source(reference: &str, context: &Context) -> Result<Box<dyn Source>, Error> {
    open(&reference.parse().unwrap(), context)
}

pub fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

/// An uncompressed archive of plain files.
pub fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = LayerWriter::new(Vec::new());
    for (name, content) in files {
        let path = TreePath::from_archive(name.as_bytes(), &Limits::default()).unwrap();
        let mut content = *content;
        writer.file(&path, &Metadata::root_owned(0o644), content.len() as u64, &mut content).unwrap();
    }
    writer.finish().unwrap()
}

/// An image of two layers whose bytes depend on `seed`; the first is `size` bytes and a little more.
pub fn image(platform: &str, seed: u8, size: usize) -> SampleImage {
    let content: Vec<u8> = (0..size).map(|at| (at.wrapping_mul(31) >> 3).to_le_bytes()[0] ^ seed).collect();
    let layers = [tar(&[("bin/app", &content)]), tar(&[("etc/seed", &[seed])])];
    SampleImage { platform: platform.into(), layers: layers.map(SampleLayer::plain).into() }
}

pub fn bytes(blob: &BlobFile) -> Vec<u8> {
    let mut bytes = Vec::new();
    blob.reader().read_to_end(&mut bytes).unwrap();
    bytes
}

/// Fetches every layer and compares it with the sample's.
pub fn assert_layers(source: &dyn Source, found: &Image, expected: &SampleImage) {
    assert_eq!(found.layers.len(), expected.layers.len());
    for (layer, sample) in found.layers.iter().zip(&expected.layers) {
        assert_eq!(layer.diff_id, Some(sample.diff_id));
        assert_eq!(bytes(&source.fetch(layer, &umiak_spec::Silent).unwrap()), sample.blob);
    }
}

/// The whole chain of an error's causes.
pub fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// Runs a peer program; fails loudly when it is missing or fails.
pub fn run(program: &str, arguments: &[&str]) {
    let output = std::process::Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} does not start: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
