//! A target in parts: what was made of it in a file, what the bases have where it is.
//!
//! Guarantees: an unchanged content is written nowhere; a content that comes again is made once. What a tar of such parts reads
//! as is not verified until [`SpooledTar::verify`] has seen it, or the reader's own hash has. Memory: 32 bytes for each content.

use std::io::{self, Read};
use std::sync::Arc;

use umiak_spec::{Observer, ReadAt, Sha256};

use super::output::{Output, Space};
use super::{Scratch, Walk, check_bases, check_target};
use crate::DeltaError;
use crate::container::{Bases, Container, Shape};
use crate::index::Whole;
use crate::reading::Delta;

/// Most bytes in a spool of a squashfs image: compressed, the whole may be far smaller than its contents.
pub(super) const SPOOL: u64 = 1 << 48;

/// The phase that bytes of a tar are counted in while it is read back.
pub const VERIFYING: &str = "Verifying";

/// Where the parts of a target are that is put together by its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spool {
    /// What the parts make together.
    pub target: Whole,
    /// Of each content, in order.
    pub contents: Vec<Place>,
    /// Of each content of a tar, see [`Part::spacing`](crate::container::Part::spacing); empty of an image.
    pub spacings: Vec<u64>,
    /// First byte of the skeleton in the spool, checksum fields as they are in the tar; of an image the listing. It goes on to
    /// the spool's end.
    pub listing: u64,
    /// Bytes in the spool.
    pub size: u64,
}

/// Where one content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It is this source.
    Source(usize),
    /// It is in the spool.
    Spool {
        /// First byte.
        offset: u64,
        /// Bytes.
        size: u64,
    },
}

/// Makes the contents of a target of shape [`Shape::Tar`] or [`Shape::Squashfs`] that no source has, and its skeleton or
/// listing, in `space`. Nothing is verified yet: a tar is by [`SpooledTar::verify`]; an image is rebuilt by the caller and compared with
/// the index.
///
/// # Errors
/// As [`apply`](super::apply()).
pub fn spool(
    delta: &Delta<impl ReadAt>,
    bases: &[&dyn Container],
    space: &dyn Space,
    scratch: &dyn Scratch,
    observer: &dyn Observer,
) -> Result<Spool, DeltaError> {
    check_bases(delta, bases)?;
    let target = delta.index().target;
    let limit = match target.shape {
        Shape::Raw => return Err(DeltaError::Malformed("a plain file is made in one piece")),
        Shape::Tar => target.size,
        Shape::Squashfs => SPOOL,
    };
    let mut walk = Walk::new(delta, bases, Output::new(space, limit, None), scratch, observer)?;
    walk.spooled = true;
    let listing = walk.run()?;
    walk.output.settle()?;
    let size = walk.output.position();
    let mut spacings = std::mem::take(&mut walk.spacings);
    spacings.shrink_to_fit();
    let mut contents = std::mem::take(&mut walk.places);
    contents.shrink_to_fit();
    let spool = Spool { target, contents, spacings, listing, size };
    if target.shape == Shape::Tar && spool.tar_size(&Bases::new(bases)) != Some(target.size) {
        return Err(DeltaError::Malformed("the parts are not as long as the whole"));
    }
    Ok(spool)
}

impl Spool {
    /// How long the tar is that the parts make; `None` when the skeleton is shorter than what the contents want of it.
    fn tar_size(&self, bases: &Bases<'_>) -> Option<u64> {
        let skeleton = self.size.checked_sub(self.listing)?;
        let (mut wanted, mut size) = (0_u64, skeleton);
        for (place, spacing) in self.contents.iter().zip(&self.spacings) {
            let length = place.size(bases)?;
            wanted = wanted.checked_add(spacing / 2)?;
            size = size.checked_add(length)?.checked_add(padding(length, *spacing))?;
        }
        (wanted <= skeleton).then_some(size)
    }
}

impl Place {
    /// Bytes of the content; `None` when there is no such source.
    fn size(&self, bases: &Bases<'_>) -> Option<u64> {
        match *self {
            Self::Source(0) => Some(bases.skeleton_size()),
            Self::Source(source) => bases.part(source).map(|part| part.size),
            Self::Spool { size, .. } => Some(size),
        }
    }
}

/// Zeros behind a content of `size` bytes.
fn padding(size: u64, spacing: u64) -> u64 {
    let block = super::skeleton::BLOCK as u64;
    if spacing.is_multiple_of(2) { (block - size % block) % block } else { 0 }
}

/// A tar whose parts are in a spool and in its bases. It can be read as often as is wanted.
pub struct SpooledTar<'a> {
    spool: &'a Spool,
    bases: &'a [&'a dyn Container],
    space: &'a dyn Space,
}

impl<'a> SpooledTar<'a> {
    /// The tar that `spool` was made of with these bases, in this space.
    ///
    /// # Errors
    /// It is a spool of something else.
    pub fn new(spool: &'a Spool, bases: &'a [&'a dyn Container], space: &'a dyn Space) -> Result<Self, DeltaError> {
        match spool.target.shape {
            Shape::Tar => Ok(Self { spool, bases, space }),
            Shape::Raw | Shape::Squashfs => Err(DeltaError::Malformed("these are not the parts of a tar")),
        }
    }

    /// The tar from its first byte to its last. Reading fails where a source cannot be read.
    #[must_use]
    pub fn reader(&self) -> TarReader<'a> {
        TarReader {
            spool: self.spool,
            bases: Bases::new(self.bases),
            space: self.space,
            next: 0,
            skeleton: self.spool.listing,
            pending: Vec::new(),
        }
    }

    /// Reads the tar once and compares it with the digest that the delta names.
    ///
    /// # Errors
    /// [`DeltaError::Target`] when it is not the target; a source cannot be read; the observer cancelled.
    pub fn verify(&self, observer: &dyn Observer) -> Result<(), DeltaError> {
        observer.expect(VERIFYING, self.spool.target.size);
        let (mut reader, mut hash) = (self.reader(), Sha256::new());
        let mut buffer = vec![0; 64 << 10];
        loop {
            observer.check()?;
            let length = reader.read(&mut buffer)?;
            if length == 0 {
                return check_target(self.spool.target.digest, hash.finish());
            }
            hash.update(&buffer[..length]);
            observer.advance(VERIFYING, length as u64);
        }
    }
}

/// Reads a [`SpooledTar`].
pub struct TarReader<'a> {
    spool: &'a Spool,
    bases: Bases<'a>,
    space: &'a dyn Space,
    /// The content that comes next.
    next: usize,
    /// Where in the spool the skeleton goes on.
    skeleton: u64,
    /// What comes next, in reverse: the last is read first.
    pending: Vec<Stretch<'a>>,
}

/// A part of the tar.
enum Stretch<'a> {
    Spool { offset: u64, left: u64 },
    Source { bytes: Arc<dyn ReadAt + 'a>, offset: u64, left: u64 },
    Zeros { left: u64 },
}

impl Stretch<'_> {
    fn left(&mut self) -> &mut u64 {
        match self {
            Self::Spool { left, .. } | Self::Source { left, .. } | Self::Zeros { left } => left,
        }
    }

    /// Reads the next bytes of it, all of `buffer`.
    fn read(&mut self, space: &dyn Space, buffer: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Spool { offset, .. } => {
                space.read_exact_at(buffer, *offset)?;
                *offset += buffer.len() as u64;
            }
            Self::Source { bytes, offset, .. } => {
                bytes.read_exact_at(buffer, *offset)?;
                *offset += buffer.len() as u64;
            }
            Self::Zeros { .. } => buffer.fill(0),
        }
        *self.left() -= buffer.len() as u64;
        Ok(())
    }
}

impl<'a> TarReader<'a> {
    /// Lines up the next content and what is before and behind it, or the rest of the skeleton; `false` at the end.
    fn line_up(&mut self) -> io::Result<bool> {
        let spool = self.spool;
        let Some((place, spacing)) = spool.contents.get(self.next).zip(spool.spacings.get(self.next)) else {
            let rest = spool.size - self.skeleton;
            self.take_skeleton(rest);
            return Ok(rest > 0);
        };
        self.next += 1;
        let content = self.open(place)?;
        let size = place.size(&self.bases).ok_or(io::ErrorKind::NotFound)?;
        self.pending.push(Stretch::Zeros { left: padding(size, *spacing) });
        self.pending.push(content);
        self.take_skeleton(spacing / 2);
        Ok(true)
    }

    fn take_skeleton(&mut self, length: u64) {
        self.pending.push(Stretch::Spool { offset: self.skeleton, left: length });
        self.skeleton += length;
    }

    fn open(&self, place: &Place) -> io::Result<Stretch<'a>> {
        Ok(match *place {
            Place::Spool { offset, size } => Stretch::Spool { offset, left: size },
            Place::Source(source) => {
                let (bytes, left) = self.bases.open(source)?;
                Stretch::Source { bytes, offset: 0, left }
            }
        })
    }
}

impl Read for TarReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let Some(stretch) = self.pending.last_mut() else {
                if self.line_up()? {
                    continue;
                }
                break;
            };
            let left = *stretch.left();
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len() - filled);
            stretch.read(self.space, &mut buffer[filled..filled + length])?;
            filled += length;
            if length as u64 == left {
                self.pending.pop();
            }
        }
        Ok(filled)
    }
}
