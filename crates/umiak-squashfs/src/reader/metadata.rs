//! Metadata blocks: at most 8 KiB of plain bytes each, found by the byte where they start.
//!
//! ```text
//! u16  length of what follows; bit 15: stored, not compressed
//! ..   the block
//! ```
//!
//! Guarantees: memory is a bounded number of blocks; every block lies inside the image.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use crate::codec::Decoder;
use crate::layout::{METADATA_BYTES, METADATA_STORED};
use crate::{Error, Image, ReadAt};

/// Blocks kept: 2 MiB of plain bytes.
const KEPT: usize = 256;

struct Block {
    plain: Box<[u8]>,
    next: u64,
}

/// Reads metadata of one image, keeping the blocks used last.
pub(crate) struct MetadataReader<'a, R> {
    image: &'a Image<R>,
    decoder: Decoder,
    kept: HashMap<u64, Rc<Block>>,
    order: VecDeque<u64>,
}

impl<'a, R: ReadAt> MetadataReader<'a, R> {
    pub(crate) fn new(image: &'a Image<R>) -> Result<Self, Error> {
        Ok(Self { image, decoder: image.decoder()?, kept: HashMap::new(), order: VecDeque::new() })
    }

    /// A cursor at plain byte `offset` of the block that starts at byte `block` of the image.
    pub(crate) fn at(&mut self, block: u64, offset: usize) -> Result<Cursor<'_, 'a, R>, Error> {
        if offset > METADATA_BYTES {
            return Err(Error::damaged("a position lies outside its metadata block", block));
        }
        Ok(Cursor { reader: self, block, offset })
    }

    /// The whole block at `at` and the byte behind it.
    pub(crate) fn whole(&mut self, at: u64) -> Result<(Vec<u8>, u64), Error> {
        let block = self.block(at)?;
        Ok((block.plain.to_vec(), block.next))
    }

    fn block(&mut self, at: u64) -> Result<Rc<Block>, Error> {
        if let Some(block) = self.kept.get(&at) {
            return Ok(Rc::clone(block));
        }
        let mut head = [0; 2];
        self.image.fetch(&mut head, at)?;
        let head = u16::from_le_bytes(head);
        let length = usize::from(head & !METADATA_STORED);
        if length == 0 || length > METADATA_BYTES {
            return Err(Error::damaged("the length of a metadata block cannot be", at));
        }
        let mut packed = vec![0; length];
        self.image.fetch(&mut packed, at + 2)?;
        let plain = if head & METADATA_STORED == 0 {
            let mut plain = Vec::new();
            self.decoder
                .decompress(&packed, &mut plain, METADATA_BYTES)
                .map_err(|source| Error::Decompress { offset: at, source })?;
            plain
        } else {
            packed
        };
        if plain.is_empty() {
            return Err(Error::damaged("a metadata block is empty", at));
        }
        let block = Rc::new(Block { plain: plain.into_boxed_slice(), next: at + 2 + length as u64 });
        if self.order.len() >= KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.kept.remove(&oldest);
        }
        self.order.push_back(at);
        self.kept.insert(at, Rc::clone(&block));
        Ok(block)
    }
}

/// A reading position that goes on from block to block.
pub(crate) struct Cursor<'r, 'a, R> {
    reader: &'r mut MetadataReader<'a, R>,
    block: u64,
    offset: usize,
}

impl<R: ReadAt> Cursor<'_, '_, R> {
    /// The block being read, for messages.
    pub(crate) const fn block(&self) -> u64 {
        self.block
    }

    /// The block and the plain byte in it that come next.
    pub(crate) const fn position(&self) -> (u64, usize) {
        (self.block, self.offset)
    }

    pub(crate) fn read(&mut self, mut buffer: &mut [u8]) -> Result<(), Error> {
        while !buffer.is_empty() {
            let block = self.reader.block(self.block)?;
            let rest = block.plain.get(self.offset..).unwrap_or_default();
            if rest.is_empty() {
                if self.offset > block.plain.len() {
                    return Err(Error::damaged("a position lies outside its metadata block", self.block));
                }
                self.block = block.next;
                self.offset = 0;
                continue;
            }
            let count = rest.len().min(buffer.len());
            let (head, tail) = buffer.split_at_mut(count);
            head.copy_from_slice(&rest[..count]);
            self.offset += count;
            buffer = tail;
        }
        Ok(())
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    /// `length` bytes; memory grows with what is really there.
    pub(crate) fn bytes(&mut self, length: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let start = bytes.len();
            bytes.resize(length.min(start + METADATA_BYTES), 0);
            self.read(&mut bytes[start..])?;
        }
        Ok(bytes)
    }
}
