//! What a service finds below its root.

use serde::{Deserialize, Serialize};

/// Whether a service may write to its root, outside of what is mounted there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Root {
    /// It may not.
    #[default]
    ReadOnly,
    /// It may; what it writes is kept so long.
    Writable(Persistence),
}

/// How long something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Persistence {
    /// Until the device starts anew.
    Boot,
    /// As long as the revision.
    Revision,
    /// As long as the app, and until someone removes it.
    Persistent,
}

/// One mount. Mounts are made in the order of their targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where: absolute, without `.`, `..` or a slash at the end; not the root itself.
    pub target: String,
    /// Whether it may not be written.
    pub read_only: bool,
    /// What.
    pub kind: MountKind,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountKind {
    /// A volume of the app.
    Volume(Volume),
    /// Something of the device.
    Bind(Bind),
    /// Memory.
    Tmpfs {
        /// Bytes at most; none: the kernel's default, half of the memory.
        size: Option<u64>,
        /// Permissions of its root, none: 1777.
        mode: Option<u32>,
        /// The mount options that are said besides, as `noexec`. `nosuid` and `nodev` always hold.
        options: Vec<String>,
    },
}

/// A volume: a directory that the engine keeps for the app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name within the app. Services that name the same share it.
    pub name: String,
    /// How long it is kept.
    pub persistence: Persistence,
    /// Whether it is filled, while it is empty, with what the image has at the target; with owner and permissions of
    /// the target.
    pub copy: bool,
    /// The directory in it that is mounted; relative, clean.
    pub subpath: Option<String>,
    /// Whether it keeps only what is changed of what the image has at the target, which shows through it: an overlay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub above: bool,
}

/// A file or directory from outside of the service's root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Absolute on the device; relative: below the directory of the app's project.
    pub source: String,
    /// Whether a missing source is made, as a directory.
    pub create: bool,
    /// Whether mounts below the source come along.
    pub recursive: bool,
    /// How later mounts spread.
    pub propagation: Propagation,
}

/// How mounts made later on one side show on the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Propagation {
    /// They do not.
    #[default]
    Private,
    /// Those of the device show in the service.
    Slave,
    /// Both ways.
    Shared,
}
