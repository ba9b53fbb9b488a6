//! The signatures of an app, carried along so that a device whose policy asks for them accepts the file without network.
//!
//! They are taken as they are, from where cosign leaves them: under its tag, and among the referrers. Guarantee: what is
//! listed is there with all that it names. What this does not do: verify them. Whoever trusts a key does that.

use umiak_registry::{ErrorKind, Source};
use umiak_sign::{ARTIFACT_TYPE, BUNDLE, MAX_SIGNATURES, signature_tag};
use umiak_spec::{Descriptor, Digest, Document, ImageReference, Named};

use super::Piece;
use crate::delta::Work;
use crate::error::BuildError;

/// Signatures in one manifest.
#[derive(Clone)]
pub struct Signed {
    /// The tag that they are found by; none where the manifest says whose they are.
    pub tag: Option<String>,
    /// The manifest.
    pub manifest: Piece,
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
    /// What it names.
    pub blobs: Vec<Piece>,
}

impl Work<'_> {
    /// What vouches for the app `digest`, which is at `place`.
    pub(super) fn signed(
        &self,
        source: &dyn Source,
        place: &ImageReference,
        digest: &Digest,
    ) -> Result<Vec<Signed>, BuildError> {
        let mut found = Vec::new();
        let tag = signature_tag(digest);
        if let Some(tagged) = place.tagged(&tag) {
            let source = umiak_registry::open_watched(&tagged, self.sources, self.observer)?;
            match source.top(self.observer) {
                Ok((top, bytes)) => found.extend(self.with_blobs(source.as_ref(), Some(tag), &top, bytes)?),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        for kind in [ARTIFACT_TYPE, BUNDLE] {
            for referrer in source.referrers(digest, Some(kind), self.observer)?.iter().take(MAX_SIGNATURES) {
                let bytes = source.document(&referrer.descriptor, self.observer)?;
                found.extend(self.with_blobs(source, None, &referrer.descriptor, bytes)?);
            }
        }
        Ok(found)
    }

    /// A manifest with what it names; none for what is no manifest: somebody may call anything like that.
    fn with_blobs(
        &self,
        source: &dyn Source,
        tag: Option<String>,
        listed: &Descriptor,
        bytes: Vec<u8>,
    ) -> Result<Option<Signed>, BuildError> {
        let media_type = Document::media_type_of(&bytes, &listed.media_type);
        let Ok(named) = Named::of(&bytes, &media_type, &self.limits) else { return Ok(None) };
        let mut blobs = Vec::new();
        for blob in named.blobs {
            blobs.push(Piece::document(&blob.media_type, source.document(&blob, self.observer)?));
        }
        Ok(Some(Signed { tag, manifest: Piece::document(&media_type, bytes.clone()), bytes, blobs }))
    }
}
