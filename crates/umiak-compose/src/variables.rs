//! Files of variables, `.env` above all, as Compose reads them.
//!
//! `NAME=value`, `NAME: value` and `export NAME=value`, one a line; `#` begins a comment at the start of a line or behind
//! a blank. In `'…'` nothing means anything; in `"…"` backslashes and variables do, and both may go over lines;
//! unquoted values end before a comment and have variables too. A name alone takes the value of the environment. What a
//! variable means in a value: the environment first, then the lines above.

use std::collections::BTreeMap;

use crate::error::{At, ComposeError, Place, Problem};
use crate::template::{Missing, Template};

/// Reads the text of `file`. `environment` is asked first for what values refer to.
pub(crate) fn parse(
    file: &str,
    text: &str,
    environment: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, ComposeError> {
    let mut values = BTreeMap::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut rest = text;
    while !rest.is_empty() {
        rest = rest.trim_start();
        let before = &text[..text.len() - rest.len()];
        let wrong = |reason: &str| {
            let line = u32::try_from(before.matches('\n').count() + 1).unwrap_or(u32::MAX);
            Problem::Variables(reason.to_owned()).at(Place { file: file.to_owned(), line, column: 1 })
        };
        if rest.is_empty() {
            break;
        }
        if rest.starts_with('#') {
            rest = after_line(rest);
            continue;
        }
        let (name, behind) = name(rest).ok_or_else(|| wrong("a line must begin with a name and `=`"))?;
        rest = behind;
        let Some(behind) = rest.strip_prefix(['=', ':']) else {
            if let Some(value) = environment.get(name) {
                values.insert(name.to_owned(), value.clone());
            }
            if !rest.split('\n').next().unwrap_or("").trim().is_empty() {
                return Err(wrong("behind a name there must be `=`"));
            }
            rest = after_line(rest);
            continue;
        };
        let lookup = |name: &str| environment.get(name).or_else(|| values.get(name)).cloned();
        let (value, behind) = value(behind, &lookup).map_err(|reason| wrong(&reason))?;
        rest = behind;
        values.insert(name.to_owned(), value);
    }
    Ok(values)
}

fn after_line(text: &str) -> &str {
    text.split_once('\n').map_or("", |(_, behind)| behind)
}

/// A name, without `export` in front, and what follows it and blanks.
fn name(text: &str) -> Option<(&str, &str)> {
    let text = match text.strip_prefix("export") {
        Some(behind) if behind.starts_with([' ', '\t']) => behind.trim_start_matches([' ', '\t']),
        _ => text,
    };
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "_.-[]".contains(c))).unwrap_or(text.len());
    let (name, behind) = text.split_at(end);
    (!name.is_empty()).then(|| (name, behind.trim_start_matches([' ', '\t'])))
}

/// A value and the lines behind it.
fn value<'a>(text: &'a str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<(String, &'a str), String> {
    let text = text.trim_start_matches([' ', '\t']);
    let fill = |raw: &str| {
        let template = Template::parse(raw).map_err(str::to_owned)?;
        let filled = template.fill(lookup, Missing::Empty);
        filled.map_err(|unset| format!("the variable `{}` has no value {}", unset.name, unset.message))
    };
    match text.chars().next() {
        Some('\'') => {
            let (value, behind) = text[1..].split_once('\'').ok_or("a quote is not closed")?;
            Ok((value.to_owned(), after_value(behind)?))
        }
        Some('"') => {
            let (raw, behind) = double_quoted(&text[1..])?;
            Ok((fill(&raw)?, after_value(behind)?))
        }
        _ => {
            let line = text.split('\n').next().unwrap_or("");
            let comment =
                line.char_indices().find(|(at, c)| *c == '#' && (*at == 0 || line[..*at].ends_with([' ', '\t'])));
            let raw = line[..comment.map_or(line.len(), |(at, _)| at)].trim_end();
            Ok((fill(raw)?, after_line(text)))
        }
    }
}

/// Behind a closing quote there may be a comment.
fn after_value(text: &str) -> Result<&str, String> {
    let line = text.split('\n').next().unwrap_or("").trim();
    if line.is_empty() || line.starts_with('#') {
        Ok(after_line(text))
    } else {
        Err("something follows a closing quote".into())
    }
}

/// What stands between double quotes, backslashes resolved but for those before `$`, which become `$$`.
fn double_quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 'r')) => value.push('\r'),
                Some((_, 't')) => value.push('\t'),
                Some((_, '$')) => value.push_str("$$"),
                Some((_, c @ ('"' | '\\'))) => value.push(c),
                Some((_, other)) => value.extend(['\\', other]),
                None => break,
            },
            c => value.push(c),
        }
    }
    Err("a quote is not closed".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BTreeMap<String, String>, ComposeError> {
        parse(".env", text, &BTreeMap::from([("HOME".to_owned(), "/root".to_owned())]))
    }

    #[test]
    fn values_as_compose_reads_them() {
        let text = concat!(
            "# comment\n\nA=1\nexport B = two words  # said\nC='$A #'\nD=\"x\\n${A}y\\$A\"\nE=\n",
            "F=${HOME}/$A\r\nHOME\nUNKNOWN\nG=a#b\nH: yaml\nI=\"over\nlines\" # c\nJ=#none\nK=http://x/?a=b"
        );
        let values = read(text).unwrap();
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "$A #"),
            ("D", "x\n1y$A"),
            ("E", ""),
            ("F", "/root/1"),
            ("HOME", "/root"),
            ("G", "a#b"),
            ("H", "yaml"),
            ("I", "over\nlines"),
            ("J", ""),
            ("K", "http://x/?a=b"),
        ];
        assert_eq!(values, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, message) in [
            ("A=1\n=2", ".env:2:1: it is no file of variables: a line must begin with a name and `=`"),
            ("A=1\n\n\nB='x", ".env:4:1: it is no file of variables: a quote is not closed"),
            ("A=\"x\"y", ".env:1:1: it is no file of variables: something follows a closing quote"),
            ("A b", ".env:1:1: it is no file of variables: behind a name there must be `=`"),
        ] {
            assert_eq!(read(text).unwrap_err().to_string(), message);
        }
    }
}
