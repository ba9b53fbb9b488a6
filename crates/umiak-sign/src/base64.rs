//! Base64 of both alphabets (RFC 4648 4 and 5), read strictly: no line breaks, padding optional but right.

/// Which two letters stand for 62 and 63.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alphabet {
    /// `+` and `/`
    Standard,
    /// `-` and `_`
    Url,
}

/// The bytes; `None` when there is anything but base64 of this alphabet.
pub(crate) fn decode(text: &str, alphabet: Alphabet) -> Option<Vec<u8>> {
    let bare = text.trim_end_matches('=');
    let padding = text.len() - bare.len();
    if padding > 2 || (padding > 0 && !text.len().is_multiple_of(4)) {
        return None;
    }
    let mut bytes = Vec::with_capacity(bare.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0_u32, 0_u32);
    for letter in bare.bytes() {
        let value = match (letter, alphabet) {
            (b'A'..=b'Z', _) => letter - b'A',
            (b'a'..=b'z', _) => letter - b'a' + 26,
            (b'0'..=b'9', _) => letter - b'0' + 52,
            (b'+', Alphabet::Standard) | (b'-', Alphabet::Url) => 62,
            (b'/', Alphabet::Standard) | (b'_', Alphabet::Url) => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    // One letter too many, or bits that no byte has: another text for the same bytes.
    let rest = bits & ((1 << count) - 1);
    (count < 6 && rest == 0).then_some(bytes)
}

/// The text of the URL alphabet, without padding.
pub(crate) fn encode_url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let letter = |at: usize| char::from(LETTERS[(bits >> (18 - 6 * at) & 63) as usize]);
        text.extend((0..=three.len()).map(letter));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_alphabets_are_read_and_nothing_else() {
        assert_eq!(decode("+/8=", Alphabet::Standard).as_deref(), Some(&[0xfb, 0xff][..]));
        assert_eq!(decode("-_8", Alphabet::Url).as_deref(), Some(&[0xfb, 0xff][..]));
        for wrong in ["+/9", "-_8=", "+/8==", "A", "+/ 8", "+/8=\n", "===="] {
            assert_eq!(decode(wrong, Alphabet::Standard), None, "{wrong}");
        }
        for length in 0..20_u8 {
            let bytes: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(83)).collect();
            assert_eq!(decode(&encode_url(&bytes), Alphabet::Url), Some(bytes));
        }
    }
}
