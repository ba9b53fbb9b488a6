//! The manifest from bytes that anybody may have written.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{ARTIFACT_TYPE, Content, DeltaError, DeltaManifest, OnDevice, Part, Reused, VERSION, annotation, count};
use crate::manifest::{check_size, or_default};
use crate::{Descriptor, Digest, DocumentError, Limits};

type Annotations = BTreeMap<String, String>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadManifest {
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    layers: Vec<ReadPart>,
    #[serde(default)]
    subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "or_default")]
    annotations: Annotations,
}

/// A layer of which nothing is known yet: those of unknown content may be named by digests of other kinds.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadPart {
    #[serde(default, deserialize_with = "or_default")]
    media_type: String,
    #[serde(default, deserialize_with = "or_default")]
    digest: String,
    size: u64,
    #[serde(default, deserialize_with = "or_default")]
    annotations: Annotations,
}

impl DeltaManifest {
    /// Reads the document. Parts of unknown content are passed over.
    ///
    /// # Errors
    /// [`DeltaError`].
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, DeltaError> {
        check_size(bytes, limits)?;
        let read: ReadManifest = serde_json::from_slice(bytes).map_err(DocumentError::from)?;
        match read.artifact_type.as_deref() {
            Some(ARTIFACT_TYPE) => {}
            other => return Err(DeltaError::Other(other.unwrap_or("").chars().take(100).collect())),
        }
        let offer = Offer::read(&read.annotations, limits)?;
        let subject = read.subject.ok_or_else(|| DeltaError::Inconsistent("it has no subject".into()))?;
        if subject.digest != offer.target {
            return Err(DeltaError::Inconsistent(format!(
                "its subject is {}, its target {}",
                subject.digest, offer.target
            )));
        }
        let (digests, diff_ids) =
            (digests(&read.annotations, annotation::REUSED)?, digests(&read.annotations, annotation::REUSED_DIFF_ID)?);
        if digests.len() != diff_ids.len() {
            let text = format!("it reuses {} layers and names {} of their diff IDs", digests.len(), diff_ids.len());
            return Err(DeltaError::Inconsistent(text));
        }
        let reused = digests.into_iter().zip(diff_ids).map(|(digest, diff_id)| Reused { digest, diff_id });
        let delta = Self {
            subject: Descriptor::new(subject.media_type, subject.digest, subject.size),
            base: offer.base,
            base_config: offer.base_config,
            base_diff_ids: offer.base_diff_ids,
            reused: reused.collect(),
            parts: read.layers.into_iter().filter_map(|part| part.known().transpose()).collect::<Result<_, _>>()?,
            full_size: offer.full_size,
            expanded_size: offer.expanded_size,
            device: offer.device,
        };
        delta.check(limits)?;
        Ok(delta)
    }
}

impl ReadPart {
    /// The part, unless nothing is known of its content.
    fn known(self) -> Result<Option<Part>, DeltaError> {
        let word = self.annotations.get(annotation::CONTENT);
        let Some(content) = word.and_then(|word| Content::of_word(word)) else { return Ok(None) };
        let wrong = |name, text: &str| {
            let read = text.parse::<Digest>();
            read.map_err(|error| DeltaError::Annotation { name, reason: format!("of {}: {error}", content.word()) })
        };
        let digest = wrong(annotation::CONTENT, &self.digest)?;
        let to = match (self.annotations.get(annotation::TO), content) {
            (Some(text), _) => wrong(annotation::TO, text)?,
            // A document is carried as it is: containers/oci-delta does not say what it makes.
            (None, Content::Manifest | Content::Config) => digest,
            (None, _) => {
                return Err(DeltaError::Annotation {
                    name: annotation::TO,
                    reason: format!("of {} is missing", content.word()),
                });
            }
        };
        Ok(Some(Part { content, to, blob: Descriptor::new(self.media_type, digest, self.size) }))
    }
}

/// What a list of referrers says of a delta before its manifest is fetched: registries copy the annotations there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Digest of the target's manifest.
    pub target: Digest,
    /// Digest of the base's manifest, if the base has one.
    pub base: Option<Digest>,
    /// Digest of the base's config, if the base has one.
    pub base_config: Option<Digest>,
    /// The base's layers.
    pub base_diff_ids: Vec<Digest>,
    /// Bytes of all blobs of the delta.
    pub size: u64,
    /// Bytes of the target's layers, compressed.
    pub full_size: u64,
    /// Bytes of the target's layers, uncompressed.
    pub expanded_size: u64,
    /// What the layers that are carried take in the store of a device, bottom first; empty where nobody looked.
    pub device: Vec<OnDevice>,
}

impl Offer {
    /// Reads the annotations of a delta's manifest, or of its entry in a list of referrers.
    ///
    /// # Errors
    /// [`DeltaError`]: of another version, or incomplete. Some registries do not copy annotations; then the manifest says
    /// the same.
    pub fn read(annotations: &Annotations, limits: &Limits) -> Result<Self, DeltaError> {
        let version = annotations.get(annotation::VERSION).map_or("", String::as_str);
        if version != VERSION {
            return Err(DeltaError::Version(version.chars().take(40).collect()));
        }
        let requires = annotations.get(annotation::REQUIRES).map(|text| strings(annotation::REQUIRES, text));
        if let Some(unknown) = requires.transpose()?.unwrap_or_default().into_iter().next() {
            return Err(DeltaError::Requires(unknown.chars().take(100).collect()));
        }
        let digest = |name: &'static str| annotations.get(name).map(|text| parse(name, text)).transpose();
        let base_diff_ids = digests(annotations, annotation::BASE_DIFF_IDS)?;
        count("base layers", base_diff_ids.len(), limits.layers)?;
        let device =
            annotations.get(annotation::DEVICE).map(|text| OnDevice::read(text)).transpose()?.unwrap_or_default();
        OnDevice::check(&device, limits)?;
        Ok(Self {
            target: digest(annotation::TARGET)?.ok_or_else(|| missing(annotation::TARGET))?,
            base: digest(annotation::SOURCE)?,
            base_config: digest(annotation::SOURCE_CONFIG)?,
            base_diff_ids,
            size: number(annotations, annotation::SIZE)?,
            full_size: number(annotations, annotation::FULL_SIZE)?,
            expanded_size: number(annotations, annotation::EXPANDED_SIZE)?,
            device,
        })
    }
}

fn missing(name: &'static str) -> DeltaError {
    DeltaError::Annotation { name, reason: "is missing".into() }
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(name: &'static str, text: &str) -> Result<T, DeltaError> {
    text.parse().map_err(|error| DeltaError::Annotation { name, reason: format!("makes no sense: {error}") })
}

fn number(annotations: &Annotations, name: &'static str) -> Result<u64, DeltaError> {
    parse(name, annotations.get(name).ok_or_else(|| missing(name))?)
}

fn digests(annotations: &Annotations, name: &'static str) -> Result<Vec<Digest>, DeltaError> {
    let texts = strings(name, annotations.get(name).ok_or_else(|| missing(name))?)?;
    texts.iter().map(|text| parse(name, text)).collect()
}

/// A JSON array of texts, in a text.
fn strings(name: &'static str, text: &str) -> Result<Vec<String>, DeltaError> {
    serde_json::from_str(text)
        .map_err(|error| DeltaError::Annotation { name, reason: format!("is no JSON array of texts: {error}") })
}
