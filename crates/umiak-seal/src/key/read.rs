//! Reading private keys: from PEM to something that signs.

use p256::pkcs8::DecodePrivateKey as _;
use pkcs8::der::Decode as _;
use pkcs8::{EncryptedPrivateKeyInfoRef, ObjectIdentifier, PrivateKeyInfoRef};
use ring::signature::RsaKeyPair;
use umiak_sign::der::{Der, INTEGER, OID, SEQUENCE};
use umiak_sign::pem;
use zeroize::Zeroizing;

use super::Secret;
use crate::der::{OCTET_STRING, P256, P384};
use crate::error::SealError;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// The curve of a SEC 1 key: `[0] EXPLICIT`.
const PARAMETERS: u8 = 0xa0;

/// The private key in a text.
pub(super) fn secret(text: &str, password: Option<&[u8]>) -> Result<Secret, SealError> {
    // Before PKCS#8, what encrypted a PEM file was one round of MD5, and its headers are no base64.
    if text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(SealError::Encryption);
    }
    let blocks: Vec<(&str, Zeroizing<Vec<u8>>)> = pem::blocks(text)
        .ok_or(SealError::Pem)?
        .into_iter()
        .filter(|(label, _)| *label != "EC PARAMETERS") // `openssl ecparam -genkey` says the curve twice
        .map(|(label, bytes)| (label, Zeroizing::new(bytes)))
        .collect();
    let private: Vec<_> = blocks.iter().filter(|(label, _)| label.ends_with("PRIVATE KEY")).collect();
    match private[..] {
        [(label, der)] => of_block(label, der, password),
        [] if !blocks.is_empty() => Err(SealError::Public),
        _ => Err(SealError::Pem),
    }
}

fn of_block(label: &str, der: &[u8], password: Option<&[u8]>) -> Result<Secret, SealError> {
    match label {
        "PRIVATE KEY" => of_pkcs8(der),
        "ENCRYPTED PRIVATE KEY" => {
            let encrypted = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|_| SealError::Encryption)?;
            let password = password.ok_or(SealError::PasswordNeeded)?;
            // A wrong password is bad padding, or by chance (1 of 256) rubbish that is no key.
            let opened = encrypted.decrypt(password).map_err(not_opened)?;
            of_pkcs8(opened.as_bytes()).map_err(|error| match error {
                SealError::Form(_) => SealError::WrongPassword,
                other => other,
            })
        }
        "RSA PRIVATE KEY" => of_rsa(der),
        "EC PRIVATE KEY" => of_sec1(der),
        _ => Err(SealError::Unknown),
    }
}

fn not_opened(error: pkcs8::Error) -> SealError {
    match error {
        pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::DecryptFailed) => SealError::WrongPassword,
        _ => SealError::Encryption,
    }
}

fn of_pkcs8(der: &[u8]) -> Result<Secret, SealError> {
    let info = PrivateKeyInfoRef::from_der(der).map_err(|error| SealError::Form(error.to_string()))?;
    match info.algorithm.oid {
        RSA => of_rsa(info.private_key.as_bytes()),
        EC => {
            let curve = info.algorithm.parameters.and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
            match curve.as_ref().map(ObjectIdentifier::as_bytes) {
                Some(P256) => {
                    let key =
                        p256::SecretKey::from_pkcs8_der(der).map_err(|error| SealError::Form(error.to_string()))?;
                    Ok(Secret::P256(Box::new(key.into())))
                }
                Some(P384) => {
                    let key =
                        p384::SecretKey::from_pkcs8_der(der).map_err(|error| SealError::Form(error.to_string()))?;
                    Ok(Secret::P384(Box::new(key.into())))
                }
                _ => Err(SealError::Unknown),
            }
        }
        _ => Err(SealError::Unknown),
    }
}

fn of_rsa(der: &[u8]) -> Result<Secret, SealError> {
    // ring takes 2048 to 4096 bits, checks the numbers against each other, and says what is wrong.
    let key = RsaKeyPair::from_der(der).map_err(|error| SealError::Form(error.to_string()))?;
    Ok(Secret::Rsa(Box::new(key)))
}

/// SEC 1: the number, and which curve it is on, if the file says so.
fn of_sec1(der: &[u8]) -> Result<Secret, SealError> {
    let curve = curve_of_sec1(der).ok_or_else(|| SealError::Form("it does not say its curve".into()))?;
    match curve {
        P256 => {
            let key = p256::SecretKey::from_sec1_der(der).map_err(|error| SealError::Form(error.to_string()))?;
            Ok(Secret::P256(Box::new(key.into())))
        }
        P384 => {
            let key = p384::SecretKey::from_sec1_der(der).map_err(|error| SealError::Form(error.to_string()))?;
            Ok(Secret::P384(Box::new(key.into())))
        }
        _ => Err(SealError::Unknown),
    }
}

fn curve_of_sec1(der: &[u8]) -> Option<&[u8]> {
    let mut content = Der::new(Der::new(der).value(SEQUENCE)?);
    content.value(INTEGER)?;
    content.value(OCTET_STRING)?;
    Der::new(content.value(PARAMETERS)?).value(OID)
}
