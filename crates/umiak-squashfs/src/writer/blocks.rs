//! The stretch of data and fragment blocks: what is written comes in the order in which it was pushed, however long
//! its compression takes.
//!
//! Guarantees: blocks of one file follow each other; the queue of blocks in work is bounded.

use std::collections::VecDeque;
use std::io::{BufWriter, Write};

use super::base::BaseSource;
use super::pool::{Input, Packed, Pool};
use crate::Error;
use crate::reader::content::stored_bytes;

/// Blocks waiting in the queue, copies included.
const QUEUE: usize = 4096;

/// Which block it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target {
    /// Block `index` of file number `file`.
    Block { file: usize, index: usize },
    /// Fragment block of this number.
    Fragment(usize),
}

/// A block on its way into the image.
enum Waiting {
    Packing { ticket: u64, target: Target },
    Copying { source: std::sync::Arc<dyn BaseSource>, place: u64, word: u32, target: Target },
}

/// Where a content's blocks lie.
#[derive(Debug, Default)]
pub(super) struct FileRecord {
    pub(super) size: u64,
    /// Byte of the first block that is no hole; 0 while there is none.
    pub(super) start: u64,
    /// Length words; 0 for a hole.
    pub(super) blocks: Box<[u32]>,
    /// Number of the tail in the packer.
    pub(super) tail: Option<usize>,
}

/// What became of the blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) compressed: u64,
    pub(super) copied: u64,
    pub(super) copied_bytes: u64,
}

pub(super) struct BlockWriter<W: Write> {
    pub(super) out: BufWriter<W>,
    /// Bytes of the image so far.
    pub(super) position: u64,
    pool: Pool,
    queue: VecDeque<Waiting>,
    packing: usize,
    most_packing: usize,
    copy: Vec<u8>,
    pub(super) files: Vec<FileRecord>,
    /// Place and length word of each fragment block.
    pub(super) fragments: Vec<(u64, u32)>,
    pub(super) counts: Counts,
}

impl<W: Write> BlockWriter<W> {
    pub(super) fn new(out: W, position: u64, pool: Pool, threads: usize) -> Self {
        Self {
            out: BufWriter::with_capacity(256 << 10, out),
            position,
            pool,
            queue: VecDeque::new(),
            packing: 0,
            most_packing: 3 * threads + 2,
            copy: Vec::new(),
            files: Vec::new(),
            fragments: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// A buffer for a block's plain bytes.
    pub(super) fn buffer(&self) -> Vec<u8> {
        self.pool.buffer()
    }

    /// Takes back a buffer that was not pushed.
    pub(super) fn give_back(&self, buffer: Vec<u8>) {
        self.pool.give_back(buffer);
    }

    /// Starts a file of so many blocks and returns its number.
    pub(super) fn start_file(&mut self, size: u64, blocks: usize) -> usize {
        self.files.push(FileRecord { size, start: 0, blocks: vec![0; blocks].into(), tail: None });
        self.files.len() - 1
    }

    /// Numbers the next fragment block.
    pub(super) fn start_fragment(&mut self) -> usize {
        self.fragments.push((0, 0));
        self.fragments.len() - 1
    }

    /// Pushes a block to compress.
    pub(super) fn pack(&mut self, input: Input, target: Target) -> Result<(), Error> {
        while self.packing >= self.most_packing {
            self.write_first()?;
        }
        let ticket = self.pool.submit(input)?;
        self.packing += 1;
        self.counts.compressed += 1;
        self.queue.push_back(Waiting::Packing { ticket, target });
        self.write_ready()
    }

    /// Pushes a block that the base has as it should be.
    pub(super) fn copy(
        &mut self,
        source: &std::sync::Arc<dyn BaseSource>,
        (place, word): (u64, u32),
        target: Target,
    ) -> Result<(), Error> {
        while self.queue.len() >= QUEUE {
            self.write_first()?;
        }
        self.counts.copied += 1;
        self.counts.copied_bytes += u64::from(stored_bytes(word));
        self.queue.push_back(Waiting::Copying { source: std::sync::Arc::clone(source), place, word, target });
        self.write_ready()
    }

    /// Writes all that was pushed.
    pub(super) fn drain(&mut self, observer: &dyn umiak_spec::Observer) -> Result<(), Error> {
        while !self.queue.is_empty() {
            observer.check()?;
            self.write_first()?;
        }
        Ok(())
    }

    /// Writes bytes that belong to no block.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).map_err(Error::Write)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn write_ready(&mut self) -> Result<(), Error> {
        loop {
            let packed = match self.queue.front() {
                None => return Ok(()),
                Some(Waiting::Copying { .. }) => None,
                Some(Waiting::Packing { ticket, .. }) => match self.pool.try_fetch(*ticket) {
                    None => return Ok(()),
                    packed => packed.transpose()?,
                },
            };
            self.write(packed)?;
        }
    }

    fn write_first(&mut self) -> Result<(), Error> {
        let packed = match self.queue.front() {
            Some(Waiting::Packing { ticket, .. }) => Some(self.pool.fetch(*ticket)?),
            _ => None,
        };
        self.write(packed)
    }

    /// Writes the first of the queue; `packed` is its block when it was compressed.
    fn write(&mut self, packed: Option<Packed>) -> Result<(), Error> {
        match (self.queue.pop_front(), packed) {
            (Some(Waiting::Packing { target, .. }), Some(packed)) => {
                self.packing -= 1;
                self.settle(target, packed.word);
                self.append(&packed.bytes)
            }
            (Some(Waiting::Copying { source, place, word, target }), _) => {
                let mut bytes = std::mem::take(&mut self.copy);
                bytes.resize(stored_bytes(word) as usize, 0);
                source.raw(place, &mut bytes)?;
                self.settle(target, word);
                let written = self.append(&bytes);
                self.copy = bytes;
                written
            }
            _ => Err(Error::Broken),
        }
    }

    fn settle(&mut self, target: Target, word: u32) {
        match target {
            Target::Block { file, index } => {
                let file = &mut self.files[file];
                if file.start == 0 {
                    file.start = self.position;
                }
                file.blocks[index] = word;
            }
            Target::Fragment(number) => self.fragments[number] = (self.position, word),
        }
    }
}
