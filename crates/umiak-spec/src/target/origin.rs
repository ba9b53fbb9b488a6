//! Where an app of a target is: a reference to an image or a Compose App, or a pvr package.
//!
//! ```text
//! NAME[:TAG][@DIGEST], docker://NAME…   a registry
//! oci:DIR…, oci-archive:FILE…           an image layout, or a bundle: `umiak compose bundle`
//! pvr:FILE                              a package: what `pvr export` writes
//! ```
//!
//! Guarantee: `parse(x.to_string()) == x`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::{Digest, ImageReference, ReferenceError, Selector};

/// Where an app is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    /// An image, an index of images or a Compose App.
    Image(ImageReference),
    /// A pvr package.
    Package(PathBuf),
}

impl Origin {
    /// The same origin with this digest in place of a tag: what is asked once the tag was resolved.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> Self {
        match self {
            Self::Image(ImageReference::Registry(name) | ImageReference::Bare(name)) => {
                let mut name = name.clone();
                name.digest = Some(digest);
                Self::Image(ImageReference::Registry(name))
            }
            Self::Image(ImageReference::Layout { path, .. }) => {
                let selector = Some(Selector::Digest(digest));
                Self::Image(ImageReference::Layout { path: path.clone(), selector })
            }
            Self::Image(ImageReference::OciArchive { path, .. }) => {
                let selector = Some(Selector::Digest(digest));
                Self::Image(ImageReference::OciArchive { path: path.clone(), selector })
            }
            other => other.clone(),
        }
    }

    /// The same origin seen from a directory above: a relative path gets `directory` in front.
    #[must_use]
    pub fn below(self, directory: &Path) -> Self {
        match self {
            Self::Image(reference) => Self::Image(reference.below(directory)),
            Self::Package(path) => Self::Package(directory.join(path)),
        }
    }

    /// The file or directory that it is in; none for a registry.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Image(ImageReference::Layout { path, .. } | ImageReference::OciArchive { path, .. })
            | Self::Package(path) => Some(path),
            Self::Image(_) => None,
        }
    }
}

impl FromStr for Origin {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        match text.strip_prefix("pvr:") {
            Some("") => Err(ReferenceError::NoPath(text.to_owned())),
            Some(path) => Ok(Self::Package(path.into())),
            None => text.parse().map(Self::Image),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(reference) => reference.fmt(f),
            Self::Package(path) => write!(f, "pvr:{}", path.display()),
        }
    }
}
