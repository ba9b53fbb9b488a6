//! Writes values as YAML that every reader, of 1.1 and of 1.2, takes for the same.
//!
//! Block style, two spaces, keys in their order; a text is quoted as JSON does unless it can only be a text. A scalar
//! that was written plain stays plain.

use super::value::{Shape, Value, is_untyped};

/// A whole file.
pub(crate) fn document(value: &Value) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    out
}

fn indent(level: usize, out: &mut String) {
    out.extend(std::iter::repeat_n("  ", level));
}

/// A value behind a key or a dash, its line ended.
fn block(value: &Value, level: usize, out: &mut String) {
    match &value.shape {
        Shape::Map(map) if !map.entries.is_empty() => {
            for entry in &map.entries {
                indent(level, out);
                out.push_str(&key(&entry.key));
                out.push(':');
                nested(&entry.value, level + 1, out);
            }
        }
        Shape::List(list) if !list.is_empty() => {
            for item in list {
                indent(level, out);
                out.push('-');
                if item.as_map().is_some_and(|map| !map.entries.is_empty()) {
                    // The first pair stands behind the dash.
                    let mut pairs = String::new();
                    block(item, level + 1, &mut pairs);
                    out.push(' ');
                    out.push_str(pairs.trim_start_matches(' '));
                } else {
                    nested(item, level + 1, out);
                }
            }
        }
        _ => {
            indent(level, out);
            out.push_str(&flow(value));
            out.push('\n');
        }
    }
}

fn nested(value: &Value, level: usize, out: &mut String) {
    let empty = match &value.shape {
        Shape::Map(map) => map.entries.is_empty(),
        Shape::List(list) => list.is_empty(),
        Shape::Scalar { .. } => true,
    };
    if empty {
        let text = flow(value);
        if !text.is_empty() {
            out.push(' ');
            out.push_str(&text);
        }
        out.push('\n');
    } else {
        out.push('\n');
        block(value, level, out);
    }
}

/// A value on one line, with brackets.
pub(crate) fn flow(value: &Value) -> String {
    match &value.shape {
        Shape::Scalar { text, plain } => scalar(text, *plain),
        Shape::List(list) => {
            let items: Vec<_> = list.iter().map(inside).collect();
            format!("[{}]", items.join(", "))
        }
        Shape::Map(map) => {
            let entries = map.entries.iter().map(|entry| format!("{}: {}", key(&entry.key), inside(&entry.value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

/// Inside of brackets nothing may be left out.
fn inside(value: &Value) -> String {
    if value.is_null() { "null".to_owned() } else { flow(value) }
}

/// A key; always a text.
pub(crate) fn key(text: &str) -> String {
    scalar(text, false)
}

/// A scalar on one line.
pub(crate) fn scalar(text: &str, plain: bool) -> String {
    if text.is_empty() && plain {
        return String::new();
    }
    // Typed words and numbers stay as they are; they have no characters that mean something else.
    if is_safe(text) && (plain || is_untyped(text, true)) { text.to_owned() } else { quoted(text) }
}

/// Whether a plain scalar of this text means the same everywhere, also between brackets.
fn is_safe(text: &str) -> bool {
    let inner =
        |c: char| c.is_ascii_alphanumeric() || "_-./@+~$*()%^=;".contains(c) || (c.is_alphabetic() && c != '\u{feff}');
    let Some(first) = text.chars().next() else { return false };
    let start = first.is_alphanumeric()
        || "_./+~$(".contains(first)
        || (first == '-' && text[1..].starts_with(|c: char| c.is_ascii_digit()));
    // A colon is only harmless inside a word.
    let colons = text.split(':').all(|part| !part.is_empty());
    let plain = start && colons && text.chars().all(|c| inner(c) || c == ':');
    plain || text == "~"
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            // Line separators and the byte order mark too: YAML 1.1 has its own thoughts about them.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                let code = u32::from(c);
                out.push_str(&if code < 0x100 { format!("\\x{code:02x}") } else { format!("\\u{code:04x}") });
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
