//! The record of a layer: what its files were when it was taken in.

use serde::{Deserialize, Serialize};
use umiak_spec::Digest;

use crate::sealed;

/// One file of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileRecord {
    /// Bytes.
    pub bytes: u64,
    /// SHA-256.
    pub digest: Digest,
}

/// What a layer is kept as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LayerRecord {
    /// The diff ID again: a directory can be moved by mistake.
    pub diff_id: Digest,
    /// Bytes of the uncompressed tar.
    pub size: u64,
    /// `image.squashfs`.
    pub image: FileRecord,
    /// `skeleton.squashfs`.
    pub skeleton: FileRecord,
    /// The image is a patch, to be mounted above this layer's image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Digest>,
    /// Of a patch: the only layers that may lie below, bottom first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub below: Vec<Digest>,
}

impl LayerRecord {
    /// Whether the image can be mounted in any stack.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.base.is_none()
    }

    /// Bytes of the record's file, of which there are two.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        sealed::seal(&self.to_json()).len() as u64
    }

    /// The record as a document.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec(self).expect("numbers and digests are JSON");
        json.push(b'\n');
        json
    }
}
