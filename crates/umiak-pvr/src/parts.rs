//! Parts of a device, and how a user names a device: `DIRECTORY#web,_config/web,-web/notes`.
//!
//! A part is a key, or a directory that stands for all keys below it. pvr also takes every key that merely *begins*
//! with the text of a part (`os` selects `os-extra/run.json`); that defect is not repeated.

use std::fmt;

/// Which keys of a state are meant: any of the included parts (all, when none is named), none of the excluded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parts {
    include: Vec<String>,
    exclude: Vec<String>,
}

impl Parts {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Parses a comma list; a part behind `-` is excluded. `%2F` and `%23` stand for `/` and `#`, as in pvr's URLs.
    #[must_use]
    pub fn parse(list: &str) -> Self {
        let mut parts = Self::default();
        for part in list.split(',') {
            let (excluded, part) = match part.strip_prefix('-') {
                Some(part) => (true, part),
                None => (false, part),
            };
            let part = part.replace("%2F", "/").replace("%2f", "/").replace("%23", "#");
            let part = part.trim_matches('/').to_owned();
            match (part.is_empty(), excluded) {
                (true, _) => {}
                (false, true) => parts.exclude.push(part),
                (false, false) => parts.include.push(part),
            }
        }
        parts
    }

    /// Parts from a list of them, each as in [`Parts::parse`].
    #[must_use]
    pub fn from_list<S: AsRef<str>>(list: impl IntoIterator<Item = S>) -> Self {
        let list: Vec<_> = list.into_iter().map(|part| part.as_ref().to_owned()).collect();
        Self::parse(&list.join(","))
    }

    /// Whether the key `path` is meant.
    #[must_use]
    pub fn selects(&self, path: &str) -> bool {
        let within = |part: &String| {
            path.strip_prefix(part.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        (self.include.is_empty() || self.include.iter().any(within)) && !self.exclude.iter().any(within)
    }

    /// Whether everything is meant.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// The included parts as given.
    #[must_use]
    pub fn included(&self) -> &[String] {
        &self.include
    }
}

impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let excluded = self.exclude.iter().map(|part| format!("-{part}"));
        let all: Vec<_> = self.include.iter().cloned().chain(excluded).collect();
        f.write_str(&all.join(","))
    }
}

/// Where a user says a device or package is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// A directory (device directory, its `.pvr`, an unpacked package) or a package file.
    pub path: String,
    /// Which of its keys are meant.
    pub parts: Parts,
}

/// Why a text is not a [`Reference`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// No path.
    #[error("`{0}` names no directory or package")]
    Empty(String),
    /// A URL or an address of a device.
    #[error("`{0}` is the address of a device or a hub; here a directory or a package file is taken")]
    Address(String),
}

impl Reference {
    /// Parses `PATH[#PARTS]`. Everything behind the first `#` is parts.
    ///
    /// # Errors
    /// [`ReferenceError`] for an empty path and for URLs and IP addresses.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let (path, parts) = text.split_once('#').unwrap_or((text, ""));
        if path.is_empty() {
            return Err(ReferenceError::Empty(text.to_owned()));
        }
        if path.contains("://") || path.parse::<std::net::IpAddr>().is_ok() {
            return Err(ReferenceError::Address(text.to_owned()));
        }
        Ok(Self { path: path.to_owned(), parts: Parts::parse(parts) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_selects_itself_and_what_is_below_it() {
        let parts = Parts::parse("os,_sigs/os.json,-os/debug");
        for path in ["os", "os/run.json", "os/debugger", "_sigs/os.json"] {
            assert!(parts.selects(path), "{path}");
        }
        for path in ["os-extra/run.json", "osx", "os/debug", "os/debug/x", "_sigs/os.json.bak", "bsp/run.json"] {
            assert!(!parts.selects(path), "{path}");
        }
    }

    #[test]
    fn no_positive_part_means_all_but_the_excluded() {
        let parts = Parts::parse("-web");
        assert!(parts.selects("os/run.json") && parts.selects("web-2/x") && !parts.selects("web/run.json"));
        assert!(Parts::parse("").is_all() && Parts::parse(",,/").is_all());
        assert_eq!(Parts::parse("a%2Fb/,-c").to_string(), "a/b,-c");
    }

    #[test]
    fn references_are_paths_with_parts() {
        let reference = Reference::parse("../dev.tgz#web,-web/x").unwrap();
        assert_eq!((reference.path.as_str(), reference.parts.to_string().as_str()), ("../dev.tgz", "web,-web/x"));
        assert!(Reference::parse("dir").unwrap().parts.is_all());
        assert!(matches!(Reference::parse("#web"), Err(ReferenceError::Empty(_))));
        for address in ["https://pvr.pantahub.com/u/d", "192.168.1.2#os", "::1"] {
            let error = Reference::parse(address).unwrap_err();
            assert!(error.to_string().contains(address) && error.to_string().contains("address"), "{error}");
        }
    }
}
