//! A revision: an immutable set of apps, each by digest. Its own digest is that of its document.
//!
//! The document is compact JSON with members and apps in a fixed order, so that equal sets have equal digests: where an
//! app came from, and which generation of a target asked for it, does not make another revision.

use serde::{Deserialize, Serialize};
use umiak_spec::Digest;
use umiak_spec::target::{Kind, Target, check_name};

/// Bytes of a document that is read: 256 apps need a tenth of it.
const MAX_DOCUMENT: usize = 1 << 20;

/// The version that is written and read.
const VERSION: u64 = 1;

/// A set of apps by digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    apps: Vec<RevisionApp>,
}

/// An app of a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevisionApp {
    /// Its name.
    pub name: String,
    /// `compose`, `image` or `pvr`: see [`Kind::word`].
    pub kind: String,
    /// The document that it begins with: a manifest, an index, or a pvr state.
    pub digest: Digest,
    /// That document's length in bytes.
    pub size: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u64,
    apps: Vec<RevisionApp>,
}

/// Why bytes are no revision.
#[derive(Debug, thiserror::Error)]
pub enum RevisionError {
    /// Not JSON of this shape, or too long.
    #[error("the revision's document cannot be read: {0}")]
    Document(String),
    /// Another version.
    #[error("the revision's document is of version {0}, and only version {VERSION} is known")]
    Version(u64),
    /// Names that cannot be, or are there twice or out of order.
    #[error("the revision's document is not in its one form")]
    NotCanonical,
}

impl Revision {
    /// The revision that a target asks for.
    #[must_use]
    pub fn of(target: &Target) -> Self {
        let app = |app: &umiak_spec::target::TargetApp| RevisionApp {
            name: app.name.clone(),
            kind: app.kind.word().to_owned(),
            digest: app.top.digest,
            size: app.top.size,
        };
        let mut apps: Vec<RevisionApp> = target.apps.iter().map(app).collect();
        apps.sort_by(|one, other| one.name.cmp(&other.name));
        Self { apps }
    }

    /// Its apps by name.
    #[must_use]
    pub fn apps(&self) -> &[RevisionApp] {
        &self.apps
    }

    /// The app of this name.
    #[must_use]
    pub fn app(&self, name: &str) -> Option<&RevisionApp> {
        self.apps.iter().find(|app| app.name == name)
    }

    /// Its document.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let document = Document { version: VERSION, apps: self.apps.clone() };
        serde_json::to_vec(&document).expect("texts and numbers can always be written as JSON")
    }

    /// The digest of its document: its name.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_bytes())
    }

    /// Reads a document.
    ///
    /// # Errors
    /// [`RevisionError`]; also where the bytes are not those that would be written.
    pub fn parse(bytes: &[u8]) -> Result<Self, RevisionError> {
        if bytes.len() > MAX_DOCUMENT {
            return Err(RevisionError::Document(format!("it has more than {MAX_DOCUMENT} bytes")));
        }
        let document: Document =
            serde_json::from_slice(bytes).map_err(|error| RevisionError::Document(error.to_string()))?;
        if document.version != VERSION {
            return Err(RevisionError::Version(document.version));
        }
        let revision = Self { apps: document.apps };
        let named = revision.apps.iter().all(|app| check_name(&app.name).is_ok() && app.kind().is_some());
        let sorted = revision.apps.windows(2).all(|pair| pair[0].name < pair[1].name);
        if named && sorted && revision.to_bytes() == bytes { Ok(revision) } else { Err(RevisionError::NotCanonical) }
    }
}

impl RevisionApp {
    /// What it is made of; `None` for a word that is not known.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        [Kind::Compose, Kind::Image, Kind::Pvr].into_iter().find(|kind| kind.word() == self.kind)
    }
}
