//! Chains of certificates: from the one whose key signed up to an authority that the policy trusts.
//!
//! Follows RFC 5280 as far as rustls-webpki does: signatures, names, constraints, the purposes of keys. A device's clock
//! may be at 1970 and its apps older than a certificate's last day, and a signature says nothing of when it was made: so
//! dates are compared with one another, not with a clock. All certificates of a chain must have been valid at the moment
//! when the youngest of them became so.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use crate::der::{CONTEXT_0, Der, GENERALIZED_TIME, INTEGER, SEQUENCE, UTC_TIME};
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
    #[error("the chain of certificates leads to no authority that is trusted: {0}")]
    NotTrusted(String),
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

    /// The key of the first of `chain`, if the others lead from it to this authority.
    ///
    /// # Errors
    /// [`ChainError`].
    pub(crate) fn key(&self, chain: &[Vec<u8>]) -> Result<PublicKey, ChainError> {
        if chain.len() > MAX_CHAIN {
            return Err(ChainError::TooLong(chain.len()));
        }
        let (leaf, others) = chain.split_first().ok_or(ChainError::Form)?;
        let leaf = CertificateDer::from(leaf.as_slice());
        let others: Vec<CertificateDer<'_>> = others.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let from = chain.iter().map(|der| not_before(der)).max().flatten().ok_or(ChainError::Form)?;
        let time = UnixTime::since_unix_epoch(Duration::from_secs(from));
        let certificate = EndEntityCert::try_from(&leaf).map_err(|_| ChainError::Form)?;
        certificate
            .verify_for_usage(
                ALGORITHMS,
                &self.0,
                &others,
                time,
                KeyUsage::required_if_present(CODE_SIGNING),
                None,
                None,
            )
            .map_err(|error| ChainError::NotTrusted(error.to_string()))?;
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

/// From when on a certificate is valid, in seconds since 1970.
fn not_before(certificate: &[u8]) -> Option<u64> {
    let mut content = Der::new(certificate).sequence()?.sequence()?;
    content.value(CONTEXT_0);
    content.value(INTEGER)?;
    content.value(SEQUENCE)?;
    content.value(SEQUENCE)?;
    let (tag, text) = content.sequence()?.any()?;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        // RFC 5280 4.1.2.5.1: two digits are 1950 to 2049.
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year = number(year)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (number(year)?, rest)
        }
        _ => return None,
    };
    let mut fields = [0; 5];
    let mut rest = rest;
    for field in &mut fields {
        let (two, behind) = rest.split_at_checked(2)?;
        (*field, rest) = (number(two)?, behind);
    }
    rest.is_empty().then_some(())?;
    seconds(year, fields)
}

fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Seconds from 1970 to this moment; `None` before it, or when there is no such moment.
fn seconds(year: u64, [month, day, hour, minute, second]: [u64; 5]) -> Option<u64> {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let february = if leap(year) { 29 } else { 28 };
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let at = usize::try_from(month.checked_sub(1)?).ok()?;
    if day == 0 || day > *months.get(at)? || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    let years = year.checked_sub(1970)? * 365 + leaps(year - 1) - leaps(1969);
    let days = years + months[..at].iter().sum::<u64>() + day - 1;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_counted_from_1970() {
        assert_eq!(seconds(1970, [1, 1, 0, 0, 0]), Some(0));
        assert_eq!(seconds(2000, [3, 1, 0, 0, 0]), Some(951_868_800));
        assert_eq!(seconds(2024, [9, 14, 12, 30, 59]), Some(1_726_317_059));
        assert_eq!(seconds(2100, [3, 1, 0, 0, 0]), Some(4_107_542_400));
        for wrong in [[0, 1, 0, 0, 0], [13, 1, 0, 0, 0], [2, 30, 0, 0, 0], [1, 1, 24, 0, 0], [1, 0, 0, 0, 0]] {
            assert_eq!(seconds(2023, wrong), None, "{wrong:?}");
        }
        assert_eq!(seconds(1969, [1, 1, 0, 0, 0]), None);
    }
}
