//! Platforms as the OCI image index names them: `os/architecture[/variant]`.
//!
//! Guarantees: a [`Platform`] is normalised as containerd does it (`x86_64` is `amd64`, `arm64/v8` is `arm64`, `arm`
//! without variant is `arm/v7`), so equal platforms compare equal. [`Platform::rank`] says how well an offered platform
//! serves a wanted one: an `arm/v7` device runs `arm/v6`, never the other way.

use std::fmt;
use std::str::FromStr;

/// An operating system, an architecture, perhaps a variant of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    /// `linux`
    pub os: String,
    /// Go's name of the architecture: `amd64`, `arm64`, `arm`, `riscv64`, …
    pub architecture: String,
    /// `v6`, `v7`, …
    pub variant: Option<String>,
}

/// A text that is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a platform: expected os/architecture or os/architecture/variant, such as linux/arm/v7")]
pub struct PlatformError(String);

impl Platform {
    /// A normalised platform from the members of a descriptor or config.
    #[must_use]
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let os = if os.is_empty() { "linux".to_owned() } else { os.to_ascii_lowercase() };
        let architecture = architecture.to_ascii_lowercase();
        let variant = variant.map(str::to_ascii_lowercase).filter(|variant| !variant.is_empty());
        let (architecture, variant) = match (architecture.as_str(), variant.as_deref()) {
            ("x86_64" | "x86-64" | "amd64", Some("v1") | None) => ("amd64", None),
            ("x86_64" | "x86-64", _) => ("amd64", variant),
            ("i386" | "i486" | "i586" | "i686" | "x86", _) => ("386", variant),
            ("aarch64" | "arm64", Some("8" | "v8") | None) => ("arm64", None),
            ("aarch64", _) => ("arm64", variant),
            ("armhf", _) => ("arm", Some("v7".to_owned())),
            ("armel", _) => ("arm", Some("v6".to_owned())),
            ("arm", None | Some("7")) => ("arm", Some("v7".to_owned())),
            ("arm", Some(plain @ ("5" | "6" | "8"))) => ("arm", Some(format!("v{plain}"))),
            (other, _) => (other, variant),
        };
        Self { os, architecture: architecture.to_owned(), variant }
    }

    /// The platform that this program was compiled for.
    #[must_use]
    pub fn host() -> Self {
        let architecture = go_name(std::env::consts::ARCH, cfg!(target_endian = "little"));
        Self::new(std::env::consts::OS, architecture, Some(env!("UMIAK_ARM_VARIANT")))
    }

    /// How well an image for `offered` serves this platform: 0 is exact, larger is worse, `None` is not at all.
    #[must_use]
    pub fn rank(&self, offered: &Self) -> Option<u32> {
        if self == offered {
            return Some(0);
        }
        if self.os != offered.os {
            return None;
        }
        match (self.level(), offered.level()) {
            (Some((own, wanted)), Some((other, level))) if own == other && level < wanted => Some(wanted - level),
            _ => None,
        }
    }

    /// Architectures whose variants are ordered: the family and the step in it. 64-bit ARM runs no 32-bit images here:
    /// not every such processor can.
    fn level(&self) -> Option<(&str, u32)> {
        let family = self.architecture.as_str();
        let first = match family {
            "arm" => 7,
            "arm64" => 8,
            "amd64" => 1,
            _ => return None,
        };
        let step = match &self.variant {
            None => first,
            Some(variant) => variant.strip_prefix('v')?.parse().ok()?,
        };
        Some((family, step))
    }

    /// The best of `offered` for the first of `wanted` that is served at all: its position.
    pub fn choose<'a>(wanted: &[Self], offered: impl Iterator<Item = &'a Self> + Clone) -> Option<usize> {
        wanted.iter().find_map(|wanted| {
            let ranked = offered.clone().enumerate().filter_map(|(at, offer)| Some((wanted.rank(offer)?, at)));
            ranked.min().map(|(_, at)| at)
        })
    }
}

/// Go's name of an architecture that Rust calls otherwise and that no image ever says in Rust's words.
fn go_name(rust: &str, little_endian: bool) -> &str {
    match (rust, little_endian) {
        ("powerpc64", true) => "ppc64le",
        ("powerpc64", false) => "ppc64",
        ("powerpc", _) => "ppc",
        ("mips", true) => "mipsle",
        ("mips64", true) => "mips64le",
        ("loongarch64", _) => "loong64",
        (same, _) => same,
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let word = |part: &str| {
            !part.is_empty() && part.len() <= 64 && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        };
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            [os, architecture] if word(os) && word(architecture) => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] if word(os) && word(architecture) && word(variant) => {
                Ok(Self::new(os, architecture, Some(variant)))
            }
            _ => Err(PlatformError(text.chars().take(100).collect())),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn spellings_of_one_platform_are_equal() {
        for (one, other) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("Linux/ARM/7", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
        ] {
            assert_eq!(platform(one), platform(other));
        }
        assert_eq!(platform("linux/arm/v7").to_string(), "linux/arm/v7");
    }

    #[test]
    fn the_host_has_gos_names() {
        for (rust, little_endian, go) in [
            ("powerpc64", true, "ppc64le"),
            ("powerpc64", false, "ppc64"),
            ("mips", false, "mips"),
            ("mips64", true, "mips64le"),
            ("loongarch64", true, "loong64"),
            ("riscv64", true, "riscv64"),
            ("s390x", false, "s390x"),
        ] {
            assert_eq!(go_name(rust, little_endian), go);
        }
        assert_eq!(Platform::new("linux", "x86", Some("")).to_string(), "linux/386");
        let host = Platform::host();
        assert_eq!(host.os, std::env::consts::OS);
        assert_eq!(host.architecture == "arm", host.variant.is_some(), "{host}");
    }

    #[test]
    fn a_newer_device_runs_older_variants_never_the_other_way() {
        let offered = ["linux/amd64", "linux/arm/v5", "linux/arm/v7", "linux/arm64"].map(platform);
        let choose = |wanted: &str| Platform::choose(&[platform(wanted)], offered.iter());
        assert_eq!(choose("linux/arm/v7"), Some(2));
        assert_eq!(choose("linux/arm/v6"), Some(1));
        assert_eq!(choose("linux/arm64"), Some(3));
        assert_eq!(choose("linux/riscv64"), None);
        assert_eq!(Platform::choose(&["linux/riscv64", "linux/arm"].map(platform), offered.iter()), Some(2));
    }

    #[test]
    fn refuses_what_is_none() {
        for text in ["", "linux", "linux/", "a/b/c/d", "linux/arm v7", "/arm"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
