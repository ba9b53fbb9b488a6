//! A key of cosign's, and what `cosign sign --key` makes with it; the words of the formats are written out here, so that who
//! reads them is not tested with his own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use umiak_spec::Digest;
use umiak_spec::media_type::OCI_MANIFEST;

use crate::sample::Blob;

/// What stands before the bytes of an Ed25519 key in a SubjectPublicKeyInfo.
const INFO: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A key, the same in every test.
pub struct Signer(Ed25519KeyPair);

impl Default for Signer {
    fn default() -> Self {
        Self::numbered(7)
    }
}

impl Signer {
    /// The key of a number: another number is another key.
    #[must_use]
    pub fn numbered(number: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[number; 32]).expect("32 bytes are a seed"))
    }

    /// The public key in PEM.
    #[must_use]
    pub fn public(&self) -> String {
        let info = STANDARD.encode([&INFO[..], self.0.public_key().as_ref()].concat());
        format!("-----BEGIN PUBLIC KEY-----\n{info}\n-----END PUBLIC KEY-----\n")
    }

    /// The signature of some bytes.
    #[must_use]
    pub fn bytes(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }

    /// The text of a policy that accepts from `from` only what this key has signed, and nothing from elsewhere.
    #[must_use]
    pub fn policy(&self, from: &str) -> String {
        let public = self.public().replace('\n', "\\n");
        format!(
            r#"{{"version":1,"keys":{{"release":"{public}"}},
                "rules":[{{"from":"{from}","accept":"signed","signers":["release"]}}],"default":{{"accept":"none"}}}}"#
        )
    }

    /// A signature on the manifest `signed`: its payload, and its own manifest. With the length of what is signed it is a
    /// referrer of that, without it is found by its tag.
    #[must_use]
    pub fn sign(&self, signed: &Digest, length: Option<usize>) -> [Blob; 2] {
        let payload = format!(
            r#"{{"critical":{{"identity":{{"docker-reference":""}},"image":{{"docker-manifest-digest":"{signed}"}},"type":"cosign container image signature"}},"optional":null}}"#
        );
        let signature = STANDARD.encode(self.0.sign(payload.as_bytes()));
        let (of, size) = (Digest::of(payload.as_bytes()), payload.len());
        let subject = length.map(|length| {
            format!(
                r#""artifactType":"application/vnd.dev.cosign.artifact.sig.v1+json",
                "subject":{{"mediaType":"{OCI_MANIFEST}","digest":"{signed}","size":{length}}},"#
            )
        });
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}",{}"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{of}","size":{size}}},
            "layers":[{{"mediaType":"application/vnd.dev.cosign.simplesigning.v1+json","digest":"{of}","size":{size},
            "annotations":{{"dev.cosignproject.cosign/signature":"{signature}"}}}}]}}"#,
            subject.unwrap_or_default()
        );
        [Blob::new("application/octet-stream", payload), Blob::new(OCI_MANIFEST, manifest)]
    }
}
