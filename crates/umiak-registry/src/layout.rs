//! OCI image layouts: a directory, or the same in an uncompressed tar archive.
//!
//! Follows the OCI image layout specification 1.0. Documents are verified when read; layers are handed out where they
//! lie, their length compared: whoever reads them compares the digest, so that a large file is read once.

use std::path::{Path, PathBuf};

use umiak_spec::{Descriptor, Digest, Document, ImageReference, Index, Limits, Observer, Platform, Referrer, Selector};

use crate::archive::Members;
use crate::blob::BlobFile;
use crate::error::{Error, IoContext as _};
use crate::image::{Documents, Image, Layer, Resolver};
use crate::source::Source;

/// The file that lists what a layout holds.
pub(crate) const INDEX: &str = "index.json";

/// Where the files of a layout are.
enum Place {
    Directory,
    Archive(Members),
}

/// One image of a layout.
pub(crate) struct Layout {
    path: PathBuf,
    place: Place,
    /// What messages and src.json call the layout, without tag.
    name: String,
    selector: Option<Selector>,
    limits: Limits,
}

impl Layout {
    /// Bounds on its documents.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A layout directory.
    pub(crate) fn directory(path: &Path, selector: Option<Selector>, limits: Limits) -> Result<Self, Error> {
        let reference = ImageReference::Layout { path: path.to_owned(), selector: None };
        Self::open(path, Place::Directory, reference.name(), selector, limits)
    }

    /// A layout in a tar archive.
    pub(crate) fn archive(
        path: &Path,
        members: Members,
        selector: Option<Selector>,
        limits: Limits,
    ) -> Result<Self, Error> {
        let reference = ImageReference::OciArchive { path: path.to_owned(), selector: None };
        Self::open(path, Place::Archive(members), reference.name(), selector, limits)
    }

    fn open(
        path: &Path,
        place: Place,
        name: String,
        selector: Option<Selector>,
        limits: Limits,
    ) -> Result<Self, Error> {
        let layout = Self { path: path.to_owned(), place, name, selector, limits };
        match layout.file("oci-layout") {
            Ok(_) => Ok(layout),
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Err(Error::NotFound {
                name: "oci-layout".into(),
                place: format!("{}: it is no OCI image layout", path.display()),
                available: Vec::new(),
            }),
            Err(error) => Err(error),
        }
    }

    fn file(&self, name: &str) -> Result<BlobFile, Error> {
        match &self.place {
            Place::Directory => BlobFile::open(&self.path.join(name)),
            Place::Archive(members) => members.file(name).ok_or_else(|| Error::Io {
                action: "find",
                path: self.path.join(name),
                source: std::io::ErrorKind::NotFound.into(),
            }),
        }
    }

    fn stored(&self, digest: &Digest) -> Result<BlobFile, Error> {
        self.file(&format!("blobs/sha256/{}", digest.hex()))
    }

    pub(crate) fn small(&self, name: &str) -> Result<Vec<u8>, Error> {
        let (file, path) = (self.file(name)?, self.path.join(name));
        if file.len() > self.limits.document {
            let (size, limit) = (file.len(), self.limits.document);
            let source = umiak_spec::DocumentError::TooLarge { size, limit };
            return Err(Error::Document { what: path.display().to_string(), source });
        }
        file.bytes().at("read", &path)
    }

    /// What index.json has for the selector.
    fn entries(&self) -> Result<Vec<Descriptor>, Error> {
        let bytes = self.small(INDEX)?;
        let what = || self.path.join(INDEX).display().to_string();
        let index = match Document::parse(&bytes, umiak_spec::media_type::OCI_INDEX, &self.limits) {
            Ok(Document::Index(index)) => index,
            Ok(Document::Manifest(_)) => {
                return Err(Error::Inconsistent { name: what(), reason: "it is a manifest, not an index".into() });
            }
            Err(source) => return Err(Error::Document { what: what(), source }),
        };
        match &self.selector {
            Some(Selector::Tag(tag)) => {
                self.one_image(index.manifests.iter().filter(|entry| is_named(entry, tag)), &index)
            }
            Some(Selector::Digest(digest)) => self.by_digest(&index, *digest).map(|entry| vec![entry]),
            None => {
                // A file that carries an app has its images, too; what refers to an image, a delta for one, may lie
                // beside it.
                let apps = |entry: &&Descriptor| entry.annotations.app_name.is_some();
                let images = |entry: &&Descriptor| entry.artifact_type.is_none();
                let all = || index.manifests.iter();
                if all().any(|entry| apps(&entry)) {
                    self.one_image(all().filter(apps), &index)
                } else if all().any(|entry| images(&entry)) {
                    self.one_image(all().filter(images), &index)
                } else {
                    self.one_image(all(), &index)
                }
            }
        }
    }

    /// The entries, if they are one image: a single one, or one for each of several platforms.
    fn one_image<'i>(
        &self,
        entries: impl Iterator<Item = &'i Descriptor>,
        index: &Index,
    ) -> Result<Vec<Descriptor>, Error> {
        let entries: Vec<Descriptor> = entries.cloned().collect();
        let name = |entry: &Descriptor| entry.annotations.ref_name.clone();
        let same = |entry: &Descriptor| entry.platform.is_some() && name(entry) == name(&entries[0]);
        match entries.len() {
            0 => Err(self.not_found(&self.selector_text(), index)),
            1 => Ok(entries),
            _ if entries.iter().all(same) => Ok(entries),
            _ => Err(Error::Ambiguous { place: self.name.clone(), available: names(index) }),
        }
    }

    fn selector_text(&self) -> String {
        match &self.selector {
            Some(Selector::Tag(tag)) => tag.clone(),
            Some(Selector::Digest(digest)) => digest.to_string(),
            None => String::new(),
        }
    }

    /// An entry of the index, or any manifest among the blobs: a platform's manifest is not listed in index.json.
    fn by_digest(&self, index: &Index, digest: Digest) -> Result<Descriptor, Error> {
        if let Some(entry) = index.manifests.iter().find(|entry| entry.digest == digest) {
            return Ok(entry.clone());
        }
        let size = self.stored(&digest).map_err(|_| self.not_found(&digest.to_string(), index))?.len();
        Ok(Descriptor::new("", digest, size))
    }

    fn not_found(&self, name: &str, index: &Index) -> Error {
        Error::NotFound { name: name.to_owned(), place: self.name.clone(), available: names(index) }
    }
}

fn is_named(entry: &Descriptor, tag: &str) -> bool {
    [&entry.annotations.ref_name, &entry.annotations.image_name].into_iter().flatten().any(|name| name == tag)
}

/// What the entries can be selected by: their tags, or digests where they have none.
fn names(index: &Index) -> Vec<String> {
    let name = |entry: &Descriptor| entry.annotations.ref_name.clone().unwrap_or_else(|| entry.digest.to_string());
    let mut names: Vec<String> = index.manifests.iter().map(name).collect();
    names.dedup();
    names
}

impl Documents for Layout {
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let what = || format!("blob {} in {}", descriptor.digest, self.name);
        let bytes = self.small(&format!("blobs/sha256/{}", descriptor.digest.hex()))?;
        let (size, found) = (bytes.len() as u64, Digest::of(&bytes));
        if size != descriptor.size {
            return Err(Error::Size { what: what(), expected: descriptor.size, found: size });
        }
        if found != descriptor.digest {
            return Err(Error::Digest { what: what(), expected: descriptor.digest, found });
        }
        Ok(bytes)
    }
}

impl Source for Layout {
    fn resolve_watched(&self, platforms: &[Platform], _: &dyn Observer) -> Result<Image, Error> {
        let resolver = Resolver { name: &self.name, platforms, limits: &self.limits, documents: self };
        let several = Index { manifests: self.entries()? };
        match &several.manifests[..] {
            [only] => resolver.image(Documents::document(self, only)?, only.digest, &only.media_type),
            _ => {
                let chosen = resolver.choose(&several)?;
                resolver.image(Documents::document(self, chosen)?, chosen.digest, &chosen.media_type)
            }
        }
    }

    fn top(&self, _: &dyn Observer) -> Result<(Descriptor, Vec<u8>), Error> {
        match &self.entries()?[..] {
            [only] => {
                let bytes = Documents::document(self, only)?;
                let kind = Document::media_type_of(&bytes, &only.media_type);
                Ok((Descriptor { media_type: kind, ..only.clone() }, bytes))
            }
            several => {
                let available = several.iter().map(|entry| entry.digest.to_string()).collect();
                Err(Error::Ambiguous { place: self.name.clone(), available })
            }
        }
    }

    fn document(&self, descriptor: &Descriptor, _: &dyn Observer) -> Result<Vec<u8>, Error> {
        Documents::document(self, descriptor)
    }

    /// Unlike a layer of an image, the blob is compared with its digest here: whoever asks for it is told that it is good.
    fn blob(&self, blob: &Descriptor, observer: &dyn Observer) -> Result<BlobFile, Error> {
        let layer = Layer::from(blob);
        let file = self.fetch(&layer, observer)?;
        observer.check()?;
        file.verify(&layer, &self.path)?;
        Ok(file)
    }

    fn tags(&self, _: &dyn Observer) -> Result<Vec<String>, Error> {
        self.all_tags()
    }

    fn referrers(&self, subject: &Digest, kind: Option<&str>, observer: &dyn Observer) -> Result<Vec<Referrer>, Error> {
        self.all_referrers(subject, kind, observer)
    }

    fn fetch(&self, layer: &Layer, _: &dyn Observer) -> Result<BlobFile, Error> {
        let blob = self.stored(&layer.digest)?;
        if blob.len() == layer.size {
            return Ok(blob);
        }
        let what = format!("layer {} in {}", layer.digest, self.name);
        Err(Error::Size { what, expected: layer.size, found: blob.len() })
    }
}
