//! Opening an image: superblock, id table, fragment table; fetching and decompressing its blocks.
//!
//! Guarantees, on any bytes: a typed error or a result, no panic, no loop; memory bounded by [`Limits`] and by what
//! the image really holds, never by what it claims; nothing outside `bytes_used` is read.

pub(crate) mod content;
mod digests;
mod inode;
mod metadata;
mod tree;
mod xattrs;

use std::sync::{Mutex, PoisonError};

use umiak_spec::Limits;

use crate::codec::Decoder;
use crate::layout::{Fields, METADATA_BYTES, NO_TABLE, SUPERBLOCK_BYTES, Superblock};
use crate::{Error, ReadAt};
use content::KeptBlocks;
pub use content::{ContentReader, StoredContent};
pub use digests::Digests;
use metadata::MetadataReader;
pub(crate) use xattrs::{ELSEWHERE, PREFIXES};

/// Bytes of decompressed blocks kept.
const KEPT: usize = 8 << 20;

/// Where a fragment block lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fragment {
    pub(crate) start: u64,
    /// Stored length and the stored bit, as for a file's block.
    pub(crate) word: u32,
}

/// An opened squashfs image.
pub struct Image<R> {
    source: R,
    superblock: Superblock,
    limits: Limits,
    ids: Vec<u32>,
    fragments: Vec<Fragment>,
    decoders: Mutex<Vec<Decoder>>,
    kept: Mutex<KeptBlocks>,
}

impl<R: ReadAt> Image<R> {
    /// Opens an image and reads its id and fragment tables.
    ///
    /// # Errors
    /// The source fails, it is no squashfs 4.0, or superblock and tables contradict each other.
    pub fn open(source: R, limits: &Limits) -> Result<Self, Error> {
        Self::open_keeping(KEPT, source, limits)
    }

    /// The same with so many bytes of decompressed blocks kept between calls of [`Image::read_at`], but two blocks at least.
    ///
    /// # Errors
    /// As [`Image::open`].
    pub fn open_keeping(kept: usize, source: R, limits: &Limits) -> Result<Self, Error> {
        let length = source.len().map_err(|source| Error::Read { offset: 0, count: 0, source })?;
        if length < SUPERBLOCK_BYTES as u64 {
            return Err(Error::NotSquashfs("it is shorter than a superblock"));
        }
        let mut bytes = [0; SUPERBLOCK_BYTES];
        source.read_exact_at(&mut bytes, 0).map_err(|source| Error::Read {
            offset: 0,
            count: SUPERBLOCK_BYTES as u64,
            source,
        })?;
        let superblock = Superblock::decode(&bytes, length)?;
        let mut image = Self {
            kept: Mutex::new(KeptBlocks::new(kept, superblock.block_size)),
            source,
            superblock,
            limits: *limits,
            ids: Vec::new(),
            fragments: Vec::new(),
            decoders: Mutex::new(Vec::new()),
        };
        image.ids = image.read_ids()?;
        image.fragments = image.read_fragments()?;
        Ok(image)
    }

    /// What the superblock says.
    #[must_use]
    pub const fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// The bytes of the image, to be read raw.
    #[must_use]
    pub const fn source(&self) -> &R {
        &self.source
    }

    pub(crate) fn fragment(&self, index: u32) -> Option<Fragment> {
        self.fragments.get(index as usize).copied()
    }

    pub(crate) fn fragments(&self) -> &[Fragment] {
        &self.fragments
    }

    /// Reads raw bytes inside `bytes_used`.
    pub(crate) fn fetch(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        let count = buffer.len() as u64;
        if offset.checked_add(count).is_none_or(|end| end > self.superblock.bytes_used) {
            return Err(Error::damaged("something lies outside the image", offset));
        }
        self.source.read_exact_at(buffer, offset).map_err(|source| Error::Read { offset, count, source })
    }

    /// A new decoder for this image's blocks.
    pub(crate) fn decoder(&self) -> Result<Decoder, Error> {
        Decoder::new(self.superblock.compressor).map_err(|source| Error::Decompress { offset: 0, source })
    }

    /// Runs `work` with a decoder that is kept for the next caller.
    fn with_decoder<T>(&self, work: impl FnOnce(&mut Decoder) -> Result<T, Error>) -> Result<T, Error> {
        let kept = self.decoders.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut decoder = match kept {
            Some(decoder) => decoder,
            None => self.decoder()?,
        };
        let result = work(&mut decoder);
        self.decoders.lock().unwrap_or_else(PoisonError::into_inner).push(decoder);
        result
    }

    fn read_ids(&self) -> Result<Vec<u32>, Error> {
        let superblock = &self.superblock;
        let bytes = self.table(superblock.id_table, usize::from(superblock.ids), 4)?;
        Ok(bytes.chunks_exact(4).map(|id| u32::from_le_bytes([id[0], id[1], id[2], id[3]])).collect())
    }

    fn read_fragments(&self) -> Result<Vec<Fragment>, Error> {
        let superblock = &self.superblock;
        if superblock.fragments == 0 || superblock.fragment_table == NO_TABLE {
            return Ok(Vec::new());
        }
        let bytes = self.table(superblock.fragment_table, superblock.fragments as usize, 16)?;
        let fragment = |entry: &[u8]| {
            let mut fields = Fields(entry);
            let fragment = Fragment { start: fields.u64(), word: fields.u32() };
            let length = content::stored_bytes(fragment.word);
            let end = fragment.start.checked_add(u64::from(length));
            if length > superblock.block_size || end.is_none_or(|end| end > superblock.bytes_used) {
                return Err(Error::damaged("a fragment block lies outside the image", superblock.fragment_table));
            }
            Ok(fragment)
        };
        bytes.chunks_exact(16).map(fragment).collect()
    }

    /// Reads a two-level table: at `index` a list of the places of metadata blocks that hold `count` entries.
    fn table(&self, index: u64, count: usize, entry: usize) -> Result<Vec<u8>, Error> {
        if count > self.limits.entries {
            return Err(Error::Limit { what: "entries in a table", limit: self.limits.entries as u64 });
        }
        let length = count.saturating_mul(entry);
        let mut metadata = MetadataReader::new(self)?;
        let mut bytes = Vec::new();
        let mut last = 0;
        for number in 0..length.div_ceil(METADATA_BYTES) as u64 {
            let mut place = [0; 8];
            self.fetch(&mut place, index.saturating_add(8 * number))?;
            let place = u64::from_le_bytes(place);
            // Places go up, so that no block can be counted twice.
            if place <= last {
                return Err(Error::damaged("the blocks of a table are not in order", index));
            }
            last = place;
            let (block, _) = metadata.whole(place)?;
            let expected = (length - bytes.len()).min(METADATA_BYTES);
            if block.len() < expected {
                return Err(Error::damaged("a table is shorter than the superblock says", place));
            }
            bytes.extend_from_slice(&block[..expected]);
        }
        Ok(bytes)
    }
}
