//! What a device has: file systems, what lies on which, what is stored and what of it must stay.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use umiak_spec::{Digest, Platform};

use crate::contents::LayerFiles;
use crate::fs::FileSystem;
use crate::task::Form;
use crate::wanted::{App, BlobKind};

/// Percent of a file system that may be in use after and during an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Watermark(u8);

/// Why a number is no [`Watermark`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a watermark of {0} % is outside 20 to 99")]
pub struct WatermarkError(pub u64);

impl Watermark {
    /// A watermark.
    ///
    /// # Errors
    /// Below 20 or above 99.
    pub fn new(percent: u64) -> Result<Self, WatermarkError> {
        match u8::try_from(percent) {
            Ok(small) if (20..=99).contains(&small) => Ok(Self(small)),
            _ => Err(WatermarkError(percent)),
        }
    }

    /// The percent.
    #[must_use]
    pub const fn percent(self) -> u8 {
        self.0
    }

    /// Of `blocks`, how many stay free, rounded up.
    #[must_use]
    pub fn kept(self, blocks: u64) -> u64 {
        let kept = (u128::from(blocks) * u128::from(100 - self.0)).div_ceil(100);
        u64::try_from(kept).unwrap_or(u64::MAX)
    }
}

impl Default for Watermark {
    fn default() -> Self {
        Self(80)
    }
}

impl fmt::Display for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0)
    }
}

/// What a directory of the device is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// What was fetched: blobs, or all of umiak's store.
    Blobs,
    /// The engine's data root.
    Engine,
    /// Where the engine unpacks an archive that is loaded.
    EngineTemp,
    /// Compose projects: what bundles are unpacked to.
    Projects,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Blobs, Self::Engine, Self::EngineTemp, Self::Projects];

    /// The word for it in profiles and reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Blobs => "blobs",
            Self::Engine => "engine",
            Self::EngineTemp => "engine-temp",
            Self::Projects => "projects",
        }
    }
}

/// What a device keeps of the layers it fetched, whatever its engine keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Keeps {
    /// Their blobs, as they were fetched: what Compose Apps keep on devices of others.
    Blobs,
    /// umiak's store: a squashfs image and a skeleton of each, and no blob once they are made.
    Layers,
}

impl Keeps {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Blobs, Self::Layers];

    /// The word for it in profiles and reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Blobs => "blobs",
            Self::Layers => "layers",
        }
    }
}

/// How the device runs containers, and what that stores beside what the device [keeps](Keeps).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Engine {
    /// An OCI runtime: it mounts what umiak's store has, and stores nothing.
    Runtime,
    /// Docker with its classic image store and overlay2. `docker load` first unpacks the archive beside its data.
    Docker,
    /// Docker patched to read blobs where they lie: nothing is unpacked beside.
    DockerInPlace,
    /// Docker with containerd's image store: it keeps the blobs once more.
    Containerd,
}

impl Engine {
    /// All engines.
    pub const ALL: [Self; 4] = [Self::Runtime, Self::Docker, Self::DockerInPlace, Self::Containerd];

    /// The word for it in profiles and reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Runtime => "runtime",
            Self::Docker => "docker",
            Self::DockerInPlace => "docker-in-place",
            Self::Containerd => "containerd",
        }
    }

    /// Whether it has a store of its own.
    #[must_use]
    pub const fn stores(self) -> bool {
        !matches!(self, Self::Runtime)
    }
}

/// An app that is on the device, wholly or in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredApp {
    /// What it is made of.
    pub app: App,
    /// Its containers exist.
    pub running: bool,
    /// It stays whatever happens: pinned, or kept to go back to. What runs and is to be the previous one is both.
    pub pinned: bool,
}

/// A layer in umiak's store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLayer {
    /// How it is kept.
    pub form: Form,
    /// Lengths of its files in bytes. What is not known is 0: then removing it is credited with less than it frees.
    pub files: LayerFiles,
}

/// What is stored on a device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stored {
    /// Blobs, and how many bytes of each are there: all, or those fetched so far.
    pub blobs: BTreeMap<Digest, u64>,
    /// Layers in umiak's store, by diff ID.
    pub layers: BTreeMap<Digest, StoredLayer>,
    /// Layers that the engine has in its own store, by chain ID.
    pub chains: BTreeSet<Digest>,
    /// Images that the engine has in its own store, by the digest of their configuration.
    pub images: BTreeSet<Digest>,
    /// The apps that all this belongs to.
    pub apps: Vec<StoredApp>,
}

impl Stored {
    /// A device on which these apps are complete: every blob or layer, and what the engine has of them.
    #[must_use]
    pub fn of(apps: Vec<StoredApp>, keeps: Keeps, engine: Engine) -> Self {
        let mut stored = Self::default();
        for app in apps.iter().map(|stored| &stored.app) {
            let kept = app.blobs().filter(|blob| keeps == Keeps::Blobs || blob.kind != BlobKind::Layer);
            stored.blobs.extend(kept.map(|blob| (blob.digest, blob.size)));
            for image in app.images() {
                if keeps == Keeps::Layers {
                    let layers = image.layers.iter().map(|layer| (layer.diff_id, layer.stored()));
                    stored.layers.extend(layers);
                }
                if engine.stores() {
                    stored.chains.extend(image.chain().map(|(chain, _)| chain));
                    stored.images.insert(image.config.digest);
                }
            }
        }
        stored.apps = apps;
        stored
    }
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// How people call it.
    pub name: String,
    /// Its file systems.
    pub file_systems: Vec<FileSystem>,
    /// Which file system each role lies on: an index into `file_systems`. A role that is not here lies where
    /// [`Role::Engine`] does, and that on the first.
    pub roles: BTreeMap<Role, usize>,
    /// What it keeps of layers.
    pub keeps: Keeps,
    /// How it runs containers.
    pub engine: Engine,
    /// How full its file systems may become.
    pub watermark: Watermark,
    /// What it runs.
    pub platform: Platform,
    /// What is on it.
    pub stored: Stored,
}

impl Device {
    /// The index of the file system on which a role lies. Always valid when there is a file system.
    #[must_use]
    pub fn place(&self, role: Role) -> usize {
        let own = self.roles.get(&role).or_else(|| self.roles.get(&Role::Engine)).copied().unwrap_or(0);
        own.min(self.file_systems.len().saturating_sub(1))
    }
}
