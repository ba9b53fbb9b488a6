//! What is going to be copied: every document and blob, found by following what each names.
//!
//! Guarantees: the reference is looked up once, everything after that goes by digest: a tag that moves meanwhile changes
//! nothing; every document is verified before it is looked into; an index is followed whole or to one platform, and its
//! bytes are never changed; whatever a source claims, a bounded number of documents is read.

use std::collections::{BTreeMap, BTreeSet};

use umiak_spec::{Descriptor, Digest, Document, ImageReference, Limits, Named, Observer, Platform, media_type};

use super::Choice;
use super::made;
use crate::error::{Error, ErrorKind};
use crate::image::{Documents, Layer, Resolver};
use crate::registry_sink::referrer;
use crate::source::Source;

/// Documents of one copy, those that refer to them included.
const MAX_DOCUMENTS: usize = 4096;

/// Referrers of referrers of referrers: nobody signs deeper.
const MAX_DEPTH: usize = 8;

/// One manifest or index as it is.
#[derive(Debug, Clone)]
pub struct Part {
    /// What it is.
    pub descriptor: Descriptor,
    /// Its bytes, unchanged.
    pub bytes: Vec<u8>,
    /// Whether it refers to another one, and is copied because of that.
    pub is_referrer: bool,
    /// Whether it names a subject: it has to be listed there.
    pub has_subject: bool,
}

/// Everything that is going to be copied.
#[derive(Debug)]
pub struct Content {
    /// What the reference names; the last of [`Content::parts`] that are no referrers.
    pub top: Descriptor,
    /// Documents: each after those that it names, referrers behind their subjects.
    pub parts: Vec<Part>,
    /// Distinct blobs, largest first.
    pub blobs: Vec<Descriptor>,
    /// Those of them that only annotations name: they are copied if they are there.
    pub attached: BTreeSet<Digest>,
    /// Where the blobs of an image without a manifest are: the place is not asked by digest.
    pub(crate) places: BTreeMap<Digest, Layer>,
    /// Documents made here, because the place has none.
    pub(crate) made: BTreeMap<Digest, Vec<u8>>,
}

impl Content {
    /// A document that was made here, because the place has none.
    #[must_use]
    pub fn made(&self, digest: &Digest) -> Option<&[u8]> {
        self.made.get(digest).map(Vec::as_slice)
    }

    /// Bytes of all blobs.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.size).sum()
    }
}

/// Finds all of it.
pub(crate) struct Search<'a> {
    source: &'a dyn Source,
    name: String,
    limits: &'a Limits,
    observer: &'a dyn Observer,
    seen: BTreeSet<Digest>,
    parts: Vec<Part>,
    blobs: BTreeMap<Digest, Descriptor>,
    attached: BTreeMap<Digest, Descriptor>,
}

/// What `reference`, opened as `source`, has of `choice`.
///
/// # Errors
/// [`Error`]; of kind `Platform` when the image is not made for it.
pub fn content(
    source: &dyn Source,
    reference: &ImageReference,
    choice: &Choice,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<Content, Error> {
    if made::is_needed(reference) {
        return made::content(source, reference, choice, limits, observer);
    }
    let (top, bytes) = source.top(observer)?;
    let mut search = Search {
        source,
        name: reference.to_string(),
        limits,
        observer,
        seen: BTreeSet::new(),
        parts: Vec::new(),
        blobs: BTreeMap::new(),
        attached: BTreeMap::new(),
    };
    let (top, bytes) = search.chosen(top, bytes, choice)?;
    search.follow(top.clone(), bytes, 0)?;
    if choice.referrers {
        search.referrers(0, 0)?;
    }
    let (named, mut extra) = (search.blobs, search.attached);
    // A blob that a manifest names has to be there, whatever else names it.
    extra.retain(|digest, _| !named.contains_key(digest));
    let attached = extra.keys().copied().collect();
    let mut blobs: Vec<Descriptor> = named.into_values().chain(extra.into_values()).collect();
    blobs.sort_by(|one, other| other.size.cmp(&one.size).then(one.digest.cmp(&other.digest)));
    let (places, made) = Default::default();
    Ok(Content { top, parts: search.parts, blobs, attached, places, made })
}

impl Documents for Search<'_> {
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        self.source.document(descriptor, self.observer)
    }
}

impl Search<'_> {
    /// The document that is copied: the reference's own, or that of one platform.
    fn chosen(&self, top: Descriptor, bytes: Vec<u8>, choice: &Choice) -> Result<(Descriptor, Vec<u8>), Error> {
        let platforms: &[Platform] = &choice.platforms;
        if choice.all_platforms {
            return Ok((top, bytes));
        }
        match self.parse(&bytes, &top)? {
            Some(Document::Index(_)) => {}
            // Made for one platform: asked for by name, it is a condition, as everywhere.
            _ if platforms.is_empty() => return Ok((top, bytes)),
            _ => {}
        }
        let resolver = Resolver { name: &self.name, platforms, limits: self.limits, documents: self };
        let image = resolver.image(bytes, top.digest, &top.media_type)?;
        let inconsistent = || Error::Inconsistent { name: self.name.clone(), reason: "it has no manifest".into() };
        let manifest = image.manifest.ok_or_else(inconsistent)?;
        let bytes = self.document(&manifest)?;
        Ok((manifest, bytes))
    }

    /// A manifest or index; `None` for a manifest that only looks like one, which is copied as it is.
    fn parse(&self, bytes: &[u8], descriptor: &Descriptor) -> Result<Option<Document>, Error> {
        match Document::parse(bytes, &descriptor.media_type, self.limits) {
            Ok(document) => Ok(Some(document)),
            // A Compose App's config has no size: no image, and yet a manifest.
            Err(umiak_spec::DocumentError::Json(_)) if descriptor.media_type == media_type::OCI_MANIFEST => Ok(None),
            Err(source) => Err(self.wrong(descriptor, source)),
        }
    }

    fn wrong(&self, descriptor: &Descriptor, source: umiak_spec::DocumentError) -> Error {
        Error::Document { what: format!("manifest {} of {}", descriptor.digest, self.name), source }
    }

    /// Takes a document and everything that it names.
    fn follow(&mut self, descriptor: Descriptor, bytes: Vec<u8>, depth: usize) -> Result<(), Error> {
        self.observer.check()?;
        if depth > MAX_DEPTH || self.seen.len() >= MAX_DOCUMENTS {
            let reason = format!("more than {MAX_DOCUMENTS} documents, or {MAX_DEPTH} in one another, belong to it");
            return Err(Error::Inconsistent { name: self.name.clone(), reason });
        }
        if !self.seen.insert(descriptor.digest) {
            return Ok(());
        }
        let named =
            Named::of(&bytes, &descriptor.media_type, self.limits).map_err(|source| self.wrong(&descriptor, source))?;
        for entry in named.manifests {
            if !self.seen.contains(&entry.digest) {
                let bytes = self.document(&entry)?;
                let kind = Document::media_type_of(&bytes, &entry.media_type);
                self.follow(Descriptor::new(kind, entry.digest, entry.size), bytes, depth + 1)?;
            }
        }
        self.attached.extend(named.attached.into_iter().map(|blob| (blob.digest, blob)));
        for blob in named.blobs {
            self.take(blob)?;
        }
        let has_subject = referrer(&bytes, &descriptor.media_type, self.limits)?.is_some();
        self.parts.push(Part { descriptor, bytes, is_referrer: false, has_subject });
        Ok(())
    }

    /// Takes a blob; two sizes of one digest cannot both be right.
    fn take(&mut self, blob: Descriptor) -> Result<(), Error> {
        match self.blobs.get(&blob.digest) {
            Some(known) if known.size != blob.size => {
                let reason = format!("blob {} has {} bytes, and {} elsewhere", blob.digest, known.size, blob.size);
                Err(Error::Inconsistent { name: self.name.clone(), reason })
            }
            _ if blob.size > self.limits.expanded => {
                let (size, limit) = (blob.size, self.limits.expanded);
                let text = format!("blob {} would have {size} bytes, more than the limit of {limit}", blob.digest);
                Err(Error::Unsupported(text))
            }
            _ => {
                self.blobs.insert(blob.digest, blob);
                Ok(())
            }
        }
    }

    /// Takes what refers to the parts from number `from` on, and what refers to that.
    fn referrers(&mut self, from: usize, depth: usize) -> Result<(), Error> {
        let subjects: Vec<Digest> = self.parts[from..].iter().map(|part| part.descriptor.digest).collect();
        let first = self.parts.len();
        for subject in subjects {
            for referrer in self.source.referrers(&subject, None, self.observer)? {
                if self.seen.contains(&referrer.descriptor.digest) {
                    continue;
                }
                let bytes = match self.document(&referrer.descriptor) {
                    // A list may name what was deleted since.
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    bytes => bytes?,
                };
                let kind = Document::media_type_of(&bytes, &referrer.descriptor.media_type);
                let descriptor = Descriptor::new(kind, referrer.descriptor.digest, referrer.descriptor.size);
                self.follow(descriptor, bytes, depth + 1)?;
                if let Some(part) = self.parts.last_mut() {
                    part.is_referrer = true;
                }
            }
        }
        if self.parts.len() > first { self.referrers(first, depth + 1) } else { Ok(()) }
    }
}
