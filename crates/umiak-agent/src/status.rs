//! What a person or a program is told of a device: a document, made without network.

use serde::{Deserialize, Serialize};
use umiak_spec::Digest;

/// Everything that `status` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The whole in one sentence.
    pub sentence: String,
    /// The name of the engine.
    pub engine: String,
    /// What is under way.
    pub underway: Underway,
    /// What was asked for.
    pub target: Option<TargetStatus>,
    /// The apps that should run, with their services; by name.
    pub apps: Vec<AppStatus>,
    /// The revisions that the device knows, the current one first.
    pub revisions: Vec<RevisionStatus>,
    /// The store's space; `None` where it cannot be measured.
    pub space: Option<Space>,
    /// What went wrong last and is not put right yet.
    pub trouble: Option<Trouble>,
    /// What the policy would refuse of the target, were it strict where it only looks (audit).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audit: Vec<String>,
}

/// What is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Underway {
    /// `rest`, `staging`, `staged`, `switching`, `testing` or `returning`.
    pub phase: String,
    /// The revision that it is about.
    pub revision: Option<Digest>,
    /// Why a failed revision is taken back.
    pub why: Option<String>,
    /// Starts of the machine since the switch began.
    pub boots: u32,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// The apps as they were asked for.
    pub asked: Vec<String>,
    /// The revision that this was when it was looked up last.
    pub revision: Option<Digest>,
    /// When it was set, in seconds since 1970, where the clock was right.
    pub at: Option<u64>,
}

/// An app that should run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppStatus {
    /// Its name.
    pub name: String,
    /// Which release of it: the digest of its top document.
    pub digest: Digest,
    /// Where it came from, as it was asked for.
    pub reference: String,
    /// Its worst service's condition.
    pub condition: Condition,
    /// Its services by name.
    pub services: Vec<ServiceStatus>,
}

/// How a service or an app is. The later, the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// Runs and its probe says so.
    Healthy,
    /// Runs; it has no probe.
    Running,
    /// Did what it had to and ended with code 0.
    Completed,
    /// Runs; its probe has not said yet.
    Starting,
    /// Waits to be started again, or ended with an error.
    Exited,
    /// Runs; its probe says that it is not healthy.
    Unhealthy,
    /// Is not there.
    Absent,
}

impl Condition {
    /// Whether nothing is wrong with it.
    #[must_use]
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Healthy | Self::Running | Self::Completed)
    }

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Starting => "starting",
            Self::Exited => "exited",
            Self::Unhealthy => "unhealthy",
            Self::Absent => "absent",
        }
    }
}

/// A service of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// How it is.
    pub condition: Condition,
    /// What its last probe or its end said.
    pub detail: Option<String>,
    /// How often it was started again by its restart policy.
    pub restarts: u32,
}

/// What a revision is to the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Committed; runs, unless one is being tested.
    Current,
    /// Was current before.
    Previous,
    /// On its way: being fetched.
    Staging,
    /// Whole in the store, ready to start.
    Staged,
    /// Being switched to or tested.
    Testing,
    /// Being taken back.
    Returning,
    /// Kept because a person wants it.
    Pinned,
    /// Failed; not tried again.
    Failed,
    /// Was current once.
    Older,
}

impl Role {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Previous => "previous",
            Self::Staging => "staging",
            Self::Staged => "staged",
            Self::Testing => "testing",
            Self::Returning => "returning",
            Self::Pinned => "pinned",
            Self::Failed => "failed",
            Self::Older => "older",
        }
    }
}

/// A revision that the device knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionStatus {
    /// Its digest.
    pub revision: Digest,
    /// What it is to the device.
    pub roles: Vec<Role>,
    /// Whether it is whole in the store: can be gone back to without network.
    pub stored: bool,
    /// Its apps and where each came from, where its document is still here.
    pub apps: Vec<(String, String)>,
    /// Why it failed.
    pub why: Option<String>,
}

/// The space of the file system that the store is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Space {
    /// Its size in bytes.
    pub size: u64,
    /// Bytes that are free.
    pub free: u64,
}

/// What went wrong, kept until an update succeeds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trouble {
    /// What was being done: `update`, `check`, `prune`, …
    pub doing: String,
    /// Why it failed, with all causes.
    pub why: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// When, in seconds since 1970, where the clock was right.
    pub at: Option<u64>,
}
