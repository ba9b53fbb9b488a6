//! The image configuration: platform, diff IDs, and how the image is meant to run.
//!
//! Only what umiak needs is read into a type; the document's text stays reachable, since what it says about running
//! (`config`) is passed on unchanged.

use serde::Deserialize;

use crate::manifest::{DocumentError, check_size, or_default};
use crate::{Digest, Limits, Platform};

/// An image's configuration (OCI image configuration, Docker image JSON).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    /// What the image runs on.
    pub platform: Platform,
    /// Digests of the uncompressed layers, bottom first.
    pub diff_ids: Vec<Digest>,
    /// The whole document as it was.
    pub text: String,
}

#[derive(Deserialize)]
struct Written {
    #[serde(default, deserialize_with = "or_default")]
    os: String,
    #[serde(default, deserialize_with = "or_default")]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default)]
    rootfs: Option<RootFs>,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Option<Vec<Digest>>,
}

impl ImageConfig {
    /// Reads the document.
    ///
    /// # Errors
    /// [`DocumentError`] when it is too large or not JSON of this shape.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, DocumentError> {
        check_size(bytes, limits)?;
        let written: Written = serde_json::from_slice(bytes)?;
        Ok(Self {
            platform: Platform::new(&written.os, &written.architecture, written.variant.as_deref()),
            diff_ids: written.rootfs.and_then(|rootfs| rootfs.diff_ids).unwrap_or_default(),
            // JSON is UTF-8, so this replaces nothing.
            text: String::from_utf8_lossy(bytes).into_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_configs_have_gaps() {
        let parse = |text: &str| ImageConfig::parse(text.as_bytes(), &Limits::default());
        let config = parse(r#"{"architecture":"arm64","variant":"v8","config":{"Cmd":null}}"#).unwrap();
        assert_eq!(config.platform.to_string(), "linux/arm64");
        assert!(config.diff_ids.is_empty());
        assert!(config.text.contains("Cmd"));
        assert!(parse(r#"{"rootfs":{"type":"layers","diff_ids":null}}"#).unwrap().diff_ids.is_empty());
        assert_eq!(
            parse(r#"{"os":null,"architecture":"arm","rootfs":null}"#).unwrap().platform.to_string(),
            "linux/arm/v7"
        );
        assert!(parse(r#"{"rootfs":{"diff_ids":["sha512:00"]}}"#).is_err());
        assert!(parse("nonsense").is_err());
    }
}
