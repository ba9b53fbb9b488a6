//! A tar archive taken apart: the contents of its regular files, and the *skeleton*, which is every other byte.
//!
//! For deltas, which compare files with files and headers with headers and must give the archive back bit for bit. How
//! the parts make the archive is in `docs/formats/delta-containers.md`; [`crate::SkeletonView`] reads the skeleton.
//!
//! Guarantees: any bytes are taken apart, and the parts always make them again: what is not understood is skeleton. One
//! pass, two threads, memory bounded by `Limits` and about 100 bytes a file beside its name.
//!
//! It does not judge: an archive that [`crate::TarReader`] refuses is taken apart as far as its headers make sense. It
//! does not decompress.

use std::io::{self, BufRead as _, Read};
use std::sync::mpsc::{Sender, channel};

use umiak_spec::{Digest, Limits, Observer, Sha256};

use crate::LayerError;
use crate::ahead::{Ahead, read_ahead};
use crate::error::shown;
use crate::header::{BLOCK, Header};
use crate::skeleton_walk::{Found, Parts, Walk};

/// A tar archive taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skeleton {
    /// Bytes of the skeleton.
    pub size: u64,
    /// Bytes of the archive.
    pub archive: u64,
    /// SHA-256 of the archive: the diff ID of a layer.
    pub diff_id: Digest,
    /// The contents, in the archive's order.
    pub contents: Vec<SkeletonContent>,
}

impl Skeleton {
    /// The number of the content that begins at this byte of the archive.
    #[must_use]
    pub fn content_at(&self, offset: u64) -> Option<usize> {
        self.contents.binary_search_by_key(&offset, |content| content.offset).ok()
    }
}

/// The stored bytes of one regular file; of a sparse file only what is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkeletonContent {
    /// The name as the archive spells it, for matching and for people.
    pub name: Vec<u8>,
    /// First byte in the archive; a multiple of 512.
    pub offset: u64,
    /// Bytes, at least 1.
    pub size: u64,
    /// SHA-256.
    pub digest: Digest,
    /// Bytes of skeleton between the content before (with its padding) and this one.
    pub skeleton_before: u64,
    /// Zeros follow up to a multiple of 512; they are in no part. Otherwise what follows is skeleton.
    pub padded: bool,
}

impl SkeletonContent {
    /// Where the archive goes on behind the content and its padding.
    #[must_use]
    pub fn end(&self) -> u64 {
        let padding = if self.padded { padding(self.size) } else { 0 };
        self.offset.saturating_add(self.size).saturating_add(padding)
    }

    /// What deltas and tables say of where it lies: the skeleton before it times two, plus one when no padding follows.
    #[must_use]
    pub const fn spacing(&self) -> u64 {
        self.skeleton_before.saturating_mul(2).saturating_add(!self.padded as u64)
    }
}

/// Zeros between a content of `size` bytes and the next block.
pub(crate) fn padding(size: u64) -> u64 {
    let block = BLOCK as u64;
    (block - size % block) % block
}

/// Whether bytes that begin with `start` (at least 512 of them) are a tar archive: a header with a right checksum comes first.
#[must_use]
pub fn is_tar(start: &[u8]) -> bool {
    start.first_chunk().is_some_and(|block| Header::new(block).is_some())
}

/// Takes the uncompressed archive that `source` gives apart. What is no archive is all skeleton; ask [`is_tar`] first.
///
/// # Errors
/// `source` cannot be read; the archive is longer than `Limits::expanded`, has more files than `Limits::entries` or more
/// bytes of names than `Limits::metadata`; the observer cancelled.
pub fn skeleton(source: impl Read + Send, limits: &Limits, observer: &dyn Observer) -> Result<Skeleton, LayerError> {
    let (tell, digest) = channel();
    let open =
        || -> io::Result<Box<dyn Read>> { Ok(Box::new(Hashed { inner: source, hash: Some(Sha256::new()), tell })) };
    let walk = |ahead: &mut Ahead<'_>| walk(ahead, limits, observer);
    let walked = read_ahead(open, &mut |_| (), walk).map_err(LayerError::read)??;
    // The walk saw the end of the stream, and the digest was sent before it.
    let diff_id = digest.recv().map_err(|_| LayerError::Read(io::ErrorKind::UnexpectedEof.into()))?;
    Ok(Skeleton { diff_id, ..walked })
}

/// The skeleton but for the diff ID.
fn walk(ahead: &mut Ahead<'_>, limits: &Limits, observer: &dyn Observer) -> Result<Skeleton, LayerError> {
    let mut walk = Walk::new(limits.expanded, Gathering::new(limits));
    loop {
        observer.check()?;
        let bytes = ahead.fill_buf().map_err(LayerError::read)?;
        if bytes.is_empty() {
            break;
        }
        walk.feed(bytes)?;
        let length = bytes.len();
        ahead.consume(length);
    }
    let (archive, gathering) = walk.finish()?;
    Ok(gathering.finish(archive))
}

/// Collects what a walk finds, contents hashed.
pub(crate) struct Gathering<'a> {
    limits: &'a Limits,
    hash: Sha256,
    size: u64,
    /// Bytes of names.
    names: u64,
    contents: Vec<SkeletonContent>,
}

impl<'a> Gathering<'a> {
    pub(crate) fn new(limits: &'a Limits) -> Self {
        Self { limits, hash: Sha256::new(), size: 0, names: 0, contents: Vec::new() }
    }

    /// What was found in an archive of this length; the diff ID is for the caller to fill in.
    pub(crate) fn finish(mut self, archive: u64) -> Skeleton {
        self.contents.shrink_to_fit();
        let diff_id = Digest::from_bytes([0; 32]);
        Skeleton { size: self.size, archive, diff_id, contents: self.contents }
    }
}

impl Parts for Gathering<'_> {
    fn skeleton(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        self.size += bytes.len() as u64;
        Ok(())
    }

    fn content(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        self.hash.update(bytes);
        Ok(())
    }

    fn end(&mut self, found: Found) -> Result<(), LayerError> {
        let Found { name, offset, size, skeleton_before, padded } = found;
        self.names = self.names.saturating_add(name.len() as u64);
        let beyond = |what, limit| LayerError::Limit { entry: shown(&name), what, limit };
        if self.contents.len() >= self.limits.entries {
            return Err(beyond("files in an archive", self.limits.entries as u64));
        }
        if self.names > self.limits.metadata {
            return Err(beyond("bytes of names in an archive", self.limits.metadata));
        }
        let digest = std::mem::take(&mut self.hash).finish();
        self.contents.push(SkeletonContent { name, offset, size, digest, skeleton_before, padded });
        Ok(())
    }
}

/// Hashes on the reading thread and sends the digest when the end comes.
struct Hashed<R> {
    inner: R,
    hash: Option<Sha256>,
    tell: Sender<Digest>,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        match &mut self.hash {
            Some(hash) if count > 0 => hash.update(&buffer[..count]),
            _ => {
                if let Some(hash) = self.hash.take() {
                    // A walk that failed no longer listens.
                    let _ = self.tell.send(hash.finish());
                }
            }
        }
        Ok(count)
    }
}
