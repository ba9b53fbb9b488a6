//! `lxc.container.conf` as text: lines of a key and a value, and how LXC takes a command apart.
//!
//! Facts of LXC 3 to 6: a line is `KEY = VALUE`, blanks around both mean nothing; lines that begin with `#` are comments;
//! a value in one pair of quotes is the value without them. The command is taken apart at blanks; a word that begins with
//! a quote ends at the next such quote; nothing is escaped.

/// Bytes of a configuration.
pub(super) const MAX_CONF: usize = 1 << 20;

/// A line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'t> {
    /// From one.
    pub(super) number: usize,
    pub(super) key: &'t str,
    pub(super) value: &'t str,
}

/// The lines that say something; in place of one that is none, its number.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Result<Line<'_>, usize>> {
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).map(|(number, line)| {
        let (key, value) = line.split_once('=').ok_or(number)?;
        Ok(Line { number, key: key.trim(), value: unquoted(value.trim()) })
    })
}

fn unquoted(value: &str) -> &str {
    let inside = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    inside('"').or_else(|| inside('\'')).unwrap_or(value)
}

/// The words of a command; `None` where a quote does not end.
pub(super) fn words(text: &str) -> Option<Vec<String>> {
    let mut words = vec![];
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, behind) = match first {
            '"' | '\'' => rest[1..].split_once(first)?,
            _ => rest.find(char::is_whitespace).map_or((rest, ""), |end| rest.split_at(end)),
        };
        words.push(word.to_owned());
        rest = behind.trim_start();
    }
    Some(words)
}

/// A field of a mount entry, as `fstab(5)` writes it.
pub(super) fn field(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_keys_and_values() {
        let text = "# a comment\n\nlxc.a = b c \nlxc.b=\"x y\"\nnothing\nlxc.c =\n";
        let read: Vec<_> = lines(text).collect();
        let line = |number, key, value| Ok(Line { number, key, value });
        assert_eq!(read, [line(3, "lxc.a", "b c"), line(4, "lxc.b", "x y"), Err(5), line(6, "lxc.c", "")]);
    }

    #[test]
    fn commands_are_taken_apart_as_lxc_does() {
        for (text, wanted) in [
            (
                "/docker-entrypoint.sh \"nginx\"\"-g\"\"daemon off;\"",
                vec!["/docker-entrypoint.sh", "nginx", "-g", "daemon off;"],
            ),
            ("/bin/sh '-c' \"echo 'a'\"", vec!["/bin/sh", "-c", "echo 'a'"]),
            ("a\"b c", vec!["a\"b", "c"]),
            ("  /sbin/init  ", vec!["/sbin/init"]),
            ("x \"\" y", vec!["x", "", "y"]),
            ("", vec![]),
        ] {
            assert_eq!(words(text).unwrap(), wanted, "{text}");
        }
        assert_eq!(words("x \"y"), None);
        assert_eq!(field("a\\040b\\134\\011"), "a b\\\t");
    }
}
