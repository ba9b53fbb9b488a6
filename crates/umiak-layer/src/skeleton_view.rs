//! The bytes of a tar's skeleton, read at random out of the archive, in the form in which deltas compare them.
//!
//! That form has the checksum fields of headers flipped (see [`flip_checksum`]), so that another mtime or size is one
//! difference and not two. Memory: 16 bytes for each file.

use std::io;

use umiak_spec::ReadAt;

use crate::header::BLOCK;
use crate::skeleton::Skeleton;

/// In a block with `ustar` at byte 257: the checksum field (bytes 148 to 155), XORed with the text that the checksum has as a
/// rule: six octal digits, NUL, space. In any other block: nothing.
///
/// Its own inverse, because the checksum counts its own field as spaces.
pub fn flip_checksum(block: &mut [u8; BLOCK]) {
    if !block[257..].starts_with(b"ustar") {
        return;
    }
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    let field: u32 = block[148..156].iter().map(|byte| u32::from(*byte)).sum();
    let text = format!("{:06o}\0 ", sum - field + 8 * u32::from(b' '));
    block[148..156].iter_mut().zip(text.bytes()).for_each(|(byte, usual)| *byte ^= usual);
}

/// A run of skeleton bytes that lie in a row in the archive; it goes on to where the next one starts.
#[derive(Debug, Clone, Copy)]
struct Run {
    skeleton: u64,
    archive: u64,
}

/// The skeleton of `archive`, all whole 512-byte blocks of it flipped.
#[derive(Debug)]
pub struct SkeletonView<R> {
    archive: R,
    runs: Vec<Run>,
    size: u64,
}

impl<R: ReadAt> SkeletonView<R> {
    /// A view of the archive that `skeleton` was made from; of another one it reads rubbish or ends early.
    pub fn new(skeleton: &Skeleton, archive: R) -> Self {
        let mut runs = Vec::with_capacity(skeleton.contents.len() + 1);
        let mut run = Run { skeleton: 0, archive: 0 };
        for content in &skeleton.contents {
            if content.skeleton_before > 0 {
                runs.push(run);
            }
            run = Run { skeleton: run.skeleton.saturating_add(content.skeleton_before), archive: content.end() };
        }
        runs.push(run);
        runs.shrink_to_fit();
        Self { archive, runs, size: skeleton.size }
    }

    /// Bytes as they are in the archive.
    fn raw(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        let mut number = self.runs.partition_point(|run| run.skeleton <= offset).saturating_sub(1);
        while !buffer.is_empty() {
            let run = self.runs.get(number).ok_or(io::ErrorKind::UnexpectedEof)?;
            let end = self.runs.get(number + 1).map_or(self.size, |next| next.skeleton);
            let left = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
            let (part, rest) = buffer.split_at_mut(left.min(buffer.len()));
            self.archive.read_exact_at(part, run.archive + (offset - run.skeleton))?;
            offset += part.len() as u64;
            buffer = rest;
            number += 1;
        }
        Ok(())
    }

    /// The block that starts at `start`, flipped if it is a whole one, and its length.
    fn block(&self, start: u64) -> io::Result<([u8; BLOCK], usize)> {
        let mut block = [0; BLOCK];
        let length = usize::try_from(self.size - start).unwrap_or(BLOCK).min(BLOCK);
        self.raw(&mut block[..length], start)?;
        if length == BLOCK {
            flip_checksum(&mut block);
        }
        Ok((block, length))
    }

    /// A part of one block at the front of `buffer`; its length.
    fn part(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let inside = usize::try_from(offset % BLOCK as u64).unwrap_or(0);
        let (block, length) = self.block(offset - inside as u64)?;
        let part = &block[inside..length];
        let count = part.len().min(buffer.len());
        buffer[..count].copy_from_slice(&part[..count]);
        Ok(count)
    }
}

impl<R: ReadAt> ReadAt for SkeletonView<R> {
    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        let fits = offset.checked_add(buffer.len() as u64).is_some_and(|end| end <= self.size);
        if !fits {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while !buffer.is_empty() {
            let whole = buffer.len() / BLOCK * BLOCK;
            let count = if offset.is_multiple_of(BLOCK as u64) && whole > 0 {
                let blocks = &mut buffer[..whole];
                self.raw(blocks, offset)?;
                blocks.as_chunks_mut().0.iter_mut().for_each(flip_checksum);
                whole
            } else {
                self.part(buffer, offset)?
            };
            offset += count as u64;
            buffer = &mut buffer[count..];
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.size)
    }
}
