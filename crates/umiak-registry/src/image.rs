//! A resolved image: one platform's manifest and configuration, and its layers by digest.

use umiak_spec::{
    Descriptor, Digest, Document, DocumentError, ImageConfig, Index, Limits, Manifest, Platform, media_type,
};

use crate::error::Error;

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Digest of the blob, compressed or not.
    pub digest: Digest,
    /// Length of the blob.
    pub size: u64,
    /// What the manifest calls it.
    pub media_type: String,
    /// Digest of the uncompressed archive; `None` where no config says it (a root file system).
    pub diff_id: Option<Digest>,
}

/// One image for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// What src.json calls it: `<name>@sha256:…`, or `sha256:…` for an image that has no manifest's digest.
    pub reference: String,
    /// Its manifest, to be had from [`crate::Source::document`]; `None` where there is none: in archives of `docker save`,
    /// in daemons, for a root file system.
    pub manifest: Option<Descriptor>,
    /// The configuration.
    pub config: ImageConfig,
    /// Bottom first.
    pub layers: Vec<Layer>,
}

impl From<&Descriptor> for Layer {
    fn from(blob: &Descriptor) -> Self {
        Self { digest: blob.digest, size: blob.size, media_type: blob.media_type.clone(), diff_id: None }
    }
}

/// Gives documents by descriptor: a layout's blobs, a registry's answers.
pub(crate) trait Documents {
    /// The bytes that the descriptor names, with digest and length verified.
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error>;
}

/// The image that the document `top`, whose bytes are `bytes`, leads to for the first of `platforms` that there is one for.
/// Whoever has the documents hands them over: `documents` gives what a descriptor names, verified.
///
/// # Errors
/// [`Error`]; what `documents` says.
pub fn resolve_documents(
    name: &str,
    top: &Descriptor,
    bytes: Vec<u8>,
    platforms: &[Platform],
    limits: &Limits,
    documents: &dyn Fn(&Descriptor) -> Result<Vec<u8>, Error>,
) -> Result<Image, Error> {
    Resolver { name, platforms, limits, documents: &Handed(documents) }.image(bytes, top.digest, &top.media_type)
}

/// Documents of somebody else.
struct Handed<'a>(&'a dyn Fn(&Descriptor) -> Result<Vec<u8>, Error>);

impl Documents for Handed<'_> {
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        self.0(descriptor)
    }
}

/// Follows indexes down to one image for one of the wanted platforms.
pub(crate) struct Resolver<'a> {
    /// What messages and src.json call the image.
    pub name: &'a str,
    /// Best first; empty: this machine's.
    pub platforms: &'a [Platform],
    pub limits: &'a Limits,
    pub documents: &'a dyn Documents,
}

/// Indexes inside indexes inside indexes: nobody writes more.
const MAX_NESTING: usize = 4;

impl Resolver<'_> {
    /// The image behind the document `bytes`, which has `digest`.
    pub(crate) fn image(&self, mut bytes: Vec<u8>, mut digest: Digest, media_type: &str) -> Result<Image, Error> {
        let mut media_type = media_type.to_owned();
        let mut from_index = false;
        for _ in 0..MAX_NESTING {
            match self.parse(&bytes, &digest, &media_type)? {
                Document::Manifest(manifest) => {
                    let kind = Document::media_type_of(&bytes, &media_type);
                    let descriptor = Descriptor::new(kind, digest, bytes.len() as u64);
                    return self.finish(&manifest, descriptor, from_index);
                }
                Document::Index(index) => {
                    let chosen = self.choose(&index)?;
                    bytes = self.documents.document(chosen)?;
                    (digest, media_type) = (chosen.digest, chosen.media_type.clone());
                    from_index = true;
                }
            }
        }
        Err(self.inconsistent(format!("more than {MAX_NESTING} indexes point at one another")))
    }

    fn parse(&self, bytes: &[u8], digest: &Digest, media_type: &str) -> Result<Document, Error> {
        Document::parse(bytes, media_type, self.limits)
            .map_err(|source| Error::Document { what: format!("manifest {digest} of {}", self.name), source })
    }

    /// The entry for the first of the wanted platforms that there is one for.
    pub(crate) fn choose<'i>(&self, index: &'i Index) -> Result<&'i Descriptor, Error> {
        let host = [Platform::host()];
        let wanted = if self.platforms.is_empty() { &host[..] } else { self.platforms };
        let images: Vec<&Descriptor> = index.images().collect();
        let offered: Vec<(usize, &Platform)> =
            images.iter().enumerate().filter_map(|(at, entry)| Some((at, entry.platform.as_ref()?))).collect();
        if let Some(found) = Platform::choose(wanted, offered.iter().map(|(_, platform)| *platform)) {
            return Ok(images[offered[found].0]);
        }
        match images[..] {
            // One entry that says nothing of its platform: its config will.
            [only] if only.platform.is_none() => Ok(only),
            [] => Err(Error::Unsupported(format!("{} has no container image, only other artifacts", self.name))),
            _ => Err(self.not_made_for(wanted, offered.iter().map(|(_, platform)| platform.to_string()).collect())),
        }
    }

    fn not_made_for(&self, wanted: &[Platform], available: Vec<String>) -> Error {
        let wanted = wanted.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
        Error::Platform { name: self.name.to_owned(), wanted, available }
    }

    /// `error`, unless the manifest never said that it is an image's.
    fn unless_artifact(&self, manifest: &Manifest, error: Error) -> Error {
        let kind = manifest.config.media_type.as_str();
        if kind.is_empty() || media_type::CONFIGS.contains(&kind) {
            return error;
        }
        let kind: String = kind.chars().take(100).collect();
        Error::Unsupported(format!("{} is no container image: its config is `{kind}`", self.name))
    }

    fn inconsistent(&self, reason: String) -> Error {
        Error::Inconsistent { name: self.name.to_owned(), reason }
    }

    fn finish(&self, manifest: &Manifest, descriptor: Descriptor, from_index: bool) -> Result<Image, Error> {
        let bytes = self.documents.document(&manifest.config)?;
        let config =
            parse_config(&bytes, self.name, self.limits).map_err(|error| self.unless_artifact(manifest, error))?;
        // Asked for by name, a platform is a condition; unasked, an image without choice is taken as it is.
        let fits = self.platforms.iter().any(|wanted| wanted.rank(&config.platform).is_some());
        if !from_index && !self.platforms.is_empty() && !fits && !config.platform.architecture.is_empty() {
            return Err(self.not_made_for(self.platforms, vec![config.platform.to_string()]));
        }
        let (layers, diff_ids) = (manifest.layers.len(), config.diff_ids.len());
        if layers != diff_ids {
            let error = self.inconsistent(format!("its manifest has {layers} layers, its config {diff_ids}"));
            return Err(self.unless_artifact(manifest, error));
        }
        let layers = manifest.layers.iter().zip(&config.diff_ids).map(|(layer, diff_id)| Layer {
            digest: layer.digest,
            size: layer.size,
            media_type: layer.media_type.clone(),
            diff_id: Some(*diff_id),
        });
        let reference = format!("{}@{}", self.name, descriptor.digest);
        Ok(Image { reference, manifest: Some(descriptor), layers: layers.collect(), config })
    }
}

/// Reads a config.
pub(crate) fn parse_config(bytes: &[u8], name: &str, limits: &Limits) -> Result<ImageConfig, Error> {
    ImageConfig::parse(bytes, limits)
        .map_err(|source: DocumentError| Error::Document { what: format!("the configuration of {name}"), source })
}
