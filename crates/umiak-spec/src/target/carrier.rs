//! Where objects of a pvr state are, when it is not one package that has both: files, or the store already.
//!
//! ```text
//! FILE    a package, or a delta of packages: what it has of the state's objects counts, the rest of it does not
//! -       they came through standard input, and were kept in the store as they came
//! ```
//!
//! Guarantee: `Carrier::parse(&x.to_string()) == x`.

use std::fmt;
use std::path::{Path, PathBuf};

/// A place of objects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Carrier {
    /// A file with objects.
    File(PathBuf),
    /// The store: there is no file any more.
    Stored,
}

impl Carrier {
    /// Reads the word of the document; `None` where it is empty.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" => None,
            "-" => Some(Self::Stored),
            path => Some(Self::File(path.into())),
        }
    }

    /// The file, if it is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Stored => None,
        }
    }

    /// The same place seen from a directory above: a relative path gets `directory` in front.
    #[must_use]
    pub fn below(self, directory: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(directory.join(path)),
            Self::Stored => Self::Stored,
        }
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Stored => f.write_str("-"),
        }
    }
}
