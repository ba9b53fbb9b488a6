//! A sample image in a registry that fails as it is told.

use std::path::Path;

use umiak_registry::{Context, Error};
use umiak_spec::Silent;
use umiak_testkit::http::Fault;
use umiak_testkit::sample::{self, Blob, SampleImage};

use super::remote::{Fake, path};
use super::{assert_layers, context, image, platform, source};

/// Bytes of the first layer's file.
pub const SIZE: usize = 600_000;

/// A sample image in a failing registry, and an empty cache.
pub struct Setting {
    pub directory: tempfile::TempDir,
    pub context: Context,
    pub sample: SampleImage,
    pub blobs: Vec<Blob>,
    pub fake: Fake,
}

/// A fresh one.
pub fn setting() -> Setting {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let sample = image("linux/amd64", 1, SIZE);
    let blobs = sample::image(&sample);
    let fake = Fake::start(&blobs);
    Setting { directory, context, sample, blobs, fake }
}

impl Setting {
    /// The next requests for the first layer fail.
    pub fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.fake.files.fail(&path(&self.blobs[0]), faults);
    }

    /// Pulls everything and compares it.
    pub fn pull(&self) {
        let source = source(&self.fake.reference(), &self.context).unwrap();
        let found = source.resolve(&[platform("linux/amd64")]).unwrap();
        assert_layers(source.as_ref(), &found, &self.sample);
    }

    /// The error of pulling the first layer.
    pub fn refused(&self) -> Error {
        let source = source(&self.fake.reference(), &self.context).unwrap();
        let found = source.resolve(&[]).unwrap();
        source.fetch(&found.layers[0], &Silent).unwrap_err()
    }

    /// Where the requests for the first layer began.
    pub fn starts(&self) -> Vec<u64> {
        self.fake.starts(&path(&self.blobs[0]))
    }
}

/// Whether the cache has the whole blob.
pub fn kept(cache: &Path, blob: &Blob) -> bool {
    cache.join("blobs/sha256").join(blob.digest.hex()).exists()
}
