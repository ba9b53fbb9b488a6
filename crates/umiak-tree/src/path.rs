//! Paths inside a tree: relative, normal, safe by construction.

use std::fmt;

/// A path inside a tree: relative, without empty, `.` or `..` components, without NUL. The root is the empty path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TreePath(Box<[u8]>);

/// Why bytes are not a [`TreePath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A `..` component: the path may leave the tree.
    #[error("path `{0}` has a `..` component")]
    Escapes(String),
    /// A NUL byte.
    #[error("path `{0}` contains a NUL byte")]
    Nul(String),
    /// Longer than `Limits::path` or with a component longer than `Limits::name`, or deeper than `Limits::depth`.
    #[error("path `{path}…` is longer than the limit of {limit} ({what})")]
    TooLong {
        /// The first bytes of the path.
        path: String,
        /// Which limit.
        what: &'static str,
        /// Its value.
        limit: usize,
    },
}

impl TreePath {
    /// The root.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// Normalises a path as archives have it: leading `/` and `./`, doubled and trailing slashes are dropped.
    ///
    /// # Errors
    /// [`PathError`] for `..`, NUL, and paths beyond `limits`.
    pub fn from_archive(bytes: &[u8], limits: &umiak_spec::Limits) -> Result<Self, PathError> {
        let shown = || String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
        let too_long = |what, limit| PathError::TooLong { path: shown(), what, limit };
        if bytes.contains(&0) {
            return Err(PathError::Nul(shown()));
        }
        if bytes.len() > limits.path {
            return Err(too_long("bytes in a path", limits.path));
        }
        let mut normal = Vec::with_capacity(bytes.len());
        let mut depth = 0;
        for component in bytes.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => continue,
                b".." => return Err(PathError::Escapes(shown())),
                name if name.len() > limits.name => return Err(too_long("bytes in a name", limits.name)),
                name => {
                    if !normal.is_empty() {
                        normal.push(b'/');
                    }
                    normal.extend_from_slice(name);
                }
            }
            depth += 1;
        }
        if depth > limits.depth {
            return Err(too_long("nested directories", limits.depth));
        }
        Ok(Self(normal.into_boxed_slice()))
    }

    /// The path of `name` inside this directory. `name` must be a valid component.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Self {
        debug_assert!(!name.is_empty() && !name.contains(&b'/'));
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.len());
        if !self.0.is_empty() {
            bytes.extend_from_slice(&self.0);
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        Self(bytes.into_boxed_slice())
    }

    /// The directory that holds this path and the last component; `None` for the root.
    #[must_use]
    pub fn split(&self) -> Option<(Self, &[u8])> {
        if self.0.is_empty() {
            return None;
        }
        Some(match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (Self(self.0[..slash].into()), &self.0[slash + 1..]),
            None => (Self::root(), &self.0),
        })
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes, components joined by `/`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The components, outermost first; none for the root.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|component| !component.is_empty())
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use umiak_spec::Limits;

    fn parse(text: &str) -> Result<TreePath, PathError> {
        TreePath::from_archive(text.as_bytes(), &Limits::default())
    }

    #[test]
    fn archive_spellings_become_one_path() {
        for text in ["a/b", "./a/b", "/a//b/", "a/./b"] {
            assert_eq!(parse(text).unwrap().as_bytes(), b"a/b", "{text}");
        }
        for text in ["", ".", "/", "./"] {
            assert!(parse(text).unwrap().is_root(), "{text}");
        }
    }

    #[test]
    fn refuses_paths_that_leave_or_overflow() {
        assert!(matches!(parse("a/../b"), Err(PathError::Escapes(_))));
        assert!(matches!(parse(".."), Err(PathError::Escapes(_))));
        assert!(matches!(parse("a\0b"), Err(PathError::Nul(_))));
        assert!(matches!(parse(&"n".repeat(256)), Err(PathError::TooLong { .. })));
        assert!(matches!(parse(&"n/".repeat(3000)), Err(PathError::TooLong { .. })));
        assert!(matches!(parse(&"n/".repeat(1025)), Err(PathError::TooLong { .. })));
    }

    #[test]
    fn split_and_join_are_inverse() {
        let path = parse("usr/lib/x").unwrap();
        let (parent, name) = path.split().unwrap();
        assert_eq!((parent.as_bytes(), name), (&b"usr/lib"[..], &b"x"[..]));
        assert_eq!(parent.join(name), path);
        assert_eq!(TreePath::root().split(), None);
    }
}
