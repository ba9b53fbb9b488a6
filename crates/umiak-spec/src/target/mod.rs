//! The target: what a device should run, as somebody asks for it and as the device pins it.
//!
//! ```text
//! Asked    apps by references, tags allowed       --resolved once-->   Target   the same apps, each by digest
//! ```
//!
//! Both are the document of docs/formats/target.md; a target is one that says everything. Guarantees: names of apps are
//! there once and are names of directories; equal values are equal bytes; `parse(x.to_bytes())` is `x`; a member that is
//! not known is refused by its name, because a device that passes it over does something else than was asked. What this
//! does not do: open what a reference names.

mod carrier;
mod origin;
mod read;

use std::path::Path;

use serde::Serialize;

use crate::{Descriptor, Digest, DigestError, DocumentError, ReferenceError};

pub use carrier::Carrier;
pub use origin::Origin;

/// The media type of the document.
pub const MEDIA_TYPE: &str = "application/vnd.umiak.target.v1+json";
/// The version that is written, and the only one that is read.
pub const VERSION: u64 = 1;
/// Apps of one target: far more than a device runs.
pub const MAX_APPS: usize = 256;
/// Files of one app that objects are in: as many packages as are merged before one is whole again.
pub const MAX_OBJECTS: usize = 64;
/// Bytes of an app's name: with what is put behind it, it is a file's.
pub const MAX_NAME: usize = 128;

/// What an app is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A Compose App: a compose project and the images of its services.
    Compose,
    /// One image, run as one service.
    Image,
    /// A pvr state: containers made of squashfs images, patches and extensions.
    Pvr,
}

impl Kind {
    /// The word for it in the document.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Compose => "compose",
            Self::Image => "image",
            Self::Pvr => "pvr",
        }
    }
}

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asked {
    /// Which of several targets this is: one with a lower number than the device has seen is refused.
    pub generation: Option<u64>,
    /// How long a new revision has to stay healthy, in seconds; without it the device decides.
    pub testing_seconds: Option<u64>,
    /// The apps, as written.
    pub apps: Vec<AskedApp>,
}

/// An app that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedApp {
    /// What it is to be called; without it, what its document or its reference says.
    pub name: Option<String>,
    /// Where it is.
    pub origin: Origin,
    /// Where objects are besides, or instead; of a pvr state only.
    pub objects: Vec<Carrier>,
    /// Which it must be, whatever a tag says by now.
    pub digest: Option<Digest>,
}

impl AskedApp {
    /// Whatever is there, under the name that it says itself.
    #[must_use]
    pub const fn new(origin: Origin) -> Self {
        Self { name: None, origin, objects: Vec::new(), digest: None }
    }

    /// The same app seen from a directory above: relative paths get `directory` in front.
    #[must_use]
    pub fn below(self, directory: &Path) -> Self {
        let objects = self.objects.into_iter().map(|carrier| carrier.below(directory)).collect();
        Self { origin: self.origin.below(directory), objects, ..self }
    }
}

/// What a device should run, by digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// See [`Asked::generation`]; 0 where nobody numbers.
    pub generation: u64,
    /// See [`Asked::testing_seconds`].
    pub testing_seconds: Option<u64>,
    /// The apps, by name.
    pub apps: Vec<TargetApp>,
}

/// An app of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetApp {
    /// Its name: that of its directory and of its compose project.
    pub name: String,
    /// What it is made of.
    pub kind: Kind,
    /// Where it is, as it was asked for: a tag in here is not asked for again.
    pub origin: Origin,
    /// See [`AskedApp::objects`].
    pub objects: Vec<Carrier>,
    /// The document that it begins with: a manifest, an index, or a pvr state.
    pub top: Descriptor,
}

/// Why bytes are no target.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Too long, or not JSON of this shape.
    #[error("cannot read the target")]
    Document(#[from] DocumentError),
    /// Another version.
    #[error("the target is of version {0}, and only version {VERSION} is known")]
    Version(u64),
    /// An app's name that cannot be one.
    #[error(
        "`{0}` cannot be the name of an app: it takes lower-case letters, digits, `.`, `_` and `-`, and begins with a letter or digit"
    )]
    Name(String),
    /// Two apps of one name.
    #[error("the target has two apps called `{0}`")]
    Twice(String),
    /// A reference that is none.
    #[error("the target asks for `{text}`, which is no reference")]
    Reference {
        /// What it says.
        text: String,
        /// What is wrong with it.
        source: ReferenceError,
    },
    /// A digest that is none.
    #[error("the digest of `{app}` is wrong")]
    Digest {
        /// Which app.
        app: String,
        /// What is wrong with it.
        source: DigestError,
    },
    /// Places of objects beside what has none.
    #[error("`{0}` has files with objects beside it, and is no pvr state")]
    Objects(String),
    /// More places of objects than the limit, or one that is none.
    #[error("the objects of `{0}` are to be in {MAX_OBJECTS} files at most, each with a name")]
    Carriers(String),
    /// More apps than the limit.
    #[error("the target has {0} apps, more than the limit of {MAX_APPS}")]
    TooMany(usize),
    /// An app that is not pinned, where only pinned ones may be.
    #[error("`{0}` is not pinned: its kind, digest, size or media type is missing")]
    NotPinned(String),
}

/// The document as it is written, members in this order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    version: u64,
    media_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    testing_seconds: Option<u64>,
    apps: Vec<WrittenApp<'a>>,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct WrittenApp<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    reference: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    objects: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

impl Asked {
    /// The document: indented, as somebody who writes one sees it, with a newline at its end.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let app = |app: &AskedApp| WrittenApp {
            name: None,
            reference: app.origin.to_string(),
            objects: words(&app.objects),
            digest: app.digest,
            ..WrittenApp::default()
        };
        let apps = self.apps.iter().map(|asked| WrittenApp { name: asked.name.as_deref(), ..app(asked) }).collect();
        bytes(&Written {
            version: VERSION,
            media_type: MEDIA_TYPE,
            generation: self.generation,
            testing_seconds: self.testing_seconds,
            apps,
        })
    }
}

impl Target {
    /// The document.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let app = |app: &TargetApp| WrittenApp {
            name: None,
            kind: Some(app.kind.word()),
            reference: app.origin.to_string(),
            objects: words(&app.objects),
            media_type: None,
            digest: Some(app.top.digest),
            size: Some(app.top.size),
        };
        let apps = self.apps.iter().map(|pinned| WrittenApp {
            name: Some(&pinned.name),
            media_type: Some(&pinned.top.media_type),
            ..app(pinned)
        });
        bytes(&Written {
            version: VERSION,
            media_type: MEDIA_TYPE,
            generation: Some(self.generation),
            testing_seconds: self.testing_seconds,
            apps: apps.collect(),
        })
    }

    /// The app of this name.
    #[must_use]
    pub fn app(&self, name: &str) -> Option<&TargetApp> {
        self.apps.iter().find(|app| app.name == name)
    }

    /// Sorts the apps and compares what they say with the rules.
    ///
    /// # Errors
    /// [`TargetError`]: two apps of one name, a name that is none, too many.
    pub fn checked(mut self) -> Result<Self, TargetError> {
        check_count(self.apps.len())?;
        self.apps.sort_by(|one, other| one.name.cmp(&other.name));
        for app in &self.apps {
            check_name(&app.name)?;
        }
        match self.apps.windows(2).find(|pair| pair[0].name == pair[1].name) {
            Some(pair) => Err(TargetError::Twice(pair[0].name.clone())),
            None => Ok(self),
        }
    }
}

/// Whether an app may be called so: what Compose takes as a project's name, and one component of a path.
///
/// # Errors
/// [`TargetError::Name`].
pub fn check_name(name: &str) -> Result<(), TargetError> {
    let edge = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let inner = |letter: char| edge(letter) || "._-".contains(letter);
    let good = name.len() <= MAX_NAME && name.starts_with(edge) && name.chars().all(inner);
    if good { Ok(()) } else { Err(TargetError::Name(name.chars().take(MAX_NAME).collect())) }
}

fn check_count(apps: usize) -> Result<(), TargetError> {
    if apps > MAX_APPS { Err(TargetError::TooMany(apps)) } else { Ok(()) }
}

fn words(carriers: &[Carrier]) -> Vec<String> {
    carriers.iter().map(ToString::to_string).collect()
}

fn bytes(document: &Written<'_>) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(document).expect("texts and numbers can always be written as JSON");
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests;
