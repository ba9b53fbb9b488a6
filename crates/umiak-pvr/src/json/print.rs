//! Writes a [`Value`] as text: canonical, and indented as Go's `MarshalIndent` does it.

use std::fmt::Write as _;

use super::Value;

impl Value {
    /// The one canonical form: UTF-8, no white space, members sorted, numbers as [`super::Number::canonical`] has them,
    /// strings escaped only where JSON demands it (with upper-case hex digits).
    #[must_use]
    pub fn canonical(&self) -> String {
        let mut out = String::new();
        write_canonical(&mut out, self);
        out
    }

    /// Go's `json.MarshalIndent(value, prefix, indent)`: members sorted, `<`, `>`, `&`, U+2028 and U+2029 escaped, no
    /// line end behind the last line. Numbers keep their text.
    ///
    /// A checked-out file has prefix `""` and indent of four spaces, `pvr json` prints with a tab.
    #[must_use]
    pub fn pretty(&self, prefix: &str, indent: &str) -> String {
        let mut out = String::new();
        Pretty { out: &mut out, prefix, indent }.value(self, 0);
        out
    }
}

/// Like [`Value::pretty`] for an object whose members keep the order they are given in.
#[must_use]
pub fn pretty_fields(fields: &[(&str, &Value)], prefix: &str, indent: &str) -> String {
    let mut out = String::new();
    Pretty { out: &mut out, prefix, indent }.object(fields.iter().copied(), 0);
    out
}

fn write_canonical(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.canonical()),
        Value::String(text) => write_canonical_string(out, text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_canonical(out, item);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (name, member)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_canonical_string(out, name);
                out.push(':');
                write_canonical(out, member);
            }
            out.push('}');
        }
    }
}

fn write_canonical_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\0'..='\u{1f}' => {
                let _ = write!(out, "\\u{:04X}", u32::from(character)); // a String takes every write
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

struct Pretty<'a> {
    out: &'a mut String,
    prefix: &'a str,
    indent: &'a str,
}

impl Pretty<'_> {
    fn line(&mut self, depth: usize) {
        self.out.push('\n');
        self.out.push_str(self.prefix);
        for _ in 0..depth {
            self.out.push_str(self.indent);
        }
    }

    fn value(&mut self, value: &Value, depth: usize) {
        match value {
            Value::Null => self.out.push_str("null"),
            Value::Bool(flag) => self.out.push_str(if *flag { "true" } else { "false" }),
            Value::Number(number) => self.out.push_str(number.as_str()),
            Value::String(text) => self.string(text),
            Value::Array(items) if items.is_empty() => self.out.push_str("[]"),
            Value::Array(items) => {
                self.out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        self.out.push(',');
                    }
                    self.line(depth + 1);
                    self.value(item, depth + 1);
                }
                self.line(depth);
                self.out.push(']');
            }
            Value::Object(members) => self.object(members.iter().map(|(name, value)| (name.as_str(), value)), depth),
        }
    }

    fn object<'v>(&mut self, members: impl Iterator<Item = (&'v str, &'v Value)>, depth: usize) {
        self.out.push('{');
        let mut empty = true;
        for (name, member) in members {
            if !empty {
                self.out.push(',');
            }
            empty = false;
            self.line(depth + 1);
            self.string(name);
            self.out.push_str(": ");
            self.value(member, depth + 1);
        }
        if !empty {
            self.line(depth);
        }
        self.out.push('}');
    }

    /// As Go 1.20 has it, whose escapes for backspace and form feed are `\u0008` and `\u000c`.
    fn string(&mut self, text: &str) {
        self.out.push('"');
        for character in text.chars() {
            match character {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\t' => self.out.push_str("\\t"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    let _ = write!(self.out, "\\u{:04x}", u32::from(character)); // a String takes every write
                }
                _ => self.out.push(character),
            }
        }
        self.out.push('"');
    }
}
