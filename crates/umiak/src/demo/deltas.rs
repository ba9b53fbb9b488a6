//! The demo's delta: from one release's image to the next, and what others would send instead.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use umiak_delta::foreign::{self, Bounds};
use umiak_spec::Silent;

use super::{failed, rdiff};
use crate::error::{Failure, Kind};

/// Bytes that lead from one release to the next; each with the target's manifest and config, which all ways need.
pub struct Figures {
    /// The layers that differ, gzipped, as a registry has them.
    pub full: u64,
    /// librsync deltas of these, gzipped.
    pub rdiff: u64,
    /// Our delta.
    pub delta: u64,
}

/// What leads from the image `base` to the image `target` of the layout at `root`, where our delta is, too.
pub fn figures(root: &Path, base: &str, target: &str) -> Result<Figures, Failure> {
    let base = Image::read(root, base)?;
    let target = Image::read(root, target)?;
    let whole = base.layers.concat();
    let mut figures = Figures { full: target.documents, rdiff: target.documents, delta: delta(root)? };
    for layer in target.layers.iter().filter(|layer| !base.layers.contains(layer)) {
        let stream = rdiff::delta(&whole, layer);
        let mut made = Vec::new();
        let applied = foreign::rdiff(&whole.as_slice(), &mut stream.as_slice(), &mut made, &Bounds::default(), &Silent);
        applied.map_err(|error| Failure::from_error(&error, Kind::Untrusted, Vec::new()))?;
        if made != *layer {
            return Err(Failure::new(Kind::Untrusted, "the librsync delta does not make the layer"));
        }
        figures.full += gzipped(layer, Compression::default())?;
        figures.rdiff += gzipped(&stream, Compression::best())?;
    }
    Ok(figures)
}

/// Bytes of the one delta in the layout at `root`.
fn delta(root: &Path) -> Result<u64, Failure> {
    let index = document(&root.join("index.json"))?;
    let mut entries = index["manifests"].as_array().into_iter().flatten();
    let size = entries.find_map(|entry| entry["annotations"]["dev.umiak.delta.size"].as_str());
    let missing = || Failure::new(Kind::Environment, format!("{} has no delta", root.display()));
    size.and_then(|size| size.parse().ok()).ok_or_else(missing)
}

/// An image of the demo, whose layers lie there uncompressed.
struct Image {
    layers: Vec<Vec<u8>>,
    /// Bytes of manifest and config.
    documents: u64,
}

impl Image {
    fn read(root: &Path, tag: &str) -> Result<Self, Failure> {
        let blob = |digest: &str| root.join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
        let path = blob(&manifest(root, tag)?);
        let manifest = document(&path)?;
        let config = manifest["config"]["size"].as_u64().unwrap_or_default();
        let documents = fs::metadata(&path).map_err(failed("look at", &path))?.len() + config;
        let layers = manifest["layers"].as_array().into_iter().flatten();
        let paths = layers.filter_map(|layer| layer["digest"].as_str()).map(blob);
        let layers: Result<_, _> = paths.map(|path| fs::read(&path).map_err(failed("read", &path))).collect();
        Ok(Self { layers: layers?, documents })
    }
}

/// Digest of the manifest with the tag `tag` in the layout at `root`.
pub fn manifest(root: &Path, tag: &str) -> Result<String, Failure> {
    let index = document(&root.join("index.json"))?;
    let is = |entry: &&Value| entry["annotations"]["org.opencontainers.image.ref.name"] == tag;
    let entry = index["manifests"].as_array().and_then(|entries| entries.iter().find(is));
    let digest = entry.and_then(|entry| entry["digest"].as_str());
    let missing = || Failure::new(Kind::Environment, format!("{} has no image {tag}", root.display()));
    digest.map(str::to_owned).ok_or_else(missing)
}

/// Hex digits of the config of the image with the tag `tag`.
pub fn config(root: &Path, tag: &str) -> Result<String, Failure> {
    let digests = contents(root, tag)?;
    Ok(digests.first().map(|digest| digest.trim_start_matches("sha256:").to_owned()).unwrap_or_default())
}

/// Digests of config and layers of the image with the tag `tag`.
pub fn contents(root: &Path, tag: &str) -> Result<Vec<String>, Failure> {
    let digest = manifest(root, tag)?;
    let manifest = document(&root.join("blobs/sha256").join(digest.trim_start_matches("sha256:")))?;
    let layers = manifest["layers"].as_array().into_iter().flatten();
    let parts = std::iter::once(&manifest["config"]).chain(layers);
    Ok(parts.filter_map(|part| part["digest"].as_str()).map(str::to_owned).collect())
}

fn document(path: &Path) -> Result<Value, Failure> {
    let text = fs::read(path).map_err(failed("read", path))?;
    serde_json::from_slice(&text)
        .map_err(|error| Failure::new(Kind::Environment, format!("cannot read {}: {error}", path.display())))
}

fn gzipped(bytes: &[u8], level: Compression) -> Result<u64, Failure> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    let packed = encoder.write_all(bytes).and_then(|()| encoder.finish());
    Ok(packed.map_err(failed("compress", Path::new("a layer")))?.len() as u64)
}
