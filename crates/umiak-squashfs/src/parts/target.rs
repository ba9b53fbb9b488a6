//! Whether an image is one that our writer makes again, and with which settings.

use std::io::{self, Seek, SeekFrom, Write};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use umiak_spec::{Limits, Observer};

use super::rebuild::{Contents, Rebuild, rebuild};
use super::{LEVEL, Parts, encoder};
use crate::compressor::Settings;
use crate::layout::{METADATA_STORED, SUPERBLOCK_BYTES, flags};
use crate::{Compressor, Error, ReadAt};

/// One level of each effort of our xz encoder: images do not tell the level, and those of an effort are alike.
const XZ_LEVELS: [i32; 3] = [6, 9, 3];

impl Parts {
    /// Writes the encoder into the listing, so that [`rebuild`] makes this very image of it and the contents; `None` when our
    /// writer does not make it. The image was then made again, with its own blocks; of these some were compressed again.
    ///
    /// # Errors
    /// The image cannot be read or is damaged; the observer cancelled.
    pub fn rebuildable(
        mut self,
        threads: NonZeroUsize,
        limits: &Limits,
        observer: &dyn Observer,
    ) -> Result<Option<Self>, Error> {
        let superblock = *self.image.superblock();
        for level in self.levels()? {
            let Ok(settings) = Settings::new(superblock.compressor, level, superblock.block_size) else { continue };
            if !self.has(settings)? {
                continue;
            }
            let mark = encoder::mark(settings)?;
            if let Some(field) = self.listing.get_mut(LEVEL..LEVEL + 5) {
                field[0] = level.and_then(|level| u8::try_from(level).ok()).unwrap_or(0);
                field[1..].copy_from_slice(&mark);
            }
            if self.comes_out(threads, limits, observer)? {
                return Ok(Some(self));
            }
        }
        Ok(None)
    }

    /// Levels that the image may have been made with.
    fn levels(&self) -> Result<Vec<Option<i32>>, Error> {
        let superblock = self.image.superblock();
        let compressor = superblock.compressor;
        Ok(match compressor {
            Compressor::Xz => XZ_LEVELS.into_iter().map(Some).collect(),
            Compressor::Lz4 => vec![None],
            Compressor::Zstd | Compressor::Gzip if superblock.flags & flags::COMPRESSOR_OPTIONS == 0 => {
                vec![Some(compressor.default_level())]
            }
            Compressor::Zstd | Compressor::Gzip => {
                let mut block = [0; 6];
                self.image.fetch(&mut block, SUPERBLOCK_BYTES as u64)?;
                let [low, high, level @ ..] = block;
                let stored = u16::from_le_bytes([low, high]) & METADATA_STORED != 0;
                if stored { vec![Some(i32::from_le_bytes(level))] } else { Vec::new() }
            }
            Compressor::Lzo | Compressor::Lzma => Vec::new(),
        })
    }

    /// Makes the image again, with its own blocks, and compares.
    fn comes_out(&self, threads: NonZeroUsize, limits: &Limits, observer: &dyn Observer) -> Result<bool, Error> {
        let differs = AtomicBool::new(false);
        let source = self.image.source();
        let length = source.len().map_err(|source| Error::Read { offset: 0, count: 0, source })?;
        let compared = Compared { image: source, length, position: 0, head: [0; SUPERBLOCK_BYTES], differs: &differs };
        let bases = [self];
        let from = Rebuild { listing: &self.listing, contents: &Own(self), bases: &bases, threads, limits };
        match rebuild(&from, compared, &Quiet(observer)) {
            Ok(compared) => compared.is_whole(),
            Err(_) if differs.load(Ordering::Relaxed) => Ok(false),
            // What our writer cannot write at all.
            Err(
                Error::Listing(_)
                | Error::Options(_)
                | Error::Xattr { .. }
                | Error::Inode { .. }
                | Error::TooMany { .. }
                | Error::Limit { .. },
            ) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The contents of the image itself.
struct Own<'a>(&'a Parts);

impl Contents for Own<'_> {
    fn count(&self) -> usize {
        self.0.contents.len()
    }

    fn size(&self, number: usize) -> u64 {
        self.0.contents.get(number).map_or(0, |content| content.size)
    }

    fn in_base(&self, number: usize) -> Option<(usize, usize)> {
        Some((0, number))
    }

    fn open(&self, number: usize) -> io::Result<Arc<dyn ReadAt + '_>> {
        Ok(Arc::new(self.0.content(number).ok_or(io::ErrorKind::NotFound)?))
    }
}

/// Takes an image that is written and compares it with one that is there. The first bytes are written twice; the last
/// ones count.
struct Compared<'a> {
    image: &'a dyn ReadAt,
    length: u64,
    position: u64,
    head: [u8; SUPERBLOCK_BYTES],
    differs: &'a AtomicBool,
}

impl Compared<'_> {
    fn is_whole(&self) -> Result<bool, Error> {
        let mut head = [0; SUPERBLOCK_BYTES];
        let count = head.len() as u64;
        self.image.read_exact_at(&mut head, 0).map_err(|source| Error::Read { offset: 0, count, source })?;
        Ok(head == self.head && self.position == self.length)
    }
}

impl Write for Compared<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(head) = usize::try_from(self.position).ok().and_then(|start| self.head.get_mut(start..)) {
            let count = head.len().min(bytes.len());
            if count > 0 {
                head[..count].copy_from_slice(&bytes[..count]);
                self.position += count as u64;
                return Ok(count);
            }
        }
        let mut theirs = [0; 16 << 10];
        let theirs = &mut theirs[..bytes.len().min(16 << 10)];
        let end = self.position + theirs.len() as u64;
        if end <= self.length {
            self.image.read_exact_at(theirs, self.position)?;
        }
        if end > self.length || *theirs != bytes[..theirs.len()] {
            self.differs.store(true, Ordering::Relaxed);
            return Err(io::Error::other("the image is another one"));
        }
        self.position = end;
        Ok(theirs.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Compared<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Start(position) = to else {
            return match to {
                SeekFrom::Current(0) => Ok(self.position),
                _ => Err(io::ErrorKind::Unsupported.into()),
            };
        };
        self.position = position;
        Ok(position)
    }
}

/// Lets the work be cancelled, and shows nothing of it.
struct Quiet<'a>(&'a dyn Observer);

impl Observer for Quiet<'_> {
    fn expect(&self, _: &'static str, _: u64) {}
    fn advance(&self, _: &'static str, _: u64) {}
    fn note(&self, _: &str) {}
    fn check(&self) -> Result<(), umiak_spec::Cancelled> {
        self.0.check()
    }
}
