//! Squashfs images on both ends of a delta: taken apart as what it starts from, put together again as what it makes.
//!
//! Guarantees: a listing is bounded before it is read; a content of the target that the base has is copied in its compressed
//! blocks where these are as ours, and decompressed where they are not. Whether the image that comes out is the very one is
//! for the caller to see, who knows its digest.

use std::io;
use std::sync::Arc;

use umiak_delta::DeltaError;
use umiak_delta::apply::{Place, Spool};
use umiak_delta::container::{Bases, Container, Part, Parts, Shape};
use umiak_spec::{Digest, Limits, ReadAt, Stretch};
use umiak_squashfs::{Contents, Error, take_apart};

/// A stored image taken apart: contents are decompressed as they are read. The names of its contents are empty: applying
/// does not ask for them.
pub(super) struct StoredImage {
    apart: umiak_squashfs::Parts,
    parts: Parts,
}

impl StoredImage {
    /// The image of `size` bytes whose digest is `digest`.
    pub(super) fn open(image: Arc<dyn ReadAt>, digest: Digest, size: u64, limits: &Limits) -> Result<Self, Error> {
        let apart = take_apart(image, limits)?;
        // Applying goes by sizes: digests are the maker's affair.
        let nothing = Digest::from_bytes([0; 32]);
        let part = |content: &umiak_squashfs::PartContent| Part {
            name: Vec::new(),
            size: content.size,
            digest: nothing,
            // Nothing lies between contents.
            spacing: 0,
        };
        let contents = apart.contents().iter().map(part).collect();
        let skeleton = apart.listing().len() as u64;
        Ok(Self { parts: Parts { shape: Shape::Squashfs, size, digest, skeleton, contents }, apart })
    }

    /// The image, for its blocks to be copied.
    pub(super) const fn apart(&self) -> &umiak_squashfs::Parts {
        &self.apart
    }
}

impl Container for StoredImage {
    fn parts(&self) -> &Parts {
        &self.parts
    }

    fn skeleton(&self) -> io::Result<Arc<dyn ReadAt + '_>> {
        Ok(Arc::new(self.apart.listing()))
    }

    fn content(&self, number: usize) -> io::Result<Arc<dyn ReadAt + '_>> {
        Ok(Arc::new(self.apart.content(number).ok_or(io::ErrorKind::NotFound)?))
    }
}

/// The contents of an image that a delta makes: in the spool, or in what it starts from.
pub struct SpooledImage<'a> {
    spool: Spool,
    plain: &'a dyn ReadAt,
    bases: Bases<'a>,
    /// Whether the only base is an image, of which blocks are copied.
    copied: bool,
}

impl<'a> SpooledImage<'a> {
    /// What `spool` says of `plain` and `bases`. `copied`: there is one base, and it is an image.
    #[must_use]
    pub fn new(spool: Spool, plain: &'a dyn ReadAt, bases: &'a [&'a dyn Container], copied: bool) -> Self {
        Self { spool, plain, bases: Bases::new(bases), copied }
    }

    /// The listing.
    ///
    /// # Errors
    /// It is longer than names may be; the spool cannot be read.
    pub fn listing(&self, limits: &Limits) -> Result<Vec<u8>, DeltaError> {
        let length = self.spool.size.saturating_sub(self.spool.listing);
        if length > limits.metadata {
            return Err(DeltaError::Limit { what: "bytes of a listing", limit: limits.metadata });
        }
        let mut listing = vec![0; usize::try_from(length).unwrap_or(0)];
        self.plain.read_exact_at(&mut listing, self.spool.listing)?;
        Ok(listing)
    }
}

impl Contents for SpooledImage<'_> {
    fn count(&self) -> usize {
        self.spool.contents.len()
    }

    fn size(&self, number: usize) -> u64 {
        match self.spool.contents.get(number) {
            Some(Place::Source(source)) => self.bases.part(*source).map_or(0, |part| part.size),
            Some(Place::Spool { size, .. }) => *size,
            None => 0,
        }
    }

    fn in_base(&self, number: usize) -> Option<(usize, usize)> {
        match self.spool.contents.get(number)? {
            // Source 0 is the base's skeleton.
            Place::Source(source) if self.copied => Some((0, source.checked_sub(1)?)),
            Place::Source(_) | Place::Spool { .. } => None,
        }
    }

    fn open(&self, number: usize) -> io::Result<Arc<dyn ReadAt + '_>> {
        match *self.spool.contents.get(number).ok_or(io::ErrorKind::NotFound)? {
            Place::Source(source) => Ok(self.bases.open(source)?.0),
            Place::Spool { offset, size } => Ok(Arc::new(Stretch { bytes: self.plain, offset, size })),
        }
    }
}
