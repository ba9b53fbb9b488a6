//! Deltas between squashfs images: by their files, not by their compressed blocks.
//!
//! A target is an image that our writer makes again, bit for bit; another one is a plain file, and so is its base. A base may
//! be any image.
//!
//! Guarantees: contents that are used are decompressed once, into a scratch file; one of the target's that the base has is
//! not decompressed at all when its blocks can be copied.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use umiak_delta::apply::{check_target, spool};
use umiak_delta::container::{Container, Part, Parts, Shape};
use umiak_delta::{Delta, DeltaError};
use umiak_spec::{Digest, Limits, Observer, ReadAt, Stretch, WriteAt as _};
use umiak_squashfs::{Error, PartReader, Rebuild, take_apart};
use umiak_store::SpooledImage;

use super::parts::{self, Bytes};
use super::place::Nameless;
use crate::error::{BuildError, IoContext as _};

/// First bytes of an image.
const MAGIC: &[u8; 4] = b"hsqs";

/// Contents of fewer bytes are decompressed into memory each time.
const SPOOLED: u64 = 128 << 10;

/// Compressing threads, at most: each holds some blocks and an encoder.
const MOST_THREADS: usize = 4;

/// A file taken apart.
pub(super) enum Apart {
    /// A squashfs image.
    Image(Box<Image>),
    /// Anything else.
    Other(Box<dyn Container>),
}

impl Apart {
    /// Its parts.
    pub(super) fn container(&self) -> &dyn Container {
        match self {
            Self::Image(image) => image.as_ref(),
            Self::Other(other) => other.as_ref(),
        }
    }
}

/// What files are taken apart with. `name` is what errors call a file.
#[derive(Clone, Copy)]
pub(super) struct Bench<'a> {
    pub scratch: &'a Nameless,
    pub limits: &'a Limits,
    pub observer: &'a dyn Observer,
}

impl Bench<'_> {
    /// Takes apart what a delta is to start from.
    pub(super) fn apart(self, bytes: Bytes, name: &Path) -> Result<Apart, BuildError> {
        if let Some(image) = self.base(&bytes, name)? {
            return Ok(Apart::Image(Box::new(image)));
        }
        Ok(Apart::Other(parts::open(bytes, name, self.limits, self.observer)?))
    }

    /// An image that a delta is to make; `None` when it is none that our writer makes.
    pub(super) fn target(self, bytes: &Bytes, name: &Path) -> Result<Option<Image>, BuildError> {
        let Some(apart) = begin(bytes, name, self.limits)? else { return Ok(None) };
        let apart = readable(apart.rebuildable(threads(), self.limits, self.observer), name)?.flatten();
        apart.map(|apart| self.hashed(apart, bytes, name)).transpose()
    }

    /// An image that a delta that is made starts from; `None` when it is none.
    pub(super) fn base(self, bytes: &Bytes, name: &Path) -> Result<Option<Image>, BuildError> {
        let apart = begin(bytes, name, self.limits)?;
        apart.map(|apart| self.hashed(apart, bytes, name)).transpose()
    }

    /// An image that a delta that is applied starts from; `None` when it is none. Its contents' digests are not known.
    pub(super) fn source(self, bytes: &Bytes, name: &Path) -> Result<Option<Image>, BuildError> {
        let Some(apart) = begin(bytes, name, self.limits)? else { return Ok(None) };
        let digests = vec![Digest::of(b""); apart.contents().len()];
        self.image(apart, &digests, bytes, name).map(Some)
    }

    fn hashed(self, apart: umiak_squashfs::Parts, bytes: &Bytes, name: &Path) -> Result<Image, BuildError> {
        let digests = apart.digests(threads(), self.observer).map_err(|error| BuildError::unreadable(name, error))?;
        self.image(apart, &digests, bytes, name)
    }

    fn image(
        self,
        apart: umiak_squashfs::Parts,
        digests: &[Digest],
        bytes: &Bytes,
        name: &Path,
    ) -> Result<Image, BuildError> {
        let contents = apart.contents().iter().zip(digests);
        let contents = contents.map(|(content, digest)| Part {
            name: content.name.clone(),
            size: content.size,
            digest: *digest,
            // Nothing lies between contents.
            spacing: 0,
        });
        let parts = Parts {
            shape: Shape::Squashfs,
            size: bytes.len().at("read", name)?,
            digest: parts::digest(bytes, self.observer).at("read", name)?,
            skeleton: apart.listing().len() as u64,
            contents: contents.collect(),
        };
        Ok(Image { apart, parts, scratch: self.scratch.clone(), spooled: Mutex::default() })
    }
}

/// A squashfs image taken apart.
pub(super) struct Image {
    apart: umiak_squashfs::Parts,
    parts: Parts,
    scratch: Nameless,
    spooled: Mutex<Spooled>,
}

/// Contents that were decompressed, and where each is.
#[derive(Default)]
struct Spooled {
    file: Option<Arc<File>>,
    end: u64,
    places: HashMap<usize, u64>,
}

impl Image {
    /// Where content `number` is in the scratch file, once it is there.
    fn spool(&self, number: usize, content: PartReader<'_>, size: u64) -> io::Result<(Arc<File>, u64)> {
        let mut spooled = self.spooled.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match &spooled.file {
            Some(file) => Arc::clone(file),
            None => Arc::clone(spooled.file.insert(Arc::new(self.scratch.file()?))),
        };
        if let Some(place) = spooled.places.get(&number) {
            return Ok((file, *place));
        }
        let place = spooled.end;
        let mut buffer = vec![0; 256 << 10];
        let mut at = 0;
        while at < size {
            let length = usize::try_from(size - at).unwrap_or(usize::MAX).min(buffer.len());
            content.read_exact_at(&mut buffer[..length], at)?;
            file.write_all_at(&buffer[..length], place + at)?;
            at += length as u64;
        }
        spooled.end = place + size;
        spooled.places.insert(number, place);
        Ok((file, place))
    }
}

impl Container for Image {
    fn parts(&self) -> &Parts {
        &self.parts
    }

    fn skeleton(&self) -> io::Result<Arc<dyn ReadAt + '_>> {
        Ok(Arc::new(self.apart.listing()))
    }

    fn content(&self, number: usize) -> io::Result<Arc<dyn ReadAt + '_>> {
        let content = self.apart.content(number).ok_or(io::ErrorKind::NotFound)?;
        let size = content.len()?;
        if size < SPOOLED {
            let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
            content.read_exact_at(&mut bytes, 0)?;
            return Ok(Arc::new(bytes));
        }
        let (bytes, offset) = self.spool(number, content, size)?;
        Ok(Arc::new(Stretch { bytes, offset, size }))
    }
}

/// Takes an image apart; `None` when it is none, or one that cannot be read.
fn begin(bytes: &Bytes, name: &Path, limits: &Limits) -> Result<Option<umiak_squashfs::Parts>, BuildError> {
    let mut start = [0; 4];
    if bytes.len().at("read", name)? < start.len() as u64 {
        return Ok(None);
    }
    bytes.read_exact_at(&mut start, 0).at("read", name)?;
    if start == *MAGIC { readable(take_apart(Arc::clone(bytes), limits), name) } else { Ok(None) }
}

/// What the image is to blame for is no error: it is taken as it is.
fn readable<T>(result: Result<T, Error>, name: &Path) -> Result<Option<T>, BuildError> {
    match result {
        Ok(result) => Ok(Some(result)),
        Err(error @ (Error::Cancelled(_) | Error::Compress { .. } | Error::Broken)) => {
            Err(BuildError::unreadable(name, error))
        }
        Err(error @ Error::Read { .. }) => Err(BuildError::unreadable(name, error)),
        Err(_) => Ok(None),
    }
}

fn threads() -> NonZeroUsize {
    let most = const { NonZeroUsize::new(MOST_THREADS).expect("there is more than one") };
    std::thread::available_parallelism().map_or(NonZeroUsize::MIN, |threads| threads.min(most))
}

/// Makes the image that `delta` is a delta to in `space`, which is empty, and verifies it.
pub(super) fn rebuild(
    delta: &Delta<impl ReadAt>,
    base: &Apart,
    space: &File,
    scratch: &Nameless,
    (name, limits): (&Path, &Limits),
    observer: &dyn Observer,
) -> Result<(), BuildError> {
    let target = delta.index().target;
    let bases = [base.container()];
    let plain = scratch.file().at("create a scratch file beside", name)?;
    let spool = spool(delta, &bases, &plain, scratch, observer).map_err(BuildError::from)?;
    let image = if let Apart::Image(image) = base { Some(&image.apart) } else { None };
    let made = SpooledImage::new(spool, &plain, &bases, image.is_some());
    let listing = made.listing(limits).map_err(BuildError::from)?;
    let images: Vec<&umiak_squashfs::Parts> = image.into_iter().collect();
    let from = Rebuild { listing: &listing, contents: &made, bases: &images, threads: threads(), limits };
    umiak_squashfs::rebuild(&from, space, observer).map_err(|error| match error {
        Error::Cancelled(cancelled) => cancelled.into(),
        source => BuildError::Write { path: name.to_owned(), source },
    })?;
    let image: Bytes = Arc::new(space.try_clone().at("read", name)?);
    let actual = parts::digest(&image, observer).at("read", name)?;
    check_target(target.digest, actual).map_err(BuildError::from)
}

/// The names of a target's contents of these sizes; `plain` ends with its listing of `length` bytes.
pub(super) fn names(
    plain: &File,
    length: u64,
    sizes: &[u64],
    name: &Path,
    limits: &Limits,
) -> Result<Vec<Vec<u8>>, BuildError> {
    let end = plain.len().at("look at a scratch file beside", name)?;
    if length > limits.metadata {
        let limit = limits.metadata;
        return Err(BuildError::from(DeltaError::Limit { what: "bytes of a listing", limit }));
    }
    let mut listing = vec![0; usize::try_from(length).unwrap_or(0)];
    plain.read_exact_at(&mut listing, end.saturating_sub(length)).at("read a scratch file beside", name)?;
    umiak_squashfs::content_names(&listing, sizes, limits).map_err(|error| BuildError::unreadable(name, error))
}
