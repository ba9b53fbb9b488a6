//! Writing an image in one pass: contents first, in any order, then the tree that names them.
//!
//! Guarantees: the image's bytes depend on the options (threads aside), the sequence of contents and the tree; and on
//! a base only if it is foreign ([`BaseMatch`]). Every content that is read is checked against the size and digest
//! announced; memory is bounded by block size and threads, not by the size of files, but for about 60 bytes per
//! distinct content and 4 per block.
//!
//! After an error the writer is unusable and so is what was written.

mod base;
mod blocks;
mod check;
mod directories;
mod fragments;
mod inodes;
mod metadata;
mod placed;
mod pool;
mod tables;
mod xattrs;

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use umiak_spec::{Digest, Observer, Sha256};
use umiak_tree::Tree;

pub use base::{Base, BaseMatch};
pub(crate) use base::{BaseSource, Piece, Sample, same_blocks};
use base::{fragment_key, tail_key};
use blocks::{BlockWriter, Target};
pub use check::check;
use fragments::{Packer, Tail, TailPlace};
use pool::Pool;

use crate::compressor::Settings;
use crate::layout::{METADATA_STORED, PADDING, SUPERBLOCK_BYTES, flags};
use crate::reader::content::stored_bytes;
use crate::{Error, ImageOptions};

/// Tails of at least so much, in 1/64 of the block size, get a short block of their own instead of a place in a
/// fragment block.
const OWN_BLOCK: u64 = 44;

/// A content that was added; to be put into the tree given to [`ImageWriter::finish`] of the same writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileRef(pub(crate) usize);

/// What is known of a content before it is read.
#[derive(Debug, Clone, Copy)]
pub struct NewContent<'a> {
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256.
    pub digest: Digest,
    /// Path or name of the file: groups similar contents by extension, and is shown in errors.
    pub name: &'a [u8],
}

impl NewContent<'_> {
    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.name[..self.name.len().min(200)]).escape_debug().to_string()
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Bytes of the image with its padding.
    pub bytes: u64,
    /// Distinct contents.
    pub contents: u64,
    /// Contents that were added again and found known, and their bytes.
    pub duplicates: u64,
    /// Bytes of those.
    pub duplicate_bytes: u64,
    /// Plain bytes of all distinct contents.
    pub content_bytes: u64,
    /// Data and fragment blocks that were compressed.
    pub compressed_blocks: u64,
    /// Data and fragment blocks copied from the base.
    pub copied_blocks: u64,
    /// Bytes of the image that these take.
    pub copied_bytes: u64,
    /// Fragment blocks.
    pub fragments: u64,
    /// What the base was, if there was one.
    pub base: Option<BaseMatch>,
}

/// Writes one image to `W`, from its current position on.
pub struct ImageWriter<W: Write + Seek> {
    options: ImageOptions,
    settings: Settings,
    origin: u64,
    blocks: BlockWriter<W>,
    packer: Packer,
    tails: Vec<TailPlace>,
    known: HashMap<Digest, FileRef>,
    base: Option<Base>,
    base_match: Option<BaseMatch>,
    broken: bool,
    content_bytes: u64,
    duplicates: u64,
    duplicate_bytes: u64,
}

impl<W: Write + Seek> ImageWriter<W> {
    /// Starts an image at the current position of `out`.
    ///
    /// # Errors
    /// Options that squashfs does not have; `out` fails.
    pub fn new(mut out: W, options: &ImageOptions) -> Result<Self, Error> {
        let settings = options.settings()?;
        let origin = out.stream_position().map_err(Error::Write)?;
        let threads = options.threads.get();
        let mut blocks = BlockWriter::new(out, 0, Pool::new(settings, options.threads), threads);
        blocks.append(&[0; SUPERBLOCK_BYTES])?;
        if let Some(block) = settings.options_block() {
            let length = u16::try_from(block.len()).map_err(|_| Error::Broken)?;
            blocks.append(&(length | METADATA_STORED).to_le_bytes())?;
            blocks.append(&block)?;
        }
        Ok(Self {
            options: *options,
            settings,
            origin,
            blocks,
            packer: Packer::new(options.block_size),
            tails: Vec::new(),
            known: HashMap::new(),
            base: None,
            base_match: None,
            broken: false,
            content_bytes: 0,
            duplicates: 0,
            duplicate_bytes: 0,
        })
    }

    /// Copies compressed blocks from `base` where it has the same contents. To be called before the first content.
    /// A base of another compressor or block size is not used; the report says so.
    ///
    /// # Errors
    /// The base cannot be read or is damaged.
    pub fn with_base(mut self, base: Base) -> Result<Self, Error> {
        let found = base.compare(self.settings)?;
        self.base_match = Some(found);
        self.base = Some(base).filter(|_| found != BaseMatch::Unusable);
        Ok(self)
    }

    /// How the base relates to this image; `None` without a base.
    #[must_use]
    pub const fn base_match(&self) -> Option<BaseMatch> {
        self.base_match
    }

    /// Whether [`ImageWriter::add_known`] will add this content without reading it.
    #[must_use]
    pub fn knows(&self, content: &NewContent<'_>) -> bool {
        let in_base = |base: &Base| base.content(&content.digest, content.size).is_some();
        self.known.contains_key(&content.digest) || self.base.as_ref().is_some_and(in_base)
    }

    /// Adds a content that was added before or that the base has, without reading it; `None` when it must be read.
    ///
    /// # Errors
    /// Writing, compressing, or reading the base fails.
    pub fn add_known(&mut self, content: &NewContent<'_>) -> Result<Option<FileRef>, Error> {
        if self.broken {
            return Err(Error::Broken);
        }
        if let Some(known) = self.known.get(&content.digest) {
            if self.blocks.files[known.0].size != content.size {
                let size = self.blocks.files[known.0].size;
                return Err(mismatch(content, &content.digest, size));
            }
            self.duplicates += 1;
            self.duplicate_bytes += content.size;
            return Ok(Some(*known));
        }
        let stored = self
            .base
            .as_ref()
            .and_then(|base| Some((base.content(&content.digest, content.size)?.clone(), Arc::clone(&base.source))));
        let Some((stored, source)) = stored else { return Ok(None) };
        self.step(|writer| {
            let (file, layout) = writer.start(content);
            let mut place = stored.start();
            for index in 0..layout.blocks {
                let target = Target::Block { file, index };
                let length = layout.block_length(index);
                match stored.blocks().get(index) {
                    // A hole: what the record says already.
                    Some(0) => {}
                    Some(word) => {
                        writer.blocks.copy(&source, (place, *word), target)?;
                        place += u64::from(stored_bytes(*word));
                    }
                    None => {
                        let offset = layout.start_of(index);
                        let (content, source) = (stored.clone(), Arc::clone(&source));
                        writer.blocks.pack(vec![Piece::Stored { source, content, offset, length }], target)?;
                    }
                }
            }
            if layout.tail > 0 {
                let offset = layout.start_of(layout.blocks);
                let piece = Piece::Stored { source, content: stored, offset, length: layout.tail };
                writer.tail(file, content, offset, piece)?;
            }
            Ok(file)
        })
        .map(Some)
    }

    /// Adds a content; `reader` is read to its end unless the content is known already.
    ///
    /// # Errors
    /// The content cannot be read or is not what was announced; writing or compressing fails.
    pub fn add(&mut self, content: &NewContent<'_>, reader: &mut dyn Read) -> Result<FileRef, Error> {
        if let Some(known) = self.add_known(content)? {
            return Ok(known);
        }
        self.step(|writer| {
            let (file, layout) = writer.start(content);
            let mut hash = Sha256::new();
            for index in 0..layout.blocks {
                let plain = writer.read(content, layout.start_of(index), layout.block_length(index), reader)?;
                hash.update(&plain);
                if plain.iter().all(|byte| *byte == 0) {
                    writer.blocks.give_back(plain);
                } else {
                    writer.blocks.pack(vec![Piece::Plain(plain)], Target::Block { file, index })?;
                }
            }
            let start = layout.start_of(layout.blocks);
            let mut tail = Vec::new();
            if layout.tail > 0 {
                tail = writer.read(content, start, layout.tail, reader)?;
                hash.update(&tail);
            }
            let more = reader.read(&mut [0]).map_err(|source| Error::Content { name: content.shown(), source })?;
            let digest = hash.finish();
            if digest != content.digest || more > 0 {
                return Err(mismatch(content, &digest, content.size + more as u64));
            }
            if layout.tail > 0 {
                // The buffer goes back: a tail waits long and is often short.
                writer.tail(file, content, start, Piece::Plain(tail.as_slice().to_vec()))?;
                writer.blocks.give_back(tail);
            }
            Ok(file)
        })
    }

    /// Writes what is left, the tables for `tree` and the superblock; returns the output and what was done.
    ///
    /// # Errors
    /// The tree holds what squashfs cannot ([`check()`]); writing or compressing fails; the observer cancelled.
    pub fn finish(mut self, tree: &Tree<FileRef>, observer: &dyn Observer) -> Result<(W, Report), Error> {
        if self.broken {
            return Err(Error::Broken);
        }
        check(tree)?;
        for tails in self.packer.finish() {
            self.fragment(tails)?;
        }
        self.blocks.drain(observer)?;
        let exportable = self.options.exportable;
        let mut superblock = tables::write(&mut self.blocks, tree, &self.tails, self.settings, exportable, observer)?;
        superblock.image_time = self.options.image_time;
        superblock.flags = flags::DUPLICATES
            | if exportable { flags::EXPORTABLE } else { 0 }
            | if self.settings.options_block().is_some() { flags::COMPRESSOR_OPTIONS } else { 0 };
        let padding = superblock.bytes_used.next_multiple_of(PADDING) - superblock.bytes_used;
        self.blocks.append(&vec![0; usize::try_from(padding).map_err(|_| Error::Broken)?])?;
        let report = self.report();
        let mut out = self.blocks.out.into_inner().map_err(|error| Error::Write(error.into_error()))?;
        out.seek(SeekFrom::Start(self.origin)).map_err(Error::Write)?;
        out.write_all(&superblock.encode()).map_err(Error::Write)?;
        out.seek(SeekFrom::Start(self.origin + report.bytes)).map_err(Error::Write)?;
        out.flush().map_err(Error::Write)?;
        Ok((out, report))
    }

    fn report(&self) -> Report {
        Report {
            bytes: self.blocks.position,
            contents: self.blocks.files.len() as u64,
            duplicates: self.duplicates,
            duplicate_bytes: self.duplicate_bytes,
            content_bytes: self.content_bytes,
            compressed_blocks: self.blocks.counts.compressed,
            copied_blocks: self.blocks.counts.copied,
            copied_bytes: self.blocks.counts.copied_bytes,
            fragments: self.blocks.fragments.len() as u64,
            base: self.base_match,
        }
    }

    /// Runs one step that adds a content; if it fails, the writer stays unusable. Callers saw that it is not.
    fn step(&mut self, add: impl FnOnce(&mut Self) -> Result<usize, Error>) -> Result<FileRef, Error> {
        self.broken = true;
        let file = add(self)?;
        self.broken = false;
        Ok(FileRef(file))
    }

    fn start(&mut self, content: &NewContent<'_>) -> (usize, Layout) {
        let layout = Layout::of(content.size, self.options.block_size);
        let file = self.blocks.start_file(content.size, layout.blocks);
        self.known.insert(content.digest, FileRef(file));
        self.content_bytes += content.size;
        (file, layout)
    }

    fn read(&self, content: &NewContent<'_>, at: u64, length: usize, reader: &mut dyn Read) -> Result<Vec<u8>, Error> {
        let mut plain = self.blocks.buffer();
        plain.resize(length, 0);
        let mut filled = 0;
        while filled < length {
            match reader.read(&mut plain[filled..]) {
                Ok(0) => return Err(mismatch_size(content, at + filled as u64)),
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Content { name: content.shown(), source }),
            }
        }
        Ok(plain)
    }

    fn tail(&mut self, file: usize, content: &NewContent<'_>, start: u64, piece: Piece) -> Result<(), Error> {
        let number = self.tails.len();
        self.tails.push(TailPlace::default());
        self.blocks.files[file].tail = Some(number);
        let tail = Tail { number, key: tail_key(&content.digest, start), piece };
        for tails in self.packer.push(content.name, tail) {
            self.fragment(tails)?;
        }
        Ok(())
    }

    /// Writes one fragment block: copied when the base has the very same, else compressed.
    fn fragment(&mut self, tails: Vec<Tail>) -> Result<(), Error> {
        let number = self.blocks.start_fragment();
        let limit = Error::TooMany { what: "fragment blocks", limit: u64::from(u32::MAX) - 1 };
        let fragment = u32::try_from(number).ok().filter(|number| *number < u32::MAX).ok_or(limit)?;
        let mut offset = 0;
        for tail in &tails {
            self.tails[tail.number] = TailPlace { fragment, offset };
            offset += tail.length();
        }
        if let Some(base) = &self.base {
            let key = fragment_key(tails.iter().map(|tail| (&tail.key, tail.length())));
            if let Some(place) = base.fragment(&key) {
                return self.blocks.copy(&base.source, place, Target::Fragment(number));
            }
        }
        let pieces = tails.into_iter().map(|tail| tail.piece).collect();
        self.blocks.pack(pieces, Target::Fragment(number))
    }
}

/// How a content is divided.
struct Layout {
    size: u64,
    block_size: u64,
    /// Blocks of its own, a short last one included.
    blocks: usize,
    /// Bytes that go into a fragment block.
    tail: usize,
}

impl Layout {
    fn of(size: u64, block_size: u32) -> Self {
        let block_size = u64::from(block_size);
        let rest = size % block_size;
        let own = rest >= block_size * OWN_BLOCK / 64;
        let blocks = size / block_size + u64::from(own);
        let tail = if own { 0 } else { rest };
        let narrow = |length: u64| usize::try_from(length).unwrap_or(usize::MAX);
        Self { size, block_size, blocks: narrow(blocks), tail: narrow(tail) }
    }

    const fn start_of(&self, index: usize) -> u64 {
        index as u64 * self.block_size
    }

    fn block_length(&self, index: usize) -> usize {
        let length = (self.size - self.start_of(index)).min(self.block_size);
        usize::try_from(length).unwrap_or(usize::MAX)
    }
}

fn mismatch(content: &NewContent<'_>, digest: &Digest, size: u64) -> Error {
    let or_more = if size > content.size { " or more" } else { "" };
    Error::Mismatch {
        name: content.shown(),
        expected: format!("{} bytes, {}", content.size, content.digest),
        actual: format!("{size} bytes{or_more}, {digest}"),
    }
}

fn mismatch_size(content: &NewContent<'_>, size: u64) -> Error {
    Error::Mismatch {
        name: content.shown(),
        expected: format!("{} bytes", content.size),
        actual: format!("{size} bytes"),
    }
}
