//! The layers metadata v1: how much space each layer of an app takes, by architecture.
//!
//! A device looks here before it fetches anything. What the numbers mean is in docs/formats/compose-app.md; who measures
//! them is `umiak-layer`. The document knows architectures only: an app for arm/v6 and arm/v7 has the layers of both
//! under `arm`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{AppError, at_most, inconsistent, is_architecture, json, read, shown};
use crate::manifest::or_default;
use crate::{Digest, Limits};

const WHAT: &str = "the layers metadata";

/// The largest block that a file system is believed to have, in bytes.
const MAX_BLOCK: u64 = 16 << 20;

/// The metadata of all architectures of an app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct LayersMeta {
    /// By Go's name of the architecture.
    pub architectures: BTreeMap<String, ArchitectureMeta>,
}

/// The metadata of one architecture: what is measured where its images are built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchitectureMeta {
    /// Bytes of a block of the file system that `usage` counts for.
    pub fs_block_size: u64,
    /// By the digest of the layer's blob.
    #[serde(default, deserialize_with = "or_default")]
    pub layers: BTreeMap<Digest, LayerMeta>,
}

/// How much space one layer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerMeta {
    /// Bytes of its regular files.
    pub size: u64,
    /// Bytes that it takes in the engine's store.
    pub usage: u64,
    /// Bytes of its blob. Not known where layers are measured that no registry has yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive_size: Option<u64>,
}

impl LayersMeta {
    /// The document. Equal values give equal bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        json::compact(self)
    }

    /// Reads the document.
    ///
    /// # Errors
    /// [`AppError`].
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, AppError> {
        let meta = Self { architectures: read(WHAT, bytes, limits.document)? };
        for (architecture, meta) in &meta.architectures {
            if !is_architecture(architecture) {
                return Err(inconsistent(WHAT, format!("`{}` is no architecture", shown(architecture))));
            }
            meta.check(limits)?;
        }
        Ok(meta)
    }

    /// What it says of one layer for one architecture.
    #[must_use]
    pub fn layer(&self, architecture: &str, digest: &Digest) -> Option<&LayerMeta> {
        self.architectures.get(architecture)?.layers.get(digest)
    }

    /// Adds what was measured for an architecture. What is known already must agree.
    ///
    /// # Errors
    /// [`AppError::Inconsistent`] when it does not, or `architecture` is none.
    pub fn add(&mut self, architecture: &str, meta: ArchitectureMeta) -> Result<(), AppError> {
        if !is_architecture(architecture) {
            return Err(inconsistent(WHAT, format!("`{}` is no architecture", shown(architecture))));
        }
        let Some(known) = self.architectures.get_mut(architecture) else {
            self.architectures.insert(architecture.to_owned(), meta);
            return Ok(());
        };
        if known.fs_block_size != meta.fs_block_size {
            let (one, other) = (known.fs_block_size, meta.fs_block_size);
            return Err(inconsistent(WHAT, format!("{architecture} was measured for blocks of {one} and of {other}")));
        }
        for (digest, layer) in meta.layers {
            let merged = match known.layers.get(&digest) {
                Some(other) => other.merged(&layer).ok_or_else(|| {
                    inconsistent(WHAT, format!("layer {digest} for {architecture} was measured twice, differently"))
                })?,
                None => layer,
            };
            known.layers.insert(digest, merged);
        }
        Ok(())
    }

    /// Adds all that `other` has.
    ///
    /// # Errors
    /// As [`LayersMeta::add`].
    pub fn merge(&mut self, other: Self) -> Result<(), AppError> {
        other.architectures.into_iter().try_for_each(|(architecture, meta)| self.add(&architecture, meta))
    }

    /// What an app publishes: of `used`, which has the layers by architecture and their blobs' bytes, all, and of nothing
    /// else anything.
    ///
    /// # Errors
    /// [`AppError::Missing`] when an architecture or layer was not measured.
    pub fn restrict(&self, used: &BTreeMap<String, BTreeMap<Digest, u64>>) -> Result<Self, AppError> {
        let missing = |missing: String| AppError::Missing { what: WHAT, missing };
        let mut architectures = BTreeMap::new();
        for (architecture, layers) in used {
            let known = self.architectures.get(architecture).ok_or_else(|| missing(architecture.clone()))?;
            let mut restricted = ArchitectureMeta { fs_block_size: known.fs_block_size, layers: BTreeMap::new() };
            for (digest, archive_size) in layers {
                let layer =
                    known.layers.get(digest).ok_or_else(|| missing(format!("layer {digest} for {architecture}")))?;
                let layer = LayerMeta { archive_size: Some(*archive_size), ..*layer };
                restricted.layers.insert(*digest, layer);
            }
            architectures.insert(architecture.clone(), restricted);
        }
        Ok(Self { architectures })
    }
}

impl ArchitectureMeta {
    /// The document of one architecture alone: what is measured where its images are built. Equal values give equal bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        json::compact(self)
    }

    /// Reads the document of one architecture.
    ///
    /// # Errors
    /// [`AppError`].
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, AppError> {
        let meta: Self = read(WHAT, bytes, limits.document)?;
        meta.check(limits)?;
        Ok(meta)
    }

    fn check(&self, limits: &Limits) -> Result<(), AppError> {
        if !self.fs_block_size.is_power_of_two() || self.fs_block_size > MAX_BLOCK {
            return Err(inconsistent(WHAT, format!("no file system has blocks of {} bytes", self.fs_block_size)));
        }
        for layer in self.layers.values() {
            for bytes in [layer.size, layer.usage, layer.archive_size.unwrap_or(0)] {
                at_most(WHAT, "bytes in one layer", bytes, limits.expanded)?;
            }
        }
        Ok(())
    }
}

impl LayerMeta {
    /// What both say together; `None` when they contradict.
    fn merged(&self, other: &Self) -> Option<Self> {
        let archive_size = match (self.archive_size, other.archive_size) {
            (Some(one), Some(other)) if one != other => return None,
            (one, other) => one.or(other),
        };
        let same = (self.size, self.usage) == (other.size, other.usage);
        same.then_some(Self { archive_size, ..*self })
    }
}
