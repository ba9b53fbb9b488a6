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

/// Control characters, and the marks that turn the direction of what follows.
fn is_hidden(character: char) -> bool {
    let turns = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (character.is_control() && character != '\t') || turns
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn escape_sequences_are_shown_not_obeyed() {
        assert_eq!(printable("plain é\t😀"), "plain é\t😀");
        assert_eq!(printable("a\x1b[2Jb\n\u{202e}c"), "a\\u{1b}[2Jb\\n\\u{202e}c");
    }
}
