//! Whether the policy accepts an app: signatures are fetched and verified before anything of it is looked into.
//!
//! They are looked for beside the app, where it is: under cosign's tag, among the referrers. Guarantee: only digests are
//! known of the app when this is done. A rule that only looks is asked afterwards: it refuses nothing.

use umiak_registry::{ErrorKind, Source};
use umiak_sign::{ARTIFACT_TYPE, BUNDLE, Distrust, MAX_SIGNATURES, Signature, SignatureManifest, signature_tag};
use umiak_spec::{Descriptor, Digest, Document, ImageReference, Observer};

use super::error::ResolveError;
use crate::sources::Sources;

/// A manifest or index: where it is, how the policy calls that, which it is.
#[derive(Clone, Copy)]
pub(crate) struct Named<'a> {
    pub origin: &'a str,
    pub reference: &'a ImageReference,
    pub digest: &'a Digest,
}

/// Whether a manifest or index is accepted: who vouches for it.
///
/// # Errors
/// [`ResolveError::Distrust`]; signatures that cannot be fetched or read.
pub(crate) fn vouched(
    sources: &Sources,
    named: Named<'_>,
    source: &dyn Source,
    observer: &dyn Observer,
) -> Result<Vec<String>, ResolveError> {
    let trust = &sources.trust;
    let verdict = |found: &[Signature]| trust.check_manifest(named.origin, named.digest, found);
    if !trust.needs_signatures(named.origin) {
        return Ok(verdict(&[])?);
    }
    // What is enough is enough: the network may be slow.
    let found = gathered(sources, named, source, observer, &|found| verdict(found).is_ok())?;
    Ok(verdict(&found)?)
}

/// What a rule that only looks has against a manifest or index.
///
/// # Errors
/// Signatures that cannot be fetched or read.
pub(crate) fn concern(
    sources: &Sources,
    named: Named<'_>,
    source: &dyn Source,
    observer: &dyn Observer,
) -> Result<Option<Distrust>, ResolveError> {
    let concern = |found: &[Signature]| sources.trust.audit_manifest(named.origin, named.digest, found);
    let found = gathered(sources, named, source, observer, &|found| concern(found).is_none())?;
    Ok(concern(&found))
}

/// The signatures that are beside a manifest; not all of them once there are some and they are `enough`.
fn gathered(
    sources: &Sources,
    Named { reference, digest, .. }: Named<'_>,
    source: &dyn Source,
    observer: &dyn Observer,
    enough: &dyn Fn(&[Signature]) -> bool,
) -> Result<Vec<Signature>, ResolveError> {
    let mut found = Vec::new();
    if let Some(tagged) = reference.tagged(&signature_tag(digest)) {
        let place = umiak_registry::open_watched(&tagged, &sources.context, observer)
            .map_err(ResolveError::source(tagged.to_string()))?;
        match place.top(observer) {
            Ok((_, bytes)) => found.extend(signatures(sources, &tagged, &bytes, place.as_ref(), observer)?),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(ResolveError::source(tagged.to_string())(error)),
        }
    }
    if !found.is_empty() && enough(&found) {
        return Ok(found);
    }
    for kind in [ARTIFACT_TYPE, BUNDLE] {
        let failed = |error| ResolveError::source(reference.to_string())(error);
        for referrer in source.referrers(digest, Some(kind), observer).map_err(failed)?.iter().take(MAX_SIGNATURES) {
            let document = as_manifest(&referrer.descriptor);
            let bytes = source.document(&document, observer).map_err(failed)?;
            found.extend(signatures(sources, reference, &bytes, source, observer)?);
        }
    }
    Ok(found)
}

/// The signatures of one manifest, with what they are over.
fn signatures(
    sources: &Sources,
    what: &ImageReference,
    manifest: &[u8],
    source: &dyn Source,
    observer: &dyn Observer,
) -> Result<Vec<Signature>, ResolveError> {
    let unreadable = |source| ResolveError::Signature { what: what.to_string(), source };
    let manifest = SignatureManifest::parse(manifest, &sources.limits).map_err(unreadable)?;
    let mut found = Vec::new();
    for signature in manifest.signatures {
        let payload = source.document(&signature.payload, observer);
        let payload = payload.map_err(ResolveError::source(what.to_string()))?;
        found.push(signature.with(payload).map_err(unreadable)?);
    }
    Ok(found)
}

/// A list of referrers may leave the media type out.
fn as_manifest(listed: &Descriptor) -> Descriptor {
    let kind =
        if listed.media_type.is_empty() { Document::media_type_of(b"{}", "") } else { listed.media_type.clone() };
    Descriptor::new(kind, listed.digest, listed.size)
}
