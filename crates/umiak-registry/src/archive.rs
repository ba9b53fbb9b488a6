//! Tar archives of images: where their members lie, and what `docker save` puts into them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use umiak_layer::{Body, Compression, TarReader};
use umiak_spec::{Digest, DocumentError, Limits, Observer, Platform, Verified};

use crate::blob::BlobFile;
use crate::cache::Cache;
use crate::error::{Error, IoContext as _};
use crate::image::{Image, Layer, parse_config};
use crate::source::Source;

/// Links from member to member that are followed.
const MAX_LINKS: usize = 8;

/// The members of an uncompressed tar archive, used where they lie.
pub(crate) struct Members {
    path: PathBuf,
    file: Arc<File>,
    places: BTreeMap<String, Member>,
}

enum Member {
    File { offset: u64, length: u64 },
    Link(String),
}

impl Members {
    /// Looks through the archive. A compressed one is unpacked into the cache first.
    pub(crate) fn open(path: &Path, cache: &Cache, limits: &Limits, observer: &dyn Observer) -> Result<Self, Error> {
        let mut start = [0; 16];
        let mut file = File::open(path).at("open", path)?;
        let length = read_start(&mut file, &mut start).at("read", path)?;
        if Compression::of(&start[..length]) == Compression::None {
            return Self::of_blob(&BlobFile::open(path)?, path, limits);
        }
        let unpacked = cache.unpacked(path, observer, |file, out| {
            let mut plain = umiak_layer::decompress(file, limits).at("unpack", path)?;
            io::copy(&mut plain, out).at("unpack", path).map(drop)
        })?;
        Self::of_blob(&unpacked, path, limits)
    }

    /// Looks through an archive at hand.
    pub(crate) fn of_blob(blob: &BlobFile, path: &Path, limits: &Limits) -> Result<Self, Error> {
        let wrong = |source| Error::Archive { path: path.to_owned(), source };
        let mut reader = TarReader::new(BufReader::with_capacity(1 << 20, blob.reader()), *limits);
        let mut places = BTreeMap::new();
        while let Some(entry) = reader.next_entry().map_err(wrong)? {
            let name = String::from_utf8_lossy(entry.path.as_bytes()).into_owned();
            let member = match entry.body {
                Body::File(length) => Member::File { offset: reader.position(), length },
                Body::HardLink(target) => Member::Link(String::from_utf8_lossy(target.as_bytes()).into_owned()),
                Body::Symlink(target) => Member::Link(resolved(&name, &target)),
                _ => continue,
            };
            places.insert(name, member);
        }
        Ok(Self { path: path.to_owned(), file: blob.file(), places })
    }

    /// The member of this name, links followed.
    pub(crate) fn file(&self, name: &str) -> Option<BlobFile> {
        let mut name = name;
        for _ in 0..MAX_LINKS {
            match self.places.get(name)? {
                Member::File { offset, length } => return Some(BlobFile::part(&self.file, *offset, *length)),
                Member::Link(target) => name = target,
            }
        }
        None
    }

    fn document(&self, name: &str, limits: &Limits) -> Result<Vec<u8>, Error> {
        let file = self.file(name).ok_or_else(|| Error::NotFound {
            name: name.to_owned(),
            place: format!("{}: it is no archive of `docker save`", self.path.display()),
            available: Vec::new(),
        })?;
        if file.len() > limits.document {
            let source = DocumentError::TooLarge { size: file.len(), limit: limits.document };
            return Err(Error::Document { what: format!("{name} in {}", self.path.display()), source });
        }
        file.bytes().at("read", &self.path)
    }
}

fn read_start(file: &mut File, start: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < start.len() {
        match file.read(&mut start[length..])? {
            0 => break,
            count => length += count,
        }
    }
    Ok(length)
}

/// Where a symbolic link in an archive points, as a member's name.
fn resolved(link: &str, target: &[u8]) -> String {
    let target = String::from_utf8_lossy(target).into_owned();
    let mut parts: Vec<&str> = if target.starts_with('/') { Vec::new() } else { link.split('/').collect() };
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// One entry of manifest.json.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

/// One image of an archive that `docker save` wrote, in either of its forms.
pub(crate) struct DockerArchive {
    members: Members,
    place: String,
    name: Option<String>,
    limits: Limits,
}

impl DockerArchive {
    /// `place` is what messages and src.json call the archive.
    pub(crate) fn new(members: Members, place: String, name: Option<String>, limits: Limits) -> Self {
        Self { members, place, name, limits }
    }

    fn saved(&self) -> Result<Saved, Error> {
        let bytes = self.members.document("manifest.json", &self.limits)?;
        let all: Vec<Saved> = serde_json::from_slice(&bytes).map_err(|source| Error::Document {
            what: format!("manifest.json in {}", self.place),
            source: source.into(),
        })?;
        let available: Vec<String> = all.iter().flat_map(|saved| saved.repo_tags.iter().flatten().cloned()).collect();
        let place = self.place.clone();
        match &self.name {
            None if all.len() > 1 => Err(Error::Ambiguous { place, available }),
            None => all.into_iter().next().ok_or(Error::NotFound { name: String::new(), place, available }),
            Some(name) => {
                let found = all.into_iter().find(|saved| match name.parse() {
                    Ok(id) => self.is_config(&saved.config, id),
                    Err(_) => saved.repo_tags.iter().flatten().any(|tag| same_image(tag, name)),
                });
                found.ok_or_else(|| Error::NotFound { name: name.clone(), place, available })
            }
        }
    }

    /// Whether the config of this name is that of image `id`.
    fn is_config(&self, name: &str, id: Digest) -> bool {
        self.members.document(name, &self.limits).is_ok_and(|bytes| Digest::of(&bytes) == id)
    }

    fn layer(&self, name: &str, diff_id: Digest) -> Result<Layer, Error> {
        let missing = || Error::Inconsistent { name: self.place.clone(), reason: format!("layer {name} is not in it") };
        let file = self.members.file(name).ok_or_else(missing)?;
        let mut start = Vec::new();
        file.reader().take(16).read_to_end(&mut start).at("read", &self.members.path)?;
        let named = name.rsplit('/').next().and_then(|hex| Digest::from_hex(hex).ok());
        let digest = match named {
            _ if Compression::of(&start) == Compression::None => diff_id,
            Some(digest) => digest,
            None => Verified::new(file.reader()).finish().at("read", &self.members.path)?.0,
        };
        Ok(Layer { digest, size: file.len(), media_type: name.to_owned(), diff_id: Some(diff_id) })
    }
}

/// Whether two names mean one image, whatever of Docker's defaults they spell out.
fn same_image(one: &str, other: &str) -> bool {
    let full = |name: &str| match name.parse() {
        Ok(umiak_spec::ImageReference::Bare(name)) => Some((name.host.clone(), name.repository.clone(), name.target())),
        _ => None,
    };
    one == other || (full(one).is_some() && full(one) == full(other))
}

impl Source for DockerArchive {
    fn resolve_watched(&self, platforms: &[Platform], _: &dyn Observer) -> Result<Image, Error> {
        let saved = self.saved()?;
        let bytes = self.members.document(&saved.config, &self.limits)?;
        let id = Digest::of(&bytes);
        let config = parse_config(&bytes, &self.place, &self.limits)?;
        if !platforms.is_empty() && !platforms.iter().any(|wanted| wanted.rank(&config.platform).is_some()) {
            let wanted = platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
            let available = vec![config.platform.to_string()];
            return Err(Error::Platform { name: self.place.clone(), wanted, available });
        }
        let (layers, diff_ids) = (saved.layers.len(), config.diff_ids.len());
        if layers != diff_ids {
            let reason = format!("its manifest has {layers} layers, its config {diff_ids}");
            return Err(Error::Inconsistent { name: self.place.clone(), reason });
        }
        let layers = saved.layers.iter().zip(&config.diff_ids).map(|(name, diff_id)| self.layer(name, *diff_id));
        let layers = layers.collect::<Result<_, _>>()?;
        Ok(Image { reference: id.to_string(), manifest: None, layers, config })
    }

    fn fetch(&self, layer: &Layer, _: &dyn Observer) -> Result<BlobFile, Error> {
        // The media type of these layers is the member's name: archives have no other.
        let missing = || Error::Inconsistent { name: self.place.clone(), reason: format!("{} is gone", layer.digest) };
        self.members.file(&layer.media_type).ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_in_archives_name_members() {
        assert_eq!(resolved("abc/layer.tar", b"../def/layer.tar"), "def/layer.tar");
        assert_eq!(resolved("layer.tar", b"./x"), "x");
        assert_eq!(resolved("a/b", b"/c/d"), "c/d");
        assert_eq!(resolved("a/b", b"../../../../etc/passwd"), "etc/passwd", "stays a name in the archive");
    }

    #[test]
    fn names_of_one_image() {
        assert!(same_image("nginx:latest", "nginx"));
        assert!(same_image("docker.io/library/nginx:1", "nginx:1"));
        assert!(!same_image("nginx:1", "nginx:2"));
        assert!(!same_image("!", "?"));
    }
}
