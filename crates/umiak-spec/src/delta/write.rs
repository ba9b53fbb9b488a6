//! The manifest as JSON: members in the order of the OCI specification, annotations sorted, no time, no blanks.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{ARTIFACT_TYPE, DeltaManifest, OnDevice, VERSION, annotation};
use crate::media_type::{OCI_EMPTY, OCI_MANIFEST};
use crate::{Descriptor, Digest};

/// The bytes of the config, and of the only layer when nothing is carried.
pub(super) const EMPTY: &[u8] = b"{}";

type Annotations = BTreeMap<&'static str, String>;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenManifest<'a> {
    schema_version: u32,
    media_type: &'static str,
    artifact_type: &'static str,
    config: Written<'a>,
    layers: Vec<Written<'a>>,
    subject: Written<'a>,
    annotations: Annotations,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    media_type: &'a str,
    digest: Digest,
    size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: Annotations,
}

impl<'a> Written<'a> {
    fn of(descriptor: &'a Descriptor, annotations: Annotations) -> Self {
        Self { media_type: &descriptor.media_type, digest: descriptor.digest, size: descriptor.size, annotations }
    }

    fn empty() -> Self {
        let annotations = Annotations::new();
        Self { media_type: OCI_EMPTY, digest: Digest::of(EMPTY), size: EMPTY.len() as u64, annotations }
    }
}

impl DeltaManifest {
    /// The config blob that every artifact refers to: its descriptor and bytes. It must be stored with the others.
    #[must_use]
    pub fn config() -> (Descriptor, &'static [u8]) {
        (Descriptor::new(OCI_EMPTY, Digest::of(EMPTY), EMPTY.len() as u64), EMPTY)
    }

    /// The document. Equal values give equal bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut layers: Vec<_> = self
            .parts
            .iter()
            .map(|part| {
                let annotations =
                    [(annotation::CONTENT, part.content.word().to_owned()), (annotation::TO, part.to.to_string())];
                Written::of(&part.blob, annotations.into())
            })
            .collect();
        if layers.is_empty() {
            // As the OCI specification wants it: not every registry takes a manifest without layers.
            layers.push(Written::empty());
        }
        let document = WrittenManifest {
            schema_version: 2,
            media_type: OCI_MANIFEST,
            artifact_type: ARTIFACT_TYPE,
            config: Written::empty(),
            layers,
            subject: Written::of(&self.subject, Annotations::new()),
            annotations: self.annotations(),
        };
        serde_json::to_vec(&document).expect("texts and numbers can always be written as JSON")
    }

    fn annotations(&self) -> Annotations {
        let mut annotations = Annotations::from([
            (annotation::TARGET, self.subject.digest.to_string()),
            (annotation::REUSED, list(self.reused.iter().map(|reused| reused.digest))),
            (annotation::REUSED_DIFF_ID, list(self.reused.iter().map(|reused| reused.diff_id))),
            (annotation::VERSION, VERSION.to_owned()),
            (annotation::BASE_DIFF_IDS, list(self.base_diff_ids.iter().copied())),
            (annotation::SIZE, self.size().to_string()),
            (annotation::FULL_SIZE, self.full_size.to_string()),
            (annotation::EXPANDED_SIZE, self.expanded_size.to_string()),
        ]);
        let named = [(annotation::SOURCE, self.base), (annotation::SOURCE_CONFIG, self.base_config)];
        if !self.device.is_empty() {
            annotations.insert(annotation::DEVICE, OnDevice::write(&self.device));
        }
        annotations.extend(named.into_iter().filter_map(|(name, digest)| Some((name, digest?.to_string()))));
        annotations
    }
}

/// A JSON array in a text. Digests have nothing that would have to be escaped.
fn list(digests: impl Iterator<Item = Digest>) -> String {
    let quoted: Vec<String> = digests.map(|digest| format!("\"{digest}\"")).collect();
    format!("[{}]", quoted.join(","))
}
