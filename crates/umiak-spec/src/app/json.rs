//! JSON as Go writes it: the bytes that the existing publishers produce.
//!
//! Go's encoder escapes `<`, `>`, `&` and the two line separators of Unicode in every text, so that JSON can stand in
//! HTML; all else is as serde_json has it. The backspace and form feed, which Go releases before 1.22 wrote as `\u0008`
//! and `\u000c`, are written short.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};

/// Without blanks.
pub(super) fn compact(value: &impl Serialize) -> Vec<u8> {
    write(value, Go { compact: CompactFormatter })
}

/// On many lines, three spaces for each level, no line break at the end.
pub(super) fn indented(value: &impl Serialize) -> Vec<u8> {
    write(value, PrettyFormatter::with_indent(b"   "))
}

fn write(value: &impl Serialize, formatter: impl Formatter) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, formatter);
    value.serialize(&mut serializer).expect("texts and numbers can always be written as JSON");
    bytes
}

/// The compact form with Go's escapes. The indented documents have no foreign texts, and need none.
struct Go {
    compact: CompactFormatter,
}

impl Formatter for Go {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            self.compact.write_string_fragment(writer, &rest[..at])?;
            let special = rest[at..].chars().next().unwrap_or_default();
            write!(writer, "\\u{:04x}", u32::from(special))?;
            rest = &rest[at + special.len_utf8()..];
        }
        self.compact.write_string_fragment(writer, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_as_go_does_it() {
        let text = "a<b>&\u{2028}\u{2029}\"\\\n\u{1}é/";
        let written = String::from_utf8(compact(&text)).unwrap();
        assert_eq!(written, r#""a\u003cb\u003e\u0026\u2028\u2029\"\\\n\u0001é/""#);
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
    }
}
