//! Base64 (RFC 4648): read as the `LIBARCHIVE.xattr.` records have it, padding and line breaks optional; written with padding.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const FORM: GeneralPurposeConfig = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

const LETTERS: GeneralPurpose = GeneralPurpose::new(&STANDARD, FORM);

/// The bytes; `None` when there is anything but base64.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let letters: Vec<u8> = text.iter().copied().filter(|byte| *byte != b'\n').collect();
    LETTERS.decode(letters).ok()
}

/// Appends `bytes` as text.
pub fn encode(text: &mut Vec<u8>, bytes: &[u8]) {
    text.extend(LETTERS.encode(bytes).into_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_with_and_without_padding() {
        for (text, bytes) in [("", &b""[..]), ("Zg==", b"f"), ("Zg", b"f"), ("Zm8=", b"fo"), ("Zm9v", b"foo")] {
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(bytes), "{text}");
            let mut written = Vec::new();
            encode(&mut written, bytes);
            assert_eq!(decode(&written).as_deref(), Some(bytes), "{text}");
            assert!(written.starts_with(text.as_bytes()) && written.len() % 4 == 0, "{text}");
        }
        assert_eq!(decode(b"Z*"), None);
        assert_eq!(decode(b"Zg=x"), None);
    }
}
