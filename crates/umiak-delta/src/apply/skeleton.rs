//! The target's skeleton, made block by block between the contents.

use std::io::{self, Read};
use std::sync::Arc;

use umiak_spec::ReadAt;

use super::output::Output;
use crate::patch::{Patch, Source};
use crate::reading::LaneIn;

/// Bytes of a tar block.
pub(super) const BLOCK: usize = 512;

/// The skeleton's bytes in order.
pub struct Skeleton<'a> {
    lane: LaneIn<'a>,
    source: Arc<dyn ReadAt + 'a>,
    source_size: u64,
    patch: Patch,
    left: u64,
    flip: bool,
    block: [u8; BLOCK],
    /// Bytes of the block that were made and not yet given out.
    ready: std::ops::Range<usize>,
}

impl<'a> Skeleton<'a> {
    /// A skeleton of `size` bytes; in a tar checksum fields are flipped back.
    pub fn new(lane: LaneIn<'a>, source: Arc<dyn ReadAt + 'a>, source_size: u64, size: u64, flip: bool) -> Self {
        Self {
            lane,
            source,
            source_size,
            patch: Patch::new(size, source_size),
            left: size,
            flip,
            block: [0; BLOCK],
            ready: 0..0,
        }
    }

    /// Writes the next `count` bytes, or all that are left when there are fewer and `count` is [`u64::MAX`].
    pub fn write(&mut self, count: u64, output: &mut Output<'_>) -> io::Result<()> {
        let mut count = if count == u64::MAX { self.left + self.ready.len() as u64 } else { count };
        while count > 0 {
            if self.ready.is_empty() {
                self.next_block()?;
            }
            let length = usize::try_from(count).unwrap_or(usize::MAX).min(self.ready.len());
            let part = self.ready.start..self.ready.start + length;
            io::Write::write_all(output, &self.block[part])?;
            self.ready.start += length;
            count -= length as u64;
        }
        Ok(())
    }

    fn next_block(&mut self) -> io::Result<()> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(BLOCK);
        if length == 0 {
            return Err(crate::patch::invalid("the skeleton ends early"));
        }
        let source = Source { bytes: &self.source, size: self.source_size };
        let mut made = Making { patch: &mut self.patch, lane: &mut self.lane, source };
        made.read_exact(&mut self.block[..length])?;
        self.left -= length as u64;
        if self.flip && length == BLOCK {
            flip_checksum(&mut self.block);
        }
        self.ready = 0..length;
        Ok(())
    }
}

struct Making<'s, 'l, 'a> {
    patch: &'s mut Patch,
    lane: &'s mut LaneIn<'l>,
    source: Source<'a>,
}

impl Read for Making<'_, '_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.patch.read(self.lane, self.source, buffer)
    }
}

/// In a block with "ustar" at byte 257, the checksum field XORed with the standard text of the checksum. Its own inverse: the
/// checksum counts its own field as spaces.
pub fn flip_checksum(block: &mut [u8; BLOCK]) {
    if &block[257..262] != b"ustar" {
        return;
    }
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    let field: u32 = block[148..156].iter().map(|byte| u32::from(*byte)).sum();
    let text = format!("{:06o}\0 ", sum - field + 8 * 32);
    block[148..156].iter_mut().zip(text.bytes()).for_each(|(byte, digit)| *byte ^= digit);
}
