//! Why a package was not made, or is not taken for one.

use std::io;
use std::path::{Path, PathBuf};

use umiak_build::BuildError;
use umiak_pvr::app::{RenderError, SourceError};
use umiak_sign::PvsError;
use umiak_spec::Cancelled;

/// Why something about packages failed. Nothing was changed, or what was changed is made again by the next run.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The system refused something.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is no `pvpkg.json` here or above.
    #[error("{} is in no project that makes packages (no pvpkg.json)", .0.display())]
    NoProject(PathBuf),
    /// `pvpkg.json` is not one.
    #[error("cannot use pvpkg.json: {0}")]
    Pvpkg(String),
    /// `container-ci.conf` cannot be understood where it matters.
    #[error("cannot use container-ci.conf: {0}")]
    Conf(String),
    /// A platform that has no directory.
    #[error("`{0}` is no platform that packages are made for")]
    Platform(String),
    /// A directory of `pvpkg/` that is no architecture's.
    #[error("pvpkg/{0} is named like no architecture")]
    Directory(String),
    /// No platform is named anywhere.
    #[error("no platform is named")]
    NoPlatforms,
    /// A reference that is none.
    #[error(transparent)]
    Reference(umiak_spec::ReferenceError),
    /// An app's name that is none.
    #[error(transparent)]
    AppName(#[from] RenderError),
    /// A word that cannot be in a package's file name.
    #[error("{what} `{text}` cannot be in a file's name")]
    Word {
        /// Which word.
        what: &'static str,
        /// The word.
        text: String,
    },
    /// `init` would have replaced these.
    #[error("{} of the files are there and say something else, the first is {}", .0.len(), .0[0].display())]
    Exists(Vec<PathBuf>),
    /// There is no source document for any of the platforms that were asked for.
    #[error("there is nothing to make: no pvpkg/<arch>/<app>/src.json{}", if .0.is_empty() { String::new() } else { format!(" for {}", .0.join(", ")) })]
    NothingToMake(Vec<String>),
    /// A source document is none.
    #[error("cannot use {}", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: SourceError,
    },
    /// A source document that packages are not made of.
    #[error("cannot make a package of {}: {reason}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Files that go along and have private keys in them: whoever has the package would have these.
    #[error("{} of the files that go along have private keys in them, the first is {}", .0.len(), .0[0].display())]
    PrivateKeys(Vec<PathBuf>),
    /// Files that no build made where only builds put files: made anew, they would be lost.
    #[error("{} has {} file(s) that no build made, the first is {}", release.display(), files.len(), files[0])]
    Foreign {
        /// The device directory of the architecture.
        release: PathBuf,
        /// The files, at least one.
        files: Vec<String>,
    },
    /// The image or the app.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The device directory or the package.
    #[error(transparent)]
    Repository(#[from] umiak_repository::Error),
    /// The signature could not be made.
    #[error("cannot sign")]
    Seal(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A signature of a package does not hold.
    #[error("package {} is not trusted", path.display())]
    Signature {
        /// The package.
        path: PathBuf,
        /// Which one, and why.
        source: PvsError,
    },
    /// A package without a signature where there should be one.
    #[error("package {} is not signed", .0.display())]
    Unsigned(PathBuf),
    /// Files that no signature covers where all should be covered.
    #[error("package {} has {} file(s) that no signature covers, the first is {}", path.display(), files.len(), files[0])]
    Uncovered {
        /// The package.
        path: PathBuf,
        /// The files, at least one.
        files: Vec<String>,
    },
    /// An app for something else.
    #[error("package {} is for another platform: app `{app}` is made for {found}, {by} is for {wanted}", path.display())]
    OtherPlatform {
        /// The package.
        path: PathBuf,
        /// The app.
        app: String,
        /// What its source document says.
        found: String,
        /// What says otherwise.
        by: &'static str,
        /// What that is for.
        wanted: String,
    },
    /// The work was stopped on request.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Adds what was attempted to an `io::Result`.
pub(crate) trait IoContext<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, ReleaseError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, ReleaseError> {
        self.map_err(|source| ReleaseError::Io { action, path: path.to_owned(), source })
    }
}
