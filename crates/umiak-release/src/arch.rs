//! Architectures as container-ci names its directories, and the platforms that they stand for.
//!
//! The names are those that Docker's own images have as prefixes (`arm32v7/busybox`); `mips` is container-ci's.

use std::fmt;

use umiak_spec::Platform;

use crate::error::ReleaseError;

/// Platform and directory, of all that have one.
pub const TABLE: [(&str, &str); 14] = [
    ("linux/amd64", "amd64"),
    ("linux/386", "i386"),
    ("linux/arm/v5", "arm32v5"),
    ("linux/arm/v6", "arm32v6"),
    ("linux/arm/v7", "arm32v7"),
    ("linux/arm64", "arm64v8"),
    ("linux/loong64", "loong64"),
    ("linux/mips", "mips"),
    ("linux/mipsle", "mipsle"),
    ("linux/mips64", "mips64"),
    ("linux/mips64le", "mips64le"),
    ("linux/ppc64le", "ppc64le"),
    ("linux/riscv64", "riscv64"),
    ("linux/s390x", "s390x"),
];

/// One of the directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arch(&'static str);

impl Arch {
    /// The directory of this name.
    #[must_use]
    pub fn named(directory: &str) -> Option<Self> {
        TABLE.iter().find(|(_, known)| *known == directory).map(|(_, known)| Self(known))
    }

    /// The directory of this platform.
    ///
    /// # Errors
    /// [`ReleaseError::Platform`] when the table has none.
    pub fn of(platform: &Platform) -> Result<Self, ReleaseError> {
        let is = |text: &str| text.parse::<Platform>().is_ok_and(|known| known == *platform);
        let found = TABLE.iter().find(|(text, _)| is(text)).map(|(_, directory)| Self(directory));
        found.ok_or_else(|| ReleaseError::Platform(platform.to_string()))
    }

    /// A directory's name or a platform's, as people write either.
    ///
    /// # Errors
    /// [`ReleaseError::Platform`].
    pub fn parse(text: &str) -> Result<Self, ReleaseError> {
        if let Some(arch) = Self::named(text) {
            return Ok(arch);
        }
        let platform: Platform = text.parse().map_err(|_| ReleaseError::Platform(text.chars().take(100).collect()))?;
        Self::of(&platform)
    }

    /// The directory's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// The platform that it stands for.
    #[must_use]
    pub fn platform(self) -> Platform {
        let text = TABLE.iter().find(|(_, directory)| *directory == self.0).map_or("linux/amd64", |(text, _)| text);
        text.parse().unwrap_or_else(|_| Platform::new("linux", self.0, None))
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_ci_s_six_and_their_spellings() {
        let seed = [
            ("linux/amd64", "amd64"),
            ("linux/arm/v6", "arm32v6"),
            ("linux/arm/v7", "arm32v7"),
            ("linux/arm64", "arm64v8"),
            ("linux/mips", "mips"),
            ("linux/riscv64", "riscv64"),
        ];
        for (platform, directory) in seed {
            assert_eq!(Arch::parse(platform).unwrap().as_str(), directory);
            assert_eq!(Arch::parse(directory).unwrap().platform().to_string(), platform);
        }
        assert_eq!(Arch::parse("linux/arm64/v8").unwrap().as_str(), "arm64v8");
        assert_eq!(Arch::parse("linux/x86_64").unwrap().as_str(), "amd64");
        for wrong in ["linux/vax", "windows/amd64", "amd65", "", "../amd64"] {
            assert!(matches!(Arch::parse(wrong), Err(ReleaseError::Platform(_))), "{wrong}");
        }
    }

    #[test]
    fn every_line_of_the_table_leads_back() {
        for (platform, directory) in TABLE {
            let arch = Arch::named(directory).unwrap();
            assert_eq!((arch.platform().to_string().as_str(), Arch::of(&arch.platform()).unwrap()), (platform, arch));
        }
    }
}
