//! Copies: from any place to any place, only what is missing, with digests that stay.
//!
//! ```text
//! content(source)  ->  missing(sink)  ->  copy: blobs, several at once  ->  manifests  ->  referrers  ->  tag
//! ```
//!
//! Guarantees: nothing is changed on the way, so digests are equal on both sides; the tag is written last, and a copy
//! that was cut off has changed nothing that anybody sees; copied again, it sends what is still missing. From registry
//! to registry blobs pass through: no copy of them is kept here, and memory does not grow with their size.

mod content;
mod made;

use umiak_spec::{Descriptor, ImageReference, Observer, Platform, ReadAt};

use crate::announced::Announced;
use crate::body::PHASE;
use crate::error::{Error, ErrorKind};
use crate::parallel::in_parallel;
use crate::sink::{Sink, Stored, registry_name};
use crate::source::Source;

pub use content::{Content, Part, content};

/// What of an image is copied.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// The first of these that the image is made for; none: this machine's, or what the image is made for if that is
    /// no choice.
    pub platforms: Vec<Platform>,
    /// The whole index instead.
    pub all_platforms: bool,
    /// What refers to it, too.
    pub referrers: bool,
}

/// What was copied.
#[derive(Debug)]
pub struct Copied {
    /// Each blob, and whether it had to be sent.
    pub blobs: Vec<(Descriptor, Stored)>,
    /// Blobs that annotations name and the source has not.
    pub lost: Vec<Descriptor>,
}

impl Copied {
    /// Number and bytes of the blobs of one fate.
    #[must_use]
    pub fn sum(&self, fate: Stored) -> (usize, u64) {
        let sizes = self.blobs.iter().filter(|(_, stored)| *stored == fate).map(|(blob, _)| blob.size);
        sizes.fold((0, 0), |(count, bytes), size| (count + 1, bytes + size))
    }
}

/// One copy: from where, to where, and who watches.
pub struct Copy<'a> {
    /// Where it comes from.
    pub source: &'a dyn Source,
    /// What that is called.
    pub from: &'a ImageReference,
    /// Where it goes.
    pub sink: &'a dyn Sink,
    /// Blobs at once; the budget of the sources' and sinks' [`crate::Flow`] may allow fewer.
    pub parallel: usize,
    /// Who watches.
    pub observer: &'a dyn Observer,
}

impl Copy<'_> {
    /// The blobs that the sink has not, in the order of [`Content::blobs`].
    ///
    /// # Errors
    /// [`Error`].
    pub fn missing(&self, content: &Content) -> Result<Vec<Descriptor>, Error> {
        let there = in_parallel(&content.blobs, self.parallel, |_, blob| self.sink.has_blob(blob, self.observer))?;
        let blobs = content.blobs.iter().zip(there);
        Ok(blobs.filter(|(_, there)| !there).map(|(blob, _)| blob.clone()).collect())
    }

    /// Sends `missing`, then the documents, then what refers to them, and gives the tag last.
    ///
    /// # Errors
    /// The first error; the tag is where it was.
    pub fn run(&self, content: &Content, missing: &[Descriptor], tag: Option<&str>) -> Result<Copied, Error> {
        let sent = self.blobs(content, missing)?;
        let (subjects, referrers): (Vec<_>, Vec<_>) = content.parts.iter().partition(|part| !part.is_referrer);
        let (top, parts): (Vec<&Part>, Vec<&Part>) =
            subjects.into_iter().partition(|part| part.descriptor.digest == content.top.digest);
        for part in parts.iter().chain(top.iter().filter(|_| !referrers.is_empty())) {
            let (bytes, kind) = (&part.bytes, &part.descriptor.media_type);
            match part.has_subject {
                // An index may hold what refers to another of its entries.
                true => self.sink.put_manifest(bytes, kind, None, self.observer)?,
                false => self.sink.put_part(bytes, kind, self.observer)?,
            };
        }
        for part in referrers {
            self.sink.put_manifest(&part.bytes, &part.descriptor.media_type, None, self.observer)?;
        }
        for part in top {
            self.sink.put_manifest(&part.bytes, &part.descriptor.media_type, tag, self.observer)?;
        }
        let mut copied = Copied { blobs: Vec::new(), lost: Vec::new() };
        for blob in &content.blobs {
            match sent.iter().find(|(sent, _)| sent.digest == blob.digest) {
                None => copied.blobs.push((blob.clone(), Stored::There)),
                Some((_, Some(stored))) => copied.blobs.push((blob.clone(), *stored)),
                Some((_, None)) => copied.lost.push(blob.clone()),
            }
        }
        Ok(copied)
    }

    /// Sends blobs, several at once; of one that is lost and may be, nothing.
    fn blobs(&self, content: &Content, missing: &[Descriptor]) -> Result<Vec<(Descriptor, Option<Stored>)>, Error> {
        let total: u64 = missing.iter().map(|blob| blob.size).sum();
        let announced = Announced::new(PHASE, total, self.observer);
        let name = registry_name(self.from);
        let stored = in_parallel(missing, self.parallel, |_, blob| {
            announced.check()?;
            let send = || {
                let stream = self.open(content, blob, &announced)?;
                self.sink.send_blob(blob, stream.as_ref(), name, &announced)
            };
            let sent = match send() {
                Err(Error::Digest { .. }) if self.sink.takes_streams() => {
                    // Perhaps only the pieces did not fit together, from before and after a connection broke.
                    self.observer.note(&format!("blob {} came damaged, copying all of it again", blob.digest));
                    announced.advance(PHASE, blob.size);
                    send()
                }
                sent => sent,
            };
            match sent {
                Ok(stored) => Ok(Some(stored)),
                Err(error) if error.kind() == ErrorKind::NotFound && content.attached.contains(&blob.digest) => {
                    self.observer.note(&format!("blob {} is gone from {}: left out", blob.digest, self.from));
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        })?;
        announced.close();
        Ok(missing.iter().cloned().zip(stored).collect())
    }

    /// The bytes of a blob.
    fn open<'b>(
        &'b self,
        content: &'b Content,
        blob: &Descriptor,
        observer: &'b dyn Observer,
    ) -> Result<Box<dyn ReadAt + 'b>, Error> {
        if let Some(bytes) = content.made.get(&blob.digest) {
            return Ok(Box::new(bytes.as_slice()));
        }
        match content.places.get(&blob.digest) {
            Some(layer) => Ok(Box::new(self.source.fetch(layer, observer)?)),
            None if self.sink.takes_streams() => self.source.stream(blob, observer),
            None => Ok(Box::new(self.source.fetch(&blob.into(), observer)?)),
        }
    }
}
