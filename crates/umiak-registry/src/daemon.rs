//! The Docker daemon's store, through its socket (Docker Engine API).
//!
//! The daemon has no blobs to give, only whole images in the form of `docker save`: they are streamed into a nameless
//! file in the cache and read there.

use std::io::{BufRead, BufReader, Read, Seek as _, SeekFrom, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use umiak_spec::{ImageReference, Limits, Observer, Platform, RegistryName};

use crate::archive::{DockerArchive, Members};
use crate::blob::BlobFile;
use crate::cache::{Cache, whole};
use crate::download::PHASE;
use crate::error::{Error, IoContext as _};
use crate::image::{Image, Layer};
use crate::source::{Context, Source};

/// The daemon says nothing for so long: it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// One image of the daemon.
pub(crate) struct Daemon {
    name: String,
    place: String,
    socket: PathBuf,
    cache: Cache,
    limits: Limits,
    saved: Mutex<Option<std::sync::Arc<DockerArchive>>>,
}

/// What the daemon says of an image.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    #[serde(default)]
    repo_digests: Option<Vec<String>>,
    /// Bytes of all layers, unpacked: about what the archive will have.
    #[serde(default)]
    size: u64,
}

impl Daemon {
    pub(crate) fn new(name: &RegistryName, place: String, context: &Context) -> Self {
        let separator = if name.digest.is_some() { '@' } else { ':' };
        Self {
            name: format!("{}{separator}{}", name.written(), name.target()),
            place,
            socket: context.docker_socket.clone(),
            cache: Cache::new(&context.cache),
            limits: context.limits,
            saved: Mutex::default(),
        }
    }

    /// Sends a GET; the answer's head is read, its body is next in the reader. HTTP/1.0, so that the body is not chunked.
    fn get(&self, path: &str) -> Result<BufReader<UnixStream>, Error> {
        let url = || format!("{}{path}", self.socket.display());
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => Error::NotFound {
                name: self.name.clone(),
                place: format!("the Docker daemon: none listens at {}", self.socket.display()),
                available: Vec::new(),
            },
            std::io::ErrorKind::PermissionDenied => {
                Error::Io { action: "connect to", path: self.socket.clone(), source }
            }
            _ => Error::Network { action: "ask", url: url(), source: source.into() },
        };
        let mut stream = UnixStream::connect(&self.socket).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        let request =
            format!("GET {path} HTTP/1.0\r\nHost: docker\r\nAccept: application/json, application/x-tar\r\n\r\n");
        stream.write_all(request.as_bytes()).map_err(failed)?;
        let mut reader = BufReader::with_capacity(256 << 10, stream);
        let status = read_head(&mut reader).map_err(failed)?;
        match status {
            200 => Ok(reader),
            404 => {
                Err(Error::NotFound { name: self.name.clone(), place: "the Docker daemon".into(), available: vec![] })
            }
            status => {
                let mut detail = String::new();
                let _ = reader.take(1000).read_to_string(&mut detail);
                Err(Error::Status { url: url(), status, detail: Some(detail.trim().to_owned()) })
            }
        }
    }

    fn inspect(&self) -> Result<Inspected, Error> {
        let mut body = Vec::new();
        let reader = self.get(&format!("/images/{}/json", self.name))?;
        reader.take(self.limits.document).read_to_end(&mut body).at("read from", &self.socket)?;
        serde_json::from_slice(&body).map_err(|source| Error::Document {
            what: "what the Docker daemon says of the image".into(),
            source: source.into(),
        })
    }

    /// Whether `digest` (`name@sha256:…`) is of the repository that was asked for: an image may have several names.
    fn is_of_repository(&self, digest: &str) -> bool {
        let repository = |text: &str| match text.parse() {
            Ok(ImageReference::Bare(name)) => Some((name.host.clone(), name.repository.clone())),
            _ => None,
        };
        repository(digest).is_some_and(|found| Some(found) == repository(&self.name))
    }

    fn save(&self, inspected: &Inspected, observer: &dyn Observer) -> Result<std::sync::Arc<DockerArchive>, Error> {
        observer.expect(PHASE, inspected.size);
        let mut reader = self.get(&format!("/images/{}/get", inspected.id))?;
        let mut file = self.cache.nameless()?;
        let mut length = 0;
        let mut buffer = vec![0; 256 << 10];
        loop {
            observer.check()?;
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    let url = self.socket.display().to_string();
                    return Err(Error::Network { action: "copy the image from", url, source: source.into() });
                }
            };
            file.write_all(&buffer[..count]).at("write a scratch file in", self.cache.root())?;
            let count = count as u64;
            // The daemon's word about the length is a guess: the sum must come out right all the same.
            observer.expect(PHASE, (length + count).saturating_sub(length.max(inspected.size)));
            length += count;
            observer.advance(PHASE, count);
        }
        observer.advance(PHASE, inspected.size.saturating_sub(length));
        file.seek(SeekFrom::Start(0)).at("read", &self.socket)?;
        let members = Members::of_blob(&whole(file, length), &self.socket, &self.limits)?;
        Ok(std::sync::Arc::new(DockerArchive::new(members, self.place.clone(), None, self.limits)))
    }

    fn place(&self) -> std::sync::MutexGuard<'_, Option<std::sync::Arc<DockerArchive>>> {
        self.saved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads status line and headers; returns the status.
fn read_head(reader: &mut impl BufRead) -> std::io::Result<u16> {
    let broken = || std::io::Error::new(std::io::ErrorKind::InvalidData, "the answer is not HTTP");
    let mut line = String::new();
    let mut head = reader.take(64 << 10);
    head.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(broken)?;
    loop {
        line.clear();
        if head.read_line(&mut line)? == 0 {
            return Err(broken());
        }
        if line.trim_end().is_empty() {
            return Ok(status);
        }
    }
}

impl Source for Daemon {
    fn resolve_watched(&self, platforms: &[Platform], observer: &dyn Observer) -> Result<Image, Error> {
        let inspected = self.inspect()?;
        let saved = self.save(&inspected, observer)?;
        let mut image = saved.resolve_watched(platforms, observer)?;
        if image.reference != inspected.id {
            // The classic store names images by their config; the containerd store by their manifest.
            image.reference.clone_from(&inspected.id);
        }
        let digests = inspected.repo_digests.unwrap_or_default();
        if let Some(digest) = digests.into_iter().find(|digest| self.is_of_repository(digest)) {
            image.reference = digest;
        }
        *self.place() = Some(saved);
        Ok(image)
    }

    fn fetch(&self, layer: &Layer, observer: &dyn Observer) -> Result<BlobFile, Error> {
        match &*self.place() {
            Some(saved) => saved.fetch(layer, observer),
            None => Err(Error::Unsupported("a layer was asked for before its image was found".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_to_their_end_or_refused() {
        let mut answer = &b"HTTP/1.0 200 OK\r\nA: b\r\n\r\nbody"[..];
        assert_eq!(read_head(&mut answer).unwrap(), 200);
        assert_eq!(answer, b"body");
        for wrong in ["", "HTTP/1.0", "HTTP/1.0 twohundred\r\n\r\n", "HTTP/1.0 200 OK\r\nA: b", "\u{0}\n\n"] {
            assert!(read_head(&mut wrong.as_bytes()).is_err(), "{wrong}");
        }
        let endless = format!("HTTP/1.0 200 OK\r\n{}", "A: b\r\n".repeat(100_000));
        assert!(read_head(&mut endless.as_bytes()).is_err());
        assert!(read_head(&mut &b"HTTP/1.0 200 \xff\r\n\r\n"[..]).is_err());
    }
}
