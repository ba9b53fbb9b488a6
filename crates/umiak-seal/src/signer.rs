//! What signs: a key in a file, and whatever else keeps keys.

use umiak_sign::{Algorithm, Encoding, PublicKey};

use crate::error::SealError;

/// A private key, wherever it is: in a file ([`crate::FileKey`]), behind PKCS#11, in a key management service.
///
/// Only three things are asked of it, so that a token or a service can be one.
pub trait Signer: Send + Sync {
    /// What kind of key it is.
    fn algorithm(&self) -> Algorithm;

    /// Its public half, a `SubjectPublicKeyInfo` in DER.
    fn spki(&self) -> &[u8];

    /// Signs `message` in the form of JWS (RFC 7518): RSASSA-PKCS1-v1_5 with SHA-256; ECDSA with SHA-256 (P-256) or
    /// SHA-384 (P-384) as two numbers of fixed length.
    ///
    /// # Errors
    /// [`SealError::Signing`] when there is no signature to be had.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SealError>;
}

/// A signature of `signer` that was verified: a faulty token, or a cosmic ray, is found here and not on a device.
pub(crate) fn signed(signer: &dyn Signer, message: &[u8]) -> Result<Vec<u8>, SealError> {
    let signature = signer.sign(message)?;
    let public = PublicKey::from_spki(signer.spki())?;
    if public.algorithm() == signer.algorithm() && public.verifies(message, &signature, Encoding::Jws) {
        return Ok(signature);
    }
    Err(SealError::Signing(String::new()))
}
