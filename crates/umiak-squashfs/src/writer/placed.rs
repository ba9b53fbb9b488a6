//! Contents whose places are given, not chosen: how an image is made again from a listing.
//!
//! The caller says which blocks come next and which tails share a fragment block; nothing is hashed and no duplicate is
//! looked for. After an error the writer must be dropped.

use std::io::{Seek, Write};
use std::sync::Arc;

use super::base::{BaseSource, Piece};
use super::blocks::Target;
use super::fragments::TailPlace;
use super::{FileRef, ImageWriter};
use crate::Error;

impl<W: Write + Seek> ImageWriter<W> {
    /// A content with so many blocks of its own, all of them holes as long as nothing is placed.
    pub(crate) fn announce(&mut self, size: u64, blocks: usize) -> FileRef {
        self.content_bytes += size;
        FileRef(self.blocks.start_file(size, blocks))
    }

    /// An empty buffer for [`ImageWriter::place`].
    pub(crate) fn buffer(&self) -> Vec<u8> {
        self.blocks.buffer()
    }

    /// The next block in the image is block `index` of `file`, to be compressed; zeros stay a hole.
    pub(crate) fn place(&mut self, file: FileRef, index: usize, plain: Vec<u8>) -> Result<(), Error> {
        if plain.iter().all(|byte| *byte == 0) {
            self.blocks.give_back(plain);
            return Ok(());
        }
        self.blocks.pack(vec![Piece::Plain(plain)], Target::Block { file: file.0, index })
    }

    /// The next block in the image is block `index` of `file`, and a base has it at this place with this length word.
    pub(crate) fn place_copy(
        &mut self,
        file: FileRef,
        index: usize,
        source: &Arc<dyn BaseSource>,
        place: (u64, u32),
    ) -> Result<(), Error> {
        self.blocks.copy(source, place, Target::Block { file: file.0, index })
    }

    /// The next block in the image is a fragment block of these files' tails with these lengths; gives its number.
    fn start_placed_fragment(&mut self, tails: impl Iterator<Item = (FileRef, u32)>) -> Result<usize, Error> {
        let number = self.blocks.start_fragment();
        let limit = Error::TooMany { what: "fragment blocks", limit: u64::from(u32::MAX) - 1 };
        let fragment = u32::try_from(number).ok().filter(|number| *number < u32::MAX).ok_or(limit)?;
        let mut offset = 0;
        for (file, length) in tails {
            self.blocks.files[file.0].tail = Some(self.tails.len());
            self.tails.push(TailPlace { fragment, offset });
            offset += length;
        }
        Ok(number)
    }

    /// The next block in the image is a fragment block of these tails, to be compressed.
    pub(crate) fn place_fragment(&mut self, tails: Vec<(FileRef, Piece)>) -> Result<(), Error> {
        let length = |piece: &Piece| u32::try_from(piece.length()).unwrap_or(u32::MAX);
        let number = self.start_placed_fragment(tails.iter().map(|(file, piece)| (*file, length(piece))))?;
        let pieces = tails.into_iter().map(|(_, piece)| piece).collect();
        self.blocks.pack(pieces, Target::Fragment(number))
    }

    /// The next block in the image is a fragment block of these tails, and a base has it at this place.
    pub(crate) fn place_fragment_copy(
        &mut self,
        tails: impl Iterator<Item = (FileRef, u32)>,
        source: &Arc<dyn BaseSource>,
        place: (u64, u32),
    ) -> Result<(), Error> {
        let number = self.start_placed_fragment(tails)?;
        self.blocks.copy(source, place, Target::Fragment(number))
    }
}
