//! Patterns of `pvr add`: Go's `filepath.Match`, in which `*` and `?` never match a slash.

/// One pattern: `*`, `?`, `[a-z]`, `[^a-z]`, `\x`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Vec<Token>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(char),
    /// `?`
    One,
    /// `*`
    Many,
    /// `[…]` or `[^…]`
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// A pattern that does not end where it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pattern `{0}` has an unfinished `[` or `\\`")]
pub struct GlobError(pub String);

impl Glob {
    /// Parses a pattern.
    ///
    /// # Errors
    /// [`GlobError`] for an unfinished class or escape.
    pub fn parse(pattern: &str) -> Result<Self, GlobError> {
        let bad = || GlobError(pattern.to_owned());
        let mut rest = pattern.chars().peekable();
        let mut tokens: Vec<Token> = Vec::new();
        while let Some(character) = rest.next() {
            tokens.push(match character {
                '*' if tokens.last() == Some(&Token::Many) => continue,
                '*' => Token::Many,
                '?' => Token::One,
                '\\' => Token::Literal(rest.next().ok_or_else(bad)?),
                '[' => {
                    let negated = rest.next_if_eq(&'^').is_some();
                    let mut ranges = Vec::new();
                    while ranges.is_empty() || rest.peek() != Some(&']') {
                        let low = class_member(&mut rest).ok_or_else(bad)?;
                        let high = match rest.next_if_eq(&'-') {
                            Some(_) => class_member(&mut rest).ok_or_else(bad)?,
                            None => low,
                        };
                        ranges.push((low, high));
                    }
                    rest.next();
                    Token::Class { negated, ranges }
                }
                other => Token::Literal(other),
            });
        }
        Ok(Self(tokens))
    }

    /// Whether the whole of `path` matches. Takes time in proportion to pattern times path, at most.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let path: Vec<char> = path.chars().collect();
        let (mut token, mut at) = (0, 0);
        // Where to go on when the last `*` has to take one character more. Going back to the last one is enough.
        let mut retry: Option<(usize, usize)> = None;
        loop {
            let step = match (self.0.get(token), path.get(at)) {
                (None, None) => return true,
                (Some(Token::Many), _) => {
                    retry = Some((token, at));
                    token += 1;
                    continue;
                }
                (Some(wanted), Some(character)) => wanted.takes(*character),
                _ => false,
            };
            if step {
                token += 1;
                at += 1;
                continue;
            }
            match retry {
                Some((star, from)) if path.get(from).is_some_and(|character| *character != '/') => {
                    retry = Some((star, from + 1));
                    token = star + 1;
                    at = from + 1;
                }
                _ => return false,
            }
        }
    }
}

fn class_member(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match rest.next()? {
        '\\' => rest.next(),
        '-' | ']' => None,
        other => Some(other),
    }
}

impl Token {
    fn takes(&self, character: char) -> bool {
        match self {
            Self::Literal(literal) => *literal == character,
            Self::One => character != '/',
            Self::Many => false,
            Self::Class { negated, ranges } => {
                character != '/' && ranges.iter().any(|(low, high)| (*low..=*high).contains(&character)) != *negated
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_go_does() {
        for (pattern, path, matches) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "abc", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("[a-ζ]*", "α", true),
            ("*[a-ζ]", "A", false),
            ("a?b", "a/b", false),
            ("a*b", "a/b", false),
            ("[\\]a]", "]", true),
            ("[\\-x]", "x", true),
            ("", "", true),
            ("", "a", false),
            ("*x", "xxx", true),
        ] {
            assert_eq!(Glob::parse(pattern).unwrap().matches(path), matches, "{pattern} {path}");
        }
        for pattern in ["[", "[^", "[^bc", "a[", "[]a]", "[-]", "[x-]", "[a-b-c]", "\\", "[a-"] {
            assert!(Glob::parse(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = "*a".repeat(200) + "b";
        assert!(!Glob::parse(&pattern).unwrap().matches(&"a".repeat(4000)));
    }
}
