//! What bases and targets are to a delta: containers that were taken apart into a skeleton and contents.
//!
//! A plain file is a container without a skeleton and with one content. How tars and squashfs images are taken apart is in
//! `docs/formats/delta-containers.md`; this crate only sees the parts.

use std::io;
use std::sync::Arc;

use umiak_spec::{Digest, ReadAt};

/// How the target is put together from its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Shape {
    /// The only content, if there is one, is the file.
    Raw = 0,
    /// Skeleton bytes, a content, zeros up to a multiple of 512, and so on; checksum fields flipped.
    Tar = 1,
    /// The skeleton is the listing of an image that our writer makes of the contents.
    Squashfs = 2,
}

impl Shape {
    /// The shape with a number.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        [Self::Raw, Self::Tar, Self::Squashfs].get(usize::try_from(number).ok()?).copied()
    }
}

/// One content of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Where a person would find it; matching goes by it, applying does not.
    pub name: Vec<u8>,
    /// Bytes, at least 1.
    pub size: u64,
    /// SHA-256.
    pub digest: Digest,
    /// Bytes of skeleton between the content before (with its padding) and this one, times two; plus one when no padding follows.
    pub spacing: u64,
}

/// What a container is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// How they are put together.
    pub shape: Shape,
    /// Bytes of the whole container.
    pub size: u64,
    /// SHA-256 of the whole container; for a layer its diff ID.
    pub digest: Digest,
    /// Bytes of skeleton.
    pub skeleton: u64,
    /// Contents in the order in which they lie in the container.
    pub contents: Vec<Part>,
}

/// A container whose parts can be read.
pub trait Container: Send + Sync {
    /// What there is.
    fn parts(&self) -> &Parts;

    /// The skeleton's bytes, checksum fields flipped.
    ///
    /// # Errors
    /// The container cannot be read.
    fn skeleton(&self) -> io::Result<Arc<dyn ReadAt + '_>>;

    /// The bytes of content `number`.
    ///
    /// # Errors
    /// The container cannot be read.
    fn content(&self, number: usize) -> io::Result<Arc<dyn ReadAt + '_>>;
}

/// A plain file, or bytes in memory.
pub struct Plain<R> {
    bytes: R,
    parts: Parts,
}

impl<R: ReadAt> Plain<R> {
    /// `bytes`, which have this size and digest.
    pub fn new(bytes: R, name: &[u8], size: u64, digest: Digest) -> Self {
        let part = (size > 0).then(|| Part { name: name.to_vec(), size, digest, spacing: 1 });
        Self {
            bytes,
            parts: Parts { shape: Shape::Raw, size, digest, skeleton: 0, contents: part.into_iter().collect() },
        }
    }
}

impl<R: ReadAt> Container for Plain<R> {
    fn parts(&self) -> &Parts {
        &self.parts
    }

    fn skeleton(&self) -> io::Result<Arc<dyn ReadAt + '_>> {
        Ok(Arc::new(&[] as &'static [u8]))
    }

    fn content(&self, _: usize) -> io::Result<Arc<dyn ReadAt + '_>> {
        Ok(Arc::new(&self.bytes))
    }
}

/// All bases of a delta in a row: what source numbers mean.
///
/// Source 0 is the skeletons of all bases, one behind the other; then come the contents of the first base, of the second, and so on.
pub struct Bases<'a> {
    containers: &'a [&'a dyn Container],
    /// Number of the first content of each container, and of what would follow the last.
    firsts: Vec<usize>,
}

impl<'a> Bases<'a> {
    /// Numbers the contents of `containers`.
    #[must_use]
    pub fn new(containers: &'a [&'a dyn Container]) -> Self {
        let mut next = 1;
        let mut firsts = vec![next];
        for container in containers {
            next += container.parts().contents.len();
            firsts.push(next);
        }
        Self { containers, firsts }
    }

    /// The containers.
    #[must_use]
    pub fn containers(&self) -> &'a [&'a dyn Container] {
        self.containers
    }

    /// How many sources there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.firsts.last().copied().unwrap_or(1)
    }

    /// Container and content of source `number`, which is not 0.
    fn place(&self, number: usize) -> Option<(&'a dyn Container, usize)> {
        let container = self.firsts.partition_point(|first| *first <= number).checked_sub(1)?;
        Some((*self.containers.get(container)?, number - self.firsts[container]))
    }

    /// What source `number` is; nothing for 0.
    #[must_use]
    pub fn part(&self, number: usize) -> Option<&'a Part> {
        let (container, content) = self.place(number)?;
        container.parts().contents.get(content)
    }

    /// Bytes of all skeletons.
    #[must_use]
    pub fn skeleton_size(&self) -> u64 {
        self.containers.iter().map(|container| container.parts().skeleton).sum()
    }

    /// The bytes of source `number` and how many there are.
    ///
    /// # Errors
    /// There is no such source, or it cannot be read.
    pub fn open(&self, number: usize) -> io::Result<(Arc<dyn ReadAt + 'a>, u64)> {
        if number == 0 {
            let mut parts = Vec::new();
            for container in self.containers {
                parts.push((container.skeleton()?, container.parts().skeleton));
            }
            return Ok((Arc::new(Joined { parts }), self.skeleton_size()));
        }
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("the base has no content {number}"));
        let (container, content) = self.place(number).ok_or_else(missing)?;
        let part = container.parts().contents.get(content).ok_or_else(missing)?;
        Ok((container.content(content)?, part.size))
    }
}

/// Several byte strings as one.
struct Joined<'a> {
    parts: Vec<(Arc<dyn ReadAt + 'a>, u64)>,
}

impl ReadAt for Joined<'_> {
    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        for (part, size) in &self.parts {
            if buffer.is_empty() {
                return Ok(());
            }
            if offset >= *size {
                offset -= size;
                continue;
            }
            let length = usize::try_from(size - offset).unwrap_or(usize::MAX).min(buffer.len());
            let (head, tail) = buffer.split_at_mut(length);
            part.read_exact_at(head, offset)?;
            (buffer, offset) = (tail, 0);
        }
        if buffer.is_empty() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.parts.iter().map(|(_, size)| size).sum())
    }
}
