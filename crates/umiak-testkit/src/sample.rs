//! A small OCI image layout from given layer bytes, without any tool.
//!
//! The blobs are written as they are given: what lies in them, and in which compression, is the caller's affair.

use std::fs;
use std::io;
use std::path::Path;

use umiak_spec::{Digest, media_type};

/// One layer as it should lie in a layout.
#[derive(Debug, Clone)]
pub struct SampleLayer {
    /// The blob.
    pub blob: Vec<u8>,
    /// Its media type.
    pub media_type: String,
    /// Digest of the uncompressed archive.
    pub diff_id: Digest,
}

impl SampleLayer {
    /// An uncompressed layer.
    #[must_use]
    pub fn plain(tar: impl Into<Vec<u8>>) -> Self {
        let blob = tar.into();
        Self { diff_id: Digest::of(&blob), media_type: media_type::OCI_LAYER.into(), blob }
    }
}

/// One image of a sample.
#[derive(Debug, Clone)]
pub struct SampleImage {
    /// `linux/arm/v7`
    pub platform: String,
    /// Bottom first.
    pub layers: Vec<SampleLayer>,
}

/// A document or layer of a sample, ready to be served or written.
#[derive(Debug, Clone)]
pub struct Blob {
    /// Its digest.
    pub digest: Digest,
    /// What it is.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Blob {
    pub(crate) fn new(media_type: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self { digest: Digest::of(&bytes), media_type: media_type.into(), bytes }
    }

    /// Its descriptor as JSON; `extra` is further members, each with a leading comma.
    #[must_use]
    pub fn descriptor(&self, extra: &str) -> String {
        let Self { digest, media_type, bytes } = self;
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{}{extra}}}"#, bytes.len())
    }
}

/// The blobs of one image: layers, then config, then its manifest last.
#[must_use]
pub fn image(sample: &SampleImage) -> Vec<Blob> {
    let platform: Vec<&str> = sample.platform.split('/').collect();
    let variant = platform.get(2).map(|variant| format!(r#""variant":"{variant}","#)).unwrap_or_default();
    let list = |items: Vec<String>| items.join(",");
    let diff_ids = list(sample.layers.iter().map(|layer| format!("\"{}\"", layer.diff_id)).collect());
    let config = format!(
        r#"{{"architecture":"{}",{variant}"os":"{}","config":{{"Cmd":["/bin/app"]}},"rootfs":{{"type":"layers","diff_ids":[{diff_ids}]}}}}"#,
        platform.get(1).unwrap_or(&"amd64"),
        platform[0],
    );
    let config = Blob::new(media_type::OCI_CONFIG, config);
    let mut blobs: Vec<Blob> =
        sample.layers.iter().map(|layer| Blob::new(&layer.media_type, layer.blob.clone())).collect();
    let layers = list(blobs.iter().map(|blob| blob.descriptor("")).collect());
    let kind = media_type::OCI_MANIFEST;
    let manifest =
        format!(r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{},"layers":[{layers}]}}"#, config.descriptor(""));
    blobs.extend([config, Blob::new(kind, manifest)]);
    blobs
}

/// The blobs of an index of images, the index last.
#[must_use]
pub fn index(samples: &[SampleImage]) -> Vec<Blob> {
    let mut blobs = Vec::new();
    let mut entries = Vec::new();
    for sample in samples {
        let image = image(sample);
        let parts: Vec<&str> = sample.platform.split('/').collect();
        let variant = parts.get(2).map(|variant| format!(r#","variant":"{variant}""#)).unwrap_or_default();
        let (os, architecture) = (parts[0], parts.get(1).unwrap_or(&"amd64"));
        let platform = format!(r#","platform":{{"os":"{os}","architecture":"{architecture}"{variant}}}"#);
        entries.extend(image.last().map(|manifest| manifest.descriptor(&platform)));
        blobs.extend(image);
    }
    let kind = media_type::OCI_INDEX;
    let text = format!(r#"{{"schemaVersion":2,"mediaType":"{kind}","manifests":[{}]}}"#, entries.join(","));
    blobs.push(Blob::new(kind, text));
    blobs
}

/// Writes a layout directory in which the last of `blobs` (an image's manifest, or an index) has the tag `tag`.
///
/// # Errors
/// The directory cannot be written, or there are no blobs.
pub fn layout(directory: &Path, tag: &str, blobs: &[Blob]) -> io::Result<()> {
    let place = directory.join("blobs/sha256");
    fs::create_dir_all(&place)?;
    for blob in blobs {
        fs::write(place.join(blob.digest.hex()), &blob.bytes)?;
    }
    let top = blobs.last().ok_or(io::ErrorKind::InvalidInput)?;
    let name = format!(r#","annotations":{{"org.opencontainers.image.ref.name":"{tag}"}}"#);
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, top.descriptor(&name));
    fs::write(directory.join("index.json"), index)?;
    fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
}
