//! Base64 of both alphabets (RFC 4648 4 and 5), read strictly: no line breaks, padding optional but right.

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const FORM: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// `+` and `/` stand for 62 and 63.
const STANDARD_LETTERS: GeneralPurpose = GeneralPurpose::new(&STANDARD, FORM);

/// `-` and `_` stand for 62 and 63.
const URL_LETTERS: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, FORM);

/// The bytes; `None` when there is anything but base64 of the usual alphabet.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD_LETTERS.decode(text).ok()
}

/// The bytes; `None` when there is anything but base64 of the URL alphabet.
#[must_use]
pub fn decode_url(text: &str) -> Option<Vec<u8>> {
    URL_LETTERS.decode(text).ok()
}

/// The text of the URL alphabet, without padding.
#[must_use]
pub fn encode_url(bytes: &[u8]) -> String {
    URL_LETTERS.encode(bytes)
}

/// The text of the usual alphabet, with padding: what PEM and certificates in JSON have.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    GeneralPurpose::new(&STANDARD, FORM.with_encode_padding(true)).encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_alphabets_are_read_and_nothing_else() {
        assert_eq!(encode(&[0xfb, 0xff]), "+/8=");
        assert_eq!(decode("+/8=").as_deref(), Some(&[0xfb, 0xff][..]));
        assert_eq!(decode_url("-_8").as_deref(), Some(&[0xfb, 0xff][..]));
        for wrong in ["+/9", "-_8=", "+/8==", "A", "+/ 8", "+/8=\n", "===="] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
        for length in 0..20_u8 {
            let bytes: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(83)).collect();
            assert_eq!(decode(&encode(&bytes)).as_ref(), Some(&bytes));
            assert_eq!(decode_url(&encode_url(&bytes)), Some(bytes));
        }
    }
}
