//! Two registries that can be pushed to and pulled from, with an image for two platforms in the first.

use umiak_registry::{Choice, Content, Context, Copied, Copy, Error, Sink, Stored, content, open, open_sink_from};
use umiak_spec::{Digest, ImageReference, Silent};
use umiak_testkit::http::{Manner, Request, Server, Store};
use umiak_testkit::sample::{self, Blob, SampleImage};

use super::{context, image};

/// Bytes of the first layer's file of each platform.
pub const SIZE: usize = 300_000;

/// Where it comes from, where it goes, and what it is.
pub struct Setting {
    pub directory: tempfile::TempDir,
    pub context: Context,
    pub samples: [SampleImage; 2],
    /// Blobs and manifests, the index last.
    pub blobs: Vec<Blob>,
    pub from: (Server, Store),
    pub to: (Server, Store),
}

/// With the image as `team/app:1`, in registries that are as they should be.
pub fn setting() -> Setting {
    setting_like(Manner::default())
}

/// The same with another manner of the second registry.
pub fn setting_like(manner: Manner) -> Setting {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let samples = [image("linux/amd64", 1, SIZE), image("linux/arm64", 2, SIZE)];
    let blobs = sample::index(&samples);
    let (from, to) = (Store::start(Manner::default()).unwrap(), Store::start(manner).unwrap());
    fill(&from.1, &blobs, "1");
    Setting { directory, context, samples, blobs, from, to }
}

/// Puts blobs and manifests into a registry, the last with a tag.
pub fn fill(store: &Store, blobs: &[Blob], tag: &str) {
    for blob in blobs {
        if umiak_spec::media_type::MANIFESTS.contains(&blob.media_type.as_str()) {
            store.put(&blob.digest.to_string(), &blob.media_type, blob.bytes.clone());
        } else {
            store.put_blob(umiak_testkit::http::REPOSITORY, blob.bytes.clone());
        }
    }
    let top = blobs.last().unwrap();
    store.put(tag, &top.media_type, top.bytes.clone());
}

/// The whole index.
pub fn whole() -> Choice {
    Choice { all_platforms: true, ..Choice::default() }
}

impl Setting {
    pub fn source(&self) -> String {
        format!("docker://{}/team/app:1", self.from.0.address())
    }

    pub fn target(&self) -> String {
        format!("docker://{}/team/app:2", self.to.0.address())
    }

    /// Copies from the one to the other.
    pub fn copy(&self, choice: &Choice) -> Result<(Content, Copied), Error> {
        copy(&self.source(), &self.target(), choice, &self.context)
    }

    /// Copies the whole index and compares everything.
    pub fn copied(&self) {
        self.copy(&whole()).unwrap();
        self.assert_copied();
    }

    /// Everything is there, byte for byte.
    pub fn assert_copied(&self) {
        let store = &self.to.1;
        for blob in &self.blobs {
            let found = store.blob(&blob.digest).or_else(|| store.manifest(&blob.digest.to_string()));
            assert_eq!(found.as_ref(), Some(&blob.bytes), "{}", blob.media_type);
        }
        assert_eq!(store.manifest("2").as_ref(), self.blobs.last().map(|index| &index.bytes));
    }

    /// The largest blob: the first layer of the first platform.
    pub fn layer(&self) -> &Blob {
        &self.blobs[0]
    }

    /// Path of that layer.
    pub fn layer_path(&self) -> String {
        super::remote::path(self.layer())
    }

    /// Where the requests for that layer began.
    pub fn starts(&self) -> Vec<u64> {
        super::remote::starts(&self.from.0, &self.layer_path())
    }
}

/// Copies, as the command does.
pub fn copy(from: &str, to: &str, choice: &Choice, context: &Context) -> Result<(Content, Copied), Error> {
    let (from, to): (ImageReference, ImageReference) = (from.parse().unwrap(), to.parse().unwrap());
    let source = open(&from, context)?;
    let sink = open_sink_from(&to, Some(&from), context)?;
    let found = content(source.as_ref(), &from, choice, &context.limits, &Silent)?;
    let copied = run(source.as_ref(), &from, sink.as_ref(), &found)?;
    drop(source);
    sink.finish(&Silent)?;
    Ok((found, copied))
}

fn run(
    source: &dyn umiak_registry::Source,
    from: &ImageReference,
    sink: &dyn Sink,
    found: &Content,
) -> Result<Copied, Error> {
    let copy = Copy { source, from, sink, parallel: 3, observer: &Silent };
    let missing = copy.missing(found)?;
    copy.run(found, &missing, sink.tag())
}

/// Numbers of blobs that were there, sent, mounted.
pub fn fates(copied: &Copied) -> [usize; 3] {
    [Stored::There, Stored::New, Stored::Mounted].map(|fate| copied.sum(fate).0)
}

/// Requests that had bytes of blobs.
pub fn sends(server: &Server) -> usize {
    let is_upload = |request: &Request| request.target.contains("/blobs/uploads/");
    let has_bytes = |request: &&Request| request.header("content-length").is_some_and(|length| length != "0");
    server.requests().iter().filter(has_bytes).filter(|request| is_upload(request)).count()
}

/// Everything under a directory that is as large as the layer.
pub fn large_files(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(directory) else { return found };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(large_files(&path));
        } else if entry.metadata().unwrap().len() > SIZE as u64 / 4 {
            found.push(path);
        }
    }
    found
}

/// The digest of a sample's manifest.
pub fn manifest_of(sample: &SampleImage) -> Digest {
    sample::image(sample).last().unwrap().digest
}
