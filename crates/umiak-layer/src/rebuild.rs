//! An archive out of its skeleton and its contents, and what it means without them.
//!
//! [`Archive`] gives the bytes of the tar again. [`reindex`] makes the index of a layer again of the skeleton alone, digests as the
//! skeleton has them: contents are not read, but for those that the index cannot know otherwise.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::Deref;

use umiak_spec::{Digest, Limits, Observer};

use crate::LayerError;
use crate::entry::Entry;
use crate::header::BLOCK;
use crate::index::{FileContent, LayerIndex};
use crate::reader::TarReader;
use crate::skeleton::{Skeleton, padding};
use crate::skeleton_view::flip_checksum;

/// Reads the archive that a skeleton was made of, from its first byte to its last.
///
/// It gives what it is given: who must know that it is the right archive compares digests.
pub struct Archive<'a, S, R> {
    skeleton: S,
    bytes: R,
    open: Box<dyn FnMut(usize) -> io::Result<Box<dyn Read + Send + 'a>> + Send + 'a>,
    /// The next content.
    next: usize,
    /// Bytes of skeleton that were read.
    taken: u64,
    now: Now<'a>,
    block: [u8; BLOCK],
    /// The part of the block that is still to be given.
    held: std::ops::Range<usize>,
}

enum Now<'a> {
    /// So many bytes of skeleton are left before the next content, or the end.
    Skeleton(u64),
    Content(Box<dyn Read + Send + 'a>, u64),
    Padding(u64),
}

impl<'a, S: Deref<Target = Skeleton>, R: Read> Archive<'a, S, R> {
    /// `bytes` gives the skeleton in the form of [`crate::SkeletonView`]; `open` the content with a number.
    pub fn new(
        skeleton: S,
        bytes: R,
        open: impl FnMut(usize) -> io::Result<Box<dyn Read + Send + 'a>> + Send + 'a,
    ) -> Self {
        let first = skeleton.contents.first().map_or(skeleton.size, |content| content.skeleton_before);
        let (block, now) = ([0; BLOCK], Now::Skeleton(first));
        Self { skeleton, bytes, open: Box::new(open), next: 0, taken: 0, now, block, held: 0..0 }
    }

    /// Skeleton bytes from the block at hand, the next one read if it is used up.
    fn skeleton(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.held.is_empty() {
            let length = usize::try_from(self.skeleton.size.saturating_sub(self.taken)).unwrap_or(BLOCK).min(BLOCK);
            self.bytes.read_exact(&mut self.block[..length])?;
            self.taken += length as u64;
            if length == BLOCK {
                flip_checksum(&mut self.block);
            }
            self.held = 0..length;
        }
        let count = buffer.len().min(self.held.len());
        buffer[..count].copy_from_slice(&self.block[self.held.start..self.held.start + count]);
        self.held.start += count;
        Ok(count)
    }

    /// What comes behind what is over.
    fn turn(&mut self) -> io::Result<bool> {
        let over = |index: usize| -> Now<'a> {
            let contents = &self.skeleton.contents;
            let before = match contents.get(index) {
                Some(content) => content.skeleton_before,
                None => {
                    let all: u64 = contents.iter().map(|content| content.skeleton_before).sum();
                    self.skeleton.size.saturating_sub(all)
                }
            };
            Now::Skeleton(before)
        };
        self.now = match &self.now {
            Now::Skeleton(_) => {
                let Some(content) = self.skeleton.contents.get(self.next) else { return Ok(false) };
                let reader = (self.open)(self.next)?;
                self.next += 1;
                Now::Content(reader, content.size)
            }
            Now::Content(..) => match self.skeleton.contents.get(self.next - 1) {
                Some(content) if content.padded => Now::Padding(padding(content.size)),
                _ => over(self.next),
            },
            Now::Padding(_) => over(self.next),
        };
        Ok(true)
    }
}

impl<S: Deref<Target = Skeleton>, R: Read> Read for Archive<'_, S, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let room = buffer.len();
            let most = |left: u64| usize::try_from(left).unwrap_or(usize::MAX).min(room);
            let count = match &mut self.now {
                Now::Skeleton(0) | Now::Content(_, 0) | Now::Padding(0) => {
                    if self.turn()? {
                        continue;
                    }
                    return Ok(0);
                }
                Now::Padding(left) => {
                    let count = most(*left);
                    buffer[..count].fill(0);
                    *left -= count as u64;
                    count
                }
                Now::Content(reader, left) => {
                    let count = reader.read(&mut buffer[..most(*left)])?;
                    if count == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    *left -= count as u64;
                    count
                }
                Now::Skeleton(left) => {
                    let (left, count) = (*left, most(*left));
                    let count = self.skeleton(&mut buffer[..count])?;
                    self.now = Now::Skeleton(left - count as u64);
                    count
                }
            };
            return Ok(count);
        }
    }
}

/// The index of the layer that `archive` gives, whose contents need not be the real ones where the skeleton has a file's
/// content whole. `others` are the digests of the files of which it has not, by entry.
///
/// # Errors
/// [`LayerError`]; a file without a digest is [`LayerError::NotAsIndexed`].
pub fn reindex(
    archive: impl Read,
    skeleton: &Skeleton,
    others: &BTreeMap<u32, Digest>,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<LayerIndex, LayerError> {
    let mut reader = TarReader::new(io::BufReader::with_capacity(64 << 10, archive), *limits);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        observer.check()?;
        let Entry { ordinal, path, metadata, body } = entry;
        let unknown = LayerError::NotAsIndexed { ordinal, reason: "has no digest" };
        let body = body.try_map(|size| {
            let at = skeleton.content_at(reader.position()).map(|number| &skeleton.contents[number]);
            let known = at.filter(|content| content.size == size).map(|content| content.digest);
            let empty = (size == 0).then(|| Digest::of(&[]));
            let digest = others.get(&ordinal).copied().or(empty).or(known).ok_or(unknown)?;
            Ok::<_, LayerError>(FileContent { size, digest })
        })?;
        entries.push(Entry { ordinal, path, metadata, body });
    }
    entries.shrink_to_fit();
    Ok(LayerIndex { diff_id: skeleton.diff_id, size: skeleton.archive, entries })
}
