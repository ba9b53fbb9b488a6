//! Private keys in files: RSA, P-256, P-384, in the forms in which OpenSSL and pvr keep them.
//!
//! Follows RFC 5958 (PKCS#8), RFC 8017 (PKCS#1), RFC 5915 (SEC 1), RFC 8018 (PBES2). Guarantees: a key that was read
//! signs; ECDSA is deterministic (RFC 6979); nothing of a private key is in an error or in `Debug`.

mod new;
mod read;
mod rsa;

use std::fmt;

use p256::ecdsa::signature::Signer as _;
use ring::rand::SystemRandom;
use ring::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use umiak_sign::{Algorithm, pem};

use crate::der;
use crate::error::SealError;
use crate::signer::Signer;

pub use new::{Kind, encrypted, new_key};

/// A private key that was read from PEM.
pub struct FileKey {
    secret: Secret,
    spki: Vec<u8>,
}

enum Secret {
    Rsa(Box<RsaKeyPair>),
    P256(Box<p256::ecdsa::SigningKey>),
    P384(Box<p384::ecdsa::SigningKey>),
}

impl FileKey {
    /// The key in a text: PKCS#8 (`PRIVATE KEY`, or `ENCRYPTED PRIVATE KEY` with its password), PKCS#1
    /// (`RSA PRIVATE KEY`) or SEC 1 (`EC PRIVATE KEY`).
    ///
    /// # Errors
    /// [`SealError::Pem`], [`SealError::Public`], [`SealError::PasswordNeeded`], [`SealError::WrongPassword`],
    /// [`SealError::Encryption`], [`SealError::Unknown`] for Ed25519 and other curves, [`SealError::Form`] for RSA keys of
    /// less than 2048 or more than 4096 bits and for what is damaged.
    pub fn from_pem(text: &str, password: Option<&[u8]>) -> Result<Self, SealError> {
        Ok(Self::of(read::secret(text, password)?))
    }

    fn of(secret: Secret) -> Self {
        let spki = match &secret {
            Secret::Rsa(key) => spki(None, key.public_key().as_ref()),
            Secret::P256(key) => spki(Some(der::P256), key.verifying_key().to_sec1_point(false).as_bytes()),
            Secret::P384(key) => spki(Some(der::P384), key.verifying_key().to_sec1_point(false).as_bytes()),
        };
        Self { secret, spki }
    }
}

impl Signer for FileKey {
    fn algorithm(&self) -> Algorithm {
        match self.secret {
            Secret::Rsa(_) => Algorithm::Rsa,
            Secret::P256(_) => Algorithm::EcdsaP256,
            Secret::P384(_) => Algorithm::EcdsaP384,
        }
    }

    fn spki(&self) -> &[u8] {
        &self.spki
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SealError> {
        let refused = |_| SealError::Signing(String::new());
        match &self.secret {
            Secret::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                // The random numbers only blind the computation: PKCS #1 1.5 is deterministic.
                let signed = key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature);
                signed.map_err(|_| SealError::Signing(String::new()))?;
                Ok(signature)
            }
            Secret::P256(key) => {
                let signature: p256::ecdsa::Signature = key.try_sign(message).map_err(refused)?;
                Ok(signature.to_bytes().to_vec())
            }
            Secret::P384(key) => {
                let signature: p384::ecdsa::Signature = key.try_sign(message).map_err(refused)?;
                Ok(signature.to_bytes().to_vec())
            }
        }
    }
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileKey").field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}

/// The public half of a key in PEM, as `openssl pkey -pubout` writes it.
#[must_use]
pub fn public_pem(signer: &dyn Signer) -> String {
    pem::block("PUBLIC KEY", signer.spki())
}

/// A `SubjectPublicKeyInfo`.
fn spki(curve: Option<&[u8]>, key: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::algorithm(curve), &der::bits(key)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sec1(curve: &[u8], digits: &str) -> String {
        let number: Vec<u8> =
            (0..digits.len() / 2).map(|at| u8::from_str_radix(&digits[at * 2..at * 2 + 2], 16).unwrap()).collect();
        let curve = der::value(0xa0, &[&der::oid(curve)]);
        let parts = [der::integer(&[1]), der::value(der::OCTET_STRING, &[&number]), curve];
        pem::block("EC PRIVATE KEY", &der::sequence(&[&parts[0], &parts[1], &parts[2]]))
    }

    /// RFC 6979 A.2.5 and A.2.6: what the standard signs with these keys.
    #[test]
    fn ecdsa_is_as_rfc_6979_has_it() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
        let key = sec1(der::P256, "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721");
        let signature = FileKey::from_pem(&key, None).unwrap().sign(b"sample").unwrap();
        assert_eq!(
            hex(&signature),
            "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716\
             F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"
        );
        let key = sec1(
            der::P384,
            "6B9D3DAD2E1B8C1C05B19875B6659F4DE23C3B667BF297BA9AA47740787137D8\
             96D5724E4C70A825F872C9EA60D2EDF5",
        );
        let signature = FileKey::from_pem(&key, None).unwrap().sign(b"sample").unwrap();
        assert_eq!(
            hex(&signature),
            "94EDBB92A5ECB8AAD4736E56C691916B3F88140666CE9FA73D64C4EA95AD133C\
             81A648152E44ACF96E36DD1E80FABE46\
             99EF4AEB15F178CEA1FE40DB2603138F130E740A19624526203B6351D0A3A94F\
             A329C145786E679E7B82C71A38628AC8"
        );
    }

    #[test]
    fn what_is_no_private_key_is_named() {
        let told = |text: &str| FileKey::from_pem(text, None).unwrap_err();
        assert_eq!(told("ssh-rsa AAAA"), SealError::Pem);
        assert_eq!(told(&pem::block("CERTIFICATE", b"x")), SealError::Public);
        assert_eq!(told(&pem::block("OPENSSH PRIVATE KEY", b"x")), SealError::Unknown);
        assert!(matches!(told(&pem::block("PRIVATE KEY", b"x")), SealError::Form(_)));
        assert!(matches!(told(&pem::block("RSA PRIVATE KEY", &[0x30, 0])), SealError::Form(_)));
        assert_eq!(told(&pem::block("ENCRYPTED PRIVATE KEY", b"x")), SealError::Encryption);
        let two = pem::block("PRIVATE KEY", b"x").repeat(2);
        assert_eq!(told(&two), SealError::Pem, "which of them?");
        assert_eq!(told(&sec1(&[0x2b, 0x81, 0x04, 0x00, 0x23], "01")), SealError::Unknown, "P-521");
    }

    /// Whatever becomes of a key's bytes on the way, there is an answer.
    #[test]
    fn damaged_keys_are_errors() {
        let whole = new_key(Kind::P256, None).unwrap();
        let der = pem::blocks(&whole).unwrap().remove(0).1;
        for at in 0..der.len() {
            for change in [1, 0x80, 0xff] {
                let mut damaged = der.clone();
                damaged[at] ^= change;
                let _ = FileKey::from_pem(&pem::block("PRIVATE KEY", &damaged), None);
                assert!(FileKey::from_pem(&pem::block("PRIVATE KEY", &der[..at]), None).is_err());
            }
        }
    }
}
