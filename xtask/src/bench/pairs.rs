//! The image pairs that benches measure: real applications, release N and N+1, as OCI layouts.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Failure, command};

/// All pairs, with the tags `base` and `target` in `NAME.oci`.
pub const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Builds the pairs that are missing with the script `make-pairs`.
pub fn ensure(directory: &Path, script: &Path, names: &[String]) -> Result<(), Failure> {
    let missing: Vec<&String> =
        names.iter().filter(|name| !layout(directory, name).join("index.json").exists()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !script.exists() {
        let list = missing.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(format!(
            "no pairs {list} in {}; name the script that builds them: --make-pairs",
            directory.display()
        ));
    }
    command::run(Command::new(script).arg("--out").arg(directory).args(missing))
}

/// The layout of one pair.
pub fn layout(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.oci"))
}

/// Blob files of the layers of one tag, bottom first.
pub fn layers(layout: &Path, tag: &str) -> Result<Vec<PathBuf>, Failure> {
    let manifest = json(&blob(layout, &manifest_digest(layout, tag)?)?)?;
    let layers = manifest["layers"].as_array().ok_or("a manifest without layers")?;
    layers.iter().map(|layer| blob(layout, layer["digest"].as_str().unwrap_or(""))).collect()
}

fn manifest_digest(layout: &Path, tag: &str) -> Result<String, Failure> {
    let index = json(&layout.join("index.json"))?;
    let manifests = index["manifests"].as_array().ok_or("an index without manifests")?;
    let found = manifests.iter().find(|entry| entry["annotations"]["org.opencontainers.image.ref.name"] == tag);
    let digest = found.and_then(|entry| entry["digest"].as_str());
    digest.map(str::to_owned).ok_or_else(|| format!("no tag {tag} in {}", layout.display()))
}

fn blob(layout: &Path, digest: &str) -> Result<PathBuf, Failure> {
    let hex = digest.strip_prefix("sha256:").ok_or_else(|| format!("`{digest}` is no digest"))?;
    Ok(layout.join("blobs/sha256").join(hex))
}

fn json(path: &Path) -> Result<serde_json::Value, Failure> {
    let bytes = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("cannot parse {}: {error}", path.display()))
}
