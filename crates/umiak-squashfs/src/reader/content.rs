//! Contents of files: full blocks in a row from one place, and the rest of the file in a fragment block.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, PoisonError};

use super::{Fragment, Image};
use crate::codec::Decoder;
use crate::layout::BLOCK_STORED;
use crate::{Error, ReadAt};

/// Where a file's content lies in an image. Equal values have equal content.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StoredContent {
    size: u64,
    start: u64,
    blocks: Arc<[u32]>,
    fragment: Option<(u32, u32)>,
}

/// Bytes that a block takes in the image, from its length word.
pub(crate) const fn stored_bytes(word: u32) -> u32 {
    word & (BLOCK_STORED - 1)
}

impl StoredContent {
    pub(super) const fn new(size: u64, start: u64, blocks: Arc<[u32]>, fragment: Option<(u32, u32)>) -> Self {
        Self { size, start, blocks, fragment }
    }

    /// Length in bytes, holes included.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of the image that hold this content's own blocks; a shared fragment block is not counted.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.blocks.iter().map(|word| u64::from(stored_bytes(*word))).sum()
    }

    /// Byte of the image where the first block lies.
    pub(crate) const fn start(&self) -> u64 {
        self.start
    }

    /// Length words of the blocks.
    pub(crate) fn blocks(&self) -> &[u32] {
        &self.blocks
    }

    /// Fragment block and position in it.
    pub(crate) const fn fragment(&self) -> Option<(u32, u32)> {
        self.fragment
    }

    /// Plain bytes of block `index`.
    pub(crate) fn block_length(&self, index: usize, block_size: u32) -> usize {
        let before = index as u64 * u64::from(block_size);
        let length = self.size.saturating_sub(before).min(u64::from(block_size));
        usize::try_from(length).unwrap_or(block_size as usize)
    }
}

/// Decompressed blocks used last, by where they start.
pub(super) struct KeptBlocks {
    most: usize,
    block_size: u32,
    /// Each with the turn in which it was used last.
    blocks: HashMap<u64, (Arc<Vec<u8>>, u64)>,
    turn: u64,
}

impl KeptBlocks {
    /// At most so many bytes of blocks, but two blocks.
    pub(super) fn new(bytes: usize, block_size: u32) -> Self {
        Self { most: most(bytes, block_size), block_size, blocks: HashMap::new(), turn: 0 }
    }

    fn get(&mut self, start: u64) -> Option<Arc<Vec<u8>>> {
        self.turn += 1;
        let (block, used) = self.blocks.get_mut(&start)?;
        *used = self.turn;
        Some(Arc::clone(block))
    }

    fn keep(&mut self, start: u64, block: &Arc<Vec<u8>>) {
        self.blocks.insert(start, (Arc::clone(block), self.turn));
        self.shrink();
    }

    fn limit(&mut self, bytes: usize) {
        self.most = most(bytes, self.block_size);
        self.shrink();
    }

    /// Lets go what was not used for longest. A block was decompressed before that: looking through all costs little.
    fn shrink(&mut self) {
        while self.blocks.len() > self.most {
            let oldest = self.blocks.iter().min_by_key(|(_, (_, used))| *used).map(|(start, _)| *start);
            oldest.map(|start| self.blocks.remove(&start));
        }
    }
}

fn most(bytes: usize, block_size: u32) -> usize {
    (bytes / block_size as usize).max(2)
}

impl<R: ReadAt> Image<R> {
    /// A reader of a file's content from its first byte. Errors of the image come as [`io::Error`] with [`Error`]
    /// inside.
    pub fn reader<'a>(&'a self, content: &'a StoredContent) -> ContentReader<'a, R> {
        ContentReader { image: self, content, block: 0, place: content.start, plain: Vec::new(), used: 0 }
    }

    /// Fills `buffer` with a file's content from byte `offset` on and returns how many bytes there were: fewer than
    /// asked for only at the end of the file. Blocks used last are kept (8 MiB).
    ///
    /// # Errors
    /// The image cannot be read or is damaged.
    pub fn read_at(&self, content: &StoredContent, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        let block_size = u64::from(self.superblock.block_size);
        let mut at = offset;
        let mut filled = 0;
        while filled < buffer.len() && at < content.size {
            let index = usize::try_from(at / block_size).unwrap_or(usize::MAX);
            let inside = usize::try_from(at % block_size).unwrap_or(0);
            let rest = content.block_length(index, self.superblock.block_size) - inside;
            let count = rest.min(buffer.len() - filled);
            self.copy_from(content, index, inside, &mut buffer[filled..filled + count])?;
            filled += count;
            at += count as u64;
        }
        Ok(filled)
    }

    fn copy_from(&self, content: &StoredContent, index: usize, inside: usize, to: &mut [u8]) -> Result<(), Error> {
        let (place, word, expected, inside) = match (content.blocks.get(index), content.fragment) {
            (Some(word), _) if stored_bytes(*word) == 0 => {
                to.fill(0);
                return Ok(());
            }
            (Some(word), _) => {
                let before: u64 = content.blocks[..index].iter().map(|word| u64::from(stored_bytes(*word))).sum();
                let length = content.block_length(index, self.superblock.block_size);
                (content.start + before, *word, Some(length), inside)
            }
            (None, Some((fragment, offset))) => {
                let fragment = self.known_fragment(fragment)?;
                (fragment.start, fragment.word, None, inside + offset as usize)
            }
            (None, None) => return Err(Error::damaged("a file has too few blocks", content.start)),
        };
        let block = self.kept_block(place, word, expected)?;
        let part = block.get(inside..inside + to.len());
        to.copy_from_slice(part.ok_or(Error::damaged("a block is shorter than its file needs", place))?);
        Ok(())
    }

    pub(super) fn known_fragment(&self, index: u32) -> Result<Fragment, Error> {
        self.fragment(index).ok_or(Error::damaged("a fragment does not exist", self.superblock.fragment_table))
    }

    /// From now on so many bytes of decompressed blocks are kept, but two blocks at least.
    pub fn keep(&self, bytes: usize) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).limit(bytes);
    }

    fn kept_block(&self, place: u64, word: u32, expected: Option<usize>) -> Result<Arc<Vec<u8>>, Error> {
        let lock = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = lock().get(place) {
            return Ok(block);
        }
        let mut plain = Vec::new();
        self.with_decoder(|decoder| self.load(decoder, place, word, expected, &mut Vec::new(), &mut plain))?;
        let block = Arc::new(plain);
        lock().keep(place, &block);
        Ok(block)
    }

    /// Reads and decompresses one data or fragment block. `expected` is its plain length where that is known.
    pub(crate) fn load(
        &self,
        decoder: &mut Decoder,
        place: u64,
        word: u32,
        expected: Option<usize>,
        packed: &mut Vec<u8>,
        plain: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let length = stored_bytes(word);
        if length > self.superblock.block_size || length == 0 {
            return Err(Error::damaged("the length of a block cannot be", place));
        }
        let stored = word & BLOCK_STORED != 0;
        let into = if stored { &mut *plain } else { &mut *packed };
        into.clear();
        into.resize(length as usize, 0);
        self.fetch(into, place)?;
        if !stored {
            let most = expected.unwrap_or(self.superblock.block_size as usize);
            decoder.decompress(packed, plain, most).map_err(|source| Error::Decompress { offset: place, source })?;
        }
        if expected.is_some_and(|expected| expected != plain.len()) {
            return Err(Error::damaged("a block has another length than its file needs", place));
        }
        Ok(())
    }
}

/// Reads a file's content in sequence; made by [`Image::reader`].
pub struct ContentReader<'a, R> {
    image: &'a Image<R>,
    content: &'a StoredContent,
    /// The next block, and where it lies.
    block: usize,
    place: u64,
    plain: Vec<u8>,
    used: usize,
}

impl<R: ReadAt> ContentReader<'_, R> {
    fn next_block(&mut self) -> Result<(), Error> {
        let block_size = self.image.superblock.block_size;
        let expected = self.content.block_length(self.block, block_size);
        self.used = 0;
        self.plain.clear();
        if expected == 0 {
            return Ok(());
        }
        match self.content.blocks.get(self.block) {
            Some(word) if stored_bytes(*word) == 0 => self.plain.resize(expected, 0),
            Some(word) => {
                let (image, plain, place) = (self.image, &mut self.plain, self.place);
                image.with_decoder(|d| image.load(d, place, *word, Some(expected), &mut Vec::new(), plain))?;
                self.place += u64::from(stored_bytes(*word));
            }
            None => {
                self.plain.resize(expected, 0);
                self.image.copy_from(self.content, self.block, 0, &mut self.plain)?;
            }
        }
        self.block += 1;
        Ok(())
    }
}

impl<R: ReadAt> Read for ContentReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.used == self.plain.len() {
            self.next_block().map_err(io::Error::other)?;
        }
        let count = buffer.len().min(self.plain.len() - self.used);
        buffer[..count].copy_from_slice(&self.plain[self.used..self.used + count]);
        self.used += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let mut kept = KeptBlocks::new(3 << 10, 1 << 10);
        let block = Arc::new(vec![0; 1 << 10]);
        for start in [1, 2, 3] {
            assert!(kept.get(start).is_none());
            kept.keep(start, &block);
        }
        assert!(kept.get(1).is_some());
        assert!(kept.get(4).is_none());
        kept.keep(4, &block);
        assert!(kept.get(2).is_none(), "it was used before the others");
        assert!(kept.get(1).is_some() && kept.get(3).is_some() && kept.get(4).is_some());
        kept.limit(0);
        assert!(kept.get(1).is_none() && kept.get(3).is_some() && kept.get(4).is_some(), "two stay at least");
    }
}
