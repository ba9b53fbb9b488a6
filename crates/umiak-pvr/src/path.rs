//! Names of files in a state: relative, normal, unable to leave the device directory.

use std::borrow::Borrow;
use std::fmt;

use umiak_spec::Limits;

/// The path of a file in a device directory: relative, UTF-8, `/`-separated, without empty, `.` or `..` components and
/// without control characters, not below `.pvr/` or `.pv/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatePath(Box<str>);

/// Why a text is not a [`StatePath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("path `{path}` {reason}")]
pub struct PathError {
    /// The text, shortened, without control characters.
    pub path: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl StatePath {
    /// Checks a path.
    ///
    /// # Errors
    /// [`PathError`] for anything that could name a file outside the device directory, inside its administration, or
    /// that no Linux file system can hold.
    pub fn new(path: &str) -> Result<Self, PathError> {
        let Some(reason) = objection(path) else { return Ok(Self(path.into())) };
        let path = path.chars().filter(|character| !character.is_control()).take(120).collect();
        Err(PathError { path, reason })
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether its content belongs into the state itself unless it is added raw: it ends in `.json`.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.0.ends_with(".json")
    }

    /// The directories above it, outermost first: `a`, `a/b` for `a/b/c`.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').map(|(at, _)| &self.0[..at])
    }
}

/// What is wrong with a path.
fn objection(path: &str) -> Option<&'static str> {
    let limits = Limits::default();
    if path.is_empty() {
        return Some("is empty");
    }
    if path.starts_with('/') {
        return Some("is absolute");
    }
    if path.len() > limits.path {
        return Some("is longer than 4096 bytes");
    }
    if path == crate::state::SPEC_KEY {
        return Some("is the key that names the state's format");
    }
    let plain = path.bytes().all(|byte| (b' '..0x7f).contains(&byte));
    if !plain && path.chars().any(char::is_control) {
        return Some("contains a control character");
    }
    let mut first = true;
    for name in path.split('/') {
        match name {
            ".." => return Some("has a `..` component"),
            "" | "." => return Some("has an empty or `.` component"),
            ".pvr" | ".pv" if first => return Some("is in the directory's own administration (.pvr, .pv)"),
            _ if name.len() > limits.name => return Some("has a name longer than 255 bytes"),
            _ => first = false,
        }
    }
    None
}

impl Borrow<str> for StatePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<std::path::Path> for StatePath {
    fn as_ref(&self) -> &std::path::Path {
        std::path::Path::new(&*self.0)
    }
}

impl fmt::Display for StatePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StatePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_paths_that_escape_or_confuse() {
        for path in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../a",
            "a/../b",
            "a/..",
            "./a",
            "a//b",
            "a/",
            "a/.",
            "a\0b",
            "a\nb",
            "a\u{85}b",
            ".pvr",
            ".pvr/json",
            ".pv/done",
            "#spec",
        ] {
            assert!(StatePath::new(path).is_err(), "{path:?}");
        }
        assert!(StatePath::new(&"a".repeat(256)).is_err());
        assert!(StatePath::new(&"a/".repeat(3000)).is_err());
    }

    #[test]
    fn accepts_what_devices_have() {
        for path in ["bsp/run.json", "_config/a/etc/x", "_sigs/web.json", ".hidden", "a/.pvr/x", "..a", "é 😀", "a#b"]
        {
            assert_eq!(StatePath::new(path).unwrap().as_str(), path);
        }
        let path = StatePath::new("a/b/c.json").unwrap();
        assert_eq!(path.parents().collect::<Vec<_>>(), ["a", "a/b"]);
        assert!(path.is_json());
    }
}
