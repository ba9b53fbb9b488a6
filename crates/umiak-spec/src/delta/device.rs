//! What the layers of a target take on a device that keeps them in umiak's store: known before anything is fetched.
//!
//! Whoever makes the delta makes the files that the device will make, which are the same to the byte, and says how long they are. It
//! is no promise that binds: a device that finds another length has been told wrong, and says so.

use serde::{Deserialize, Serialize};

use super::{DeltaError, annotation, count, size};
use crate::{Digest, Limits};

/// One layer of the target that the base has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnDevice {
    /// Its diff ID.
    pub layer: Digest,
    /// Bytes that lie beside while the delta is applied: what is made of it, uncompressed, and the skeletons of its bases. Absent
    /// where it is carried as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spool: Option<u64>,
    /// Its files when it is kept whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<StoredFiles>,
    /// Its files when it is kept as a patch above a layer of the base. Absent where it cannot be, or is not worth it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<PatchFiles>,
}

/// Lengths of a layer's files in the store, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StoredFiles {
    /// The squashfs image, with the store's own compressor.
    pub image: u64,
    /// What gives the tar back.
    pub skeleton: u64,
    /// What the store knows of it.
    pub record: u64,
}

/// A patch: it holds for the layers that are below in the target, and these alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchFiles {
    /// Diff ID of the layer that it is mounted above.
    pub base: Digest,
    /// Its files.
    #[serde(flatten)]
    pub files: StoredFiles,
}

impl StoredFiles {
    /// Bytes of all files together.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.image.saturating_add(self.skeleton).saturating_add(self.record)
    }
}

impl OnDevice {
    pub(super) fn write(all: &[Self]) -> String {
        serde_json::to_string(all).expect("texts and numbers can always be written as JSON")
    }

    pub(super) fn read(text: &str) -> Result<Vec<Self>, DeltaError> {
        let name = annotation::DEVICE;
        serde_json::from_str(text)
            .map_err(|error| DeltaError::Annotation { name, reason: format!("makes no sense: {error}") })
    }

    pub(super) fn check(all: &[Self], limits: &Limits) -> Result<(), DeltaError> {
        count("layers on devices", all.len(), limits.layers)?;
        for layer in all {
            let files = layer.whole.into_iter().chain(layer.patch.map(|patch| patch.files));
            let sizes = files.flat_map(|files| [files.image, files.skeleton, files.record]);
            for bytes in sizes.chain(layer.spool) {
                size("a layer on a device", bytes, limits.expanded)?;
            }
        }
        Ok(())
    }
}
