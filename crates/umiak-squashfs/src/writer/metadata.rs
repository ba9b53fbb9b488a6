//! Writing of metadata blocks, and of the tables with an index of such blocks.

use crate::Error;
use crate::codec::Encoder;
use crate::compressor::Settings;
use crate::layout::{METADATA_BYTES, METADATA_STORED};

/// Where something lies in a table of metadata blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    /// Byte of the block, counted from the table's start.
    pub(super) block: u32,
    /// Plain byte in the block.
    pub(super) offset: u16,
}

impl Place {
    /// The form in which inodes and attributes are referred to.
    pub(super) fn word(self) -> u64 {
        u64::from(self.block) << 16 | u64::from(self.offset)
    }
}

/// Collects bytes into compressed metadata blocks, in memory.
pub(super) struct MetadataWriter {
    encoder: Encoder,
    settings: Settings,
    plain: Vec<u8>,
    packed: Vec<u8>,
    finished: Vec<u8>,
    starts: Vec<u64>,
}

impl MetadataWriter {
    pub(super) fn new(settings: Settings) -> Result<Self, Error> {
        let failed = |source| Error::Compress { compressor: settings.compressor.name(), source };
        Ok(Self {
            encoder: Encoder::new(settings).map_err(failed)?,
            settings,
            plain: Vec::with_capacity(METADATA_BYTES),
            packed: Vec::new(),
            finished: Vec::new(),
            starts: Vec::new(),
        })
    }

    /// Where the next byte will lie.
    pub(super) fn place(&self) -> Result<Place, Error> {
        let limit = Error::TooMany { what: "bytes in one table", limit: u64::from(u32::MAX) };
        let block = u32::try_from(self.finished.len()).map_err(|_| limit)?;
        let offset = u16::try_from(self.plain.len()).expect("a block is flushed at 8192 bytes");
        Ok(Place { block, offset })
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let (head, rest) = bytes.split_at(bytes.len().min(METADATA_BYTES - self.plain.len()));
            self.plain.extend_from_slice(head);
            bytes = rest;
            if self.plain.len() == METADATA_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.plain.is_empty() {
            return Ok(());
        }
        let failed = |source| Error::Compress { compressor: self.settings.compressor.name(), source };
        let smaller = self.encoder.compress(&self.plain, &mut self.packed).map_err(failed)?;
        let (block, stored) = if smaller { (&self.packed, 0) } else { (&self.plain, METADATA_STORED) };
        let length = u16::try_from(block.len()).expect("a block is never longer than 8192 bytes");
        self.starts.push(self.finished.len() as u64);
        self.finished.extend_from_slice(&(length | stored).to_le_bytes());
        self.finished.extend_from_slice(block);
        self.plain.clear();
        Ok(())
    }

    /// The blocks.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, Error> {
        self.flush()?;
        Ok(self.finished)
    }

    /// The blocks, then `head`, then where each block starts, when the first lies at byte `at` of the image; and the
    /// byte where `head` lies.
    pub(super) fn finish_table(mut self, at: u64, head: &[u8]) -> Result<(Vec<u8>, u64), Error> {
        self.flush()?;
        let index = at + self.finished.len() as u64;
        self.finished.extend_from_slice(head);
        for start in &self.starts {
            self.finished.extend_from_slice(&(at + start).to_le_bytes());
        }
        Ok((self.finished, index))
    }
}
