//! The content of one file of an archive: stored bytes and zeros for holes.

use std::io::{self, BufRead, Read};

use crate::LayerError;
use crate::sparse::Extent;

/// Where the content of the current member lies and how far it was read.
#[derive(Default)]
pub(crate) struct Stored {
    /// The only extent of a file that is not sparse needs no list.
    pub whole: Option<Extent>,
    /// Extents of a sparse file.
    pub extents: Vec<Extent>,
    /// Length of the content.
    pub size: u64,
    /// Bytes of the archive that belong to the member and were not read yet.
    pub left: u64,
    /// Padding behind them.
    pub padding: u64,
    position: u64,
    /// The extent that the position is in or before.
    next: usize,
}

impl Stored {
    /// `left` bytes as they are.
    pub fn plain(size: u64, padding: u64) -> Self {
        Self { whole: Some(Extent { offset: 0, length: size }), size, left: size, padding, ..Self::default() }
    }

    /// A checked map.
    pub fn sparse(extents: Vec<Extent>, size: u64, left: u64, padding: u64) -> Self {
        Self { extents, size, left, padding, ..Self::default() }
    }

    /// Gives up the rest: bytes and padding to skip.
    pub fn take_rest(&mut self) -> (u64, u64) {
        let rest = (self.left, self.padding);
        *self = Self::default();
        rest
    }

    /// What comes next: so many bytes of a hole, or so many stored ones.
    fn run(&mut self) -> Run {
        loop {
            let extent = self.whole.filter(|_| self.next == 0).or_else(|| self.extents.get(self.next).copied());
            match extent {
                None => return Run::Hole(self.size - self.position),
                Some(extent) if self.position < extent.offset => return Run::Hole(extent.offset - self.position),
                Some(extent) if self.position < extent.offset + extent.length => {
                    return Run::Bytes(extent.offset + extent.length - self.position);
                }
                Some(_) => self.next += 1,
            }
        }
    }
}

enum Run {
    Hole(u64),
    Bytes(u64),
}

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Reads the content of the current entry. At the end of a layer that was cut short it fails; it never ends early.
pub struct Content<'a, R> {
    source: &'a mut R,
    stored: &'a mut Stored,
}

impl<'a, R: BufRead> Content<'a, R> {
    pub(crate) fn new(source: &'a mut R, stored: &'a mut Stored) -> Self {
        Self { source, stored }
    }
}

impl<R: BufRead> BufRead for Content<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let clipped = |length: u64, available: usize| usize::try_from(length).map_or(available, |n| n.min(available));
        match self.stored.run() {
            Run::Hole(length) => Ok(&ZEROS[..clipped(length, ZEROS.len())]),
            Run::Bytes(length) => {
                let bytes = self.source.fill_buf()?;
                if bytes.is_empty() {
                    let position = self.stored.position;
                    return Err(LayerError::Truncated { what: "a file".into(), position }.into());
                }
                Ok(&bytes[..clipped(length, bytes.len())])
            }
        }
    }

    fn consume(&mut self, count: usize) {
        if matches!(self.stored.run(), Run::Bytes(_)) {
            self.source.consume(count);
            self.stored.left -= count as u64;
        }
        self.stored.position += count as u64;
    }
}

impl<R: BufRead> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}
