//! Base64 (RFC 4648): read as the `LIBARCHIVE.xattr.` records have it, padding and line breaks optional; written with padding.

/// The bytes; `None` when there is anything but base64.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0_u32, 0);
    let mut letters = text.iter().filter(|byte| **byte != b'\n');
    for letter in letters.by_ref() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => break,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    letters.all(|byte| *byte == b'=').then_some(bytes)
}

/// Appends `bytes` as text.
pub fn encode(text: &mut Vec<u8>, bytes: &[u8]) {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let letter = |at: usize| LETTERS[(bits >> (18 - 6 * at) & 63) as usize];
        text.extend((0..4).map(|at| if at <= three.len() { letter(at) } else { b'=' }));
    }
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
