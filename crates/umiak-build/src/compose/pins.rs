//! From the names in a compose file to digests.
//!
//! Guarantees: a registry is asked for a tag once, and everything after that is asked for by the digest of its first
//! answer. A tag that changes meanwhile changes nothing; two services with the same tag get the same image.

use std::collections::BTreeMap;

use umiak_registry::Source;
use umiak_spec::{Descriptor, Digest, ImageReference, Observer, RegistryName};

use super::error::ComposeError;
use super::images::{Images, registry_name};

/// Digests that somebody else has found already: of images that were built just before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PinnedImages {
    /// By host, repository and tag; no tag is that of a name without one.
    images: BTreeMap<(String, String, Option<String>), Digest>,
}

/// The images of a project, pinned one after the other.
pub(super) struct Pins<'a> {
    images: &'a dyn Images,
    known: PinnedImages,
    observer: &'a dyn Observer,
    found: Vec<Pinned>,
}

/// An image that was pinned.
pub(super) struct Pinned {
    /// As the compose file has it.
    pub(super) name: RegistryName,
    /// Host, repository and digest.
    pub(super) reference: String,
    pub(super) source: Box<dyn Source>,
    /// What the digest names.
    pub(super) top: (Descriptor, Vec<u8>),
}

impl PinnedImages {
    /// Reads a list: one `NAME@sha256:…` a line, with or without a tag; empty lines and those that begin with `#` say
    /// nothing. A line with a tag is for that tag, one without for names without a tag.
    ///
    /// # Errors
    /// [`ComposeError::PinnedLine`].
    pub fn parse(text: &str) -> Result<Self, ComposeError> {
        let mut images = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = || ComposeError::PinnedLine { line: number + 1, text: line.chars().take(200).collect() };
            let name = registry_name(line).map_err(|_| wrong())?;
            let digest = name.digest.ok_or_else(wrong)?;
            images.insert((name.host, name.repository, name.tag), digest);
        }
        Ok(Self { images })
    }

    fn find(&self, name: &RegistryName) -> Option<Digest> {
        self.images.get(&(name.host.clone(), name.repository.clone(), name.tag.clone())).copied()
    }
}

impl<'a> Pins<'a> {
    /// Nothing pinned yet.
    pub(super) fn new(images: &'a dyn Images, known: PinnedImages, observer: &'a dyn Observer) -> Self {
        Self { images, known, observer, found: Vec::new() }
    }

    /// The digest that a service's image means. Without tag and digest it is the tag `latest`, as Compose has it.
    ///
    /// # Errors
    /// [`ComposeError::Image`]: the image cannot be had.
    pub(super) fn pin(&mut self, service: &str, image: &RegistryName) -> Result<Digest, ComposeError> {
        let mut name = image.clone();
        if name.digest.is_none() {
            name.digest = self.known.find(&name);
        }
        let same = |pin: &&Pinned| {
            let place = (&pin.name.host, &pin.name.repository) == (&name.host, &name.repository);
            place
                && match name.digest {
                    Some(digest) => pin.top.0.digest == digest,
                    None => pin.name.digest.is_none() && pin.name.tag_or_latest() == name.tag_or_latest(),
                }
        };
        if let Some(pin) = self.found.iter().find(same) {
            return Ok(pin.top.0.digest);
        }
        let failed = |source| {
            let (image, services) = (ImageReference::Bare(image.clone()).to_string(), vec![service.to_owned()]);
            ComposeError::Image { image, services, source: Box::new(source) }
        };
        let source = self.images.open(&name, self.observer).map_err(failed)?;
        let top = source.top(self.observer).map_err(failed)?;
        let digest = top.0.digest;
        let reference = format!("{}/{}@{digest}", name.host, name.repository);
        self.found.push(Pinned { name, reference, source, top });
        Ok(digest)
    }

    /// What was pinned, by reference: an image that has two tags is one.
    pub(super) fn finish(self) -> BTreeMap<String, Pinned> {
        self.found.into_iter().map(|pin| (pin.reference.clone(), pin)).collect()
    }
}
