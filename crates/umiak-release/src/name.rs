//! What packages are called: `<name>-<version>-<build>.<arch>.tgz`.
//!
//! The build version is `0-COUNT-gREVISION`, from git. container-ci's text says so, its examples leave the count out:
//! the longer one is written, both are read. The last `.`-separated word is the architecture.

use std::fmt;

use crate::error::ReleaseError;

/// Bytes of one of the words.
const WORD_LIMIT: usize = 100;

/// A build version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildVersion(String);

impl BuildVersion {
    /// Of a git history: how many commits lead to the one that is checked out, and its abbreviated name.
    #[must_use]
    pub fn from_git(count: u64, revision: &str) -> Self {
        Self(format!("0-{count}-g{revision}"))
    }

    /// One that somebody chose.
    ///
    /// # Errors
    /// [`ReleaseError::Word`] when it cannot be in a file's name.
    pub fn parse(text: &str) -> Result<Self, ReleaseError> {
        word("build version", text).map(Self)
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How many commits it counts, if it says.
    #[must_use]
    pub fn count(&self) -> Option<u64> {
        let words: Vec<&str> = self.0.split('-').collect();
        match words[..] {
            ["0", count, revision] if is_revision(revision) => count.parse().ok(),
            _ => None,
        }
    }
}

impl fmt::Display for BuildVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A package's file name taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageName {
    /// `PACKAGE_NAME`
    pub name: String,
    /// `PACKAGE_VERSION`
    pub version: String,
    /// `BUILD_VERSION`
    pub build: BuildVersion,
    /// `ARCH`; any word, since others may have other tables.
    pub arch: String,
}

impl PackageName {
    /// Puts a name together.
    ///
    /// # Errors
    /// [`ReleaseError::Word`] when one of the words cannot be in a file's name.
    pub fn new(name: &str, version: &str, build: &BuildVersion, arch: &str) -> Result<Self, ReleaseError> {
        let (name, version) = (word("package name", name)?, word("package version", version)?);
        Ok(Self { name, version, build: build.clone(), arch: word("architecture", arch)? })
    }

    /// Takes a file's name apart; `None` when it is no package's. Where names and versions have hyphens of their own, the
    /// version is taken to begin at the last word that begins as a number does.
    #[must_use]
    pub fn parse(file: &str) -> Option<Self> {
        let stem = file.strip_suffix(".tgz").or_else(|| file.strip_suffix(".tar.gz"))?;
        let (stem, arch) = stem.rsplit_once('.')?;
        let words: Vec<&str> = stem.split('-').collect();
        let build = match words[..] {
            [.., "0", count, revision] if is_revision(revision) && is_number(count) => 3,
            // Without the count, or as `git describe` counts: since the last tag.
            [_, _, .., count, revision] if is_revision(revision) && is_number(count) => 2,
            _ => 1,
        };
        let (before, build) = words.split_at(words.len().checked_sub(build)?);
        let begins = |word: &&str| word.trim_start_matches('v').starts_with(|first: char| first.is_ascii_digit());
        let version = before.iter().rposition(begins).unwrap_or(before.len().checked_sub(1)?).max(1);
        let (name, version) = before.split_at_checked(version)?;
        let build = BuildVersion::parse(&build.join("-")).ok()?;
        Self::new(&name.join("-"), &version.join("-"), &build, arch).ok()
    }

    /// What tells this release from others of the package: version and build.
    #[must_use]
    pub fn release(&self) -> String {
        format!("{}-{}", self.version, self.build)
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}.{}.tgz", self.name, self.version, self.build, self.arch)
    }
}

/// A word that can be a part of a file's name everywhere.
fn word(what: &'static str, text: &str) -> Result<String, ReleaseError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+~-".contains(&byte);
    let fits = !text.is_empty() && text.len() <= WORD_LIMIT && text.bytes().all(plain);
    if fits && !text.starts_with(['.', '-']) {
        return Ok(text.to_owned());
    }
    Err(ReleaseError::Word { what, text: text.chars().filter(|c| !c.is_control()).take(WORD_LIMIT).collect() })
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// `g` and an abbreviated commit's name.
fn is_revision(word: &str) -> bool {
    let digits = word.strip_prefix('g').unwrap_or("");
    (4..=64).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(file: &str) -> Option<[String; 4]> {
        let found = PackageName::parse(file)?;
        assert_eq!(found.to_string(), file);
        Some([found.name, found.version, found.build.to_string(), found.arch])
    }

    #[test]
    fn both_spellings_are_read() {
        let seed = parts("pvwebstatus-v0.0.1-0-g7ab223a.arm32v6.tgz").unwrap();
        assert_eq!(seed, ["pvwebstatus", "v0.0.1", "0-g7ab223a", "arm32v6"]);
        let long = parts("pvwebstatus-v0.0.1-0-12-g7ab223a.amd64.tgz").unwrap();
        assert_eq!(long, ["pvwebstatus", "v0.0.1", "0-12-g7ab223a", "amd64"]);
        assert_eq!(parts("web-status-2-v1.0-rc1-0-3-gabcdef0.mips.tgz").unwrap()[..2], ["web-status-2", "v1.0-rc1"]);
        assert_eq!(parts("web-1.2-nightly.riscv64.tgz").unwrap(), ["web", "1.2", "nightly", "riscv64"]);
        assert_eq!(parts("web-v1.2-17-g7ab223a.mips.tgz").unwrap(), ["web", "v1.2", "17-g7ab223a", "mips"]);
        assert_eq!(parts("web-17-g7ab223a.mips.tgz").unwrap(), ["web", "17", "g7ab223a", "mips"]);
        for wrong in ["web.tgz", "web-1.tgz", "web-1.amd64.tgz", "web-1-2.amd64.zip", "-1-2.amd64.tgz", "a/b-1-2.x.tgz"]
        {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_long_spelling_is_written() {
        let build = BuildVersion::from_git(12, "7ab223a");
        assert_eq!((build.as_str(), build.count()), ("0-12-g7ab223a", Some(12)));
        assert_eq!(BuildVersion::parse("0-g7ab223a").unwrap().count(), None);
        let name = PackageName::new("pvwebstatus", "v0.0.1", &build, "amd64").unwrap();
        assert_eq!(name.to_string(), "pvwebstatus-v0.0.1-0-12-g7ab223a.amd64.tgz");
        assert_eq!(name.release(), "v0.0.1-0-12-g7ab223a");
        for wrong in ["", "..", "a/b", "a b", "-x", "a\nb"] {
            assert!(PackageName::new(wrong, "1", &build, "amd64").is_err(), "{wrong:?}");
        }
    }
}
