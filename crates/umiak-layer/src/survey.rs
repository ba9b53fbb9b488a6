//! Everything about a layer that is to be kept as a mountable tree and yet be given back bit for bit: its index and its
//! skeleton, in one pass over the uncompressed archive.
//!
//! Two readers look at the same stream: [`crate::TarReader`], which says what a layer means, and the skeleton's walk, which
//! says what its bytes are. Where both see the same file, its content is hashed once and [`Survey::parts`] says that they
//! are one. A content that only the walk sees (of a sparse file, the stored bytes) has no entry.
//!
//! Memory: the index, the skeleton's list of contents, 4 bytes for each of both.

use std::io::{self, BufRead, Read};

use umiak_spec::{Digest, Limits, Observer, Sha256};

use crate::LayerError;
use crate::ahead::{Ahead, read_ahead};
use crate::entry::{Body, Entry};
use crate::header::BLOCK;
use crate::index::{FileContent, LayerIndex, digest};
use crate::reader::TarReader;
use crate::skeleton::{Gathering, Skeleton};
use crate::skeleton_view::flip_checksum;
use crate::skeleton_walk::{Found, Parts, Walk};

/// What a layer means and what its bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// The entries and the diff ID.
    pub index: LayerIndex,
    /// The contents and the rest.
    pub skeleton: Skeleton,
    /// SHA-256 of the skeleton's bytes in the form of [`crate::SkeletonView`].
    pub skeleton_digest: Digest,
    /// For each entry of the index: the skeleton's content that is the file's content.
    pub parts: Vec<Option<u32>>,
}

/// Surveys the uncompressed layer that `source` gives.
///
/// # Errors
/// What [`crate::index()`] and [`crate::skeleton()`] refuse.
pub fn survey(source: impl Read + Send, limits: &Limits, observer: &dyn Observer) -> Result<Survey, LayerError> {
    let mut hash = Sha256::new();
    let mut watch = |chunk: &[u8]| hash.update(chunk);
    let open = || -> io::Result<Box<dyn Read>> { Ok(Box::new(source)) };
    let pass = |ahead: &mut Ahead<'_>| walk(ahead, limits, observer);
    let (mut survey, size) = read_ahead(open, &mut watch, pass).map_err(LayerError::read)??;
    let diff_id = hash.finish();
    (survey.index.diff_id, survey.index.size, survey.skeleton.diff_id) = (diff_id, size, diff_id);
    Ok(survey)
}

fn walk(source: impl BufRead, limits: &Limits, observer: &dyn Observer) -> Result<(Survey, u64), LayerError> {
    let parts = Both { gathering: Gathering::new(limits), flipped: Flipped::new(Sha256::new()) };
    let looking = Looking { inner: source, walk: Walk::new(limits.expanded, parts), failed: None };
    let mut reader = TarReader::new(looking, *limits);
    let (mut entries, mut offsets) = (Vec::new(), Vec::new());
    while let Some(entry) = reader.next_entry()? {
        observer.check()?;
        let Entry { ordinal, path, metadata, body } = entry;
        let mut offset = None;
        let body = body.try_map(|size| {
            let position = reader.position();
            if reader.get_ref().walk.beginning() == Some((position, size)) {
                offset = Some(position);
                // Filled in when the walk is over.
                return Ok::<_, LayerError>(FileContent { size, digest: Digest::from_bytes([0; 32]) });
            }
            Ok(FileContent { size, digest: digest(&mut reader.content(), observer)? })
        })?;
        entries.push(Entry { ordinal, path, metadata, body });
        offsets.push(offset);
    }
    entries.shrink_to_fit();
    let mut looking = reader.into_inner();
    looking.drain(observer)?;
    let (archive, Both { gathering, flipped }) = looking.walk.finish()?;
    let (hash, _) = flipped.finish(|hash, bytes| {
        hash.update(bytes);
        Ok(())
    })?;
    let skeleton = gathering.finish(archive);
    let mut index = LayerIndex { diff_id: skeleton.diff_id, size: archive, entries };
    let parts = join(&mut index, &skeleton, &offsets);
    Ok((Survey { index, skeleton, skeleton_digest: hash.finish(), parts }, archive))
}

/// Gives entries the digests of the contents that begin where theirs do.
fn join(index: &mut LayerIndex, skeleton: &Skeleton, offsets: &[Option<u64>]) -> Vec<Option<u32>> {
    let mut parts = Vec::with_capacity(offsets.len());
    for (entry, offset) in index.entries.iter_mut().zip(offsets) {
        let number = offset.and_then(|offset| skeleton.content_at(offset));
        if let (Body::File(content), Some(number)) = (&mut entry.body, number) {
            content.digest = skeleton.contents[number].digest;
        }
        parts.push(number.and_then(|number| u32::try_from(number).ok()));
    }
    parts
}

/// Collects the contents and hashes the skeleton.
struct Both<'a> {
    gathering: Gathering<'a>,
    flipped: Flipped<Sha256>,
}

impl Parts for Both<'_> {
    fn skeleton(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        self.flipped.push(bytes, |hash, bytes| {
            hash.update(bytes);
            Ok(())
        })?;
        self.gathering.skeleton(bytes)
    }

    fn content(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        self.gathering.content(bytes)
    }

    fn end(&mut self, found: Found) -> Result<(), LayerError> {
        self.gathering.end(found)
    }
}

/// Passes skeleton bytes on, whole blocks flipped.
pub(crate) struct Flipped<T> {
    to: T,
    block: Vec<u8>,
}

impl<T> Flipped<T> {
    pub(crate) fn new(to: T) -> Self {
        Self { to, block: Vec::with_capacity(BLOCK) }
    }

    pub(crate) fn push(
        &mut self,
        mut bytes: &[u8],
        mut pass: impl FnMut(&mut T, &[u8]) -> Result<(), LayerError>,
    ) -> Result<(), LayerError> {
        while !bytes.is_empty() {
            let (head, tail) = bytes.split_at((BLOCK - self.block.len()).min(bytes.len()));
            self.block.extend_from_slice(head);
            bytes = tail;
            if let Some(block) = self.block.first_chunk_mut::<BLOCK>() {
                flip_checksum(block);
                pass(&mut self.to, block)?;
                self.block.clear();
            }
        }
        Ok(())
    }

    /// What is no whole block passes as it is.
    pub(crate) fn finish(
        mut self,
        pass: impl FnOnce(&mut T, &[u8]) -> Result<(), LayerError>,
    ) -> Result<(T, usize), LayerError> {
        pass(&mut self.to, &self.block)?;
        Ok((self.to, self.block.len()))
    }
}

/// A stream whose consumed bytes a walk sees as well.
pub(crate) struct Looking<B, P> {
    pub(crate) inner: B,
    pub(crate) walk: Walk<P>,
    /// What the walk said, to be told at the next read.
    pub(crate) failed: Option<LayerError>,
}

impl<B: BufRead, P: Parts> Looking<B, P> {
    /// Reads to the end of the stream.
    pub(crate) fn drain(&mut self, observer: &dyn Observer) -> Result<(), LayerError> {
        loop {
            let length = self.fill_buf().map_err(LayerError::read)?.len();
            if length == 0 {
                return Ok(());
            }
            observer.check()?;
            self.consume(length);
        }
    }
}

impl<B: BufRead, P: Parts> BufRead for Looking<B, P> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if let Some(failed) = self.failed.take() {
            return Err(failed.into());
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        // What was shown last is still there: a buffer that is not empty is not filled again.
        match self.inner.fill_buf() {
            Ok(bytes) => {
                if let Err(error) = self.walk.feed(&bytes[..count.min(bytes.len())]) {
                    self.failed = Some(error);
                }
            }
            Err(error) => self.failed = Some(LayerError::read(error)),
        }
        self.inner.consume(count);
    }
}

impl<B: BufRead, P: Parts> Read for Looking<B, P> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}
