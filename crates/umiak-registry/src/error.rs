//! Why an image cannot be had.

use std::io;
use std::path::{Path, PathBuf};

use umiak_spec::{Digest, DocumentError};

/// What kind of failure it is: callers choose exit codes and hints by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A server cannot be reached, hangs or fails; trying again may help.
    Network,
    /// There is no such image, tag or file.
    NotFound,
    /// Credentials are missing, wrong or not enough.
    Denied,
    /// Bytes are not what their digest or format says.
    Corrupt,
    /// The image is not made for a wanted platform.
    Platform,
    /// A format that umiak does not read.
    Unsupported,
    /// The local system failed: disk full, permissions.
    System,
    /// The work was stopped on request.
    Cancelled,
}

/// Why an image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What was to be stored cannot be read.
    #[error("cannot read what was to be sent")]
    Unreadable {
        /// What the system said.
        source: io::Error,
    },
    /// What came cannot be kept, or is not wanted any more: what takes it says why.
    #[error("cannot keep what came")]
    Unkept {
        /// What it said.
        source: io::Error,
    },
    /// A server could not be talked to, or gave up.
    #[error("cannot {action} {url}")]
    Network {
        /// What was attempted.
        action: &'static str,
        /// Where.
        url: String,
        /// The last failure.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A server answered with a status that means failure.
    #[error("{url} answered {status}{}", detail.as_deref().map(|text| format!(": {text}")).unwrap_or_default())]
    Status {
        /// Where.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What the server said about it.
        detail: Option<String>,
    },
    /// Credentials are missing or not enough.
    #[error("{registry} denies access to {name}")]
    Denied {
        /// Which registry.
        registry: String,
        /// What was asked for.
        name: String,
        /// Why the credentials could not be had, if that is the reason.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// There is no such image.
    #[error("there is no image `{name}` in {place}")]
    NotFound {
        /// What was asked for.
        name: String,
        /// Where it was looked for.
        place: String,
        /// What is there instead, if that is a short list.
        available: Vec<String>,
    },
    /// Several images and nothing said which.
    #[error("{place} holds several images: {}", available.join(", "))]
    Ambiguous {
        /// Where.
        place: String,
        /// Their names.
        available: Vec<String>,
    },
    /// Bytes are not what their digest says.
    #[error("{what} is damaged: expected {expected}, found {found}")]
    Digest {
        /// Which blob.
        what: String,
        /// The digest it should have.
        expected: Digest,
        /// The digest it has.
        found: Digest,
    },
    /// A blob is longer or shorter than its descriptor says.
    #[error("{what} is damaged: expected {expected} bytes, found {found}")]
    Size {
        /// Which blob.
        what: String,
        /// The length it should have.
        expected: u64,
        /// The length it has, or had when reading was given up.
        found: u64,
    },
    /// A document cannot be read.
    #[error("cannot understand {what}")]
    Document {
        /// Which document.
        what: String,
        /// What is wrong with it.
        source: DocumentError,
    },
    /// An archive cannot be read.
    #[error("cannot read {}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: umiak_layer::LayerError,
    },
    /// Manifest, config and layers do not fit together.
    #[error("{name} is damaged: {reason}")]
    Inconsistent {
        /// The image.
        name: String,
        /// What does not fit.
        reason: String,
    },
    /// The image is not made for a wanted platform.
    #[error("{name} is not made for {wanted}, only for {}", available.join(", "))]
    Platform {
        /// The image.
        name: String,
        /// What was wanted.
        wanted: String,
        /// What it is made for.
        available: Vec<String>,
    },
    /// No place that was asked has the image.
    #[error("no source has `{name}`")]
    Nowhere {
        /// The image.
        name: String,
        /// What each place said, in the order in which they were asked.
        tried: Vec<(String, Error)>,
    },
    /// Something that umiak does not do.
    #[error("{0}")]
    Unsupported(String),
    /// The work was stopped on request.
    #[error(transparent)]
    Cancelled(#[from] umiak_spec::Cancelled),
}

impl Error {
    /// Whether a file is not there: a blob of a layout or of an archive of one, which may hold a part of an image.
    #[must_use]
    pub fn is_missing_file(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// What kind of failure this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => ErrorKind::NotFound,
            Self::Io { .. } | Self::Unreadable { .. } | Self::Unkept { .. } => ErrorKind::System,
            Self::Network { .. } => ErrorKind::Network,
            Self::Status { status: 404, .. } | Self::NotFound { .. } | Self::Ambiguous { .. } => ErrorKind::NotFound,
            Self::Status { .. } => ErrorKind::Network,
            Self::Denied { .. } => ErrorKind::Denied,
            Self::Digest { .. } | Self::Size { .. } | Self::Archive { .. } | Self::Inconsistent { .. } => {
                ErrorKind::Corrupt
            }
            Self::Document { source: DocumentError::Schema1, .. } | Self::Unsupported(_) => ErrorKind::Unsupported,
            Self::Document { .. } => ErrorKind::Corrupt,
            Self::Platform { .. } => ErrorKind::Platform,
            Self::Nowhere { tried, .. } => {
                // The most telling of what happened: a server that cannot be reached says nothing about the image.
                let kinds = || tried.iter().map(|(_, error)| error.kind());
                kinds().find(|kind| *kind != ErrorKind::NotFound).unwrap_or(ErrorKind::NotFound)
            }
            Self::Cancelled(_) => ErrorKind::Cancelled,
        }
    }
}

/// Adds action and path to an I/O error.
pub(crate) trait IoContext<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| match source.get_ref() {
            Some(inner) if inner.is::<umiak_spec::Cancelled>() => umiak_spec::Cancelled.into(),
            _ => Error::Io { action, path: path.to_owned(), source },
        })
    }
}
