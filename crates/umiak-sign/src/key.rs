//! Public keys: ECDSA on P-256 and P-384, Ed25519, RSA of 2048 bits and more; and what they say of a signature.
//!
//! Follows RFC 5280 (the key's form), RFC 5480, RFC 8410. Guarantee: a key is of one of these algorithms, on a named curve.

use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use umiak_spec::Digest;

use crate::der::{BIT_STRING, Der, OID};
use crate::pem;

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// What kind of key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on the curve P-256.
    EcdsaP256,
    /// ECDSA on the curve P-384.
    EcdsaP384,
    /// Ed25519.
    Ed25519,
    /// RSA, PKCS #1 1.5.
    Rsa,
}

impl Algorithm {
    /// Its name in a JWS (RFC 7518 3.1, RFC 8037).
    #[must_use]
    pub const fn jws(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ES256",
            Self::EcdsaP384 => "ES384",
            Self::Ed25519 => "EdDSA",
            Self::Rsa => "RS256",
        }
    }

    /// The algorithm of that name.
    #[must_use]
    pub fn from_jws(name: &str) -> Option<Self> {
        [Self::Rsa, Self::EcdsaP256, Self::EcdsaP384, Self::Ed25519].into_iter().find(|known| known.jws() == name)
    }
}

/// How a signature is written, and over which hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As X.509 and cosign have it: SHA-256, an ECDSA signature in DER.
    Asn1,
    /// As JWS has it (RFC 7518): the hash that belongs to the algorithm, an ECDSA signature as two numbers of fixed length.
    Jws,
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: Algorithm,
    key: Vec<u8>,
    id: Digest,
}

/// Why a text is no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not PEM, or not one block of it.
    #[error("it is not one public key in PEM")]
    Pem,
    /// A private key: it does not belong on a device.
    #[error("it is a private key: only the public one belongs here (openssl pkey -pubout)")]
    Private,
    /// The block is damaged or is something else.
    #[error("it is no public key")]
    Form,
    /// A key of another kind.
    #[error("it is a key of a kind that is not known: ECDSA (P-256, P-384), Ed25519 and RSA are")]
    Unknown,
}

impl PublicKey {
    /// The key in a text: what `cosign generate-key-pair` and `openssl pkey -pubout` write.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        match &pem::blocks(text).ok_or(KeyError::Pem)?[..] {
            [("PUBLIC KEY", der)] => Self::from_spki(der),
            blocks if blocks.iter().any(|(label, _)| label.ends_with("PRIVATE KEY")) => Err(KeyError::Private),
            _ => Err(KeyError::Pem),
        }
    }

    /// The key in a `SubjectPublicKeyInfo`.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        let (kind, parameters, bits) = parts(der).ok_or(KeyError::Form)?;
        let curve = Der::new(parameters).value(OID);
        let algorithm = match kind {
            RSA => Algorithm::Rsa,
            EC if curve == Some(P256) => Algorithm::EcdsaP256,
            EC if curve == Some(P384) => Algorithm::EcdsaP384,
            ED25519 => Algorithm::Ed25519,
            _ => return Err(KeyError::Unknown),
        };
        Ok(Self { algorithm, key: bits.to_vec(), id: Digest::of(der) })
    }

    /// What kind of key it is.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key itself, without what says its kind: a point of the curve, uncompressed, or RSA's two numbers in DER.
    #[must_use]
    pub fn bits(&self) -> &[u8] {
        &self.key
    }

    /// Digest of the key as it is written.
    #[must_use]
    pub const fn id(&self) -> Digest {
        self.id
    }

    /// What tells the key from others, however it is written: a certificate may have a form that its holder chose.
    pub(crate) fn identity(&self) -> Digest {
        Digest::of(&[self.algorithm.jws().as_bytes(), b".", &self.key].concat())
    }

    /// Whether it made this signature over these bytes.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8], encoding: Encoding) -> bool {
        let algorithm: &dyn VerificationAlgorithm = match (self.algorithm, encoding) {
            (Algorithm::EcdsaP256, Encoding::Asn1) => &signature::ECDSA_P256_SHA256_ASN1,
            (Algorithm::EcdsaP256, Encoding::Jws) => &signature::ECDSA_P256_SHA256_FIXED,
            (Algorithm::EcdsaP384, Encoding::Asn1) => &signature::ECDSA_P384_SHA256_ASN1,
            (Algorithm::EcdsaP384, Encoding::Jws) => &signature::ECDSA_P384_SHA384_FIXED,
            (Algorithm::Ed25519, _) => &signature::ED25519,
            (Algorithm::Rsa, _) => &signature::RSA_PKCS1_2048_8192_SHA256,
        };
        UnparsedPublicKey::new(algorithm, &self.key).verify(message, signature).is_ok()
    }
}

/// Algorithm, its parameters, and the key's bits.
fn parts(der: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut whole = Der::new(der);
    let mut spki = whole.sequence()?;
    let mut algorithm = spki.value(crate::der::SEQUENCE).map(|content| (Der::new(content), content))?;
    let kind = algorithm.0.value(OID)?;
    // Behind the object identifier: its tag, its length, itself.
    let parameters = algorithm.1.get(kind.len() + 2..)?;
    let bits = spki.value(BIT_STRING)?;
    let (unused, bits) = bits.split_first()?;
    (*unused == 0 && spki.is_empty() && whole.is_empty()).then_some((kind, parameters, bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `SubjectPublicKeyInfo` of RSA with these parameters, and three bytes for a key.
    fn rsa(parameters: &[u8]) -> PublicKey {
        let algorithm = [&[0x06, 9][..], RSA, parameters].concat();
        let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
        let content = [&[0x30, length(&algorithm)][..], &algorithm, &[0x03, 4, 0, 1, 2, 3]].concat();
        PublicKey::from_spki(&[&[0x30, length(&content)][..], &content].concat()).unwrap()
    }

    #[test]
    fn one_key_is_one_however_it_is_written() {
        // RFC 3279 2.3.1 asks for NULL; readers take it without.
        let (written, otherwise) = (rsa(&[0x05, 0]), rsa(&[]));
        assert_ne!(written.id(), otherwise.id());
        assert_eq!(written.identity(), otherwise.identity());
    }
}
