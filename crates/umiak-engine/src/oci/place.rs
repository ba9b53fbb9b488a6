//! Where things of a service lie, and what they are called.
//!
//! ```text
//! <run>/services/<app>/<revision>/<service>/     one instance; gone with the next start of the device
//!     place.json    what this is (app, whole revision, image, images stacked, the start of the device it belongs to)
//!     config.json   the bundle for the runtime      probe.json   the process of an exec probe
//!     shim.json     what the shim is to do          state.json   what it saw last
//!     lock          held by the shim while it lives, with its process number in it
//!     root/         the stack is mounted here       hosts, hostname, resolv.conf, shm files of the service
//!     names.json    what the file `hosts` is made of
//! <run>/net/<app>+<revision>+<service>           a network namespace      <run>/networks/<number>   networks of apps
//! <run>/volumes/<app>/<name>/                    volumes until the device starts anew
//! <volumes>/<app>/volumes/<name>/                persistent volumes
//! <volumes>/<app>/revisions/<revision>/{volumes,roots}/…   volumes and writable roots of one revision
//! <logs>/<app>/<service>/                        logs
//! ```

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use umiak_spec::Digest;

use crate::{Deployment, EngineError, Placed};

/// Letters of a revision that stand for it in names.
const REVISION_SHOWN: usize = 12;

/// Letters of a name at most.
const NAME_MAX: usize = 128;

/// The directories of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directories {
    /// What lasts until the device starts anew; on tmpfs where the device has it (`/run/umiak`). A short path.
    pub run: PathBuf,
    /// Volumes and writable roots (`/var/lib/umiak/volumes`).
    pub volumes: PathBuf,
    /// Logs (`/var/lib/umiak/logs`).
    pub logs: PathBuf,
}

impl Directories {
    /// What tells this engine from others of the same machine: made of the run directory's path, which two engines never
    /// share. It is in the names of what the kernel has once for all: bridges and control groups.
    pub(crate) fn mark(&self) -> [u8; 4] {
        let run = std::path::absolute(&self.run).unwrap_or_else(|_| self.run.clone());
        let digest = Digest::of(run.as_os_str().as_encoded_bytes());
        let [a, b, c, d, ..] = *digest.as_bytes();
        [a, b, c, d]
    }
}

/// Which service of which app and revision.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Key {
    pub app: String,
    /// As it was given.
    pub revision: String,
    pub service: String,
}

/// What `place.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub key: Key,
    pub image: String,
    /// What is stacked: path, device, inode number and length of each image.
    pub stacked: Vec<(PathBuf, u64, u64, u64)>,
    /// `/proc/sys/kernel/random/boot_id` of the start of the device that it was made in.
    pub boot: String,
}

/// An instance: a key with its directories.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub key: Key,
    directories: Directories,
    short: String,
}

/// A name that may be a part of paths, of a container's name and of a control group's.
pub(crate) fn check_name(name: &str) -> Result<(), EngineError> {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let good = plain && !name.is_empty() && name.len() <= NAME_MAX && !name.starts_with(['.', '-']);
    if good { Ok(()) } else { Err(EngineError::Name(name.chars().take(NAME_MAX).collect())) }
}

/// The revision in names: the first digits of its digest.
pub(crate) fn short_revision(revision: &str) -> Result<String, EngineError> {
    let digits = revision.rsplit(':').next().unwrap_or_default();
    let short: String = digits.chars().take(REVISION_SHOWN).collect();
    check_name(&short)?;
    Ok(short)
}

impl Instance {
    pub(crate) fn new(directories: &Directories, key: Key) -> Result<Self, EngineError> {
        check_name(&key.app)?;
        check_name(&key.service)?;
        let short = short_revision(&key.revision)?;
        Ok(Self { key, directories: directories.clone(), short })
    }

    pub(crate) fn of(directories: &Directories, deployment: &Deployment, placed: &Placed) -> Result<Self, EngineError> {
        let key = Key {
            app: deployment.app.clone(),
            revision: deployment.revision.clone(),
            service: placed.service.name.clone(),
        };
        Self::new(directories, key)
    }

    /// The container's name. `+` is in no other name, so no two instances of one engine share one.
    pub(crate) fn container(&self) -> String {
        format!("umiak+{}+{}+{}", self.key.app, self.short, self.key.service)
    }

    /// The control group, which is one of the whole machine's: other engines may run the same revision of the same app.
    /// As the runtime wants it: a path, or for systemd slice, prefix and name.
    pub(crate) fn cgroup(&self, systemd: bool) -> String {
        let mark = u32::from_be_bytes(self.directories.mark());
        let Key { app, service, .. } = &self.key;
        if systemd {
            return format!("system.slice:umiak:{app}-{}-{service}-{mark:08x}", self.short);
        }
        format!("/umiak/{}+{mark:08x}", self.container())
    }

    /// The revision in names.
    pub(crate) fn revision(&self) -> &str {
        &self.short
    }

    pub(crate) fn directory(&self) -> PathBuf {
        revision_directory(&self.directories, &self.key.app, &self.short).join(&self.key.service)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.file("root")
    }

    pub(crate) fn network_of(&self, service: &str) -> PathBuf {
        self.directories.run.join("net").join(format!("{}+{}+{service}", self.key.app, self.short))
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.directories.logs.join(&self.key.app).join(&self.key.service)
    }

    /// What is kept for this revision only.
    pub(crate) fn kept_for_revision(&self) -> PathBuf {
        kept_for_revision(&self.directories, &self.key.app, &self.short)
    }

    pub(crate) fn directories(&self) -> &Directories {
        &self.directories
    }
}

/// All instances of an app's revision.
pub(crate) fn revision_directory(directories: &Directories, app: &str, short: &str) -> PathBuf {
    directories.run.join("services").join(app).join(short)
}

/// What is kept for one revision.
pub(crate) fn kept_for_revision(directories: &Directories, app: &str, short: &str) -> PathBuf {
    directories.volumes.join(app).join("revisions").join(short)
}

/// What marks this start of the device.
pub(crate) fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// Reads a document; none when it is not there, not whole or too long.
pub(crate) fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    const DOCUMENT_MAX: u64 = 4 << 20;
    if std::fs::metadata(path).ok()?.len() > DOCUMENT_MAX {
        return None;
    }
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(directories: &Directories) -> String {
        directories.mark().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn names_stay_inside_and_apart() {
        for wrong in ["", ".", "..", "a/b", "-x", "a+b", "ä", &"x".repeat(129)] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
        let directories = Directories { run: "/r".into(), volumes: "/v".into(), logs: "/l".into() };
        let key = |revision: &str| Key { app: "a".into(), revision: revision.into(), service: "s".into() };
        let instance = Instance::new(&directories, key("sha256:0123456789abcdef")).unwrap();
        assert_eq!(instance.container(), "umiak+a+0123456789ab+s");
        assert_eq!(instance.cgroup(false), format!("/umiak/umiak+a+0123456789ab+s+{}", shown(&directories)));
        assert_eq!(instance.cgroup(true), format!("system.slice:umiak:a-0123456789ab-s-{}", shown(&directories)));
        let other = Directories { run: "/other".into(), ..directories.clone() };
        let elsewhere = Instance::new(&other, key("sha256:0123456789abcdef")).unwrap();
        assert_ne!(elsewhere.cgroup(false), instance.cgroup(false), "two stores run the same");
        assert_eq!(instance.root(), Path::new("/r/services/a/0123456789ab/s/root"));
        assert!(Instance::new(&directories, key("sha256:")).is_err());
        assert!(Instance::new(&directories, key("../../etc")).is_err());
    }
}
