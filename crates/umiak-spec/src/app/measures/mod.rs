//! umiak's measures of an app (`layers[2]`): what a device has to know to say exactly what an update takes.
//!
//! Beside the layers metadata v1, which has one number for one kind of file system: the services and their images by
//! platform, what each layer is made of, how long its files are in the store of a device, and the deltas that are published.
//! In docs/formats/layers-metadata.md. Guarantees: equal values are equal bytes; what was parsed has passed
//! [`Measures::check`] and names no layer that it does not measure; numbers are so small that sums of them in bytes do
//! not overflow. Unknown members are passed over.

pub mod attached;
mod layer;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{AppError, ArchitectureMeta, LayerMeta, LayersMeta, at_most, inconsistent, json, read, shown};
use crate::delta::StoredFiles;
use crate::manifest::or_default;
use crate::{Digest, Limits, Platform};

pub use layer::{
    EXT4_BLOCK_SIZES, FILE_BLOCK_SIZES, FileSystem, Inodes, LayerMeasure, OtherBlocks, XFS_BLOCK_SIZE, overlay2_blocks,
};

const WHAT: &str = "umiak's measures";

/// The version that is written, and the only one that is read.
const SCHEMA_VERSION: u32 = 1;

/// Platforms in one document.
const MAX_PLATFORMS: u64 = 64;
/// Services of one platform.
const MAX_SERVICES: u64 = 1024;
/// Bytes of a service's name.
const MAX_NAME: u64 = 255;
/// Deltas in one document.
const MAX_DELTAS: u64 = 4096;

/// The measures of an app, or of any images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Measures {
    /// The services of each platform.
    pub platforms: BTreeMap<Platform, BTreeMap<String, ServiceImage>>,
    /// All their layers, by the digest of the blob.
    pub layers: BTreeMap<Digest, MeasuredLayer>,
    /// The deltas that are published, sorted.
    pub deltas: Vec<KnownDelta>,
}

/// The image of a service for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceImage {
    /// Its manifest: the one of this platform, not the index.
    pub manifest: Document,
    /// Its configuration.
    pub config: Document,
    /// Its layers, bottom first.
    #[serde(default, deserialize_with = "or_default")]
    pub layers: Vec<Digest>,
}

/// A small blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
}

/// A layer and all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeasuredLayer {
    /// Bytes of its blob.
    pub archive_size: u64,
    /// What it is made of.
    #[serde(flatten)]
    pub measure: LayerMeasure,
    /// Its files in the store of a device (layout 1) when it is kept whole.
    #[serde(rename = "device1", default, skip_serializing_if = "Option::is_none")]
    pub device: Option<StoredFiles>,
}

/// A delta that is in the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KnownDelta {
    /// What base and target are.
    pub of: DeltaOf,
    /// Digest of what it starts from.
    pub base: Digest,
    /// Digest of what it makes.
    pub target: Digest,
    /// Digest of the artifact's manifest.
    pub artifact: Digest,
    /// Bytes of all its blobs: what is fetched beside the manifest.
    pub size: u64,
}

/// What a delta is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeltaOf {
    /// Two images of one platform: base and target are manifests.
    Image,
    /// Two layers: base and target are their blobs.
    Layer,
    /// Something that only a later program knows.
    #[serde(other)]
    Other,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    schema_version: u32,
    #[serde(default, deserialize_with = "or_default")]
    platforms: BTreeMap<String, WrittenPlatform>,
    #[serde(default, deserialize_with = "or_default")]
    layers: BTreeMap<Digest, MeasuredLayer>,
    #[serde(default, deserialize_with = "or_default")]
    deltas: Vec<KnownDelta>,
}

#[derive(Serialize, Deserialize)]
struct WrittenPlatform {
    #[serde(default, deserialize_with = "or_default")]
    services: BTreeMap<String, ServiceImage>,
}

/// What every version says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    schema_version: u64,
}

impl Measures {
    /// The document. Equal values give equal bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let platforms = self
            .platforms
            .iter()
            .map(|(platform, services)| (platform.to_string(), WrittenPlatform { services: services.clone() }));
        let mut deltas = self.deltas.clone();
        deltas.sort_unstable();
        deltas.dedup();
        json::compact(&Written {
            schema_version: SCHEMA_VERSION,
            platforms: platforms.collect(),
            layers: self.layers.clone(),
            deltas,
        })
    }

    /// Reads the document. Deltas of unknown kinds are passed over.
    ///
    /// # Errors
    /// [`AppError`].
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, AppError> {
        let Version { schema_version } = read(WHAT, bytes, limits.document)?;
        if schema_version != u64::from(SCHEMA_VERSION) {
            return Err(AppError::Version { what: WHAT, version: schema_version.to_string() });
        }
        let written: Written = read(WHAT, bytes, limits.document)?;
        let mut platforms = BTreeMap::new();
        for (text, platform) in written.platforms {
            let parsed = text.parse::<Platform>();
            let parsed = parsed.map_err(|_| inconsistent(WHAT, format!("`{}` is no platform", shown(&text))))?;
            if platforms.insert(parsed, platform.services).is_some() {
                return Err(inconsistent(WHAT, format!("platform {} is there twice", shown(&text))));
            }
        }
        let mut deltas = written.deltas;
        deltas.retain(|delta| delta.of != DeltaOf::Other);
        deltas.sort_unstable();
        deltas.dedup();
        let measures = Self { platforms, layers: written.layers, deltas };
        measures.check(limits)?;
        Ok(measures)
    }

    /// Whether it makes sense and keeps to the limits: what [`Measures::parse`] guarantees, for values made here.
    ///
    /// # Errors
    /// [`AppError`].
    pub fn check(&self, limits: &Limits) -> Result<(), AppError> {
        at_most(WHAT, "platforms", self.platforms.len() as u64, MAX_PLATFORMS)?;
        at_most(WHAT, "deltas", self.deltas.len() as u64, MAX_DELTAS)?;
        for (platform, services) in &self.platforms {
            at_most(WHAT, "services", services.len() as u64, MAX_SERVICES)?;
            for (name, image) in services {
                at_most(WHAT, "bytes in the name of a service", name.len() as u64, MAX_NAME)?;
                at_most(WHAT, "layers in one image", image.layers.len() as u64, limits.layers as u64)?;
                for document in [&image.manifest, &image.config] {
                    at_most(WHAT, "bytes in one document", document.size, limits.document)?;
                }
                if let Some(missing) = image.layers.iter().find(|digest| !self.layers.contains_key(digest)) {
                    let missing = format!("layer {missing} of service {} for {platform}", shown(name));
                    return Err(AppError::Missing { what: WHAT, missing });
                }
            }
        }
        for delta in &self.deltas {
            at_most(WHAT, "bytes in one delta", delta.size, limits.expanded)?;
        }
        self.layers.values().try_for_each(|layer| layer.check(limits))
    }

    /// The layers metadata v1 that says the same with one number for each layer, for ext4 with blocks of `block` bytes.
    /// Of a layer that takes more in one image than in another, the more. `None` for a block size that is not measured.
    #[must_use]
    pub fn layers_meta(&self, block: u64) -> Option<LayersMeta> {
        let mut meta = LayersMeta::default();
        for (platform, services) in &self.platforms {
            let architecture = meta.architectures.entry(platform.architecture.clone());
            let empty = || ArchitectureMeta { fs_block_size: block, layers: BTreeMap::new() };
            let layers = &mut architecture.or_insert_with(empty).layers;
            for (below, digest) in services.values().flat_map(|image| image.layers.iter().enumerate()) {
                let Some(layer) = self.layers.get(digest) else { continue };
                let usage = layer.measure.usage(block, below)?;
                let usage = layers.get(digest).map_or(usage, |known| usage.max(known.usage));
                let archive_size = Some(layer.archive_size);
                layers.insert(*digest, LayerMeta { size: layer.measure.size, usage, archive_size });
            }
        }
        Some(meta)
    }

    /// Adds all that `other` has: other platforms, other services, other layers. What both have must agree.
    ///
    /// # Errors
    /// [`AppError::Inconsistent`] when it does not.
    pub fn merge(&mut self, other: Self) -> Result<(), AppError> {
        for (platform, services) in other.platforms {
            let known = self.platforms.entry(platform.clone()).or_default();
            for (name, image) in services {
                if known.get(&name).is_some_and(|known| *known != image) {
                    return Err(inconsistent(WHAT, format!("service {name} for {platform} has two images")));
                }
                known.insert(name, image);
            }
        }
        for (digest, layer) in other.layers {
            let layer = match self.layers.get(&digest) {
                Some(known) => known
                    .merged(layer)
                    .ok_or_else(|| inconsistent(WHAT, format!("layer {digest} was measured twice, differently")))?,
                None => layer,
            };
            self.layers.insert(digest, layer);
        }
        self.deltas.extend(other.deltas);
        self.deltas.sort_unstable();
        self.deltas.dedup();
        Ok(())
    }
}

impl MeasuredLayer {
    /// What both say together; `None` when they contradict. What it takes on a device need not be known twice.
    fn merged(&self, other: Self) -> Option<Self> {
        let same = self.archive_size == other.archive_size && self.measure == other.measure;
        let agree = self.device.zip(other.device).is_none_or(|(one, two)| one == two);
        let device = self.device.or(other.device);
        (same && agree).then_some(Self { device, archive_size: other.archive_size, measure: other.measure })
    }

    fn check(&self, limits: &Limits) -> Result<(), AppError> {
        let measure = &self.measure;
        let bytes = [self.archive_size, measure.tar_size, measure.size, measure.tar_split, measure.largest_file];
        let device = self.device.iter().flat_map(|files| [files.image, files.skeleton, files.record]);
        for bytes in bytes.into_iter().chain(device) {
            at_most(WHAT, "bytes in one layer", bytes, limits.expanded)?;
        }
        // Implicit directories come on top of the entries, one for each component of a path at most.
        let (entries, inodes) = (limits.entries as u64, &measure.inodes);
        at_most(WHAT, "entries in one layer", measure.entries, entries)?;
        let most = entries.saturating_mul(limits.depth as u64);
        for count in [inodes.directories, inodes.files, inodes.symlinks, inodes.specials, inodes.whiteouts] {
            at_most(WHAT, "inodes in one layer", count, most)?;
        }
        // Every entry may take one block beside its content, and a name at most a block of a directory.
        for (size, blocks) in FILE_BLOCK_SIZES.into_iter().zip(measure.file_blocks) {
            at_most(WHAT, "blocks in one layer", blocks, limits.expanded / size + entries)?;
        }
        for other in measure.ext4.iter().chain([&measure.xfs]) {
            for blocks in [other.directories, other.directories_at_most, other.symlinks, other.xattrs, other.extents] {
                at_most(WHAT, "blocks in one layer", blocks, most)?;
            }
        }
        Ok(())
    }
}
