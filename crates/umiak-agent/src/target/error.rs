//! Why a target could not be resolved or read.

use std::path::PathBuf;

use umiak_registry::ErrorKind;
use umiak_repository::package::PackageError;
use umiak_sign::{ChainError, Distrust, PvsError, SignatureError};
use umiak_spec::app::AppError;
use umiak_spec::target::TargetError;
use umiak_spec::{Cancelled, Descriptor, Digest, DocumentError, Size};
use umiak_store::StoreError;

use crate::error::{Class, SupplyError, store_class};
use crate::fetch::{Cause, FetchError};

/// Why a target could not be resolved or read. What was fetched of it stays in the store.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// A registry, layout or archive.
    #[error("cannot get {what}")]
    Source {
        /// What was asked for.
        what: String,
        /// Why not.
        source: Box<umiak_registry::Error>,
    },
    /// A blob could not be fetched.
    #[error(transparent)]
    Fetch(Box<FetchError>),
    /// The store.
    #[error("the store failed")]
    Store(#[source] Box<StoreError>),
    /// The target's document.
    #[error("cannot take the target")]
    Target(#[from] TargetError),
    /// A file that is no target, bundle or package.
    #[error("{} is no target: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A package that is damaged, or none.
    #[error("cannot take the package {}", path.display())]
    Package {
        /// The package; `-` is standard input.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<umiak_repository::Error>,
    },
    /// A container that is made for other devices.
    #[error("`{container}` is made for {made} ({told}), and this device is {device}")]
    Foreign {
        /// The container.
        container: String,
        /// What it is made for.
        made: String,
        /// What says so.
        told: String,
        /// What this device is.
        device: String,
    },
    /// What a tag leads to is not what the target asks for.
    #[error("{reference} is {found}, and the target asks for {wanted}")]
    Digest {
        /// What was asked for.
        reference: String,
        /// Which it has to be.
        wanted: Digest,
        /// Which it is.
        found: Digest,
    },
    /// An older target than the device has seen.
    #[error("the target is of generation {asked}, and this device has been asked for {known} already")]
    Older {
        /// The target's.
        asked: u64,
        /// The highest that was accepted.
        known: u64,
    },
    /// The policy does not accept it.
    #[error(transparent)]
    Distrust(#[from] Distrust),
    /// A signature that cannot be read.
    #[error("cannot read a signature of {what}")]
    Signature {
        /// Of what.
        what: String,
        /// Why not.
        source: SignatureError,
    },
    /// A document of a Compose App.
    #[error("cannot use {what} as a Compose App")]
    App {
        /// The app.
        what: String,
        /// What is wrong with it.
        source: Box<AppError>,
    },
    /// A document that cannot be read.
    #[error("cannot read {what}")]
    Document {
        /// Which.
        what: String,
        /// What is wrong with it.
        source: DocumentError,
    },
    /// The app's project.
    #[error("cannot use the project of {app}")]
    Project {
        /// The app.
        app: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What a service asks that is not done here.
    #[error("{app} asks for what is not done here: {}", refusals.join("; "))]
    Refused {
        /// The app.
        app: String,
        /// Each with its place.
        refusals: Vec<String>,
    },
    /// The pvr state.
    #[error("cannot use the state of {app}")]
    State {
        /// The app.
        app: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file that has not all layers: it may carry deltas of which none starts from what is here.
    #[error("{file} does not carry the {} bytes of {}, and they cannot be had elsewhere", blob.size, blob.digest.short())]
    NotCarried {
        /// The file.
        file: String,
        /// What it does not carry.
        blob: Box<Descriptor>,
        /// Why it cannot be had elsewhere.
        source: Box<ResolveError>,
    },
    /// The delta of a package that starts from what is not here.
    #[error("{} is a delta from {release}, of which {objects} not on this device", file.display())]
    NoBase {
        /// The delta.
        file: PathBuf,
        /// The release that it starts from.
        release: String,
        /// What of that is missing, with the verb.
        objects: String,
    },
    /// The delta of a package that cannot be applied.
    #[error("the delta {} cannot be applied", file.display())]
    Parcel {
        /// The delta.
        file: PathBuf,
        /// Why not.
        source: Box<StoreError>,
    },
    /// No room for an object that comes.
    #[error("the package does not fit: its object {} has {}, and {} are free for it", digest.short(), Size(*wanted), Size(*free))]
    NoRoom {
        /// The object.
        digest: Digest,
        /// Its bytes.
        wanted: u64,
        /// Bytes that may be taken.
        free: u64,
    },
    /// Nowhere to be had.
    #[error("{what} is not on this device, and {why}")]
    Missing {
        /// What.
        what: String,
        /// Why it cannot be had.
        why: String,
    },
    /// The work was stopped on request.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl ResolveError {
    /// Adds what was asked for.
    pub(crate) fn source(what: impl Into<String>) -> impl FnOnce(umiak_registry::Error) -> Self {
        let what = what.into();
        move |source| match source {
            umiak_registry::Error::Cancelled(cancelled) => Self::Cancelled(cancelled),
            source => Self::Source { what, source: Box::new(source) },
        }
    }

    /// Whether the place was asked and has it not.
    pub(crate) fn is_not_found(&self) -> bool {
        match self {
            Self::Source { source, .. } => source.kind() == ErrorKind::NotFound,
            Self::Fetch(error) => matches!(&error.cause, Cause::Source(error) if error.kind() == ErrorKind::NotFound),
            _ => false,
        }
    }

    /// Whether it is the fault of the place that was asked, so that another one may do better.
    pub(crate) fn is_of_place(&self) -> bool {
        match self {
            Self::Source { .. } => true,
            Self::Fetch(error) => {
                matches!(error.cause, Cause::Source(_) | Cause::Wrong { .. } | Cause::Pieces { .. })
                    && !error.is_cancelled()
            }
            _ => false,
        }
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Source { source, .. } => class_of(source.kind()),
            Self::Fetch(error) => error.class(),
            Self::NotCarried { source, .. } => source.class(),
            Self::Store(error) | Self::Parcel { source: error, .. } => store_class(error),
            Self::NoRoom { .. } => Class::DoesNotFit,
            Self::Package { source, .. } if matches!(**source, umiak_repository::Error::Io { .. }) => {
                Class::Environment
            }
            Self::Package { source, .. } if is_only_delta(source) => Class::Usage,
            Self::Target(_) | Self::File { .. } | Self::Refused { .. } | Self::NoBase { .. } | Self::Foreign { .. } => {
                Class::Usage
            }
            Self::Missing { .. } | Self::Cancelled(_) => Class::Environment,
            _ => Class::Corrupt,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Older { .. } => "number the target higher than the last one; going back is `umiakd rollback`",
            Self::Digest { .. } => "the tag has moved: name the digest, or take it out of the target",
            Self::Distrust(distrust) => return hint_of(distrust),
            Self::Source { source, .. } if source.kind() == ErrorKind::Network => {
                "what has come is kept: try again later"
            }
            Self::Fetch(error) if error.is_passing() => "what has come is kept: try again later",
            Self::NotCarried { .. } => {
                "it may carry deltas from a release that is not here: make one with `umiak compose bundle` and no --from"
            }
            Self::NoBase { .. } => "set the whole package as target, or a delta from the release that is here",
            Self::Parcel { source, .. } if matches!(**source, StoreError::DamagedBase { .. }) => {
                "umiakd fsck --repair, then update again; or set the whole package as target"
            }
            Self::Parcel { source, .. } if !source.is_full() => "set the whole package as target",
            Self::Package { source, .. } if is_only_delta(source) => "give it as a file: umiakd tx add FILE.delta",
            Self::Foreign { .. } => "take the package of this device's platform: <name>-<version>-<build>.<arch>.tgz",
            Self::NoRoom { .. } => "make room on the disk: umiakd prune",
            Self::Store(error) if error.is_full() => "make room on the disk: umiakd prune",
            Self::Missing { .. } => "bring the file back to where it was, or set the target again",
            _ => return None,
        })
    }
}

fn is_only_delta(error: &umiak_repository::Error) -> bool {
    matches!(error, umiak_repository::Error::Package(PackageError::OnlyDelta(_)))
}

/// What to do about an app that is not trusted.
fn hint_of(distrust: &Distrust) -> Option<&'static str> {
    Some(match distrust {
        Distrust::Unsigned { .. } => "sign it with one of these keys, or change the policy",
        Distrust::TooFew { .. } => {
            "the others have to sign these files too (umiak sig add), not only something beside them; or change the policy"
        }
        Distrust::Uncovered { .. } => "sign them as well (umiak sig add), or let the policy ask for less",
        Distrust::Older { .. } => {
            "number the next release higher than the last one; going back to what is kept here is `umiakd rollback`"
        }
        Distrust::State { source: PvsError::Chain { source: ChainError::Expired { .. }, .. }, .. } => {
            "sign it with a certificate that is valid, or let the policy pass over dates (\"dates\": \"ignore\")"
        }
        Distrust::State { source: PvsError::Nothing { .. }, .. } => {
            "take the signature out, or sign what it is to be over (umiak sig add), and pack it again"
        }
        Distrust::State { source: PvsError::Changed { .. }, .. } => {
            "sign it after the last change (umiak sig update), and pack it again"
        }
        Distrust::State { source: PvsError::Chain { .. } | PvsError::DoesNotHold { .. }, .. } => {
            "sign it with a key that the policy names, or put its key into the policy"
        }
        Distrust::State { .. } | Distrust::Refused { .. } => return None,
    })
}

/// The class of what a registry, layout or archive said.
pub(crate) fn class_of(kind: ErrorKind) -> Class {
    match kind {
        ErrorKind::Network | ErrorKind::Denied => Class::Network,
        ErrorKind::NotFound | ErrorKind::Platform | ErrorKind::Unsupported => Class::Usage,
        ErrorKind::Corrupt => Class::Corrupt,
        ErrorKind::System | ErrorKind::Cancelled => Class::Environment,
    }
}

impl From<FetchError> for ResolveError {
    fn from(error: FetchError) -> Self {
        if error.is_cancelled() { Self::Cancelled(Cancelled) } else { Self::Fetch(Box::new(error)) }
    }
}

impl From<StoreError> for ResolveError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Cancelled(cancelled) => Self::Cancelled(cancelled),
            error => Self::Store(Box::new(error)),
        }
    }
}

impl From<ResolveError> for SupplyError {
    fn from(error: ResolveError) -> Self {
        if let ResolveError::Cancelled(_) = error {
            return Self::cancelled();
        }
        let supply = Self::new(error.class(), error.to_string());
        let supply = match error.hint() {
            Some(hint) => supply.hint(hint),
            None => supply,
        };
        match std::error::Error::source(&error) {
            Some(_) => supply.because(Under(error)),
            None => supply,
        }
    }
}

/// What is under an error whose own words have been said.
#[derive(Debug)]
struct Under(ResolveError);

impl std::fmt::Display for Under {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match std::error::Error::source(&self.0) {
            Some(source) => write!(f, "{source}"),
            None => write!(f, "{}", self.0),
        }
    }
}

impl std::error::Error for Under {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.0).and_then(std::error::Error::source)
    }
}
