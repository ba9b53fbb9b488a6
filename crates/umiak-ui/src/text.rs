//! Text from elsewhere made safe to show.
//!
//! File names, labels and messages of servers reach the terminal only through [`printable`]: a name may hold escape
//! sequences that would move the cursor, change the title or hide what follows.

use std::borrow::Cow;

/// `text` with control characters written as `\n`, `\u{1b}` and so on; tabs and everything printable stay.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_hidden(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// `text` with every `sha256:` digest cut to twelve digits, which is enough for people to tell two apart.
pub(crate) fn short_digests(text: &str) -> Cow<'_, str> {
    const MARK: &str = "sha256:";
    const DIGITS: usize = 64;
    const SHOWN: usize = 12;
    if !text.contains(MARK) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(MARK) {
        shown.push_str(before);
        shown.push_str(MARK);
        let digits = after.bytes().take_while(u8::is_ascii_hexdigit).count();
        let kept = if digits == DIGITS { SHOWN } else { digits };
        shown.push_str(&after[..kept]);
        rest = &after[digits..];
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

/// Control characters, and the marks that turn the direction of what follows.
fn is_hidden(character: char) -> bool {
    let turns = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (character.is_control() && character != '\t') || turns
}

#[cfg(test)]
mod tests {
    use super::{printable, short_digests};

    #[test]
    fn only_whole_digests_are_cut() {
        let hex = "79c5ee601b352d634b21525bdb3c6dba2f9d8382c9548124d2dbd2ba47f8c25b";
        let text = format!("layer sha256:{hex}, sha256:abc and {hex} sha256:");
        assert_eq!(short_digests(&text), format!("layer sha256:79c5ee601b35, sha256:abc and {hex} sha256:"));
        assert_eq!(short_digests("é"), "é");
    }

    #[test]
    fn escape_sequences_are_shown_not_obeyed() {
        assert_eq!(printable("plain é\t😀"), "plain é\t😀");
        assert_eq!(printable("a\x1b[2Jb\n\u{202e}c"), "a\\u{1b}[2Jb\\n\\u{202e}c");
    }
}
