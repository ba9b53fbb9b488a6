//! The app's manifest as a value, and what makes sense of it.

use super::{
    AppError, BUNDLE_LIMIT, LEGACY_ARCHITECTURES, LEGACY_MANIFEST_LIMIT, MANIFEST_LIMIT, OCTET_STREAM, at_most,
    inconsistent, is_architecture,
};
use crate::media_type::{OCI_CONFIG, OCI_EMPTY};
use crate::{Descriptor, Digest, Limits};

/// What messages call it.
pub(super) const WHAT: &str = "the app's manifest";

/// How the manifest is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As compose-publish has it: members by the alphabet, a config of no bytes.
    Legacy,
    /// As composectl has it: an artifact type, and the empty JSON object as config.
    Artifact,
}

/// The manifest of a Compose App.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppManifest {
    /// How it is written.
    pub form: Form,
    /// The bundle.
    pub bundle: Descriptor,
    /// The index of the bundle, which only the artifact form has.
    pub bundle_index: Option<Descriptor>,
    /// The layers metadata v1.
    pub layers_meta: Option<Descriptor>,
    /// umiak's measures of the layers.
    pub measures: Option<Descriptor>,
    /// The layers indexes, in the order of the architectures' names. Registries that hold manifests against the OCI
    /// specification refuse an app that has any.
    pub layers_indexes: Vec<IndexEntry>,
}

/// Names the layers index of one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// Go's name of it.
    pub architecture: String,
    /// Digest of the layers index.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
}

impl Form {
    /// The config blob, which must be stored with the others: its descriptor and bytes.
    #[must_use]
    pub fn config(self) -> (Descriptor, &'static [u8]) {
        let (media_type, bytes): (_, &[u8]) = match self {
            Self::Legacy => (OCI_CONFIG, b""),
            Self::Artifact => (OCI_EMPTY, b"{}"),
        };
        (Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64), bytes)
    }

    /// Bytes that a manifest of this form must stay below, so that every reader takes it.
    #[must_use]
    pub const fn limit(self) -> u64 {
        match self {
            Self::Legacy => LEGACY_MANIFEST_LIMIT,
            Self::Artifact => MANIFEST_LIMIT,
        }
    }
}

impl AppManifest {
    /// An app of a bundle and nothing else.
    #[must_use]
    pub fn new(form: Form, bundle: Digest, size: u64) -> Self {
        Self {
            form,
            bundle: Descriptor::new(OCTET_STREAM, bundle, size),
            bundle_index: None,
            layers_meta: None,
            measures: None,
            layers_indexes: Vec::new(),
        }
    }

    /// The blobs that it names, without the config and the layers indexes.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        let optional = [&self.bundle_index, &self.layers_meta, &self.measures];
        std::iter::once(&self.bundle).chain(optional.into_iter().flatten())
    }

    /// Whether it makes sense and keeps to the limits: what [`AppManifest::parse`] guarantees, for values made here.
    /// Whether every reader takes it is asked of [`AppManifest::publishable`].
    ///
    /// # Errors
    /// [`AppError`].
    pub fn check(&self, limits: &Limits) -> Result<(), AppError> {
        if self.bundle.media_type != OCTET_STREAM {
            return Err(inconsistent(WHAT, format!("its bundle is `{}`", super::shown(&self.bundle.media_type))));
        }
        if self.bundle.size == 0 {
            return Err(inconsistent(WHAT, "its bundle is empty"));
        }
        if self.form == Form::Legacy && self.bundle_index.is_some() {
            return Err(inconsistent(WHAT, "the legacy form has no index of the bundle"));
        }
        if self.measures.is_some() && self.layers_meta.is_none() {
            return Err(inconsistent(WHAT, "it has umiak's measures where the layers metadata belongs"));
        }
        at_most(WHAT, "bytes in its bundle", self.bundle.size, BUNDLE_LIMIT)?;
        let documents = [
            ("bytes in the index of its bundle", &self.bundle_index),
            ("bytes in its layers metadata", &self.layers_meta),
            ("bytes in its measures", &self.measures),
        ];
        for (of, document) in documents {
            at_most(WHAT, of, document.as_ref().map_or(0, |document| document.size), limits.document)?;
        }
        self.check_indexes(limits)
    }

    fn check_indexes(&self, limits: &Limits) -> Result<(), AppError> {
        for entry in &self.layers_indexes {
            if !is_architecture(&entry.architecture) {
                let name = super::shown(&entry.architecture);
                return Err(inconsistent(WHAT, format!("`{name}` is no architecture")));
            }
            at_most(WHAT, "bytes in a layers index", entry.size, limits.document)?;
        }
        let twice = self.layers_indexes.windows(2).find(|pair| pair[0].architecture >= pair[1].architecture);
        match twice {
            Some(pair) => {
                let (one, other) = (&pair[0].architecture, &pair[1].architecture);
                Err(inconsistent(WHAT, format!("its layers indexes are out of order: {one}, {other}")))
            }
            None => Ok(()),
        }
    }

    /// Whether the readers of others take it: as large as they read, and no more architectures than they know.
    ///
    /// # Errors
    /// [`AppError`]: also those of [`AppManifest::check`].
    pub fn publishable(&self, limits: &Limits) -> Result<(), AppError> {
        self.check(limits)?;
        if self.form == Form::Legacy {
            let count = self.layers_indexes.len() as u64;
            at_most(WHAT, "architectures", count, LEGACY_ARCHITECTURES as u64)?;
        }
        at_most(WHAT, "bytes", self.to_bytes().len() as u64, self.form.limit() - 1)
    }
}
