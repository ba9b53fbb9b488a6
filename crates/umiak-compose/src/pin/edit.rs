//! Edits of a text: bytes replaced by others, everything around left alone.

use std::ops::Range;

/// One replacement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    pub range: Range<usize>,
    pub text: String,
}

impl Edit {
    pub fn new(range: Range<usize>, text: impl Into<String>) -> Self {
        Self { range, text: text.into() }
    }

    pub fn insert(at: usize, text: impl Into<String>) -> Self {
        Self::new(at..at, text)
    }
}

/// The text with all edits; `None` if two of them touch the same bytes.
pub(super) fn apply(text: &str, mut edits: Vec<Edit>) -> Option<String> {
    edits.sort_by_key(|edit| (edit.range.start, edit.range.end));
    let mut out = String::with_capacity(text.len() + edits.len() * 128);
    let mut at = 0;
    for edit in edits {
        out.push_str(text.get(at..edit.range.start)?);
        out.push_str(&edit.text);
        at = edit.range.end;
    }
    out.push_str(text.get(at..)?);
    Some(out)
}

/// Begin of the line, if only blanks stand between it and `at`.
pub(super) fn line_start(text: &str, at: usize) -> Option<usize> {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    text[start..at].bytes().all(|byte| byte == b' ').then_some(start)
}

/// Behind the end of the line, if nothing but a comment stands between `at` and it.
pub(super) fn line_end(text: &str, at: usize) -> Option<usize> {
    let rest = &text[at..];
    let end = rest.find('\n').map_or(rest.len(), |newline| newline + 1);
    let left = rest[..end].trim();
    (left.is_empty() || left.starts_with('#')).then_some(at + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_applied_in_order_and_never_across_each_other() {
        let edits = vec![Edit::new(4..5, "E"), Edit::insert(0, ">"), Edit::new(1..3, "")];
        assert_eq!(apply("abcdef", edits).as_deref(), Some(">adEf"));
        assert_eq!(apply("abcdef", vec![Edit::new(0..3, ""), Edit::new(2..4, "")]), None);
        assert_eq!(line_start("a\n  b", 4), Some(2));
        assert_eq!(line_start("a: b", 3), None);
        assert_eq!(line_end("a # b\nc", 1), Some(6));
        assert_eq!(line_end("a, b\nc", 1), None);
    }
}
