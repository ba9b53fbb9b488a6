//! An app of a device: its `src.json`, and `run.json` and `lxc.container.conf` rendered from it.
//!
//! [`render`] is a pure function of the source document, the app's name and the device's default group; its two texts
//! are what `pvr app install` writes.

mod args;
mod lxc;
mod run;
mod src;
mod storage;

pub use args::Arguments;
pub(crate) use args::is_truthy;
pub use src::{SourceDocument, SourceError, SourceKind};
pub use storage::{LXC_OVERLAY, Persistence, Storage, Volume, VolumeError, parse_volume};

use crate::json::Value;

/// File name of an app's source document.
pub const SRC_JSON: &str = "src.json";
/// File name of what the device reads of an app.
pub const RUN_JSON: &str = "run.json";
/// File name of an app's LXC configuration.
pub const LXC_CONF: &str = "lxc.container.conf";
/// File name of an app's root file system.
pub const ROOT_SQUASHFS: &str = "root.squashfs";
/// File name of what is laid over the root file system, its own or that of the app it extends.
pub const ROOT_OVL_SQUASHFS: &str = "root.ovl.squashfs";
/// Behind a squashfs' name: the file that holds the manifest digest it was built from, without a line end.
pub const DOCKER_DIGEST_SUFFIX: &str = ".docker-digest";
/// Behind a squashfs' name: the file that holds `sha256:<hex of the squashfs>`, for apps from a root file system.
pub const ROOTFS_DIGEST_SUFFIX: &str = ".rootfs-digest";

/// What a rendering needs besides the source document.
#[derive(Debug, Clone, Default)]
pub struct RenderContext {
    /// The app's name: its directory.
    pub name: String,
    /// Group of an app that names neither a group nor a runlevel; see [`default_group`].
    pub default_group: Option<String>,
}

/// The rendered texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// `run.json`, tab-indented, without a line end behind the last line.
    pub run_json: String,
    /// `lxc.container.conf`; `None` for an app that is only mounted, never started.
    pub lxc_conf: Option<String>,
    /// What is rendered as pvr does it but will hardly work, in whole sentences without a full stop.
    pub warnings: Vec<String>,
}

/// Why an app cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// Not usable as an app's name.
    #[error("app name `{name}` {reason}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An argument or configuration value of the wrong type.
    #[error("`{what}` must be {expected}, not {found}")]
    Type {
        /// Which one.
        what: String,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A value that would break out of its line.
    #[error("`{0}` contains a line break or NUL, which cannot stand in lxc.container.conf")]
    LineBreak(String),
    /// A volume that cannot be mounted.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// An entry of a list that does not have the form it should.
    #[error("`{what}` has an entry `{entry}` that is not of the form {form}")]
    Entry {
        /// Which list.
        what: &'static str,
        /// The entry.
        entry: String,
        /// What it should look like.
        form: &'static str,
    },
}

/// Renders an app.
///
/// # Errors
/// [`RenderError`] for values that cannot be written where they belong; nothing is escaped silently.
pub fn render(source: &SourceDocument, context: &RenderContext) -> Result<Rendered, RenderError> {
    check_name(&context.name)?;
    let mut warnings = Vec::new();
    let storage = Storage::of(source)?;
    let run_json = run::render(source, context, &storage)?;
    let lxc_conf = match starts(source.args())? {
        true => Some(lxc::render(source, &context.name, &storage, &mut warnings)?),
        false => None,
    };
    Ok(Rendered { run_json, lxc_conf, warnings })
}

/// Whether the device starts the app: neither runlevel `data` nor status goal `MOUNTED`.
fn starts(args: Arguments<'_>) -> Result<bool, RenderError> {
    Ok(args.text("PV_RUNLEVEL")?.as_deref() != Some("data")
        && args.text("PV_STATUS_GOAL")?.as_deref() != Some("MOUNTED"))
}

/// Checks an app's name: one directory at the top of the device that is not one of pvr's own, and that can stand
/// in mount options.
///
/// # Errors
/// [`RenderError::Name`].
pub fn check_name(name: &str) -> Result<(), RenderError> {
    let bad = |character: char| {
        character.is_control() || character.is_whitespace() || matches!(character, '/' | ':' | ',' | '"' | '\\' | '#')
    };
    let reason = if name.is_empty() {
        "is empty"
    } else if name.starts_with(['.', '_', '-']) {
        "starts with `.`, `_` or `-`, which is reserved"
    } else if name.len() > 200 {
        "is longer than 200 bytes"
    } else if name.contains(bad) {
        "contains white space or one of / : , \" \\ #"
    } else {
        return Ok(());
    };
    Err(RenderError::Name { name: name.chars().filter(|c| !c.is_control()).take(80).collect(), reason })
}

/// The default group of a device: the last entry of its `groups.json`.
#[must_use]
pub fn default_group(groups_json: &Value) -> Option<String> {
    let last = groups_json.as_array()?.last()?;
    last.as_str().or_else(|| last.get("name")?.as_str()).map(str::to_owned)
}
