//! Writing DER (X.690): values with their tags and shortest lengths.

use umiak_sign::der::{BIT_STRING, INTEGER, OID, SEQUENCE};

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const SET: u8 = 0x31;

/// rsaEncryption
pub(crate) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// id-ecPublicKey
pub(crate) const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// prime256v1
pub(crate) const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// secp384r1
pub(crate) const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];

/// A value of this tag with `parts` one after the other as its content.
pub(crate) fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let digits = length.to_be_bytes();
    let digits = &digits[digits.iter().position(|digit| *digit != 0).unwrap_or(digits.len() - 1)..];
    let mut bytes = vec![tag];
    if length > 0x7f {
        bytes.push(0x80 | u8::try_from(digits.len()).expect("a length has at most eight bytes"));
    }
    bytes.extend_from_slice(digits);
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

/// Values one after the other.
pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    value(SEQUENCE, parts)
}

/// A number that is not negative, from its digits of 256, highest first.
pub(crate) fn integer(digits: &[u8]) -> Vec<u8> {
    let digits = &digits[digits.iter().position(|digit| *digit != 0).unwrap_or(digits.len())..];
    let sign: &[u8] = if digits.first().is_none_or(|first| *first > 0x7f) { &[0] } else { &[] };
    value(INTEGER, &[sign, digits])
}

/// An object identifier.
pub(crate) fn oid(bytes: &[u8]) -> Vec<u8> {
    value(OID, &[bytes])
}

/// Whole bytes as bits.
pub(crate) fn bits(bytes: &[u8]) -> Vec<u8> {
    value(BIT_STRING, &[&[0], bytes])
}

/// What names an algorithm: rsaEncryption, or a curve.
pub(crate) fn algorithm(curve: Option<&[u8]>) -> Vec<u8> {
    match curve {
        None => sequence(&[&oid(RSA), &value(NULL, &[])]),
        Some(curve) => sequence(&[&oid(EC), &oid(curve)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_numbers_are_in_their_shortest_form() {
        assert_eq!(sequence(&[]), [0x30, 0]);
        assert_eq!(value(4, &[&[7; 127]])[..2], [4, 127]);
        assert_eq!(value(4, &[&[7; 128]])[..3], [4, 0x81, 128]);
        assert_eq!(value(4, &[&[7; 256]])[..4], [4, 0x82, 1, 0]);
        assert_eq!(value(4, &[&[7; 65536]])[..5], [4, 0x83, 1, 0, 0]);
        for (digits, form) in
            [(&[][..], &[2, 1, 0][..]), (&[0, 0], &[2, 1, 0]), (&[0, 0x7f], &[2, 1, 0x7f]), (&[0x80], &[2, 2, 0, 0x80])]
        {
            assert_eq!(integer(digits), form);
        }
    }
}
