//! Certificates: an authority of one's own, and certificates of it for keys that sign code.
//!
//! Follows RFC 5280. Guarantees: the same input gives the same certificate with an RSA key or a deterministic ECDSA one
//! (its serial number is a digest of what it says); an authority may issue certificates and nothing else, what it issues
//! may sign code and nothing else.

use umiak_sign::der::{CONTEXT_0, Der, GENERALIZED_TIME, INTEGER, SEQUENCE, UTC_TIME};
use umiak_sign::{Algorithm, PublicKey, key_of_certificate};
use umiak_spec::Digest;

use crate::der::{self, BOOLEAN, OCTET_STRING, SET, UTF8_STRING, oid, sequence, value};
use crate::error::SealError;
use crate::signer::{Signer, signed};

const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const SUBJECT_KEY: &[u8] = &[0x55, 0x1d, 14];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
const AUTHORITY_KEY: &[u8] = &[0x55, 0x1d, 35];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];
const CODE_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];
const SHA256_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const ECDSA_WITH_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];

/// Characters of a common name (RFC 5280, upper bound).
const MAX_NAME: usize = 64;
/// The last second that a certificate can name: the end of the year 9999.
const LAST: u64 = 253_402_300_799;
/// The first second whose year is written with four digits: 2050.
const FOUR_DIGITS: u64 = 2_524_608_000;

/// From when until when a certificate is valid, in seconds since 1970; both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub from: u64,
    /// The last one.
    pub until: u64,
}

/// What kind of certificate it is.
#[derive(Clone, Copy, PartialEq)]
enum Purpose {
    Authority,
    Code,
}

/// An authority: a certificate for `signer`'s key, signed by itself, in DER.
///
/// # Errors
/// [`SealError::Certificate`] for a name that is empty or too long and for dates that are none; [`SealError::Signing`].
pub fn new_authority(name: &str, signer: &dyn Signer, validity: Validity) -> Result<Vec<u8>, SealError> {
    let subject = subject(name)?;
    certificate(&subject, signer.spki(), &subject, signer, validity, Purpose::Authority)
}

/// A certificate of an authority for a key that signs code, in DER. `spki` is the key's public half, `authority` the
/// certificate of `signer`'s key.
///
/// # Errors
/// As [`new_authority`]; [`SealError::NotItsKey`] when the authority's certificate is not for `signer`'s key.
pub fn issue(
    name: &str,
    spki: &[u8],
    authority: &[u8],
    signer: &dyn Signer,
    validity: Validity,
) -> Result<Vec<u8>, SealError> {
    if key_of_certificate(authority)?.id() != Digest::of(signer.spki()) {
        return Err(SealError::NotItsKey);
    }
    let wrong = || SealError::Certificate("the authority's certificate cannot be read".into());
    let issuer = sequence(&[subject_of(authority).ok_or_else(wrong)?]);
    certificate(&subject(name)?, spki, &issuer, signer, validity, Purpose::Code)
}

fn certificate(
    subject: &[u8],
    spki: &[u8],
    issuer: &[u8],
    signer: &dyn Signer,
    validity: Validity,
    purpose: Purpose,
) -> Result<Vec<u8>, SealError> {
    PublicKey::from_spki(spki)?;
    if validity.from > validity.until {
        return Err(SealError::Certificate("it would end before it begins".into()));
    }
    let algorithm = match signer.algorithm() {
        Algorithm::Rsa => sequence(&[&oid(SHA256_WITH_RSA), &value(der::NULL, &[])]),
        Algorithm::EcdsaP256 => sequence(&[&oid(ECDSA_WITH_SHA256)]),
        Algorithm::EcdsaP384 => sequence(&[&oid(ECDSA_WITH_SHA384)]),
        Algorithm::Ed25519 => return Err(SealError::Unknown),
    };
    let dates = sequence(&[&date(validity.from)?, &date(validity.until)?]);
    let extensions = extensions(spki, signer.spki(), purpose)?;
    let said = [issuer, &dates, subject, spki, &extensions];
    let digest = Digest::of(&sequence(&said));
    // 127 bits: a positive number, and never zero.
    let mut serial = [0; 16];
    serial.copy_from_slice(&digest.as_bytes()[..16]);
    serial[0] = serial[0] & 0x7f | 0x40;
    let version = value(CONTEXT_0, &[&der::integer(&[2])]);
    let content = sequence(&[&version, &der::integer(&serial), &algorithm, issuer, &dates, subject, spki, &extensions]);
    let signature = signed(signer, &content)?;
    let signature = match signer.algorithm() {
        Algorithm::Rsa => signature,
        _ => {
            let (r, s) = signature.split_at(signature.len() / 2);
            sequence(&[&der::integer(r), &der::integer(s)])
        }
    };
    Ok(sequence(&[&content, &algorithm, &der::bits(&signature)]))
}

/// A distinguished name that is a common name.
fn subject(name: &str) -> Result<Vec<u8>, SealError> {
    if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        let reason = format!("`{}` is no name: 1 to {MAX_NAME} characters", name.escape_debug());
        return Err(SealError::Certificate(reason));
    }
    let attribute = sequence(&[&oid(COMMON_NAME), &value(UTF8_STRING, &[name.as_bytes()])]);
    Ok(sequence(&[&value(SET, &[&attribute])]))
}

/// The content of a certificate's subject.
fn subject_of(certificate: &[u8]) -> Option<&[u8]> {
    let mut content = Der::new(certificate).sequence()?.sequence()?;
    content.value(CONTEXT_0);
    content.value(INTEGER)?;
    for _algorithm_issuer_dates in 0..3 {
        content.value(SEQUENCE)?;
    }
    content.value(SEQUENCE)
}

fn extensions(spki: &[u8], authority: &[u8], purpose: Purpose) -> Result<Vec<u8>, SealError> {
    let extension = |name: &[u8], critical: bool, content: &[u8]| {
        let critical = if critical { value(BOOLEAN, &[&[0xff]]) } else { Vec::new() };
        sequence(&[&oid(name), &critical, &value(OCTET_STRING, &[content])])
    };
    // Bits of a key's use from the left: 0 digitalSignature, 5 keyCertSign, 6 cRLSign; the first byte counts those unused.
    let (basic, usage): (Vec<u8>, [u8; 2]) = match purpose {
        Purpose::Authority => (sequence(&[&value(BOOLEAN, &[&[0xff]])]), [1, 0b0000_0110]),
        Purpose::Code => (sequence(&[]), [7, 0b1000_0000]),
    };
    let mut list = vec![
        extension(BASIC_CONSTRAINTS, true, &basic),
        extension(KEY_USAGE, true, &value(umiak_sign::der::BIT_STRING, &[&usage])),
    ];
    if purpose == Purpose::Code {
        list.push(extension(EXTENDED_KEY_USAGE, false, &sequence(&[&oid(CODE_SIGNING)])));
    }
    list.push(extension(SUBJECT_KEY, false, &value(OCTET_STRING, &[&key_identifier(spki)?])));
    // `[0] IMPLICIT`: the identifier of the issuer's key.
    list.push(extension(AUTHORITY_KEY, false, &sequence(&[&value(0x80, &[&key_identifier(authority)?])])));
    let list: Vec<&[u8]> = list.iter().map(Vec::as_slice).collect();
    Ok(value(0xa3, &[&sequence(&list)]))
}

/// RFC 7093 2, method 1: the first 160 bits of the SHA-256 of the key's bits.
fn key_identifier(spki: &[u8]) -> Result<[u8; 20], SealError> {
    let digest = Digest::of(PublicKey::from_spki(spki)?.bits());
    let mut identifier = [0; 20];
    identifier.copy_from_slice(&digest.as_bytes()[..20]);
    Ok(identifier)
}

/// A moment as certificates have it: years before 2050 with two digits.
fn date(seconds: u64) -> Result<Vec<u8>, SealError> {
    if seconds > LAST {
        return Err(SealError::Certificate("its dates are behind the year 9999".into()));
    }
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let rest = format!("{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
    Ok(if seconds < FOUR_DIGITS {
        value(UTC_TIME, &[format!("{:02}{rest}", year % 100).as_bytes()])
    } else {
        value(GENERALIZED_TIME, &[format!("{year:04}{rest}").as_bytes()])
    })
}

/// Year, month and day of the n-th day since 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    // Years that begin in March have their leap day at the end; 400 of them have 146,097 days.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let text = |seconds| String::from_utf8(date(seconds).unwrap()[2..].to_vec()).unwrap();
        assert_eq!(text(0), "700101000000Z");
        assert_eq!(text(951_868_799), "000229235959Z");
        assert_eq!(text(1_726_317_059), "240914123059Z");
        assert_eq!(text(FOUR_DIGITS - 1), "491231235959Z");
        assert_eq!(text(FOUR_DIGITS), "20500101000000Z");
        assert_eq!(text(4_107_542_400), "21000301000000Z");
        assert_eq!(text(LAST), "99991231235959Z");
        assert!(date(LAST + 1).is_err());
    }

    #[test]
    fn names_have_a_length_and_no_control_characters() {
        assert!(subject("Müller & Söhne release").is_ok());
        assert!(subject(&"x".repeat(64)).is_ok());
        for wrong in ["", "a\nb", &"x".repeat(65)] {
            assert!(matches!(subject(wrong), Err(SealError::Certificate(_))), "{wrong:?}");
        }
    }
}
