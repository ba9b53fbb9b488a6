//! The directories of blobs and layers, while names are added.

use std::collections::BTreeSet;

use umiak_spec::Digest;

use super::names::Names;
use crate::cost::Cost;
use crate::device::{Device, Keeps};
use crate::engine::HEX;
use crate::fs::FileSystem;
use crate::layout;

/// What names are there.
pub(super) struct Shelf {
    keeps: Keeps,
    blobs: Names,
    layers: Names,
    /// Of umiak's store: first digits of digests that have a directory.
    prefixes: BTreeSet<String>,
}

impl Shelf {
    pub fn of(device: &Device) -> Self {
        let stored = &device.stored;
        Self {
            keeps: device.keeps,
            blobs: Names::of(stored.blobs.len(), HEX),
            layers: Names::of(stored.layers.len(), HEX),
            prefixes: stored.blobs.keys().map(layout::prefix).collect(),
        }
    }

    /// A blob more: in one directory of all blobs, or in umiak's store in one of those that begin alike.
    pub fn blob(&mut self, file_system: &FileSystem, digest: &Digest) -> Cost {
        match self.keeps {
            Keeps::Blobs => self.blobs.add(file_system, 1),
            Keeps::Layers if self.prefixes.insert(layout::prefix(digest)) => layout::fan(file_system),
            Keeps::Layers => Cost::NOTHING,
        }
    }

    /// A layer more.
    pub fn layer(&mut self, file_system: &FileSystem) -> Cost {
        self.layers.add(file_system, 1)
    }
}
