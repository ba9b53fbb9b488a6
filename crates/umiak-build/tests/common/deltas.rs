//! Images as layouts in a scratch directory, and deltas between them.

#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods, reason = "shared by several test programs")]

use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use umiak_build::delta::Work;
use umiak_delta::{Effort, MakeOptions};
use umiak_registry::{Context, Place, RegistrySettings};
use umiak_spec::{Digest, ImageReference, Limits, Platform, Silent, media_type};
use umiak_testkit::sample::{Blob, SampleImage, SampleLayer, image, layout};

/// A scratch directory with what is made in it.
pub struct Shelf {
    directory: tempfile::TempDir,
    sources: Context,
    options: MakeOptions,
}

impl Shelf {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let sources = Context {
            cache: directory.path().join("cache"),
            order: vec![Place::Remote],
            docker_socket: directory.path().join("no.sock"),
            registry: RegistrySettings { insecure: true, ..RegistrySettings::default() },
            limits: Limits::default(),
        };
        let threads = NonZeroUsize::new(2).unwrap();
        let options = MakeOptions { effort: Effort::Fast, threads, ..MakeOptions::default() };
        fs::create_dir(directory.path().join("scratch")).unwrap();
        Self { directory, sources, options }
    }

    pub fn sources(&self) -> &Context {
        &self.sources
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Whether scratch files are left, and whether something is beside its place.
    pub fn litter(&self) -> Vec<String> {
        let mut names = Vec::new();
        for directory in [self.directory.path().to_owned(), self.path("scratch")] {
            for entry in fs::read_dir(directory).unwrap() {
                names.push(entry.unwrap().file_name().into_string().unwrap());
            }
        }
        names.retain(|name| name.starts_with('.'));
        names
    }

    /// The layout `name`.
    pub fn at(&self, name: &str) -> ImageReference {
        format!("oci:{}:v", self.path(name).display()).parse().unwrap()
    }

    /// The archive `name`.
    pub fn archive(&self, name: &str) -> ImageReference {
        format!("oci-archive:{}", self.path(name).display()).parse().unwrap()
    }

    /// Writes an image of these layers as layout; gives its blobs.
    pub fn image(&self, name: &str, layers: &[SampleLayer]) -> Vec<Blob> {
        let platform = Platform::host().to_string();
        let blobs = image(&SampleImage { platform, layers: layers.to_vec() });
        layout(&self.path(name), "v", &blobs).unwrap();
        blobs
    }

    pub fn work<T>(&self, work: impl FnOnce(&Work<'_>) -> T) -> T {
        work(&Work {
            sources: &self.sources,
            platforms: &[],
            scratch: &self.path("scratch"),
            options: &self.options,
            limits: Limits::default(),
            observer: &Silent,
        })
    }

    /// The image's ID and the uncompressed layers in the layout `name`, all compared with what names them.
    pub fn layers(&self, name: &str) -> (Digest, Vec<Vec<u8>>) {
        let source = umiak_registry::open(&self.at(name), &self.sources).unwrap();
        let image = source.resolve(&[]).unwrap();
        let layers = image.layers.iter().map(|layer| {
            let blob =
                source.blob(&umiak_spec::Descriptor::new(layer.media_type.clone(), layer.digest, layer.size), &Silent);
            let mut plain = Vec::new();
            let reader = blob.unwrap().reader();
            let mut reader = umiak_layer::decompress(reader, &Limits::default()).unwrap();
            std::io::Read::read_to_end(&mut reader, &mut plain).unwrap();
            assert_eq!(Some(Digest::of(&plain)), layer.diff_id);
            plain
        });
        (Digest::of(image.config.text.as_bytes()), layers.collect())
    }
}

/// A layer whose blob is compressed.
pub fn packed(tar: &[u8]) -> SampleLayer {
    let blob = zstd::encode_all(tar, 3).unwrap();
    SampleLayer { blob, media_type: format!("{}+zstd", media_type::OCI_LAYER), diff_id: Digest::of(tar) }
}
