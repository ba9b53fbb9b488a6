//! The documents in an app's directory: read from the repository, written into a stage.
//!
//! Guarantees: run.json and lxc.container.conf always follow from the src.json beside them; a digest file names the
//! image that the squashfs beside it was made from, in pvr's form, so that pvr does not make it again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use umiak_pvr::Value;
use umiak_pvr::app::{self, LXC_CONF, RUN_JSON, RenderContext, SRC_JSON, SourceDocument};
use umiak_spec::Limits;

use crate::error::{BuildError, IoContext as _};
use crate::stage::Stage;

/// Where an app's directory is.
pub(crate) fn directory(repository: &Path, name: &str) -> PathBuf {
    repository.join(name)
}

/// The source document of an app.
pub(crate) fn read(repository: &Path, name: &str, limits: &Limits) -> Result<SourceDocument, BuildError> {
    let path = directory(repository, name).join(SRC_JSON);
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(BuildError::NoApp(name.to_owned())),
        result => result.at("read", &path)?,
    };
    SourceDocument::parse(&bytes, limits.document).map_err(|source| BuildError::Document { path, source })
}

/// Whether there is an app of this name.
pub(crate) fn exists(repository: &Path, name: &str) -> bool {
    directory(repository, name).join(SRC_JSON).exists()
}

/// Names of the apps that extend `base`, sorted.
pub(crate) fn dependents(repository: &Path, base: &str, limits: &Limits) -> Result<Vec<String>, BuildError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(repository).at("list", repository)? {
        let name = entry.at("list", repository)?.file_name();
        let Some(name) = name.to_str().filter(|name| *name != base && exists(repository, name)) else { continue };
        if read(repository, name, limits)?.base() == Some(base) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Puts src.json and what is rendered from it into the stage; returns the renderer's warnings.
pub(crate) fn write(
    stage: &mut Stage,
    repository: &Path,
    name: &str,
    document: &SourceDocument,
    limits: &Limits,
) -> Result<Vec<String>, BuildError> {
    let context = RenderContext { name: name.to_owned(), default_group: default_group(repository, limits) };
    let rendered =
        app::render(document, &context).map_err(|source| BuildError::Render { app: name.to_owned(), source })?;
    stage.put(RUN_JSON, rendered.run_json.as_bytes())?;
    match &rendered.lxc_conf {
        Some(text) => stage.put(LXC_CONF, text.as_bytes())?,
        None => stage.remove(LXC_CONF)?,
    }
    stage.put(SRC_JSON, document.to_text().as_bytes())?;
    Ok(rendered.warnings)
}

/// The device's default group, when it has groups.
fn default_group(repository: &Path, limits: &Limits) -> Option<String> {
    let bytes = fs::read(repository.join("groups.json")).ok()?;
    app::default_group(&Value::parse(&bytes, limits.document).ok()?)
}

/// What the digest file of a squashfs says, when both are there.
pub(crate) fn recorded_digest(repository: &Path, name: &str, squashfs: &str, suffix: &str) -> Option<String> {
    let directory = directory(repository, name);
    if !directory.join(squashfs).is_file() {
        return None;
    }
    fs::read_to_string(directory.join(format!("{squashfs}{suffix}"))).ok()
}
