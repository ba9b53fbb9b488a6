//! New keys, and keys with a password.

use pkcs8::PrivateKeyInfoRef;
use pkcs8::der::Decode as _;
use pkcs8::pkcs5::pbes2;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use umiak_sign::pem;
use zeroize::Zeroizing;

use super::{FileKey, read, rsa};
use crate::error::SealError;

/// What kind of key is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// RSA of 2048 bits: what every Pantavisor verifies.
    #[default]
    Rsa2048,
    /// RSA of 3072 bits.
    Rsa3072,
    /// RSA of 4096 bits.
    Rsa4096,
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
}

/// Makes a key: PEM of PKCS#8, and with a password PBES2 (PBKDF2 with SHA-256 and 600,000 rounds, AES-256-CBC), which
/// OpenSSL and pvr's libraries read.
///
/// # Errors
/// [`SealError::Random`].
pub fn new_key(kind: Kind, password: Option<&[u8]>) -> Result<Zeroizing<String>, SealError> {
    let random = SystemRandom::new();
    let curve = |curve| {
        let document = EcdsaKeyPair::generate_pkcs8(curve, &random).map_err(|_| SealError::Random)?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    };
    let der = match kind {
        Kind::Rsa2048 => rsa::generate(2048),
        Kind::Rsa3072 => rsa::generate(3072),
        Kind::Rsa4096 => rsa::generate(4096),
        Kind::P256 => curve(&ECDSA_P256_SHA256_FIXED_SIGNING),
        Kind::P384 => curve(&ECDSA_P384_SHA384_FIXED_SIGNING),
    }?;
    let plain = Zeroizing::new(pem::block("PRIVATE KEY", &der));
    // What is handed out can be read back, or it is not handed out.
    FileKey::of(read::secret(&plain, None)?);
    password.map_or(Ok(plain), |password| protected(&der, password))
}

/// The same key with a password: `text` is a key in PEM of PKCS#8 that has none.
///
/// # Errors
/// [`SealError::Pem`] for another form, [`SealError::Random`].
pub fn encrypted(text: &str, password: &[u8]) -> Result<Zeroizing<String>, SealError> {
    match &pem::blocks(text).ok_or(SealError::Pem)?[..] {
        [("PRIVATE KEY", der)] => protected(der, password),
        _ => Err(SealError::Pem),
    }
}

fn protected(der: &[u8], password: &[u8]) -> Result<Zeroizing<String>, SealError> {
    let info = PrivateKeyInfoRef::from_der(der).map_err(|error| SealError::Form(error.to_string()))?;
    let parameters = pbes2::Parameters::generate_pbkdf2(&mut getrandom::SysRng).map_err(|_| SealError::Random)?;
    let document = info.encrypt_with_params(parameters, password).map_err(|_| SealError::Encryption)?;
    Ok(Zeroizing::new(pem::block("ENCRYPTED PRIVATE KEY", document.as_bytes())))
}
