//! PEM (RFC 7468): texts between `-----BEGIN LABEL-----` and `-----END LABEL-----`.

use crate::base64::{decode, encode};

/// Bytes of one block: a certificate or key is a few thousand.
const MAX_BLOCK: usize = 64 << 10;
/// Blocks in one text.
const MAX_BLOCKS: usize = 64;
/// Letters of a line that is written.
const LINE: usize = 64;

/// The blocks of a text with their labels; `None` when one is not well-formed. What stands between them is passed over.
#[must_use]
pub fn blocks(text: &str) -> Option<Vec<(&str, Vec<u8>)>> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("-----BEGIN ") {
        rest = &rest[at + "-----BEGIN ".len()..];
        let (label, behind) = rest.split_once("-----")?;
        let end = format!("-----END {label}-----");
        let (body, after) = behind.split_once(end.as_str())?;
        if body.len() > MAX_BLOCK || blocks.len() == MAX_BLOCKS {
            return None;
        }
        let body: String = body.chars().filter(|letter| !letter.is_ascii_whitespace()).collect();
        blocks.push((label, decode(&body)?));
        rest = after;
    }
    Some(blocks)
}

/// Bytes as one block, in lines of 64 letters.
#[must_use]
pub fn block(label: &str, bytes: &[u8]) -> String {
    let letters = encode(bytes);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = letters.as_str();
    while !rest.is_empty() {
        let (line, behind) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = behind;
    }
    text + &format!("-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_between_words() {
        let text = "a key\n-----BEGIN X-----\nAQID\n-----END X-----\nand -----BEGIN Y-----BAU=-----END Y-----";
        assert_eq!(blocks(text).unwrap(), [("X", vec![1, 2, 3]), ("Y", vec![4, 5])]);
        let long: Vec<u8> = (0..200).collect();
        let written = block("Z", &long);
        assert!(written.lines().all(|line| line.len() <= 64), "{written}");
        assert_eq!(blocks(&written), Some(vec![("Z", long)]));
        assert_eq!(blocks("none"), Some(vec![]));
        for wrong in ["-----BEGIN X-----AQID", "-----BEGIN X-----A!-----END X-----", "-----BEGIN X"] {
            assert_eq!(blocks(wrong), None, "{wrong}");
        }
    }
}
