//! The app's manifest as JSON, byte for byte as the publishers of each form write it.
//!
//! The legacy form went through a map of Go on its way out: its members are in the order of the alphabet, except inside
//! `manifests`. The artifact form has the order of Go's structures.

use std::collections::BTreeMap;

use serde::Serialize;

use super::manifest::{AppManifest, Form, IndexEntry};
use super::{ARTIFACT_TYPE, VERSION, annotation, json};
use crate::media_type::{OCI_INDEX, OCI_MANIFEST};
use crate::{Descriptor, Digest};

type Annotations = BTreeMap<&'static str, String>;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Legacy<'a> {
    annotations: Annotations,
    config: LegacyBlob<'a>,
    layers: Vec<LegacyBlob<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    manifests: Vec<Entry<'a>>,
    media_type: &'static str,
    schema_version: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LegacyBlob<'a> {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: Annotations,
    digest: Digest,
    media_type: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Artifact<'a> {
    schema_version: u32,
    media_type: &'static str,
    config: ArtifactBlob<'a>,
    layers: Vec<ArtifactBlob<'a>>,
    annotations: Annotations,
    artifact_type: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    manifests: Vec<Entry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ArtifactBlob<'a> {
    media_type: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    digest: Digest,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: Annotations,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    media_type: &'static str,
    size: u64,
    digest: Digest,
    platform: super::layers_index::Architecture<'a>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(size: &u64) -> bool {
    *size == 0
}

impl AppManifest {
    /// The document. Equal values give equal bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let annotations = Annotations::from([(annotation::APP, VERSION.to_owned())]);
        let (config, _) = self.form.config();
        let manifests = self.layers_indexes.iter().map(Entry::of).collect();
        match self.form {
            Form::Legacy => json::indented(&Legacy {
                annotations,
                config: LegacyBlob::of(&config, Annotations::new()),
                layers: self.layers().map(|(blob, annotations)| LegacyBlob::of(blob, annotations)).collect(),
                manifests,
                media_type: OCI_MANIFEST,
                schema_version: 2,
            }),
            Form::Artifact => json::indented(&Artifact {
                schema_version: 2,
                media_type: OCI_MANIFEST,
                config: ArtifactBlob::of(&config, Annotations::new()),
                layers: self.layers().map(|(blob, annotations)| ArtifactBlob::of(blob, annotations)).collect(),
                annotations,
                artifact_type: ARTIFACT_TYPE,
                manifests,
            }),
        }
    }

    fn layers(&self) -> impl Iterator<Item = (&Descriptor, Annotations)> {
        let index = self.bundle_index.iter().flat_map(|index| {
            [
                (annotation::BUNDLE_INDEX_DIGEST, index.digest.to_string()),
                (annotation::BUNDLE_INDEX_SIZE, index.size.to_string()),
            ]
        });
        let mark = |name| Annotations::from([(name, VERSION.to_owned())]);
        let meta = self.layers_meta.iter().map(move |blob| (blob, mark(annotation::LAYERS_META)));
        let measures = self.measures.iter().map(move |blob| (blob, mark(annotation::MEASURES)));
        std::iter::once((&self.bundle, index.collect())).chain(meta).chain(measures)
    }
}

impl<'a> LegacyBlob<'a> {
    fn of(blob: &'a Descriptor, annotations: Annotations) -> Self {
        Self { annotations, digest: blob.digest, media_type: &blob.media_type, size: blob.size }
    }
}

impl<'a> ArtifactBlob<'a> {
    fn of(blob: &'a Descriptor, annotations: Annotations) -> Self {
        Self { media_type: &blob.media_type, size: blob.size, digest: blob.digest, annotations }
    }
}

impl<'a> Entry<'a> {
    fn of(entry: &'a IndexEntry) -> Self {
        let platform = super::layers_index::Architecture::of(&entry.architecture);
        Self { media_type: OCI_INDEX, size: entry.size, digest: entry.digest, platform }
    }
}
