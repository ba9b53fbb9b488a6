//! Registries: the OCI distribution specification 1.1 (Docker registry API v2), the reading half.
//!
//! Guarantees: manifests, configs and layers are compared with their digests before anybody sees them, and kept by
//! digest: an image that is named by digest and was pulled before needs no network. Only a tag is always asked for.

use std::io::Read;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use umiak_spec::{Descriptor, Digest, Limits, Observer, Platform, RegistryName, Silent, media_type};

use crate::auth::Credentials;
use crate::blob::BlobFile;
use crate::cache::{Cache, Partial};
use crate::error::Error;
use crate::image::{Documents, Image, Layer, Resolver};
use crate::source::{Context, Source};
use crate::transport::{ATTEMPTS, Answer, Transport};

const PHASE: &str = "Fetching";

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
}

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
        }
    }
}

/// One image in a registry.
pub(crate) struct Registry {
    name: RegistryName,
    /// What messages and src.json call it, without tag and digest.
    shown: String,
    base: String,
    settings: RegistrySettings,
    cache: Cache,
    limits: Limits,
    transport: OnceLock<Transport>,
    starting: Mutex<()>,
}

impl Registry {
    pub(crate) fn new(name: &RegistryName, shown: String, context: &Context) -> Self {
        let host = if name.host == "docker.io" { "registry-1.docker.io" } else { &name.host };
        let scheme = if context.registry.insecure || is_loopback(host) { "http" } else { "https" };
        Self {
            base: format!("{scheme}://{host}/v2/{}", name.repository),
            name: name.clone(),
            shown,
            settings: context.registry.clone(),
            cache: Cache::new(&context.cache),
            limits: context.limits,
            transport: OnceLock::new(),
            starting: Mutex::default(),
        }
    }

    fn transport(&self) -> Result<&Transport, Error> {
        let _one = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(transport) = self.transport.get() {
            return Ok(transport);
        }
        let transport = Transport::new(&self.name.host, &self.name.repository, &self.settings)?;
        Ok(self.transport.get_or_init(|| transport))
    }

    /// A manifest or index by tag or digest: its bytes, digest and media type.
    fn manifest(&self, target: &str) -> Result<(Vec<u8>, Digest, String), Error> {
        let url = format!("{}/manifests/{target}", self.base);
        let accept = media_type::MANIFESTS.join(", ");
        let (answer, bytes) = self.whole(&url, &[("Accept", &accept)])?;
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
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

    /// Keeps a verified document. Not being able to costs a request later, nothing else.
    fn keep(&self, digest: Digest, bytes: &[u8]) {
        if self.cache.document(digest, &self.limits).is_none() {
            let _ = self.cache.keep_document(digest, bytes);
        }
    }

    /// A document and its bytes, asked for again when the connection breaks while it comes.
    fn whole(&self, url: &str, headers: &[(&str, &str)]) -> Result<(Answer, Vec<u8>), Error> {
        let mut failures = 0;
        loop {
            let mut answer = self.transport()?.get(url, headers, &Silent).map_err(|error| self.missing(error))?;
            match read_document(&mut answer, url, &self.limits) {
                Ok(bytes) => return Ok((answer, bytes)),
                Err(error) => {
                    failures += 1;
                    if failures >= ATTEMPTS {
                        return Err(error);
                    }
                    self.transport()?.pause(failures, None, &Silent)?;
                }
            }
        }
    }

    fn missing(&self, error: Error) -> Error {
        match error {
            Error::Status { status: 404, .. } => Error::NotFound {
                name: format!("{}:{}", self.name.repository, self.name.target()),
                place: self.name.host.clone(),
                available: Vec::new(),
            },
            other => other,
        }
    }

    /// Fetches what `partial` lacks; goes on after every interruption that brought some bytes.
    fn complete(&self, partial: &mut Partial, layer: &Layer, observer: &dyn Observer) -> Result<(), Error> {
        let url = format!("{}/blobs/{}", self.base, layer.digest);
        let mut failures = 0;
        while partial.length() < layer.size {
            observer.check()?;
            let before = partial.length();
            let result = self.request(&url, partial, observer).and_then(|answer| match answer {
                Some(mut answer) => receive(&mut answer, &url, partial, layer, observer),
                None => Ok(()),
            });
            let Err(error) = result else {
                if partial.length() > before {
                    continue;
                }
                // An answer without bytes although some are missing.
                failures += 1;
                if failures >= ATTEMPTS {
                    let what = format!("layer {}", layer.digest);
                    return Err(Error::Size { what, expected: layer.size, found: partial.length() });
                }
                continue;
            };
            let again = matches!(error, Error::Network { .. });
            failures = if partial.length() > before { 1 } else { failures + 1 };
            if !again || failures >= ATTEMPTS {
                return Err(error);
            }
            observer.note(&format!("the connection broke, going on at {} bytes: {error}", partial.length()));
            self.transport()?.pause(failures, None, observer)?;
        }
        Ok(())
    }

    /// Asks for the rest of the blob; `None` when the server made us begin again.
    fn request(&self, url: &str, partial: &mut Partial, observer: &dyn Observer) -> Result<Option<Answer>, Error> {
        let start = partial.length();
        let range = format!("bytes={start}-");
        let headers: &[(&str, &str)] = if start > 0 { &[("Range", &range)] } else { &[] };
        let answer = self.transport()?.get(url, headers, observer).map_err(|error| self.missing(error))?;
        if start == 0 {
            return Ok(Some(answer));
        }
        let offset = answer.headers().get("Content-Range").and_then(|value| range_start(value.to_str().ok()?));
        match answer.status().as_u16() {
            206 if offset == Some(start) => Ok(Some(answer)),
            200 => {
                // The server does not do ranges: this is all of it, from the start.
                observer.expect(PHASE, start);
                partial.restart()?;
                Ok(Some(answer))
            }
            _ => {
                observer.expect(PHASE, start);
                partial.restart()?;
                Ok(None)
            }
        }
    }
}

/// Appends the body; more than the blob has is an error of the server.
fn receive(
    answer: &mut Answer,
    url: &str,
    partial: &mut Partial,
    layer: &Layer,
    observer: &dyn Observer,
) -> Result<(), Error> {
    let mut reader = answer.body_mut().as_reader();
    let mut buffer = vec![0; 128 << 10];
    loop {
        observer.check()?;
        let count = match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(Error::Network { action: "read from", url: url.to_owned(), source: error.into() });
            }
        };
        let found = partial.length() + count as u64;
        if found > layer.size {
            let what = format!("layer {}", layer.digest);
            partial.restart()?;
            return Err(Error::Size { what, expected: layer.size, found });
        }
        partial.append(&buffer[..count])?;
        observer.advance(PHASE, count as u64);
    }
}

fn read_document(answer: &mut Answer, url: &str, limits: &Limits) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let network =
        |source: std::io::Error| Error::Network { action: "read from", url: url.to_owned(), source: source.into() };
    answer.body_mut().as_reader().take(limits.document + 1).read_to_end(&mut bytes).map_err(network)?;
    Ok(bytes)
}

fn range_start(header: &str) -> Option<u64> {
    header.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost" || name == "[::1]" || name.starts_with("127.")
}

impl Documents for Registry {
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let what = || format!("blob {} of {}", descriptor.digest, self.shown);
        if descriptor.size > self.limits.document {
            let source = umiak_spec::DocumentError::TooLarge { size: descriptor.size, limit: self.limits.document };
            return Err(Error::Document { what: what(), source });
        }
        if let Some(bytes) = self.cache.document(descriptor.digest, &self.limits) {
            return Ok(bytes);
        }
        let is_manifest = media_type::MANIFESTS.contains(&descriptor.media_type.as_str());
        let bytes = if is_manifest {
            self.manifest(&descriptor.digest.to_string())?.0
        } else {
            self.whole(&format!("{}/blobs/{}", self.base, descriptor.digest), &[])?.1
        };
        let found = Digest::of(&bytes);
        if bytes.len() as u64 != descriptor.size {
            return Err(Error::Size { what: what(), expected: descriptor.size, found: bytes.len() as u64 });
        }
        if found != descriptor.digest {
            return Err(Error::Digest { what: what(), expected: descriptor.digest, found });
        }
        if !is_manifest {
            self.keep(found, &bytes);
        }
        Ok(bytes)
    }
}

impl Source for Registry {
    fn resolve(&self, platforms: &[Platform]) -> Result<Image, Error> {
        let kept = self.name.digest.and_then(|digest| Some((self.cache.document(digest, &self.limits)?, digest)));
        let (bytes, digest, media_type) = match kept {
            Some((bytes, digest)) => (bytes, digest, String::new()),
            None => self.manifest(&self.name.target())?,
        };
        let resolver = Resolver { name: &self.shown, platforms, limits: &self.limits, documents: self };
        resolver.image(bytes, digest, &media_type)
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
        let mut partial = self.cache.partial(layer)?;
        // Another process may have fetched it while this one waited for the lock.
        if let Some(blob) = self.cache.get(layer) {
            return Ok(blob);
        }
        observer.expect(PHASE, layer.size - partial.length());
        let kept = partial.length() > 0;
        self.complete(&mut partial, layer, observer)?;
        match self.cache.keep(layer, partial) {
            Err(Error::Digest { .. }) if kept => {
                // What an earlier run left was not a beginning of this blob: once more, from the start.
                let mut partial = self.cache.partial(layer)?;
                observer.expect(PHASE, layer.size);
                self.complete(&mut partial, layer, observer)?;
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
        assert_eq!(range_start("bytes 100-199/200"), Some(100));
        assert_eq!(range_start("items 1-2"), None);
    }
}
