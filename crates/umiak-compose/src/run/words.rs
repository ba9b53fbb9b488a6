//! A command written as one text, taken apart as Compose does: by the rules of a shell's quotes, without a shell.

/// The words of `text`; none if a quote is not closed. Nothing but quotes, backslashes and blanks means anything.
pub(super) fn split(text: &str) -> Option<Vec<String>> {
    let mut words = vec![];
    let mut word: Option<String> = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\\' => word.get_or_insert_default().push(rest.next()?),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => double_quoted(&mut rest, word.get_or_insert_default())?,
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

fn double_quoted(rest: &mut std::str::Chars<'_>, word: &mut String) -> Option<()> {
    loop {
        match rest.next()? {
            '"' => return Some(()),
            '\\' => match rest.next()? {
                c @ ('"' | '\\') => word.push(c),
                c => word.extend(['\\', c]),
            },
            c => word.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn texts_are_taken_apart_like_a_shell_would() {
        for (text, words) in [
            ("", vec![]),
            ("nginx -g 'daemon off;'", vec!["nginx", "-g", "daemon off;"]),
            (r#"sh -c "echo \"a b\" \n" '' x\ y"#, vec!["sh", "-c", "echo \"a b\" \\n", "", "x y"]),
            ("a'b'\"c\"d", vec!["abcd"]),
            (" a\n b ", vec!["a", "b"]),
        ] {
            assert_eq!(split(text).unwrap(), words, "{text}");
        }
        for open in ["'a", "\"a", "a\\"] {
            assert_eq!(split(open), None, "{open}");
        }
    }
}
