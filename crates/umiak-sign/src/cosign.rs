//! Signatures of images as cosign stores them: beside the image, over its manifest's digest.
//!
//! ```text
//! tag sha256-<hex>.sig, or a referrer of type ARTIFACT_TYPE     a manifest whose layers are payloads of simple signing;
//!                                                               each has its signature as an annotation
//! referrer of type BUNDLE                                       a manifest whose layer is a Sigstore bundle: a DSSE
//!                                                               envelope around an in-toto statement
//! ```
//!
//! Only keys are known here: certificates of Fulcio and the transparency log take a network and a clock. Guarantees: what
//! was signed is looked into after its signature was found to hold, and then has to name the digest; payloads are
//! bounded by [`MAX_PAYLOAD`].

use serde::Deserialize;
use umiak_spec::{Descriptor, Digest, DocumentError, Limits};

use crate::MAX_SIGNATURES;
use crate::base64::decode;
use crate::key::{Encoding, PublicKey};

/// The media type of a payload of simple signing.
pub const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The artifact type of a manifest of signatures that is a referrer.
pub const ARTIFACT_TYPE: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
/// The media and artifact type of a Sigstore bundle.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// Where a payload's signature is: base64, on its descriptor.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// The type of an in-toto statement.
const IN_TOTO: &str = "application/vnd.in-toto+json";
/// What a signature of an image says that it is.
const SIMPLE_TYPE: &str = "cosign container image signature";
/// Bytes of one payload or bundle.
pub const MAX_PAYLOAD: u64 = 256 << 10;

/// The tag under which the signatures of a manifest are kept.
#[must_use]
pub fn signature_tag(manifest: &Digest) -> String {
    format!("sha256-{}.sig", manifest.hex())
}

/// Why a document is no signature.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// Too long, or not JSON of this shape.
    #[error("cannot read the manifest of a signature")]
    Document(#[from] DocumentError),
    /// A payload that nobody writes.
    #[error("a signature has {0} bytes, more than the limit of {MAX_PAYLOAD}")]
    TooLarge(u64),
    /// More signatures than anybody makes.
    #[error("{0} signatures, more than the limit of {MAX_SIGNATURES}")]
    TooMany(usize),
    /// A bundle that is none.
    #[error("cannot read a Sigstore bundle: {0}")]
    Bundle(String),
}

/// A manifest of signatures: what has to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureManifest {
    /// The signatures in it, in their order.
    pub signatures: Vec<Found>,
}

/// A signature whose payload is still to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What was signed, or the bundle that has it.
    pub payload: Descriptor,
    /// The signature, where it is beside its payload.
    signature: Option<Vec<u8>>,
}

/// A signature with what was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    payload: Vec<u8>,
    form: Form,
    /// One for simple signing; an envelope may have several.
    signatures: Vec<Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Simple,
    /// DSSE, with the payload's type.
    Envelope(String),
}

#[derive(Deserialize)]
struct ReadManifest {
    #[serde(default)]
    layers: Vec<ReadLayer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadLayer {
    #[serde(default)]
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(default)]
    annotations: Option<std::collections::BTreeMap<String, String>>,
}

impl SignatureManifest {
    /// Reads the manifest. Layers of other kinds are passed over.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, SignatureError> {
        let (size, limit) = (bytes.len() as u64, limits.document);
        if size > limit {
            return Err(DocumentError::TooLarge { size, limit }.into());
        }
        let read: ReadManifest = serde_json::from_slice(bytes).map_err(DocumentError::from)?;
        if read.layers.len() > MAX_SIGNATURES {
            return Err(SignatureError::TooMany(read.layers.len()));
        }
        let mut signatures = Vec::new();
        for layer in read.layers {
            let text = layer.annotations.as_ref().and_then(|annotations| annotations.get(SIGNATURE));
            let signature = text.and_then(|text| decode(text));
            let complete = match layer.media_type.as_str() {
                SIMPLE_SIGNING => signature.is_some(),
                BUNDLE => true,
                _ => false,
            };
            if !complete {
                continue;
            }
            if layer.size > MAX_PAYLOAD {
                return Err(SignatureError::TooLarge(layer.size));
            }
            let payload = Descriptor::new(layer.media_type, layer.digest, layer.size);
            signatures.push(Found { payload, signature });
        }
        Ok(Self { signatures })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadBundle {
    dsse_envelope: ReadEnvelope,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadEnvelope {
    payload: String,
    payload_type: String,
    signatures: Vec<ReadSignature>,
}

#[derive(Deserialize)]
struct ReadSignature {
    sig: String,
}

impl Found {
    /// The signature, once its payload is there. `payload` is what [`Found::payload`] names: the caller has compared it.
    ///
    /// # Errors
    /// [`SignatureError::Bundle`].
    pub fn with(self, payload: Vec<u8>) -> Result<Signature, SignatureError> {
        if self.payload.media_type != BUNDLE {
            let signatures = self.signature.into_iter().collect();
            return Ok(Signature { payload, form: Form::Simple, signatures });
        }
        let wrong = |error: &dyn std::fmt::Display| SignatureError::Bundle(error.to_string());
        let bundle: ReadBundle = serde_json::from_slice(&payload).map_err(|error| wrong(&error))?;
        let ReadEnvelope { payload, payload_type, signatures } = bundle.dsse_envelope;
        if signatures.len() > MAX_SIGNATURES {
            return Err(SignatureError::TooMany(signatures.len()));
        }
        let bytes = |text: &str| decode(text).ok_or_else(|| wrong(&"it is no base64"));
        let signatures = signatures.iter().map(|signature| bytes(&signature.sig)).collect::<Result<_, _>>()?;
        Ok(Signature { payload: bytes(&payload)?, form: Form::Envelope(payload_type), signatures })
    }
}

impl Signature {
    /// Whether `key` signed that this is about the manifest `digest`.
    #[must_use]
    pub fn holds(&self, key: &PublicKey, digest: &Digest) -> bool {
        let message = self.message();
        let signed = self.signatures.iter().any(|signature| key.verifies(&message, signature, Encoding::Asn1));
        // Not before it is known who says so.
        signed && self.names(digest)
    }

    /// What the signature is over.
    fn message(&self) -> std::borrow::Cow<'_, [u8]> {
        match &self.form {
            Form::Simple => (&self.payload).into(),
            Form::Envelope(kind) => {
                let mut message = format!("DSSEv1 {} {kind} {} ", kind.len(), self.payload.len()).into_bytes();
                message.extend_from_slice(&self.payload);
                message.into()
            }
        }
    }

    /// Whether what was signed names the manifest.
    fn names(&self, digest: &Digest) -> bool {
        match &self.form {
            Form::Simple => simple(&self.payload).is_some_and(|named| named == *digest),
            Form::Envelope(kind) => kind == IN_TOTO && subjects(&self.payload).contains(&digest.hex()),
        }
    }
}

#[derive(Deserialize)]
struct Simple {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: SimpleImage,
    r#type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct SimpleImage {
    docker_manifest_digest: Digest,
}

/// The digest in a payload of simple signing.
fn simple(payload: &[u8]) -> Option<Digest> {
    let read: Simple = serde_json::from_slice(payload).ok()?;
    (read.critical.r#type == SIMPLE_TYPE).then_some(read.critical.image.docker_manifest_digest)
}

#[derive(Deserialize)]
struct Statement {
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    digest: std::collections::BTreeMap<String, String>,
}

/// The SHA-256 digests that a statement is about.
fn subjects(payload: &[u8]) -> Vec<String> {
    let read: Option<Statement> = serde_json::from_slice(payload).ok();
    let subjects = read.into_iter().flat_map(|statement| statement.subject);
    subjects.filter_map(|mut subject| subject.digest.remove("sha256")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_signatures_are_taken_from_a_manifest() {
        let layer = |kind: &str, annotation: &str, size: u64| {
            format!(
                r#"{{"mediaType":"{kind}","digest":"{}","size":{size},"annotations":{{"{annotation}":"AQID"}}}}"#,
                Digest::of(b"x")
            )
        };
        let parse = |layers: &[String]| {
            SignatureManifest::parse(format!(r#"{{"layers":[{}]}}"#, layers.join(",")).as_bytes(), &Limits::default())
        };
        let all = [
            layer(SIMPLE_SIGNING, SIGNATURE, 1),
            layer(SIMPLE_SIGNING, "x", 1),
            layer("x", SIGNATURE, 1),
            layer(BUNDLE, "x", 1),
        ];
        assert_eq!(parse(&all).unwrap().signatures.len(), 2);
        let large = parse(&[layer(SIMPLE_SIGNING, SIGNATURE, MAX_PAYLOAD + 1)]);
        assert!(matches!(large, Err(SignatureError::TooLarge(_))));
        let many = vec![layer(BUNDLE, "x", 1); MAX_SIGNATURES + 1];
        assert!(matches!(parse(&many), Err(SignatureError::TooMany(_))));
    }

    #[test]
    fn a_payload_names_one_digest_and_says_what_it_is() {
        let payload = |kind: &str| {
            let digest = Digest::of(b"x");
            format!(
                r#"{{"critical":{{"identity":{{"docker-reference":""}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"{kind}"}},"optional":null}}"#
            )
        };
        assert_eq!(simple(payload(SIMPLE_TYPE).as_bytes()), Some(Digest::of(b"x")));
        assert_eq!(simple(payload("something else").as_bytes()), None);
        assert_eq!(simple(b"{}"), None);
    }
}
