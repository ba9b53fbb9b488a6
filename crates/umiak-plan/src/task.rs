//! What the executor does in a step: everything is chosen, nothing is left to choose.
//!
//! A task names things by digest: blobs by theirs, umiak's layers by diff ID, the engine's by chain ID, images by their
//! configuration's. Every task can be repeated: one that is done already changes nothing.

use umiak_spec::Digest;

use crate::ledger::Action;
use crate::wanted::BlobKind;

/// How a layer is kept in umiak's store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// As a squashfs image of its own.
    Whole,
    /// As a squashfs image of what differs from another layer, mounted above that one. Only for stacks that have the
    /// layers `below` under it.
    Patch {
        /// Diff ID of the layer that it is a patch of; that one is whole.
        base: Digest,
        /// Diff IDs of the layers under it, the lowest first.
        below: Vec<Digest>,
    },
}

impl Form {
    /// Whether nothing else is needed to mount it.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        matches!(self, Self::Whole)
    }

    /// The layer that it is a patch of.
    #[must_use]
    pub const fn base(&self) -> Option<&Digest> {
        match self {
            Self::Whole => None,
            Self::Patch { base, .. } => Some(base),
        }
    }
}

/// What is removed together. All lists are sorted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removal {
    /// Blobs, whole or in part.
    pub blobs: Vec<Digest>,
    /// Layers of umiak's store, by diff ID.
    pub layers: Vec<Digest>,
    /// Layers of the engine, by chain ID.
    pub chains: Vec<Digest>,
    /// Images of the engine, by the digest of their configuration.
    pub images: Vec<Digest>,
    /// Apps of which nothing is needed any more, by the digest of their manifest: their containers and projects go too.
    pub apps: Vec<Digest>,
}

impl Removal {
    /// Whether nothing is removed.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.blobs.is_empty()
            && self.layers.is_empty()
            && self.chains.is_empty()
            && self.images.is_empty()
            && self.apps.is_empty()
    }
}

/// What is done in one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Removes what is not needed, before anything is fetched.
    Reclaim(Removal),
    /// Fetches a blob, or the rest of one, into the store.
    Fetch {
        /// What it is; `None`: a part of a delta.
        kind: Option<BlobKind>,
        /// Its digest.
        blob: Digest,
        /// Its length in bytes.
        size: u64,
        /// The delta's manifest when it is a part of one.
        delta: Option<Digest>,
    },
    /// Nothing goes on before everything that was fetched so far is whole and verified.
    Verify,
    /// A layer is made from its blob; the blob goes when it is there.
    Ingest {
        /// The layer's diff ID.
        layer: Digest,
        /// Its blob, which is in the store whole.
        blob: Digest,
        /// How it is kept.
        form: Form,
    },
    /// Layers are made by a part of a delta; the part goes when they are there.
    Apply {
        /// The delta's manifest.
        delta: Digest,
        /// The part, which is in the store whole.
        part: Digest,
        /// Diff IDs of the layers it starts from, the lowest first.
        base: Vec<Digest>,
        /// Diff IDs of what it makes, and how each is kept. Where blobs are kept, the blobs are made.
        makes: Vec<(Digest, Form)>,
    },
    /// An object is made of another one by a delta that is at hand.
    Make {
        /// Its digest.
        object: Digest,
        /// The object that it is made of, which is in the store.
        base: Digest,
        /// The digest of the delta.
        delta: Digest,
        /// Bytes of the object, and
        size: u64,
        /// bytes beside it meanwhile, as they were counted: it may not take more.
        spool: u64,
    },
    /// A layer that is a patch becomes whole: it is wanted where the patch is not valid.
    Whole {
        /// Its diff ID.
        layer: Digest,
    },
    /// The revision gets its name in the store: everything it needs is there.
    Name,
    /// The engine takes an image in.
    Load {
        /// The digest of its configuration.
        image: Digest,
        /// Chain IDs of its layers that the engine has not, the lowest first.
        chains: Vec<Digest>,
    },
    /// The app's bundle is unpacked, and its containers are made.
    Switch {
        /// The digest of its manifest.
        app: Digest,
    },
    /// Removes what the update replaced, after it.
    Prune(Removal),
}

impl Task {
    /// What kind of step it is.
    #[must_use]
    pub const fn action(&self) -> Action {
        match self {
            Self::Reclaim(_) => Action::Reclaim,
            Self::Fetch { .. } => Action::Fetch,
            Self::Verify => Action::Verify,
            Self::Ingest { .. } => Action::Ingest,
            Self::Apply { .. } | Self::Make { .. } => Action::Apply,
            Self::Whole { .. } => Action::Whole,
            Self::Name => Action::Name,
            Self::Load { .. } => Action::Load,
            Self::Switch { .. } => Action::Switch,
            Self::Prune(_) => Action::Prune,
        }
    }
}
