//! Measures beside an image: an artifact whose subject is the image's manifest, for images that belong to no app.
//!
//! docs/formats/layers-metadata.md. Guarantee: equal values are equal bytes. What is read back is only where the document is: it is
//! believed as much as any other that the registry hands out, and never where the image's own documents say something.

use serde::Serialize;

use super::super::json;
use crate::{DeltaManifest, Descriptor, DocumentError, Limits, Named, media_type};

/// The artifact type of measures.
pub const ARTIFACT_TYPE: &str = "application/vnd.umiak.measures.v1";
/// The media type of the document.
pub const MEDIA_TYPE: &str = "application/vnd.umiak.measures.v1+json";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    schema_version: u8,
    media_type: &'a str,
    artifact_type: &'a str,
    config: Entry<'a>,
    layers: [Entry<'a>; 1],
    subject: Entry<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    media_type: &'a str,
    digest: crate::Digest,
    size: u64,
}

impl<'a> From<&'a Descriptor> for Entry<'a> {
    fn from(descriptor: &'a Descriptor) -> Self {
        Self { media_type: &descriptor.media_type, digest: descriptor.digest, size: descriptor.size }
    }
}

/// The manifest that attaches the document to an image's manifest. Its config is the empty object.
#[must_use]
pub fn artifact(subject: &Descriptor, document: &Descriptor) -> Vec<u8> {
    let (config, _) = DeltaManifest::config();
    json::compact(&Written {
        schema_version: 2,
        media_type: media_type::OCI_MANIFEST,
        artifact_type: ARTIFACT_TYPE,
        config: Entry::from(&config),
        layers: [Entry { media_type: MEDIA_TYPE, ..Entry::from(document) }],
        subject: Entry::from(subject),
    })
}

/// The document that such a manifest names, if it names one.
///
/// # Errors
/// [`DocumentError`].
pub fn document(manifest: &[u8], limits: &Limits) -> Result<Option<Descriptor>, DocumentError> {
    let named = Named::of(manifest, media_type::OCI_MANIFEST, limits)?;
    Ok(named.blobs.into_iter().find(|blob| blob.media_type == MEDIA_TYPE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, Referrer};

    #[test]
    fn the_manifest_says_whose_it_is_and_where_the_document_is() {
        let subject = Descriptor::new(media_type::OCI_MANIFEST, Digest::of(b"image"), 500);
        let measures = Descriptor::new("", Digest::of(b"measures"), 77);
        let bytes = artifact(&subject, &measures);
        let limits = Limits::default();
        let (of, referrer) = Referrer::of(&bytes, media_type::OCI_MANIFEST, &limits).unwrap().unwrap();
        assert!(of == subject.digest && referrer.is(ARTIFACT_TYPE));
        let found = document(&bytes, &limits).unwrap().unwrap();
        assert_eq!((found.digest, found.size), (measures.digest, 77));
        assert_eq!(document(br#"{"schemaVersion":2,"layers":[]}"#, &limits).unwrap(), None);
    }
}
