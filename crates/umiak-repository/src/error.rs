//! What can go wrong with a device directory, and the little that ties an `io::Error` to what was attempted.

use std::io;
use std::path::{Path, PathBuf};

use umiak_pvr::app::RenderError;
use umiak_pvr::glob::GlobError;
use umiak_pvr::json::ParseError;
use umiak_pvr::path::PathError;
use umiak_pvr::{StateError, StatePath};
use umiak_spec::{Cancelled, Digest};

use crate::package::PackageError;

/// Files that a message names.
const SHOWN: usize = 5;

fn named(keys: &[String]) -> String {
    let shown = keys[..keys.len().min(SHOWN)].join(", ");
    match keys.len().saturating_sub(SHOWN) {
        0 if keys.len() == 1 => format!("the private key {shown} is"),
        0 => format!("the private keys {shown} are"),
        more => format!("the private keys {shown} and {more} more are"),
    }
}

/// Why an operation on a device directory failed. Unless a variant says otherwise nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused something.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was attempted: `read`, `create`, …
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is no `.pvr/json` here or above.
    #[error("{} is not a device directory (no .pvr/json)", .0.display())]
    NotARepository(PathBuf),
    /// There is already a `.pvr/json`.
    #[error("{} is a device directory already", .0.display())]
    AlreadyARepository(PathBuf),
    /// A directory that should have been empty or absent.
    #[error("{} exists and is not empty", .0.display())]
    NotEmpty(PathBuf),
    /// A source of `get`, `merge`, `clone` or `deploy` that is none of the things it can be.
    #[error("{} is neither a device directory, nor an unpacked package, nor a package file", .0.display())]
    NotASource(PathBuf),
    /// A state document is not one.
    #[error("cannot use the state in {}", path.display())]
    State {
        /// The file or package.
        path: PathBuf,
        /// What is wrong.
        source: StateError,
    },
    /// Another document of `.pvr/` is damaged.
    #[error("cannot use {}", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ParseError,
    },
    /// A document of `.pvr/` is JSON but not of the form it should be.
    #[error("cannot use {}: {reason}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// A tracked `.json` file is not JSON and was not added raw.
    #[error("`{path}` is tracked as a JSON document but is none")]
    NotJson {
        /// The file.
        path: StatePath,
        /// What is wrong.
        source: ParseError,
    },
    /// Files with private keys, which would be carried to every device.
    #[error("{} in the device directory {}", named(keys), root.display())]
    PrivateKeys {
        /// The device directory.
        root: PathBuf,
        /// The files, from there.
        keys: Vec<String>,
    },
    /// A state's paths do not fit together.
    #[error("the result would not be a state")]
    Result(#[source] StateError),
    /// A path that cannot be in a state.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A pattern that is none.
    #[error(transparent)]
    Glob(#[from] GlobError),
    /// Not an app's name.
    #[error(transparent)]
    AppName(RenderError),
    /// There is no such app.
    #[error("there is no app `{0}`")]
    NoSuchApp(String),
    /// Objects that the state names are nowhere to be found.
    #[error("{} object(s) are missing, the first is {} for `{}`", .0.len(), .0[0].0.short(), .0[0].1)]
    Missing(Vec<(Digest, StatePath)>),
    /// An object's bytes are not what its name says.
    #[error("object {} is damaged: its content has the digest {}", path.display(), found.short())]
    Damaged {
        /// The object's file.
        path: PathBuf,
        /// The digest of what it holds.
        found: Digest,
    },
    /// A device elsewhere could not be asked, or not to the end.
    #[error("cannot take from {name}")]
    Elsewhere {
        /// Which device.
        name: String,
        /// Why not: an error of whoever brings it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What a device elsewhere has under an object's name is something else.
    #[error("the object {} of `{path}` is damaged on {name}: what it has there has the digest {}", digest.short(), found.short())]
    DamagedElsewhere {
        /// Which device.
        name: String,
        /// The first file that is the object.
        path: StatePath,
        /// The object.
        digest: Digest,
        /// The digest of what is there.
        found: Digest,
    },
    /// Something that is not umiak's stands where a file belongs.
    #[error("cannot write `{path}`: `{by}` is {what}")]
    Blocked {
        /// The file of the state.
        path: StatePath,
        /// What is in the way.
        by: String,
        /// What that is.
        what: &'static str,
    },
    /// A package is malformed.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The work was stopped on request.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Adds what was attempted to an `io::Result`.
pub(crate) trait IoContext<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::Io { action, path: path.to_owned(), source })
    }
}

impl<T> IoContext<T> for rustix::io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(io::Error::from).at(action, path)
    }
}
