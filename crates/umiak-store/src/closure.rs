//! What a ref holds: everything that its revision needs, named completely.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use umiak_spec::Digest;

/// A ref's complete closure. The store does not read manifests: who makes the ref names everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Closure {
    /// Blobs: manifests, configs, bundles, pvr objects.
    #[serde(default)]
    pub blobs: BTreeSet<Digest>,
    /// Layers by diff ID, those of the chains and any others.
    #[serde(default)]
    pub layers: BTreeSet<Digest>,
    /// Stacks that are mounted: diff IDs, bottom first.
    #[serde(default)]
    pub chains: BTreeSet<Vec<Digest>>,
}

impl Closure {
    /// All layers: those of `layers` and of all chains.
    #[must_use]
    pub fn all_layers(&self) -> BTreeSet<Digest> {
        self.layers.iter().chain(self.chains.iter().flatten()).copied().collect()
    }

    /// Adds all that `other` holds.
    pub fn extend(&mut self, other: &Self) {
        self.blobs.extend(&other.blobs);
        self.layers.extend(&other.layers);
        self.chains.extend(other.chains.iter().cloned());
    }
}

/// What of a [`Closure`] is not in the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Missing {
    /// Blobs that are not here.
    pub blobs: BTreeSet<Digest>,
    /// Layers that are not here.
    pub layers: BTreeSet<Digest>,
    /// Chains whose layers are here, and cannot be mounted above each other as they are kept.
    pub chains: BTreeSet<Vec<Digest>>,
}

impl Missing {
    /// Nothing is missing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// How many objects are missing.
    #[must_use]
    pub fn count(&self) -> usize {
        self.blobs.len() + self.layers.len() + self.chains.len()
    }

    /// One of them, for a message.
    #[must_use]
    pub fn first(&self) -> String {
        let blob = self.blobs.first().map(|digest| format!("blob {}", digest.short()));
        let layer = || self.layers.first().map(|digest| format!("layer {}", digest.short()));
        let chain =
            || self.chains.first().and_then(|chain| chain.last()).map(|top| format!("stack of {}", top.short()));
        blob.or_else(layer).or_else(chain).unwrap_or_else(|| "none".to_owned())
    }
}
