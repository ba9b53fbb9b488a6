//! What there is to see of an image or artifact without its layers: manifests, sizes, platforms.

use umiak_registry::{Choice, Content, Error, Source, content};
use umiak_spec::{Descriptor, Document, ImageConfig, ImageReference, Limits, Manifest, Observer, Platform, media_type};

/// One image of an index, or the only one.
pub struct Single {
    /// Its manifest.
    pub descriptor: Descriptor,
    /// The same, read.
    pub manifest: Manifest,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its platform, by the index or by the config.
    pub platform: Option<Platform>,
    /// The config, of an image.
    pub config: Option<ImageConfig>,
}

impl Single {
    /// Bytes of config and layers.
    pub fn size(&self) -> u64 {
        self.manifest.config.size + self.manifest.layers.iter().map(|layer| layer.size).sum::<u64>()
    }
}

/// All of it.
pub struct Sight {
    /// What the reference names.
    pub top: Descriptor,
    /// Bytes of all distinct blobs.
    pub size: u64,
    /// What it is, when it is no image.
    pub artifact: Option<String>,
    /// The images in it.
    pub images: Vec<Single>,
}

/// Looks at what `reference` names, with the configs of its images.
pub fn look(
    source: &dyn Source,
    reference: &ImageReference,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<Sight, Error> {
    let choice = Choice { all_platforms: true, ..Choice::default() };
    let found = content(source, reference, &choice, limits, observer)?;
    let entries = match found.parts.iter().find(|part| part.descriptor.digest == found.top.digest) {
        Some(part) => match Document::parse(&part.bytes, &part.descriptor.media_type, limits) {
            Ok(Document::Index(index)) => index.images().cloned().collect(),
            _ => vec![found.top.clone()],
        },
        None => Vec::new(),
    };
    let (mut images, mut artifact) = (Vec::new(), None);
    for entry in entries {
        match single(source, &found, &entry, limits, observer)? {
            Ok(single) => images.push(single),
            Err(kind) => artifact = Some(kind),
        }
    }
    Ok(Sight { size: found.size(), top: found.top, artifact: artifact.filter(|_| images.is_empty()), images })
}

/// The image that an entry names, or what artifact it is.
fn single(
    source: &dyn Source,
    found: &Content,
    entry: &Descriptor,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<Result<Single, String>, Error> {
    let Some(part) = found.parts.iter().find(|part| part.descriptor.digest == entry.digest) else {
        return Ok(Err(entry.media_type.clone()));
    };
    let manifest = match Document::parse(&part.bytes, &part.descriptor.media_type, limits) {
        Ok(Document::Manifest(manifest)) => *manifest,
        _ => return Ok(Err(kind_of(&part.bytes, &part.descriptor.media_type))),
    };
    let kind = kind_of(&part.bytes, &manifest.config.media_type);
    if !media_type::CONFIGS.contains(&kind.as_str()) {
        return Ok(Err(kind));
    }
    let bytes = match found.made(&manifest.config.digest) {
        Some(bytes) => bytes.to_vec(),
        None => source.document(&manifest.config, observer)?,
    };
    // Some artifacts call an empty config an image's.
    let Ok(config) = ImageConfig::parse(&bytes, limits) else { return Ok(Err(kind)) };
    let own = Some(&config.platform).filter(|platform| !platform.architecture.is_empty()).cloned();
    let platform = entry.platform.clone().or(own);
    let (descriptor, bytes) = (part.descriptor.clone(), part.bytes.clone());
    Ok(Ok(Single { descriptor, manifest, bytes, platform, config: Some(config) }))
}

/// What an artifact calls itself: its artifact type, a Compose App's annotation, or its config.
fn kind_of(bytes: &[u8], otherwise: &str) -> String {
    let document: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    let own = document["artifactType"].as_str().filter(|kind| !kind.is_empty());
    let app = document["annotations"]["compose-app"].as_str().map(|version| format!("compose-app {version}"));
    app.or_else(|| own.map(str::to_owned)).unwrap_or_else(|| otherwise.to_owned())
}
