//! The writable volumes of an app: what an image declares and what the user says about it.

use std::collections::BTreeMap;

use super::args::{is_truthy, scalar, type_error};
use super::{RenderError, SourceDocument};
use crate::json::Value;

/// Key of `persistence` that is not a path but the writable layer of the whole root.
pub const LXC_OVERLAY: &str = "lxc-overlay";

/// Where a volume's content lives and how long: `permanent`, `revision` or `boot`, perhaps on a named disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Persistence {
    /// `permanent`, `revision`, `boot`, or what a later device understands.
    pub mode: String,
    /// The disk, if not the device's default.
    pub disk: Option<String>,
}

/// A directory of the app that is writable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// `ovl` when the volume is an overlay above the image's directory, empty when it replaces that directory.
    pub scheme: String,
    /// The directory inside the app: starts with `/` unless the user left that out, never ends with it.
    pub path: String,
    /// How long its content lives.
    pub persistence: Persistence,
}

/// All volumes of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// Sorted by key (`scheme:path`).
    pub volumes: Vec<Volume>,
    /// The writable layer of the root; `boot` unless the source document says otherwise.
    pub overlay: Persistence,
}

/// Why a volume is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VolumeError {
    /// Not `PATH:PERSISTENCE`.
    #[error("volume `{0}` is not of the form [ovl:]PATH:PERSISTENCE[@DISK]")]
    Form(String),
    /// None of the three words.
    #[error("volume `{volume}` has persistence `{mode}`, not permanent, revision or boot")]
    Mode {
        /// As given.
        volume: String,
        /// Its persistence.
        mode: String,
    },
    /// A path that cannot be mounted on.
    #[error("volume `{volume}` {reason}")]
    Path {
        /// As given.
        volume: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Persistence {
    fn parse(text: &str) -> Self {
        let mode = text.split('@').next().unwrap_or_default().to_owned();
        let disk = text.rsplit_once('@').map(|(_, disk)| disk.to_owned());
        Self { mode, disk }
    }

    /// As `run.json` has it.
    pub(super) fn to_value(&self) -> Value {
        let mut members = vec![("persistence", Value::from(self.mode.as_str()))];
        if let Some(disk) = &self.disk {
            members.push(("disk", Value::from(disk.as_str())));
        }
        Value::object(members)
    }
}

impl Volume {
    fn parse(key: &str, persistence: &str) -> Result<Self, VolumeError> {
        let (scheme, path) = key.split_once(':').unwrap_or(("", key));
        let bad = |reason| VolumeError::Path { volume: key.chars().filter(|c| !c.is_control()).collect(), reason };
        let path = path.strip_suffix('/').unwrap_or(path);
        if path.trim_matches('/').is_empty() {
            return Err(bad("is the root of the app"));
        }
        if path.split('/').any(|name| name == "..") {
            return Err(bad("has a `..` component"));
        }
        if path.contains(char::is_control) {
            return Err(bad("contains a control character"));
        }
        if !matches!(scheme, "" | "ovl") {
            return Err(bad("has a scheme that is not `ovl`"));
        }
        if scheme == "ovl" && path.contains([',', ':', '\\']) {
            return Err(bad("contains one of , : \\, which overlay mounts cannot have"));
        }
        Ok(Self { scheme: scheme.to_owned(), path: path.to_owned(), persistence: Persistence::parse(persistence) })
    }

    /// The volume's name on the device: `docker--data` for `/data`, `dockerovl--var` for `ovl:/var`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("docker{}-{}", self.scheme, self.path.replace('/', "-"))
    }

    /// The directory without its leading slash.
    #[must_use]
    pub fn target(&self) -> &str {
        self.path.strip_prefix('/').unwrap_or(&self.path)
    }
}

impl Storage {
    /// The volumes of an app: those of the image (permanent), overruled by the document's `persistence`.
    ///
    /// # Errors
    /// [`RenderError`] for volumes that cannot be mounted and for values of the wrong type.
    pub fn of(source: &SourceDocument) -> Result<Self, RenderError> {
        let mut merged: BTreeMap<String, String> = BTreeMap::new();
        let trimmed = |key: &str| key.strip_suffix('/').unwrap_or(key).to_owned();
        match source.container_config().get("Volumes") {
            Some(Value::Object(volumes)) => {
                merged.extend(volumes.keys().map(|key| (trimmed(key), "permanent".to_owned())));
            }
            Some(other) if is_truthy(other) => return Err(type_error("Volumes", "an object", other)),
            _ => {}
        }
        for (key, value) in source.persistence().into_iter().flatten() {
            merged.insert(trimmed(key), scalar("persistence", value)?);
        }
        let overlay = Persistence::parse(merged.remove(LXC_OVERLAY).as_deref().unwrap_or("boot"));
        let volumes = merged.iter().map(|(key, value)| Volume::parse(key, value)).collect::<Result<_, _>>()?;
        Ok(Self { volumes, overlay })
    }
}

/// Parses `--volume`: `/data:permanent`, `/data:revision@disk1`, `ovl:/var:permanent`, `lxc-overlay:boot`. Returns key
/// and value of `persistence`.
///
/// # Errors
/// [`VolumeError`] when it is none of these.
pub fn parse_volume(text: &str) -> Result<(String, String), VolumeError> {
    let (key, persistence) = text.rsplit_once(':').ok_or_else(|| VolumeError::Form(text.to_owned()))?;
    if key == LXC_OVERLAY || !key.is_empty() && key != "ovl" {
        let mode = Persistence::parse(persistence).mode;
        if !matches!(mode.as_str(), "permanent" | "revision" | "boot") {
            return Err(VolumeError::Mode { volume: text.to_owned(), mode });
        }
        if key != LXC_OVERLAY {
            Volume::parse(key, persistence)?;
        }
        return Ok((key.to_owned(), persistence.to_owned()));
    }
    Err(VolumeError::Form(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volume_options_are_read() {
        for (text, key, value) in [
            ("/data:permanent", "/data", "permanent"),
            ("/data/:revision@disk1", "/data/", "revision@disk1"),
            ("ovl:/var:permanent", "ovl:/var", "permanent"),
            ("lxc-overlay:revision", "lxc-overlay", "revision"),
        ] {
            assert_eq!(parse_volume(text).unwrap(), (key.to_owned(), value.to_owned()));
        }
        for text in
            ["", "/data", "ovl:permanent", ":permanent", "/data:forever", "/:boot", "/a/../..:boot", "x:/a:boot"]
        {
            assert!(parse_volume(text).is_err(), "{text}");
        }
        assert!(parse_volume("ovl:/a,upperdir=/x:boot").is_err());
    }

    #[test]
    fn volume_names_are_pvr_s() {
        let name = |key| Volume::parse(key, "boot").unwrap().name();
        assert_eq!(name("/data/"), "docker--data");
        assert_eq!(name("/var/www"), "docker--var-www");
        assert_eq!(name("ovl:/var"), "dockerovl--var");
        assert_eq!(name("data"), "docker-data");
    }
}
