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

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Sender, channel};

use umiak_spec::{Digest, Limits, Observer, Sha256};

use crate::LayerError;
use crate::ahead::{Ahead, read_ahead};
use crate::error::shown;
use crate::header::{BLOCK, Header};
use crate::pax;

/// Bytes of an extension header's body, at most. Not a limit of the caller's: all have to find the same parts.
const MOST_BODY: usize = 1 << 20;

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
}

/// Zeros between a content of `size` bytes and the next block.
fn padding(size: u64) -> u64 {
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
    let walk = |ahead: &mut Ahead<'_>| Walk::new(ahead, limits, observer).run();
    let (position, size, contents) = read_ahead(open, &mut |_| (), walk).map_err(LayerError::read)??;
    // The walk saw the end of the stream, and the digest was sent before it.
    let diff_id = digest.recv().map_err(|_| LayerError::Read(io::ErrorKind::UnexpectedEof.into()))?;
    Ok(Skeleton { size, archive: position, diff_id, contents })
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

/// What the headers before a file said about it.
#[derive(Default)]
struct Preamble {
    size: Option<u64>,
    path: Option<Vec<u8>>,
    long_name: Option<Vec<u8>>,
}

impl Preamble {
    /// What a PAX header says. A record that cannot be read ends the list; its bytes are skeleton all the same.
    fn extend(&mut self, mut records: &[u8]) {
        let (mut path, mut sparse) = (None, None);
        self.size = None;
        while let Ok(record) = pax::record(records) {
            match record.key {
                b"size" => self.size = pax::decimal(record.value),
                b"path" => path = Some(record.value),
                b"GNU.sparse.name" => sparse = Some(record.value),
                _ => {}
            }
            records = record.rest;
        }
        self.path = sparse.or(path).filter(|path| !path.is_empty()).map(<[u8]>::to_vec);
    }
}

struct Walk<'a, 'w> {
    source: &'a mut Ahead<'w>,
    limits: &'a Limits,
    observer: &'a dyn Observer,
    position: u64,
    skeleton: u64,
    /// Skeleton bytes since the last content.
    before: u64,
    preamble: Preamble,
    contents: Vec<SkeletonContent>,
    names: u64,
}

impl<'a, 'w> Walk<'a, 'w> {
    fn new(source: &'a mut Ahead<'w>, limits: &'a Limits, observer: &'a dyn Observer) -> Self {
        let (preamble, contents) = (Preamble::default(), Vec::new());
        Self { source, limits, observer, position: 0, skeleton: 0, before: 0, preamble, contents, names: 0 }
    }

    /// Bytes of the archive, bytes of the skeleton, contents.
    fn run(mut self) -> Result<(u64, u64, Vec<SkeletonContent>), LayerError> {
        let mut block = [0; BLOCK];
        while self.block(&mut block)? {
            if let Some(header) = Header::new(&block) {
                self.member(header)?;
            }
        }
        self.contents.shrink_to_fit();
        Ok((self.position, self.skeleton, self.contents))
    }

    fn member(&mut self, header: Header<'_>) -> Result<(), LayerError> {
        let size = header.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
        match header.kind() {
            b'x' | b'X' => {
                let body = self.body(size)?;
                self.preamble.extend(&body);
                return Ok(());
            }
            b'L' => {
                let mut name = self.body(size)?;
                name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
                self.preamble.long_name = Some(name);
                return Ok(());
            }
            b'K' | b'g' => {
                self.body(size)?;
                return Ok(());
            }
            _ => {}
        }
        let Preamble { size: said, path, long_name } = std::mem::take(&mut self.preamble);
        let size = said.unwrap_or(size);
        if matches!(header.kind(), b'0' | b'\0' | b'7' | b'S') {
            if header.kind() == b'S' {
                self.sparse_map(header)?;
            }
            self.content(size, path.or(long_name).unwrap_or_else(|| header.path()))?;
        }
        Ok(())
    }

    /// The blocks with more extents behind the header of an old GNU sparse file.
    fn sparse_map(&mut self, header: Header<'_>) -> Result<(), LayerError> {
        let mut block = [0; BLOCK];
        let mut more = header.sparse_extents().1;
        while more && self.block(&mut block)? {
            more = block[504] != 0;
        }
        Ok(())
    }

    /// The next block, as skeleton; `false` when there are not even 512 bytes left.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, LayerError> {
        self.observer.check()?;
        let length = self.fill(block)?;
        self.add_skeleton(length);
        Ok(length == BLOCK)
    }

    /// The body of an extension header and its padding, as skeleton; nothing of it when it is too long.
    fn body(&mut self, size: u64) -> Result<Vec<u8>, LayerError> {
        // Not read as a body, its blocks are skeleton unless they look like headers.
        let Some(size) = usize::try_from(size).ok().filter(|size| *size <= MOST_BODY) else {
            return Ok(Vec::new());
        };
        let mut bytes = vec![0; size.next_multiple_of(BLOCK)];
        let length = self.fill(&mut bytes)?;
        self.add_skeleton(length);
        bytes.truncate(length.min(size));
        Ok(bytes)
    }

    /// `size` bytes of a file, or what the archive still has of them.
    fn content(&mut self, size: u64, name: Vec<u8>) -> Result<(), LayerError> {
        let (offset, mut hash, mut left) = (self.position, Sha256::new(), size);
        while left > 0 {
            self.observer.check()?;
            let bytes = self.source.fill_buf().map_err(LayerError::read)?;
            let length = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
            if length == 0 {
                break;
            }
            hash.update(&bytes[..length]);
            self.source.consume(length);
            left -= length as u64;
            self.advance(length)?;
        }
        let size = size - left;
        if size == 0 {
            return Ok(());
        }
        self.names = self.names.saturating_add(name.len() as u64);
        let beyond = |what, limit| LayerError::Limit { entry: shown(&name), what, limit };
        if self.contents.len() >= self.limits.entries {
            return Err(beyond("files in an archive", self.limits.entries as u64));
        }
        if self.names > self.limits.metadata {
            return Err(beyond("bytes of names in an archive", self.limits.metadata));
        }
        let skeleton_before = std::mem::take(&mut self.before);
        let padded = self.padding(size)?;
        self.contents.push(SkeletonContent { name, offset, size, digest: hash.finish(), skeleton_before, padded });
        Ok(())
    }

    /// Passes over what should be padding; whether it is.
    fn padding(&mut self, size: u64) -> Result<bool, LayerError> {
        let mut block = [0; BLOCK];
        let expected = usize::try_from(padding(size)).unwrap_or(0);
        let length = self.fill(&mut block[..expected])?;
        let padded = length == expected && block.iter().all(|byte| *byte == 0);
        if !padded {
            self.add_skeleton(length);
        }
        Ok(padded)
    }

    /// Fills `buffer` as far as the archive goes.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, LayerError> {
        let mut length = 0;
        while length < buffer.len() {
            let count = self.source.read(&mut buffer[length..]).map_err(LayerError::read)?;
            if count == 0 {
                break;
            }
            length += count;
        }
        self.advance(length)?;
        Ok(length)
    }

    fn add_skeleton(&mut self, length: usize) {
        self.skeleton += length as u64;
        self.before += length as u64;
    }

    fn advance(&mut self, length: usize) -> Result<(), LayerError> {
        self.position += length as u64;
        if self.position > self.limits.expanded {
            let entry = self.contents.last().map_or_else(String::new, |last| shown(&last.name));
            return Err(LayerError::Limit { entry, what: "bytes of archive", limit: self.limits.expanded });
        }
        Ok(())
    }
}
