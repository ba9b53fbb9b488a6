//! Manifests and indexes: the documents between a reference and the layers.
//!
//! Follows the OCI image specification 1.1 and Docker's image manifest version 2, schema 2. Members that umiak does not
//! use are not kept here; whoever needs the document unchanged keeps its bytes.

use serde::Deserialize;

use crate::media_type::{DOCKER_LIST, DOCKER_MANIFEST, DOCKER_SCHEMA1, OCI_INDEX, OCI_MANIFEST};
use crate::{Digest, Limits, Platform};

/// Names a blob: media type, digest, size.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    #[serde(default, deserialize_with = "or_default")]
    pub media_type: String,
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// What platform it is for, in an index.
    #[serde(default, deserialize_with = "platform")]
    pub platform: Option<Platform>,
    /// Annotations that have a meaning here: the reference's name in a layout, and what kind of attachment it is.
    #[serde(default, deserialize_with = "or_default")]
    pub annotations: Annotations,
    /// What the artifact is, when it is no image.
    #[serde(default)]
    pub artifact_type: Option<String>,
}

/// The annotations of a descriptor that umiak reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Annotations {
    /// The tag in an image layout.
    #[serde(rename = "org.opencontainers.image.ref.name")]
    pub ref_name: Option<String>,
    /// The full name that containerd and Docker write.
    #[serde(rename = "io.containerd.image.name")]
    pub image_name: Option<String>,
    /// The name of the app that the entry is: what a file that carries an app is about (docs/formats/app-bundle.md).
    #[serde(rename = "dev.umiak.app.name")]
    pub app_name: Option<String>,
    /// Set on attestations, which are no images.
    #[serde(rename = "vnd.docker.reference.type")]
    pub reference_type: Option<String>,
}

/// The manifest of one image for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Manifest {
    /// The image's configuration.
    pub config: Descriptor,
    /// Its layers, bottom first.
    #[serde(default, deserialize_with = "or_default")]
    pub layers: Vec<Descriptor>,
}

/// Manifests of one image for several platforms, or the entries of an image layout.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Index {
    /// The entries.
    #[serde(default, deserialize_with = "or_default")]
    pub manifests: Vec<Descriptor>,
}

/// One of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Box<Manifest>),
    /// Several.
    Index(Index),
}

/// Why bytes are no manifest and no index.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Longer than `Limits::document`.
    #[error("the document has {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Its length.
        size: u64,
        /// `Limits::document`.
        limit: u64,
    },
    /// Not JSON of the right shape.
    #[error("the document is not what its media type says")]
    Json(#[from] serde_json::Error),
    /// Docker's first format.
    #[error("the manifest is of Docker's schema 1, which no tool has written since 2019")]
    Schema1,
    /// Something else.
    #[error("the document is no image manifest and no index but `{0}`")]
    Other(String),
    /// More layers than `Limits::layers`.
    #[error("the manifest has {count} layers, more than the limit of {limit}")]
    TooManyLayers {
        /// How many.
        count: usize,
        /// `Limits::layers`.
        limit: usize,
    },
}

/// The members that tell manifests and indexes apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    config: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// Reads a manifest or index. `media_type` is what the server or descriptor called it, empty when unknown; the
    /// document's own word counts more.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn parse(bytes: &[u8], media_type: &str, limits: &Limits) -> Result<Self, DocumentError> {
        check_size(bytes, limits)?;
        let shape: Shape = serde_json::from_slice(bytes)?;
        let named = shape.media_type.as_deref().unwrap_or(media_type);
        let bare = named.split(';').next().unwrap_or("").trim();
        if shape.schema_version == 1 || DOCKER_SCHEMA1.contains(&bare) {
            return Err(DocumentError::Schema1);
        }
        let is_index = match bare {
            OCI_INDEX | DOCKER_LIST => true,
            OCI_MANIFEST | DOCKER_MANIFEST => false,
            _ if shape.manifests.is_some() => true,
            _ if shape.config.is_some() => false,
            other => return Err(DocumentError::Other(other.chars().take(100).collect())),
        };
        if is_index {
            return Ok(Self::Index(serde_json::from_slice(bytes)?));
        }
        let manifest: Manifest = serde_json::from_slice(bytes)?;
        let count = manifest.layers.len();
        if count > limits.layers {
            return Err(DocumentError::TooManyLayers { count, limit: limits.layers });
        }
        Ok(Self::Manifest(Box::new(manifest)))
    }
}

impl Document {
    /// What kind of document `bytes` are: by their own word, else by what a server or descriptor called them, else by
    /// their shape. Parameters are left out.
    #[must_use]
    pub fn media_type_of(bytes: &[u8], named: &str) -> String {
        let shape: Option<Shape> = serde_json::from_slice(bytes).ok();
        let own = shape.as_ref().and_then(|shape| shape.media_type.as_deref()).unwrap_or(named);
        let bare = own.split(';').next().unwrap_or("").trim();
        let by_shape = || shape.as_ref().is_some_and(|shape| shape.manifests.is_some());
        match bare {
            "" if by_shape() => OCI_INDEX.to_owned(),
            "" => OCI_MANIFEST.to_owned(),
            bare => bare.to_owned(),
        }
    }
}

/// Fails for documents beyond `Limits::document`.
pub(crate) fn check_size(bytes: &[u8], limits: &Limits) -> Result<(), DocumentError> {
    let (size, limit) = (bytes.len() as u64, limits.document);
    if size > limit { Err(DocumentError::TooLarge { size, limit }) } else { Ok(()) }
}

impl Descriptor {
    /// A descriptor that says only what it must.
    #[must_use]
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        let annotations = Annotations::default();
        Self { media_type: media_type.into(), digest, size, platform: None, annotations, artifact_type: None }
    }
}

impl Index {
    /// The entries that are images: no attestations, nothing of unknown platform.
    pub fn images(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests.iter().filter(|entry| {
            let unknown = entry.platform.as_ref().is_some_and(|platform| platform.os == "unknown");
            !unknown && entry.annotations.reference_type.is_none()
        })
    }
}

/// Go writes empty lists and maps as `null` when it is not told to leave them out: that is no value, not a wrong one.
pub(crate) fn or_default<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn platform<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Platform>, D::Error> {
    #[derive(Deserialize)]
    struct Written {
        #[serde(default, deserialize_with = "or_default")]
        os: String,
        #[serde(default, deserialize_with = "or_default")]
        architecture: String,
        #[serde(default)]
        variant: Option<String>,
    }
    let written = Option::<Written>::deserialize(deserializer)?;
    Ok(written.map(|written| Platform::new(&written.os, &written.architecture, written.variant.as_deref())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOB: &str = r#"{"mediaType":"x","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0}"#;

    fn parse(text: &str, media_type: &str) -> Result<Document, DocumentError> {
        Document::parse(text.as_bytes(), media_type, &Limits::default())
    }

    #[test]
    fn tells_manifests_from_indexes_with_and_without_media_type() {
        let manifest = format!(r#"{{"schemaVersion":2,"config":{BLOB},"layers":[{BLOB}]}}"#);
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{BLOB}]}}"#);
        assert!(matches!(parse(&manifest, ""), Ok(Document::Manifest(m)) if m.layers.len() == 1));
        assert!(matches!(parse(&index, ""), Ok(Document::Index(i)) if i.manifests.len() == 1));
        assert!(parse(&manifest, "application/vnd.oci.image.manifest.v1+json; charset=utf-8").is_ok());
        assert!(matches!(parse(&index, OCI_MANIFEST), Err(DocumentError::Json(_))));
    }

    #[test]
    fn a_document_says_what_it_is() {
        assert_eq!(Document::media_type_of(br#"{"mediaType":"a/b"}"#, "c/d"), "a/b");
        assert_eq!(Document::media_type_of(b"{}", "c/d; charset=utf-8"), "c/d");
        assert_eq!(Document::media_type_of(br#"{"manifests":[]}"#, ""), OCI_INDEX);
        assert_eq!(Document::media_type_of(br#"{"config":{}}"#, ""), OCI_MANIFEST);
    }

    #[test]
    fn nulls_are_no_values() {
        let manifest = format!(r#"{{"schemaVersion":2,"mediaType":null,"config":{BLOB},"layers":null}}"#);
        assert!(matches!(parse(&manifest, ""), Ok(Document::Manifest(m)) if m.layers.is_empty()));
        let entry = BLOB.replace('}', r#","annotations":null,"platform":null}"#);
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{entry}]}}"#);
        assert!(matches!(parse(&index, ""), Ok(Document::Index(i)) if i.manifests[0].platform.is_none()));
        assert!(matches!(parse(r#"{"manifests":null}"#, OCI_INDEX), Ok(Document::Index(i)) if i.manifests.is_empty()));
    }

    #[test]
    fn names_what_it_does_not_read() {
        assert!(matches!(parse(r#"{"schemaVersion":1}"#, ""), Err(DocumentError::Schema1)));
        assert!(
            matches!(parse(r#"{"mediaType":"text/plain"}"#, ""), Err(DocumentError::Other(t)) if t == "text/plain")
        );
        assert!(matches!(parse("7", ""), Err(DocumentError::Json(_))));
        let limits = Limits { document: 3, layers: 0, ..Limits::default() };
        assert!(matches!(Document::parse(b"{  }", "", &limits), Err(DocumentError::TooLarge { size: 4, limit: 3 })));
    }

    #[test]
    fn attestations_are_no_images() {
        let entry = |extra: &str| format!("{},{extra}}}", BLOB.trim_end_matches('}'));
        let attestation = entry(r#""platform":{"os":"unknown","architecture":"unknown"}"#);
        let image = entry(r#""platform":{"os":"linux","architecture":"arm","variant":"v7"},"annotations":{"x":"y"}"#);
        let Ok(Document::Index(index)) = parse(&format!(r#"{{"manifests":[{attestation},{image}]}}"#), "") else {
            panic!("no index");
        };
        let platforms: Vec<_> = index.images().map(|entry| entry.platform.clone().unwrap().to_string()).collect();
        assert_eq!(platforms, ["linux/arm/v7"]);
    }
}
