//! What can go wrong between a source image and a device app.

use std::io;
use std::path::{Path, PathBuf};

use umiak_spec::Digest;

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
        layer: Digest,
        /// What is wrong with it.
        source: umiak_layer::LayerError,
    },
    /// A layer's bytes are not what the image's config or manifest says.
    #[error("layer {layer} is not what its image says: expected {expected}, found {found}")]
    WrongLayer {
        /// Digest of the layer's blob.
        layer: Digest,
        /// The digest that the image names.
        expected: Digest,
        /// The digest of what was read.
        found: Digest,
    },
    /// What a layer takes on a device could not be seen.
    #[error("cannot make layer {layer} as a device does")]
    Device {
        /// Digest of the layer's blob.
        layer: Digest,
        /// Why.
        source: Box<umiak_store::StoreError>,
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
    /// The delta of a package that cannot be written.
    #[error("cannot write {}", path.display())]
    Package {
        /// Where to.
        path: PathBuf,
        /// Why not.
        source: Box<umiak_repository::Error>,
    },
    /// A tar archive could not be read.
    #[error("cannot read the archive {}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: umiak_layer::LayerError,
    },
    /// A delta artifact's manifest could not be read.
    #[error("cannot read the delta's manifest")]
    Artifact {
        /// What is wrong with it.
        source: umiak_spec::delta::DeltaError,
    },
    /// What is given as base lacks layers that the delta starts from.
    #[error("{base} is not the base of the delta: it has no layer {}", shown(missing))]
    NotTheBase {
        /// What was given.
        base: String,
        /// Diff IDs of what it lacks.
        missing: Vec<Digest>,
    },
    /// What is given as base, and whatever else is at hand, lacks files that the delta uses.
    #[error("{count} files of the delta's base ({bytes} bytes) are nowhere at hand: {}{}", told.join(", "), more(*count, told))]
    MissingFiles {
        /// How many.
        count: usize,
        /// All their bytes.
        bytes: u64,
        /// Some of them: path and digest, or digest.
        told: Vec<String>,
    },
    /// An image has deltas, or none, and none from this base.
    #[error("{}", no_delta(base.as_deref(), target, known))]
    NoDelta {
        /// What was given as base, if anything.
        base: Option<String>,
        /// Whose deltas were looked at.
        target: String,
        /// Manifests or configs that there are deltas from.
        known: Vec<Digest>,
    },
    /// An image is carried as deltas, and nothing that they start from is here.
    #[error("{image} is carried as a delta, and what it starts from is not here{}", no_base(known, tried))]
    NoBase {
        /// The image.
        image: String,
        /// Image IDs of what there are deltas from.
        known: Vec<Digest>,
        /// What was looked at, and why it would not do.
        tried: Vec<String>,
    },
    /// Another run is making the same file.
    #[error("{} is being written by another run", .0.display())]
    Busy(PathBuf),
    /// A delta could not be made or applied.
    #[error(transparent)]
    Delta(Box<umiak_delta::DeltaError>),
    /// A delta of another program could not be applied.
    #[error(transparent)]
    Foreign(Box<umiak_delta::foreign::ForeignError>),
    /// An image that says that it is a delta of balena's contradicts itself.
    #[error(transparent)]
    Balena(Box<umiak_delta::foreign::balena::BalenaError>),
    /// A compose project is wrong.
    #[error(transparent)]
    Project(Box<umiak_compose::ComposeError>),
    /// A Compose App could not be published or read.
    #[error(transparent)]
    Compose(Box<crate::compose::ComposeError>),
    /// A compose project could not be packed.
    #[error(transparent)]
    Pack(Box<crate::compose::pack::PackError>),
    /// The work was stopped on request.
    #[error(transparent)]
    Cancelled(#[from] umiak_spec::Cancelled),
}

/// Whatever was asked to stop says so in its own way; for the caller it is one error.
fn shown(digests: &[Digest]) -> String {
    digests.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn no_base(known: &[Digest], tried: &[String]) -> String {
    let known = if known.is_empty() { String::new() } else { format!(": image {}", shown(known)) };
    if tried.is_empty() { known } else { format!("{known} ({})", tried.join("; ")) }
}

fn more(count: usize, told: &[String]) -> &'static str {
    if count > told.len() { ", …" } else { "" }
}

fn no_delta(base: Option<&str>, target: &str, known: &[Digest]) -> String {
    match (base, known) {
        (None, []) => format!("there is no delta to {target}"),
        (None, known) => format!("there are deltas to {target} from {}", shown(known)),
        (Some(base), []) => format!("there is no delta from {base} to {target}, nor from anything else"),
        (Some(base), known) => format!("there is no delta from {base} to {target}, only from {}", shown(known)),
    }
}

impl From<umiak_registry::Error> for BuildError {
    fn from(error: umiak_registry::Error) -> Self {
        match error {
            umiak_registry::Error::Cancelled(cancelled) => cancelled.into(),
            other => Self::Source(other),
        }
    }
}

impl From<umiak_compose::ComposeError> for BuildError {
    fn from(error: umiak_compose::ComposeError) -> Self {
        Self::Project(Box::new(error))
    }
}

/// A request to stop stays one.
impl From<crate::compose::ComposeError> for BuildError {
    fn from(error: crate::compose::ComposeError) -> Self {
        use crate::compose::ComposeError as E;
        match error {
            E::Image { source, .. } if source.kind() == umiak_registry::ErrorKind::Cancelled => {
                umiak_spec::Cancelled.into()
            }
            other => Self::Compose(Box::new(other)),
        }
    }
}

/// A request to stop stays one.
impl From<crate::compose::pack::PackError> for BuildError {
    fn from(error: crate::compose::pack::PackError) -> Self {
        match error {
            crate::compose::pack::PackError::Cancelled(cancelled) => cancelled.into(),
            other => Self::Pack(Box::new(other)),
        }
    }
}

/// A request to stop stays one.
impl From<umiak_delta::DeltaError> for BuildError {
    fn from(error: umiak_delta::DeltaError) -> Self {
        match error {
            umiak_delta::DeltaError::Cancelled(cancelled) => cancelled.into(),
            // What a stream's reader found comes through io.
            umiak_delta::DeltaError::Read(error) => match error.downcast::<umiak_delta::DeltaError>() {
                Ok(found) => found.into(),
                Err(error) => match error.downcast::<umiak_spec::Cancelled>() {
                    Ok(cancelled) => cancelled.into(),
                    Err(error) => Self::Delta(Box::new(error.into())),
                },
            },
            other => Self::Delta(Box::new(other)),
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
