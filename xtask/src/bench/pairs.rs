//! The image pairs that benches measure: real applications, release N and N+1, as OCI layouts.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::Options;
use crate::{Failure, command};

/// Letters of all pairs; each is a layout `NAME.oci` with the tags `base` and `target`, and a tar of each beside it.
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// The pairs that the options choose; those that are missing are built.
///
/// # Errors
/// Pairs are missing and cannot be built.
pub fn chosen(options: &Options) -> Result<Vec<Layout>, Failure> {
    let names: Vec<String> =
        if options.only.is_empty() { NAMES.map(str::to_owned).to_vec() } else { options.only.clone() };
    let layouts: Vec<Layout> = names
        .iter()
        .map(|name| Layout { name: name.clone(), directory: options.pairs.join(format!("{name}.oci")) })
        .collect();
    let missing: Vec<&str> = layouts.iter().filter(|layout| !layout.exists()).map(|layout| &*layout.name).collect();
    if missing.is_empty() {
        return Ok(layouts);
    }
    if !options.make_pairs.exists() {
        let (list, place) = (missing.join(", "), options.pairs.display());
        return Err(format!("no pairs {list} in {place}; name the script that builds them: --make-pairs SCRIPT"));
    }
    command::run(Command::new(&options.make_pairs).arg("--out").arg(&options.pairs).args(missing))?;
    Ok(layouts)
}

/// Those of `names` that are there; none is built.
pub fn present(options: &Options, names: &[&str]) -> Vec<Layout> {
    let layout =
        |name: &&str| Layout { name: (*name).to_owned(), directory: options.pairs.join(format!("{name}.oci")) };
    names.iter().map(layout).filter(Layout::exists).collect()
}

/// An OCI image layout.
pub struct Layout {
    /// What it is called in tables.
    pub name: String,
    /// Where it is.
    pub directory: PathBuf,
}

impl Layout {
    fn exists(&self) -> bool {
        self.directory.join("index.json").exists()
    }

    /// The root file system of one tag as one uncompressed tar, beside the layout.
    pub fn tar(&self, tag: &str) -> Result<PathBuf, Failure> {
        let path = self.directory.with_file_name(format!("{}-{tag}.tar", self.name));
        let whole = path.canonicalize();
        whole.map_err(|error| format!("cannot find {}: {error}", path.display()))
    }

    /// The index.
    pub fn index(&self) -> Result<Value, Failure> {
        json(&self.directory.join("index.json"))
    }

    /// A JSON document that a descriptor points at.
    pub fn document(&self, descriptor: &Value) -> Result<Value, Failure> {
        json(&self.blob(descriptor)?)
    }

    /// The file that a descriptor points at.
    pub fn blob(&self, descriptor: &Value) -> Result<PathBuf, Failure> {
        let digest = descriptor["digest"].as_str().unwrap_or("");
        let hex = digest.strip_prefix("sha256:").ok_or_else(|| format!("`{digest}` is no digest"))?;
        Ok(self.directory.join("blobs/sha256").join(hex))
    }

    /// Files of the layers of one tag, bottom first.
    pub fn layers(&self, tag: &str) -> Result<Vec<PathBuf>, Failure> {
        let index = self.index()?;
        let manifest = self.document(tagged(&index, tag)?)?;
        manifest["layers"].as_array().ok_or("a manifest without layers")?.iter().map(|layer| self.blob(layer)).collect()
    }
}

/// The manifest's descriptor that has a tag.
pub fn tagged<'a>(index: &'a Value, tag: &str) -> Result<&'a Value, Failure> {
    let manifests = index["manifests"].as_array().ok_or("an index without manifests")?;
    let found = manifests.iter().find(|entry| entry["annotations"][TAG] == tag);
    found.ok_or_else(|| format!("an index without the tag {tag}"))
}

/// The annotation that holds a tag.
pub const TAG: &str = "org.opencontainers.image.ref.name";

/// The SHA-256 of a file, in hexadecimal.
pub fn sha256(path: &Path) -> Result<String, Failure> {
    let output = Command::new("sha256sum").arg(path).output().map_err(|error| format!("cannot hash: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let hex = text.split(' ').next().filter(|hex| hex.len() == 64);
    hex.map(str::to_owned).ok_or_else(|| format!("sha256sum printed no digest of {}", path.display()))
}

fn json(path: &Path) -> Result<Value, Failure> {
    let bytes = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("cannot parse {}: {error}", path.display()))
}
