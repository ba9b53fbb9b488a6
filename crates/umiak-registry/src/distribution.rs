//! Registries: the OCI distribution specification 1.1 (Docker registry API v2), the reading half.
//!
//! Guarantees: manifests, configs and layers are compared with their digests before anybody sees them, and kept by
//! digest: an image that is named by digest and was pulled before needs no network. Only a tag is always asked for.

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use umiak_spec::{
    Descriptor, Digest, Document, DocumentError, Limits, Observer, Platform, ReadAt, Referrer, RegistryName, media_type,
};

use crate::auth::Credentials;
use crate::blob::BlobFile;
use crate::cache::Cache;
use crate::download::Download;
use crate::error::Error;
use crate::flow::Flow;
use crate::image::{Documents, Image, Layer, Resolver};
use crate::landing::Landing;
use crate::login::Login;
use crate::remote::RemoteBlob;
use crate::source::{Context, Delivered, Source};
use crate::transport::{ATTEMPTS, Answer, Transport};
use crate::upload::header;

/// How registries are talked to.
#[derive(Debug, Clone)]
pub struct RegistrySettings {
    /// For whatever registry is asked; otherwise Docker's configuration is looked into.
    pub credentials: Option<Credentials>,
    /// Docker's config.json.
    pub docker_config: Option<PathBuf>,
    /// Try http first with any registry, and believe any certificate. Registries on the loopback address are tried
    /// with http first in any case; both kinds may answer that they want https.
    pub insecure: bool,
    /// `system` (or nothing): what the environment says; `no`: none; else an address.
    pub proxy: Option<String>,
    /// PEM certificates to trust instead of the public ones.
    pub ca_certificates: Option<Vec<u8>>,
    /// How long a server may be silent.
    pub patience: Duration,
    /// Waits between attempts; a test may not want to.
    pub pause: fn(Duration),
    /// How fast, and how much at once.
    pub flow: Arc<Flow>,
    /// How many bytes a server may send ahead of what was read. What is kept of a blob is all that was read, so this is
    /// what a killed process loses of each connection, where its disk is slower than the link. `None`: the system
    /// decides, which may be megabytes.
    pub window: Option<usize>,
}

/// What a server may send ahead unless somebody says otherwise; the system takes twice as much. Enough for 2 MiB a second
/// over a link of 60 ms, each connection for itself.
const WINDOW: usize = 64 << 10;

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            credentials: None,
            docker_config: None,
            insecure: false,
            proxy: None,
            ca_certificates: None,
            patience: Duration::from_secs(60),
            pause: std::thread::sleep,
            flow: Arc::default(),
            window: Some(WINDOW),
        }
    }
}

/// One image in a registry.
pub(crate) struct Registry {
    name: RegistryName,
    /// What messages and src.json call it, without tag and digest.
    shown: String,
    base: String,
    /// What is going to be done: see [`Login`].
    actions: &'static str,
    /// Another repository of the registry that is read.
    other: Option<String>,
    settings: RegistrySettings,
    cache: Cache,
    limits: Limits,
    transport: OnceLock<Transport>,
    starting: Mutex<()>,
}

impl Registry {
    pub(crate) fn new(name: &RegistryName, shown: String, context: &Context, actions: &'static str) -> Self {
        let host = if name.host == "docker.io" { "registry-1.docker.io" } else { &name.host };
        let scheme = if context.registry.insecure || is_loopback(host) { "http" } else { "https" };
        Self {
            base: format!("{scheme}://{host}/v2/{}", name.repository),
            name: name.clone(),
            shown,
            actions,
            other: None,
            settings: context.registry.clone(),
            cache: Cache::new(&context.cache),
            limits: context.limits,
            transport: OnceLock::new(),
            starting: Mutex::default(),
        }
    }

    /// The same with permission to read another repository of this registry.
    pub(crate) fn reading(self, other: Option<&str>) -> Self {
        Self { other: other.filter(|other| *other != self.name.repository).map(str::to_owned), ..self }
    }

    /// Whether `name` is that other repository.
    pub(crate) fn is_beside(&self, name: &RegistryName) -> bool {
        name.host == self.name.host && self.other.as_deref() == Some(&name.repository)
    }

    pub(crate) fn flow(&self) -> &Flow {
        &self.settings.flow
    }

    /// Address of the repository.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// The tag, if one was written.
    pub(crate) fn tag(&self) -> Option<&str> {
        self.name.tag.as_deref()
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn transport(&self) -> Result<&Transport, Error> {
        let _one = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(transport) = self.transport.get() {
            return Ok(transport);
        }
        let login = Login::new(&self.name.host, &self.name.repository, self.actions, &self.settings);
        let login = login.reading(self.other.as_deref());
        let transport = Transport::new(&self.base, login, &self.settings)?;
        Ok(self.transport.get_or_init(|| transport))
    }

    /// A manifest or index by tag or digest: its bytes, digest and media type.
    fn manifest(&self, target: &str, observer: &dyn Observer) -> Result<(Vec<u8>, Digest, String), Error> {
        let url = format!("{}/manifests/{target}", self.base);
        let accept = media_type::MANIFESTS.join(", ");
        let (answer, bytes) = self.whole(&url, &[("Accept", &accept)], observer)?;
        let header = |name: &str| header(&answer, name).map(str::to_owned);
        let (claimed, media_type) = (header("Docker-Content-Digest"), header("Content-Type").unwrap_or_default());
        let found = Digest::of(&bytes);
        let expected = [Some(target.to_owned()), claimed].into_iter().flatten().find_map(|text| text.parse().ok());
        match expected {
            Some(expected) if expected != found => {
                Err(Error::Digest { what: format!("the manifest of {}", self.shown), expected, found })
            }
            _ => {
                self.keep(found, &bytes);
                Ok((bytes, found, media_type))
            }
        }
    }

    /// The index under a tag, always asked for, and what the registry calls its present version.
    pub(crate) fn tagged(&self, tag: &str, observer: &dyn Observer) -> Result<(Vec<u8>, Option<String>), Error> {
        let url = format!("{}/manifests/{tag}", self.base);
        let (answer, bytes) = self.whole(&url, &[("Accept", media_type::OCI_INDEX)], observer)?;
        Ok((bytes, header(&answer, "ETag").map(str::to_owned)))
    }

    /// Keeps a verified document. Not being able to costs a request later, nothing else.
    fn keep(&self, digest: Digest, bytes: &[u8]) {
        if self.cache.document(digest, &self.limits).is_none() {
            let _ = self.cache.keep_document(digest, bytes);
        }
    }

    /// A document and its bytes, asked for again when the connection breaks while it comes.
    pub(crate) fn whole(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        observer: &dyn Observer,
    ) -> Result<(Answer, Vec<u8>), Error> {
        let mut failures = 0;
        loop {
            let mut answer = self.transport()?.get(url, headers, observer).map_err(|error| self.absent(error))?;
            match read_document(&mut answer, url, &self.limits) {
                Err(error @ Error::Network { .. }) => {
                    failures += 1;
                    if failures >= ATTEMPTS {
                        return Err(error);
                    }
                    self.transport()?.pause(failures, None, observer)?;
                }
                result => return result.map(|bytes| (answer, bytes)),
            }
        }
    }

    /// The tag or digest.
    pub(crate) fn target(&self) -> String {
        self.name.target()
    }

    /// That a 404 means that there is no such image.
    pub(crate) fn absent(&self, error: Error) -> Error {
        match error {
            Error::Status { status: 404, .. } => Error::NotFound {
                name: format!("{}:{}", self.name.repository, self.name.target()),
                place: self.name.host.clone(),
                available: Vec::new(),
            },
            other => other,
        }
    }
}

fn read_document(answer: &mut Answer, url: &str, limits: &Limits) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let network =
        |source: std::io::Error| Error::Network { action: "read from", url: url.to_owned(), source: source.into() };
    answer.body_mut().as_reader().take(limits.document + 1).read_to_end(&mut bytes).map_err(network)?;
    let (size, limit) = (bytes.len() as u64, limits.document);
    if size > limit {
        let source = DocumentError::TooLarge { size, limit };
        return Err(Error::Document { what: format!("what {url} answered"), source });
    }
    Ok(bytes)
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost" || name == "[::1]" || name.starts_with("127.")
}

/// A registry's documents, with somebody watching.
struct Watched<'a> {
    registry: &'a Registry,
    observer: &'a dyn Observer,
}

impl Documents for Watched<'_> {
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let Self { registry, observer } = self;
        let what = || format!("blob {} of {}", descriptor.digest, registry.shown);
        if descriptor.size > registry.limits.document {
            let source = DocumentError::TooLarge { size: descriptor.size, limit: registry.limits.document };
            return Err(Error::Document { what: what(), source });
        }
        if let Some(bytes) = registry.cache.document(descriptor.digest, &registry.limits) {
            return Ok(bytes);
        }
        let is_manifest = media_type::MANIFESTS.contains(&descriptor.media_type.as_str());
        let bytes = if is_manifest {
            registry.manifest(&descriptor.digest.to_string(), *observer)?.0
        } else {
            registry.whole(&format!("{}/blobs/{}", registry.base, descriptor.digest), &[], *observer)?.1
        };
        let found = Digest::of(&bytes);
        if bytes.len() as u64 != descriptor.size {
            return Err(Error::Size { what: what(), expected: descriptor.size, found: bytes.len() as u64 });
        }
        if found != descriptor.digest {
            return Err(Error::Digest { what: what(), expected: descriptor.digest, found });
        }
        if !is_manifest {
            registry.keep(found, &bytes);
        }
        Ok(bytes)
    }
}

impl Source for Registry {
    fn resolve_watched(&self, platforms: &[Platform], observer: &dyn Observer) -> Result<Image, Error> {
        let kept = self.name.digest.and_then(|digest| Some((self.cache.document(digest, &self.limits)?, digest)));
        let (bytes, digest, media_type) = match kept {
            Some((bytes, digest)) => (bytes, digest, String::new()),
            None => self.manifest(&self.name.target(), observer)?,
        };
        let documents = Watched { registry: self, observer };
        let resolver = Resolver { name: &self.shown, platforms, limits: &self.limits, documents: &documents };
        resolver.image(bytes, digest, &media_type)
    }

    fn missing(&self, layer: &Layer) -> u64 {
        self.cache.missing(layer)
    }

    fn top(&self, observer: &dyn Observer) -> Result<(Descriptor, Vec<u8>), Error> {
        let kept = self.name.digest.and_then(|digest| self.cache.document(digest, &self.limits));
        let (bytes, digest, media_type) = match (kept, self.name.digest) {
            (Some(bytes), Some(digest)) => (bytes, digest, String::new()),
            _ => self.manifest(&self.name.target(), observer)?,
        };
        let kind = Document::media_type_of(&bytes, &media_type);
        Ok((Descriptor::new(kind, digest, bytes.len() as u64), bytes))
    }

    fn document(&self, descriptor: &Descriptor, observer: &dyn Observer) -> Result<Vec<u8>, Error> {
        Watched { registry: self, observer }.document(descriptor)
    }

    fn deliver(
        &self,
        blob: &Descriptor,
        landing: &mut dyn Landing,
        observer: &dyn Observer,
    ) -> Result<Delivered, Error> {
        let transport = self.transport()?;
        let _share = self.flow().share(observer)?;
        let url = format!("{}/blobs/{}", self.base, blob.digest);
        let download = Download { transport, url: &url, layer: &Layer::from(blob), observer };
        let whole = download.complete(landing).map_err(|error| self.absent(error))?;
        Ok(if whole { Delivered::Whole } else { Delivered::Pieces })
    }

    fn tags(&self, observer: &dyn Observer) -> Result<Vec<String>, Error> {
        self.all_tags(observer)
    }

    fn referrers(&self, subject: &Digest, kind: Option<&str>, observer: &dyn Observer) -> Result<Vec<Referrer>, Error> {
        self.all_referrers(subject, kind, observer)
    }

    fn stream<'a>(&'a self, blob: &Descriptor, observer: &'a dyn Observer) -> Result<Box<dyn ReadAt + 'a>, Error> {
        if let Some(kept) = self.cache.get(&Layer::from(blob)) {
            return Ok(Box::new(kept));
        }
        let url = format!("{}/blobs/{}", self.base, blob.digest);
        Ok(Box::new(RemoteBlob::new(self.transport()?, url, blob, observer)))
    }

    fn fetch(&self, layer: &Layer, observer: &dyn Observer) -> Result<BlobFile, Error> {
        if let Some(blob) = self.cache.get(layer) {
            return Ok(blob);
        }
        if layer.size > self.limits.expanded {
            let (size, limit) = (layer.size, self.limits.expanded);
            let text = format!("layer {} would have {size} bytes, more than the limit of {limit}", layer.digest);
            return Err(Error::Unsupported(text));
        }
        let transport = self.transport()?;
        let _share = self.flow().share(observer)?;
        let mut partial = self.cache.partial(layer, || transport.wait_briefly(observer))?;
        // Another process may have fetched it while this one waited for the lock.
        if let Some(blob) = self.cache.get(layer) {
            partial.discard();
            return Ok(blob);
        }
        let url = format!("{}/blobs/{}", self.base, layer.digest);
        let download = Download { transport, url: &url, layer, observer };
        let in_one_piece = download.complete(&mut partial).map_err(|error| self.absent(error))?;
        match self.cache.keep(layer, partial) {
            Err(Error::Digest { .. }) if !in_one_piece => {
                // Pieces that are not of this blob, from an earlier run or a confused server: once more, from the start.
                observer.note(&format!("layer {} came damaged, fetching all of it again", layer.digest));
                let mut partial = self.cache.partial(layer, || transport.wait_briefly(observer))?;
                download.complete(&mut partial).map_err(|error| self.absent(error))?;
                self.cache.keep(layer, partial)
            }
            result => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_registries_speak_http() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:1", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        assert!(!is_loopback("registry.example:5000"));
    }
}
