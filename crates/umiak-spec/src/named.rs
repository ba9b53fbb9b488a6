//! What a manifest or index names: everything that has to be there for it to be whole.
//!
//! Follows the OCI image specification 1.1, Docker's manifests, and what Compose Apps add to it. Guarantees: nothing that is named is left
//! out, whatever the artifact; a descriptor without a size is one of no bytes, as Go writes it. Blobs that are to be
//! had from elsewhere (`urls`) are not named: no registry keeps them.

use serde::Deserialize;

use crate::manifest::or_default;
use crate::{Descriptor, Digest, Document, DocumentError, Limits, media_type};

/// Where a Compose App's manifest names the index of its bundle: digest and size.
const BUNDLE_INDEX: [&str; 2] = ["org.foundries.app.bundle.index.digest", "org.foundries.app.bundle.index.size"];

/// What one document names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// Manifests and indexes, in the document's order.
    pub manifests: Vec<Descriptor>,
    /// Config first, then layers.
    pub blobs: Vec<Descriptor>,
    /// Blobs that annotations name: a registry may have lost them.
    pub attached: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    config: Option<Entry>,
    #[serde(default, deserialize_with = "or_default")]
    layers: Vec<Entry>,
    #[serde(default, deserialize_with = "or_default")]
    manifests: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default, deserialize_with = "or_default")]
    media_type: String,
    digest: Digest,
    #[serde(default)]
    size: u64,
    #[serde(default, deserialize_with = "or_default")]
    urls: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    annotations: std::collections::BTreeMap<String, serde_json::Value>,
}

impl Entry {
    fn descriptor(self) -> Descriptor {
        Descriptor::new(self.media_type, self.digest, self.size)
    }

    fn bundle_index(&self) -> Option<Descriptor> {
        let [digest, size] = BUNDLE_INDEX.map(|name| self.annotations.get(name).and_then(|value| value.as_str()));
        Some(Descriptor::new("application/octet-stream", digest?.parse().ok()?, size?.parse().ok()?))
    }
}

impl Named {
    /// Reads a manifest or index; `media_type` is what it was called.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn of(bytes: &[u8], media_type: &str, limits: &Limits) -> Result<Self, DocumentError> {
        crate::manifest::check_size(bytes, limits)?;
        let kind = Document::media_type_of(bytes, media_type);
        if media_type::DOCKER_SCHEMA1.contains(&kind.as_str()) {
            return Err(DocumentError::Schema1);
        }
        if !media_type::MANIFESTS.contains(&kind.as_str()) {
            return Err(DocumentError::Other(kind.chars().take(100).collect()));
        }
        let written: Written = serde_json::from_slice(bytes)?;
        let (count, limit) = (written.layers.len(), limits.layers);
        if count > limit {
            return Err(DocumentError::TooManyLayers { count, limit });
        }
        let manifests = written.manifests.into_iter().map(Entry::descriptor).collect();
        if [media_type::OCI_INDEX, media_type::DOCKER_LIST].contains(&kind.as_str()) {
            // An index of a Compose App's layers lists those of its services, which are in their own repositories.
            return Ok(Self { manifests, ..Self::default() });
        }
        let attached = written.layers.iter().filter_map(Entry::bundle_index).collect();
        let named = written.config.into_iter().chain(written.layers).filter(|entry| entry.urls.is_empty());
        Ok(Self { manifests, blobs: named.map(Entry::descriptor).collect(), attached })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn named(text: &str, kind: &str) -> Result<Named, DocumentError> {
        Named::of(text.replace("HEX", HEX).as_bytes(), kind, &Limits::default())
    }

    #[test]
    fn an_app_names_its_bundle_index_and_a_config_of_no_size() {
        let text = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
            "config":{"mediaType":"c","digest":"sha256:HEX"},
            "layers":[{"mediaType":"application/octet-stream","digest":"sha256:HEX","size":5,"annotations":
                {"org.foundries.app.bundle.index.digest":"sha256:HEX","org.foundries.app.bundle.index.size":"17"}}],
            "manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:HEX","size":9}]}"#;
        let found = named(text, "").unwrap();
        assert_eq!(found.blobs.iter().map(|blob| blob.size).collect::<Vec<_>>(), [0, 5]);
        assert_eq!(found.attached[0].size, 17);
        assert_eq!(found.manifests[0].media_type, media_type::OCI_INDEX);
    }

    #[test]
    fn layers_of_an_index_and_layers_from_elsewhere_are_not_named() {
        let layers =
            r#"{"mediaType":"application/vnd.oci.image.index.v1+json","layers":[{"digest":"sha256:HEX","size":5}]}"#;
        assert_eq!(named(layers, "").unwrap(), Named::default());
        let foreign = r#"{"config":null,"layers":[{"digest":"sha256:HEX","size":5,"urls":["https://x.example"]}]}"#;
        assert_eq!(named(foreign, media_type::DOCKER_MANIFEST).unwrap(), Named::default());
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        assert!(matches!(named("{}", media_type::DOCKER_SCHEMA1[0]), Err(DocumentError::Schema1)));
        assert!(matches!(named(r#"{"mediaType":"text/plain"}"#, ""), Err(DocumentError::Other(_))));
        assert!(matches!(named("[", media_type::OCI_INDEX), Err(DocumentError::Json(_))));
        assert!(named(r#"{"layers":[{"digest":"sha256:HEX","size":-5}]}"#, media_type::OCI_MANIFEST).is_err());
    }
}
