//! Why a device could not be asked, or did not do what it was asked for.

use std::io;
use std::time::Duration;

use umiak_pvr::StateError;
use umiak_pvr::json::ParseError;
use umiak_spec::{Cancelled, Digest, Size};

use crate::progress::Status;

/// What kind of failure it is: callers choose exit codes and hints by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The device cannot be reached, hangs, or is busy; trying again may help.
    Network,
    /// It does not let us, or not without a token.
    Denied,
    /// What was asked for makes no sense to it.
    Usage,
    /// There is not enough room on it.
    DoesNotFit,
    /// Bytes are not what they should be, or it does not trust them.
    Corrupt,
    /// It tried the revision and went back.
    RolledBack,
    /// The system here failed.
    System,
    /// The work was stopped on request.
    Cancelled,
}

/// Why a device could not be asked, or did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be talked to.
    #[error("cannot {action} {place}")]
    Network {
        /// What was attempted: `reach`, `read from`.
        action: &'static str,
        /// The device, or an address that it gave.
        place: String,
        /// The last failure.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It sends a document so slowly that there is no end to it.
    #[error("{place} has not sent all of {what} in {} s", limit.as_secs_f32())]
    Slow {
        /// The device.
        place: String,
        /// What it is.
        what: String,
        /// How long it may take.
        limit: Duration,
    },
    /// It answered with a status that means failure.
    #[error("{place} answered {status}{}", told(detail.as_ref()))]
    Status {
        /// The device and what was asked of it.
        place: String,
        /// The HTTP status.
        status: u16,
        /// What it said about it.
        detail: Option<String>,
    },
    /// It is at work on something else, and was for as long as we waited.
    #[error("{place} is busy with another update or command, for more than {} s now", waited.as_secs())]
    Busy {
        /// The device.
        place: String,
        /// How long was waited.
        waited: Duration,
    },
    /// It does not let us.
    #[error("{place} does not allow it{}", told(detail.as_ref()))]
    Denied {
        /// The device and what was asked of it.
        place: String,
        /// What it said about it.
        detail: Option<String>,
    },
    /// It ran out of space while it took something.
    #[error("{place} has no space left{}", told(detail.as_ref()))]
    NoRoom {
        /// The device and what was asked of it.
        place: String,
        /// What it said about it.
        detail: Option<String>,
    },
    /// It would run out of space: it was told before anything was sent.
    #[error("{place} has {} free, and what it lacks takes {}", Size(*free), Size(*needed))]
    DoesNotFit {
        /// The device.
        place: String,
        /// Bytes of what has to be sent.
        needed: u64,
        /// Bytes that it has.
        free: u64,
    },
    /// It looked at what it was given and does not take it: a checksum, a state, a signature.
    #[error("{place} refuses it{}", told(detail.as_ref()))]
    Refused {
        /// The device and what it was given.
        place: String,
        /// What it said about it.
        detail: Option<String>,
    },
    /// There is another revision of the name already.
    #[error("{place} is in the way{}", told(detail.as_ref()))]
    Conflict {
        /// What was asked of it.
        place: String,
        /// What it said about it.
        detail: Option<String>,
    },
    /// What answers is not a device that pvr could talk to.
    #[error("{place} is not the remote of a device: {reason}")]
    NotADevice {
        /// The address.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// What it sent is not JSON, or too much of it.
    #[error("cannot understand {what}")]
    Document {
        /// What it is.
        what: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// The state it sent is none.
    #[error("cannot use the state of {place}")]
    State {
        /// The device.
        place: String,
        /// What is wrong with it.
        source: StateError,
    },
    /// It does not have an object that its own state names.
    #[error("{place} does not have the object {}{}", digest.short(), told(detail.as_ref()))]
    NoObject {
        /// The device.
        place: String,
        /// Which.
        digest: Digest,
        /// What it said about it.
        detail: Option<String>,
    },
    /// An object of ours cannot be read.
    #[error("cannot read the object {}", digest.short())]
    Unreadable {
        /// Which.
        digest: Digest,
        /// What the system said.
        source: io::Error,
    },
    /// An object of ours is not what its name says; the device was sent it and will not have taken it.
    #[error("the object {} is damaged here: its content has the digest {}", digest.short(), found.short())]
    Damaged {
        /// Which.
        digest: Digest,
        /// The digest of what it holds.
        found: Digest,
    },
    /// Nobody knows whether the device took the revision.
    #[error("the connection to {place} was lost while it was given the revision: it may have taken it or not")]
    Unknown {
        /// The device.
        place: String,
        /// How it was lost.
        source: Box<Self>,
    },
    /// It tried the revision, or did not want to.
    #[error("the device does not run revision {revision}: {status}{}", told(message.as_ref()))]
    Failed {
        /// The revision.
        revision: String,
        /// What it said in the end.
        status: Status,
        /// And why.
        message: Option<String>,
        /// Lines of its log.
        log: Option<String>,
    },
    /// It did not say in time what became of the revision.
    #[error("the device has not come to an end with revision {revision} in {} s{}", waited.as_secs(), last_heard(last.as_ref()))]
    NoVerdict {
        /// The revision.
        revision: String,
        /// How long was waited.
        waited: Duration,
        /// What it said last.
        last: Option<Status>,
    },
    /// Something that this way to a device has not.
    #[error("{0}")]
    Unsupported(String),
    /// The work was stopped on request.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

fn told(detail: Option<&String>) -> String {
    detail.map(|text| format!(": {text}")).unwrap_or_default()
}

fn last_heard(last: Option<&Status>) -> String {
    last.map_or_else(|| "; it said nothing".to_owned(), |status| format!("; it said {status} last"))
}

impl Error {
    /// What kind of failure this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Network { .. }
            | Self::Slow { .. }
            | Self::Busy { .. }
            | Self::Unknown { .. }
            | Self::NoVerdict { .. } => ErrorKind::Network,
            Self::Status { status, .. } if (400..500).contains(status) && *status != 429 => ErrorKind::Usage,
            Self::Status { .. } => ErrorKind::Network,
            Self::Denied { .. } => ErrorKind::Denied,
            Self::NoRoom { .. } | Self::DoesNotFit { .. } => ErrorKind::DoesNotFit,
            Self::NoObject { .. }
            | Self::Refused { .. }
            | Self::Damaged { .. }
            | Self::Document { .. }
            | Self::State { .. } => ErrorKind::Corrupt,
            Self::Conflict { .. } | Self::NotADevice { .. } | Self::Unsupported(_) => ErrorKind::Usage,
            Self::Unreadable { .. } => ErrorKind::System,
            Self::Failed { status, message, .. } => match (status, message.as_deref()) {
                (Status::WontGo, Some(text)) if text.starts_with("Space required") => ErrorKind::DoesNotFit,
                (Status::WontGo | Status::Cancelled, _) => ErrorKind::Corrupt,
                _ => ErrorKind::RolledBack,
            },
            Self::Cancelled(_) => ErrorKind::Cancelled,
        }
    }

    /// Says which object it was that the device does not know.
    pub(crate) fn of_object(self, digest: &Digest) -> Self {
        match self {
            Self::Status { place, status: 400 | 404, detail } => Self::NoObject { place, digest: *digest, detail },
            other => other,
        }
    }

    /// Whether the connection failed, not the request.
    pub(crate) fn is_connection(&self) -> bool {
        matches!(self, Self::Network { .. })
    }
}
