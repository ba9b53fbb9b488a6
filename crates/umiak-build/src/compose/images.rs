//! The images of services: of one pinned reference, what there is for each platform.
//!
//! Guarantees: every document was compared with the digest and the size that led to it; only images for Linux are
//! looked at; the platforms are those of the index, sorted, each once. What this does not do: fetch layers.

use std::collections::BTreeSet;

use umiak_registry::{Context, Error, ErrorKind, Image, Layer, Source, in_parallel};
use umiak_spec::{
    Descriptor, Document, DocumentError, ImageConfig, ImageReference, Limits, Manifest, Observer, Platform,
    ReferenceError, RegistryName, Selector,
};

/// Indexes inside indexes: nobody writes more.
const MAX_NESTING: usize = 4;
/// Manifests of one image: the most that official images have is about ten.
const MAX_MANIFESTS: usize = 256;
/// Documents fetched at a time.
const PARALLEL: usize = 4;

/// Where the images of services are.
pub trait Images: Sync {
    /// The source of an image.
    ///
    /// # Errors
    /// [`Error`].
    fn open(&self, image: &RegistryName, observer: &dyn Observer) -> Result<Box<dyn Source>, Error>;
}

/// The image of one service or of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceImage {
    /// Host, repository and digest.
    pub reference: String,
    /// What the digest names: an index, or a manifest.
    pub descriptor: Descriptor,
    /// What there is for each platform that was looked at, in the order of platforms.
    pub platforms: Vec<PlatformImage>,
    /// All platforms that the image is made for, sorted, as far as its index names them.
    pub offered: Vec<Platform>,
}

/// An image for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformImage {
    /// What the index says that it is for; without an index, the config.
    pub platform: Platform,
    /// Manifest, config and layers.
    pub image: Image,
}

/// Images in their registries, or in the layout or archive in which the app is, if they are there.
pub struct Places<'a> {
    /// How registries are reached.
    pub sources: &'a Context,
    /// Where the app is.
    pub app: &'a ImageReference,
}

impl Images for Places<'_> {
    fn open(&self, image: &RegistryName, observer: &dyn Observer) -> Result<Box<dyn Source>, Error> {
        umiak_registry::open_watched(&self.find(image, observer)?, self.sources, observer)
    }
}

impl Places<'_> {
    /// Where an image is: beside the app, or in its registry.
    ///
    /// # Errors
    /// [`Error`]: what is beside the app cannot be read.
    pub fn find(&self, image: &RegistryName, observer: &dyn Observer) -> Result<ImageReference, Error> {
        if let Some(near) = self.near(image) {
            let source = umiak_registry::open_watched(&near, self.sources, observer)?;
            match source.top(observer) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                // What is there and damaged is said when it is read.
                _ => return Ok(near),
            }
        }
        Ok(ImageReference::Registry(image.clone()))
    }

    /// The image beside the app, where these are files.
    fn near(&self, image: &RegistryName) -> Option<ImageReference> {
        let selector = Some(Selector::Digest(image.digest?));
        match self.app {
            ImageReference::Layout { path, .. } => Some(ImageReference::Layout { path: path.clone(), selector }),
            ImageReference::OciArchive { path, .. } => {
                Some(ImageReference::OciArchive { path: path.clone(), selector })
            }
            _ => None,
        }
    }
}

/// Reads the documents of one image.
pub(super) struct Reader<'a> {
    /// Host and repository: what messages call the image.
    pub(super) name: &'a str,
    pub(super) source: &'a dyn Source,
    /// Which platforms are looked at; those for which this is false are not fetched.
    pub(super) wanted: &'a (dyn Fn(&Platform) -> bool + Sync),
    pub(super) limits: &'a Limits,
    pub(super) observer: &'a dyn Observer,
}

/// What the documents of an image lead to.
#[derive(Default)]
struct Found {
    manifests: Vec<FoundManifest>,
    offered: BTreeSet<Platform>,
}

/// A manifest and what an index says of its platform.
struct FoundManifest {
    descriptor: Descriptor,
    manifest: Manifest,
    platform: Option<Platform>,
}

impl Reader<'_> {
    /// The image whose outermost document is `top`.
    pub(super) fn read(&self, top: &Descriptor, bytes: &[u8]) -> Result<ServiceImage, Error> {
        let mut found = Found::default();
        self.follow(top, bytes, None, MAX_NESTING, &mut found)?;
        let images = in_parallel(&found.manifests, PARALLEL, |_, found| self.image(found))?;
        let mut offered = found.offered;
        offered.extend(images.iter().map(|image| image.platform.clone()));
        offered.retain(|platform| platform.os == "linux");
        let is_wanted = |image: &PlatformImage| image.platform.os == "linux" && (self.wanted)(&image.platform);
        let mut images: Vec<PlatformImage> = images.into_iter().filter(is_wanted).collect();
        // Of two for the same platform, engines take the one that comes first.
        images.sort_by(|one, other| one.platform.cmp(&other.platform));
        images.dedup_by(|later, first| later.platform == first.platform);
        Ok(ServiceImage {
            reference: format!("{}@{}", self.name, top.digest),
            descriptor: top.clone(),
            platforms: images,
            offered: offered.into_iter().collect(),
        })
    }

    /// The manifests behind a document, in the order in which they stand there.
    fn follow(
        &self,
        descriptor: &Descriptor,
        bytes: &[u8],
        platform: Option<&Platform>,
        depth: usize,
        found: &mut Found,
    ) -> Result<(), Error> {
        let index = match self.parse(descriptor, bytes)? {
            Document::Manifest(manifest) => {
                found.manifests.push(FoundManifest {
                    descriptor: descriptor.clone(),
                    manifest: *manifest,
                    platform: platform.cloned(),
                });
                return Ok(());
            }
            Document::Index(index) => index,
        };
        let depth = depth.checked_sub(1);
        let depth = depth.ok_or_else(|| self.inconsistent("too many indexes point at one another"))?;
        found.offered.extend(index.images().filter_map(|entry| entry.platform.clone()));
        let wanted = |platform: &Platform| platform.os == "linux" && (self.wanted)(platform);
        let entries: Vec<&Descriptor> =
            index.images().filter(|entry| entry.platform.as_ref().is_none_or(wanted)).collect();
        if found.manifests.len().saturating_add(entries.len()) > MAX_MANIFESTS {
            return Err(self.inconsistent("it is made for more platforms than there are"));
        }
        // A file that carries an app may have the images of some platforms and the index of all.
        let there = |_: usize, entry: &&Descriptor| match self.document(entry) {
            Err(error) if error.is_missing_file() && entry.platform.is_some() => Ok(None),
            document => document.map(Some),
        };
        let documents = in_parallel(&entries, PARALLEL, there)?;
        for (entry, bytes) in entries.into_iter().zip(documents) {
            let Some(bytes) = bytes else { continue };
            let kind = Document::media_type_of(&bytes, &entry.media_type);
            let descriptor = Descriptor::new(kind, entry.digest, entry.size);
            self.follow(&descriptor, &bytes, entry.platform.as_ref().or(platform), depth, found)?;
        }
        Ok(())
    }

    fn image(&self, found: &FoundManifest) -> Result<PlatformImage, Error> {
        let bytes = self.document(&found.manifest.config)?;
        let what = || format!("the configuration of {}@{}", self.name, found.descriptor.digest);
        let config = ImageConfig::parse(&bytes, self.limits)
            .map_err(|source: DocumentError| Error::Document { what: what(), source })?;
        let platform = found.platform.clone().unwrap_or_else(|| config.platform.clone());
        let (layers, diff_ids) = (found.manifest.layers.len(), config.diff_ids.len());
        if layers != diff_ids {
            return Err(self.inconsistent(&format!("its manifest has {layers} layers, its config {diff_ids}")));
        }
        let layers = found.manifest.layers.iter().zip(&config.diff_ids);
        let layers = layers.map(|(layer, diff_id)| Layer { diff_id: Some(*diff_id), ..Layer::from(layer) }).collect();
        let reference = format!("{}@{}", self.name, found.descriptor.digest);
        let image = Image { reference, manifest: Some(found.descriptor.clone()), config, layers };
        Ok(PlatformImage { platform, image })
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        self.observer.check()?;
        let bytes = self.source.document(descriptor, self.observer)?;
        let (expected, found) = (descriptor.size, bytes.len() as u64);
        if expected == found {
            return Ok(bytes);
        }
        Err(Error::Size { what: format!("document {} of {}", descriptor.digest, self.name), expected, found })
    }

    fn parse(&self, descriptor: &Descriptor, bytes: &[u8]) -> Result<Document, Error> {
        let what = || format!("manifest {} of {}", descriptor.digest, self.name);
        Document::parse(bytes, &descriptor.media_type, self.limits)
            .map_err(|source| Error::Document { what: what(), source })
    }

    fn inconsistent(&self, reason: &str) -> Error {
        Error::Inconsistent { name: self.name.to_owned(), reason: reason.to_owned() }
    }
}

/// What a compose file calls an image: always in a registry, whatever the name looks like.
pub(super) fn registry_name(text: &str) -> Result<RegistryName, ReferenceError> {
    match format!("docker://{text}").parse()? {
        ImageReference::Registry(name) => Ok(name),
        // Not reached: the transport is written above.
        _ => Err(ReferenceError::Name(text.chars().take(200).collect())),
    }
}
