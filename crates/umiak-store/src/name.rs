//! Names of refs and records: what may be a file's name on every file system and in every shell.

use std::fmt;
use std::str::FromStr;

use crate::error::StoreError;

/// A name for a ref or a record: 1 to 128 of `a-z A-Z 0-9 . _ - +`, not beginning with a dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// Bytes of a name.
const LONGEST: usize = 128;

impl Name {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte);
        if text.is_empty() || text.len() > LONGEST || text.starts_with('.') || !text.bytes().all(plain) {
            return Err(StoreError::BadName(text.chars().take(LONGEST).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_directory_nor_meet_a_copy() {
        for good in ["a", "journal", "revision-7c1e0a94d2b1", "Shop_1.4+2"] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        let long = "x".repeat(LONGEST + 1);
        for bad in ["", ".", "..", ".hidden", "a/b", "journal~", "a b", "ä", "a\n", &long] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }
}
