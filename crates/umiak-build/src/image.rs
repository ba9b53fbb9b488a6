//! A resolved source image: pinned by digest, its layers not yet read.

use umiak_pvr::Value;
use umiak_registry::{Image, Source};
use umiak_spec::Limits;

/// An image and where its layers come from.
pub(crate) struct SourceImage {
    pub(crate) source: Box<dyn Source>,
    pub(crate) image: Image,
}

impl SourceImage {
    /// What src.json calls it: `name@sha256:…`, or `sha256:…` for an image that exists only locally.
    pub(crate) fn reference(&self) -> &str {
        &self.image.reference
    }

    /// The `config` member of the image's configuration, for src.json.
    pub(crate) fn docker_config(&self, limits: &Limits) -> Value {
        let document = Value::parse(self.image.config.text.as_bytes(), limits.document).unwrap_or_default();
        document.get("config").cloned().unwrap_or_default()
    }
}
