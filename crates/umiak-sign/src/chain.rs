//! Chains of certificates: from the one whose key signed up to an authority that the policy trusts.
//!
//! Follows RFC 5280 as far as rustls-webpki does: signatures, names, constraints, the purposes of keys. A device's clock
//! may be at 1970, and a signature says nothing of when it was made. So first dates are compared with one another: all
//! certificates of a chain must have been valid at the moment when the youngest of them became so. Then, where somebody hands
//! in a moment that can be believed, none of them may be past its last day; a moment before their first day says nothing,
//! for a clock that is behind is a clock that was never set.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use crate::certificate::{self, Certificate};
use crate::key::{KeyError, PublicKey};
use crate::pem;

/// Certificates of one chain.
pub const MAX_CHAIN: usize = 8;

/// The purpose of signing code: 1.3.6.1.5.5.7.3.3.
const CODE_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];

/// How certificates may be signed.
const ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    webpki::ring::ECDSA_P256_SHA256,
    webpki::ring::ECDSA_P256_SHA384,
    webpki::ring::ECDSA_P384_SHA256,
    webpki::ring::ECDSA_P384_SHA384,
    webpki::ring::ED25519,
    webpki::ring::RSA_PKCS1_2048_8192_SHA256,
    webpki::ring::RSA_PKCS1_2048_8192_SHA384,
    webpki::ring::RSA_PKCS1_2048_8192_SHA512,
];

/// An authority that the policy trusts: one certificate or several.
#[derive(Debug, Clone)]
pub struct Authority(Vec<TrustAnchor<'static>>);

/// Why certificates are not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// Not PEM, or no certificate in it.
    #[error("it has no certificate in PEM")]
    Pem,
    /// A certificate that cannot be read.
    #[error("a certificate cannot be read")]
    Form,
    /// Too many.
    #[error("the chain has {0} certificates, more than the limit of {MAX_CHAIN}")]
    TooLong(usize),
    /// The certificate's key is of a kind that is not known.
    #[error("the certificate's key cannot be used")]
    Key(#[from] KeyError),
    /// It does not lead to an authority.
    #[error("the chain of certificates, of {subject}, leads to no authority that is trusted: {why}")]
    NotTrusted {
        /// Whose certificate it is: what the certificate says, which nobody vouches for.
        subject: String,
        /// What is wrong.
        why: String,
    },
    /// Its time is over.
    #[error("the certificate of {subject} expired on {}", certificate::day(*until))]
    Expired {
        /// Whose certificate it is.
        subject: String,
        /// Its last moment, in seconds since 1970.
        until: u64,
    },
}

impl Authority {
    /// The certificates in a text.
    ///
    /// # Errors
    /// [`ChainError`].
    pub fn from_pem(text: &str) -> Result<Self, ChainError> {
        let blocks = pem::blocks(text).ok_or(ChainError::Pem)?;
        let certificates = blocks.iter().filter(|(label, _)| *label == "CERTIFICATE");
        let anchor = |(_, der): &(&str, Vec<u8>)| {
            let certificate = CertificateDer::from(der.as_slice());
            let anchor = webpki::anchor_from_trusted_cert(&certificate).map_err(|_| ChainError::Form)?;
            Ok(anchor.to_owned())
        };
        let anchors: Vec<_> = certificates.map(anchor).collect::<Result<_, ChainError>>()?;
        if anchors.is_empty() { Err(ChainError::Pem) } else { Ok(Self(anchors)) }
    }

    /// The key of the first of `chain`, if the others lead from it to this authority. `now`, in seconds since 1970, is a
    /// moment that can be believed; without one last days are not looked at.
    ///
    /// # Errors
    /// [`ChainError`].
    pub(crate) fn key(&self, chain: &[Vec<u8>], now: Option<u64>) -> Result<PublicKey, ChainError> {
        if chain.len() > MAX_CHAIN {
            return Err(ChainError::TooLong(chain.len()));
        }
        let read: Option<Vec<Certificate>> = chain.iter().map(|der| Certificate::read(der)).collect();
        let read = read.ok_or(ChainError::Form)?;
        let (leaf, others) = chain.split_first().ok_or(ChainError::Form)?;
        let leaf = CertificateDer::from(leaf.as_slice());
        let others: Vec<CertificateDer<'_>> = others.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let certificate = EndEntityCert::try_from(&leaf).map_err(|_| ChainError::Form)?;
        let leads = |at: u64| {
            let time = UnixTime::since_unix_epoch(Duration::from_secs(at));
            let purpose = KeyUsage::required_if_present(CODE_SIGNING);
            certificate.verify_for_usage(ALGORITHMS, &self.0, &others, time, purpose, None, None).map(drop)
        };
        let untrusted = |error: webpki::Error| {
            let why = match error {
                webpki::Error::UnknownIssuer => "none of those that are trusted issued it".to_owned(),
                webpki::Error::RequiredEkuNotFoundContext(_) => "it is not for signing code".to_owned(),
                other => other.to_string(),
            };
            ChainError::NotTrusted { subject: read[0].subject.clone(), why }
        };
        let from = read.iter().map(|certificate| certificate.from).max().ok_or(ChainError::Form)?;
        leads(from).map_err(untrusted)?;
        if let Some(now) = now.filter(|now| *now > from) {
            // Only certificates of the path count: one that lies beside it may be as old as it likes.
            leads(now).map_err(|error| match read.iter().find(|certificate| certificate.until < now) {
                Some(Certificate { subject, until, .. }) if matches!(error, webpki::Error::CertExpired { .. }) => {
                    ChainError::Expired { subject: subject.clone(), until: *until }
                }
                _ => untrusted(error),
            })?;
        }
        Ok(PublicKey::from_spki(certificate.subject_public_key_info().as_ref())?)
    }
}

/// The key that a certificate is for. Nothing is verified.
///
/// # Errors
/// [`ChainError::Form`], [`ChainError::Key`].
pub fn key_of_certificate(der: &[u8]) -> Result<PublicKey, ChainError> {
    let der = CertificateDer::from(der);
    let certificate = EndEntityCert::try_from(&der).map_err(|_| ChainError::Form)?;
    Ok(PublicKey::from_spki(certificate.subject_public_key_info().as_ref())?)
}
