//! `.composeappignores`: which files of a project stay out of its bundle, in the syntax of `.dockerignore`.
//!
//! One pattern a line; blank lines and lines that begin with `#` count for nothing. `*` and `?` stand for anything within a
//! name, `[a-z]` and `[^a-z]` for a character, `**` for any number of names, a backslash for the character behind it. A
//! pattern is relative to the project's directory, also with a `/` in front, and takes what is below it too. `!` takes
//! back; the last pattern that has something to say decides. Taking a path against all patterns takes time in
//! proportion to their lengths.

/// Bytes of an ignore file.
pub(super) const MAX_BYTES: usize = 1 << 20;
/// Patterns in one.
const MAX_PATTERNS: usize = 10_000;
/// Bytes of one pattern.
const MAX_PATTERN: usize = 4096;

/// Why a file is no ignore file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    /// Not UTF-8.
    #[error("it is not UTF-8 text")]
    Encoding,
    /// Too long, or with too many or too long patterns.
    #[error("it is beyond the limit of {limit} {what}")]
    Limit {
        /// What is limited.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A class or escape without an end, or an exclamation mark alone.
    #[error("line {line}: `{pattern}` is no pattern")]
    Pattern {
        /// Counted from 1.
        line: usize,
        /// The line.
        pattern: String,
    },
}

/// The patterns of an ignore file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    takes_back: bool,
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(char),
    /// `?`
    One,
    /// `*`
    Many,
    /// `**/`: any number of whole names, also none.
    Names,
    /// `**` without a slash behind it: anything.
    Rest,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Ignore {
    /// Reads the file.
    ///
    /// # Errors
    /// [`IgnoreError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, IgnoreError> {
        if bytes.len() > MAX_BYTES {
            return Err(IgnoreError::Limit { what: "bytes", limit: MAX_BYTES });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| IgnoreError::Encoding)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut rules = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let pattern = line.trim();
            if line.starts_with('#') || pattern.is_empty() {
                continue;
            }
            if pattern.len() > MAX_PATTERN {
                return Err(IgnoreError::Limit { what: "bytes in a pattern", limit: MAX_PATTERN });
            }
            if rules.len() == MAX_PATTERNS {
                return Err(IgnoreError::Limit { what: "patterns", limit: MAX_PATTERNS });
            }
            let bad = || IgnoreError::Pattern { line: at + 1, pattern: pattern.to_owned() };
            let (takes_back, pattern) = match pattern.strip_prefix('!') {
                Some(pattern) => (true, pattern.trim()),
                None => (false, pattern),
            };
            if takes_back && pattern.is_empty() {
                return Err(bad());
            }
            rules.push(Rule { takes_back, tokens: tokens(&clean(pattern)).ok_or_else(bad)? });
        }
        Ok(Self { rules })
    }

    /// Whether `path`, relative and with `/`, stays out.
    #[must_use]
    pub fn ignores(&self, path: &str) -> bool {
        let mut ignored = false;
        for rule in &self.rules {
            if rule.takes_back == ignored && rule.takes(path) {
                ignored = !rule.takes_back;
            }
        }
        ignored
    }

    /// Whether something is taken back, so that what is below an ignored directory has to be looked at.
    #[must_use]
    pub fn takes_back(&self) -> bool {
        self.rules.iter().any(|rule| rule.takes_back)
    }
}

impl Rule {
    /// Whether the path or a directory that it is in matches.
    fn takes(&self, path: &str) -> bool {
        let mut states = vec![false; self.tokens.len() + 1];
        self.enter(&mut states, 0);
        let mut rest = path.chars().peekable();
        while let Some(c) = rest.next() {
            states = self.step(&states, c);
            // Here the path ends, or that of a directory above it.
            if states[self.tokens.len()] && rest.peek().is_none_or(|next| *next == '/') {
                return true;
            }
        }
        false
    }

    /// Token `at` may be next, and those behind it as long as they may stand for nothing.
    fn enter(&self, states: &mut [bool], mut at: usize) {
        states[at] = true;
        while let Some(Token::Many | Token::Names | Token::Rest) = self.tokens.get(at) {
            at += 1;
            states[at] = true;
        }
    }

    /// What may be next behind one more character.
    fn step(&self, states: &[bool], c: char) -> Vec<bool> {
        let mut next = vec![false; states.len()];
        for (at, token) in self.tokens.iter().enumerate().filter(|(at, _)| states[*at]) {
            let further = match token {
                Token::Names => {
                    next[at] = true;
                    c == '/'
                }
                Token::Rest | Token::Many => {
                    if *token == Token::Rest || c != '/' {
                        self.enter(&mut next, at);
                    }
                    false
                }
                Token::One => c != '/',
                Token::Literal(literal) => *literal == c,
                Token::Class { negated, ranges } => {
                    let inside = ranges.iter().any(|(low, high)| (*low..=*high).contains(&c));
                    c != '/' && inside != *negated
                }
            };
            if further {
                self.enter(&mut next, at + 1);
            }
        }
        next
    }
}

/// As Go's `filepath.Clean` has it, without the slash in front.
fn clean(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if pattern.starts_with('/') => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn tokens(pattern: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        tokens.push(match c {
            '*' if rest.next_if_eq(&'*').is_some() => {
                while rest.next_if_eq(&'*').is_some() {}
                // `**x` is anything, over slashes too, before `x`.
                if rest.next_if_eq(&'/').is_some() { Token::Names } else { Token::Rest }
            }
            '*' => Token::Many,
            '?' => Token::One,
            '\\' => Token::Literal(rest.next()?),
            '[' => class(&mut rest)?,
            literal => Token::Literal(literal),
        });
    }
    Some(tokens)
}

fn class(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Token> {
    let negated = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    let member = |rest: &mut std::iter::Peekable<std::str::Chars<'_>>| match rest.next()? {
        '\\' => rest.next(),
        '-' | ']' => None,
        other => Some(other),
    };
    while ranges.is_empty() || rest.peek() != Some(&']') {
        let low = member(rest)?;
        let high = if rest.next_if_eq(&'-').is_some() { member(rest)? } else { low };
        ranges.push((low, high));
    }
    rest.next();
    Some(Token::Class { negated, ranges })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignored(patterns: &str, path: &str) -> bool {
        Ignore::parse(patterns.as_bytes()).unwrap().ignores(path)
    }

    #[test]
    fn patterns_as_dockerignore_has_them() {
        // pattern, path, whether it stays out
        for (pattern, path, out) in [
            // The examples of Docker's documentation.
            ("*/temp*", "somedir/temporary.txt", true),
            ("*/temp*", "somedir/temp", true),
            ("*/temp*", "somedir/subdir/temporary.txt", false),
            ("*/*/temp*", "somedir/subdir/temporary.txt", true),
            ("*/*/temp*", "somedir/temporary.txt", false),
            ("temp?", "tempa", true),
            ("temp?", "temp", false),
            ("temp?", "x/tempa", false),
            ("**/*.go", "a.go", true),
            ("**/*.go", "x/y/a.go", true),
            ("**/*.go", "x/y/a.got", false),
            // Directories take what is below them.
            ("dir", "dir", true),
            ("dir", "dir/a/b", true),
            ("dir/", "dir/a", true),
            ("/dir", "dir/a", true),
            ("./dir//x", "dir/x/y", true),
            ("dir", "dirs", false),
            ("dir", "x/dir", false),
            ("dir/*", "dir", false),
            ("dir/*", "dir/a", true),
            ("a/../b", "b", true),
            // `**`
            ("**", "anything/at/all", true),
            ("**/a", "a", true),
            ("**/a", "x/a", true),
            ("**/a", "x/ba", false),
            ("**/a", "x/a/b", true),
            ("a/**", "a", false),
            ("a/**", "a/b", true),
            ("a/**", "a/b/c", true),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "ab", false),
            ("a**", "a", true),
            ("a**", "ab/c", true),
            ("a**z", "a/b/z", true),
            ("a**/b", "ab", true),
            ("a**/b", "ax/y/b", true),
            ("a**/b", "axb", false),
            ("*/**/b", "a/b", true),
            ("**/.git", "x/.git/config", true),
            // Classes, escapes, and characters that mean something elsewhere.
            ("[a-c].txt", "b.txt", true),
            ("[a-c].txt", "d.txt", false),
            ("[^a-c].txt", "d.txt", true),
            ("[^a]b", "/b", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("a.b$", "a.b$", true),
            ("a.b", "axb", false),
            ("ü?", "üö", true),
            // Comments and blanks.
            ("#x", "#x", false),
            (" #x", "#x", true),
            ("  x  ", "x", true),
            (".", "x", false),
            ("..", "x", false),
            ("/", "x", false),
        ] {
            assert_eq!(ignored(pattern, path), out, "{pattern} {path}");
        }
    }

    #[test]
    fn the_last_word_counts() {
        let documents = "*.md\n!README*.md\nREADME-secret.md";
        assert!(ignored(documents, "a.md"));
        assert!(!ignored(documents, "README.md"));
        assert!(!ignored(documents, "README-open.md"));
        assert!(ignored(documents, "README-secret.md"));
        let lost = "*.md\nREADME-secret.md\n!README*.md";
        assert!(!ignored(lost, "README-secret.md"));
        assert!(!ignored("!a", "a"));
        assert!(!ignored("dir\n!dir/keep", "dir/keep"));
        assert!(!ignored("dir\n!dir/keep", "dir/keep/x"));
        assert!(ignored("dir\n!dir/keep", "dir/other"));
        assert!(!ignored("**\n!a/**/b", "a/x/b"));
        assert!(ignored("**\n!a/**/b", "a/x/c"));
        assert!(!ignored("*\n! a", "a"));
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        for pattern in ["[", "[]a]", "[a-", "a\\", "!", "x\n[^"] {
            assert!(matches!(Ignore::parse(pattern.as_bytes()), Err(IgnoreError::Pattern { .. })), "{pattern}");
        }
        assert_eq!(Ignore::parse(b"\xff"), Err(IgnoreError::Encoding));
        assert!(matches!(Ignore::parse("x".repeat(5000).as_bytes()), Err(IgnoreError::Limit { .. })));
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = "*a".repeat(500) + "b";
        assert!(!ignored(&pattern, &"a".repeat(4000)));
        assert!(!ignored(&("**/a".repeat(500) + "b"), &"a/".repeat(2000)));
    }
}
