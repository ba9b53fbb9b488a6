//! What can go wrong between a source image and a device app.

use std::io;
use std::path::{Path, PathBuf};

/// Why an app could not be made. Whatever it is, the app's directory is as it was.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A file or directory operation failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was attempted, in the infinitive.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The source image could not be had.
    #[error(transparent)]
    Source(umiak_registry::Error),
    /// A layer could not be read.
    #[error("cannot read layer {layer}")]
    Layer {
        /// Digest of the layer's blob.
        layer: umiak_spec::Digest,
        /// What is wrong with it.
        source: umiak_layer::LayerError,
    },
    /// A layer's bytes are not what the image's config or manifest says.
    #[error("layer {layer} is not what its image says: expected {expected}, found {found}")]
    WrongLayer {
        /// Digest of the layer's blob.
        layer: umiak_spec::Digest,
        /// The digest that the image names.
        expected: umiak_spec::Digest,
        /// The digest of what was read.
        found: umiak_spec::Digest,
    },
    /// The layers do not stack to a file tree.
    #[error("the layers of {image} do not make a file tree")]
    Stack {
        /// The image.
        image: String,
        /// Why.
        source: umiak_tree::StackError,
    },
    /// A squashfs image could not be read.
    #[error("cannot read {}", path.display())]
    Squashfs {
        /// The image file.
        path: PathBuf,
        /// What is wrong with it.
        source: umiak_squashfs::Error,
    },
    /// A squashfs image could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The image file.
        path: PathBuf,
        /// Why.
        source: umiak_squashfs::Error,
    },
    /// The difference of base and target cannot be expressed as an overlay.
    #[error("the change from {base} cannot be made into a patch")]
    Changeset {
        /// What the patch would lie above.
        base: PathBuf,
        /// Why.
        source: umiak_tree::OverlayError,
    },
    /// `format_options` are not understood.
    #[error(transparent)]
    Format(#[from] crate::format::FormatError),
    /// An app's src.json is not one.
    #[error("cannot use {}", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: umiak_pvr::app::SourceError,
    },
    /// run.json or lxc.container.conf cannot be made from src.json.
    #[error("cannot render app `{app}`")]
    Render {
        /// The app.
        app: String,
        /// Why.
        source: umiak_pvr::app::RenderError,
    },
    /// An app of this name is there already.
    #[error("app `{0}` is there already")]
    Exists(String),
    /// There is no app of this name.
    #[error("there is no app `{0}` here")]
    NoApp(String),
    /// A name that cannot be an app's.
    #[error(transparent)]
    Name(umiak_pvr::app::RenderError),
    /// A reference that is none.
    #[error(transparent)]
    Reference(umiak_spec::ReferenceError),
    /// A platform that is none.
    #[error(transparent)]
    Platform(umiak_spec::PlatformError),
    /// What was asked does not go with what the app is.
    #[error("{0}")]
    Refused(String),
    /// The work was stopped on request.
    #[error(transparent)]
    Cancelled(#[from] umiak_spec::Cancelled),
}

/// Whatever was asked to stop says so in its own way; for the caller it is one error.
impl From<umiak_registry::Error> for BuildError {
    fn from(error: umiak_registry::Error) -> Self {
        match error {
            umiak_registry::Error::Cancelled(cancelled) => cancelled.into(),
            other => Self::Source(other),
        }
    }
}

impl BuildError {
    /// A squashfs image that cannot be read.
    pub(crate) fn unreadable(path: &Path, error: umiak_squashfs::Error) -> Self {
        match error {
            umiak_squashfs::Error::Cancelled(cancelled) => cancelled.into(),
            source => Self::Squashfs { path: path.to_owned(), source },
        }
    }
}

/// Adds action and path to an I/O error.
pub(crate) trait IoContext<T> {
    /// The error as a [`BuildError::Io`]; a request to stop stays one.
    fn at(self, action: &'static str, path: &Path) -> Result<T, BuildError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, BuildError> {
        self.map_err(|source| match source.get_ref() {
            Some(inner) if inner.is::<umiak_spec::Cancelled>() => umiak_spec::Cancelled.into(),
            _ => BuildError::Io { action, path: path.to_owned(), source },
        })
    }
}
