//! Images as deltas see them: a listing, and the contents of the files uncompressed.
//!
//! ```text
//! base     image -> take_apart -> listing, contents                nothing is decompressed but the tables
//! target   the same -> rebuildable -> the listing says how our writer makes this very image, or there is none
//! rebuild  listing, contents, base images -> image                 unchanged blocks are copied out of the bases
//! ```
//!
//! The listing has what follows neither from the contents nor from what the writer always does alike: settings, names and
//! metadata, which tails share a fragment block, in which order the blocks lie. Its format is in
//! `docs/formats/delta-containers.md`.
//!
//! Guarantees: [`take_apart`] gives the same parts for the same bytes, whoever made the image. [`Parts::rebuildable`] has
//! made the image again but for the compression of its blocks, of which it tries some: the caller of [`rebuild()`] compares
//! the digest of what comes out. Memory grows with names and blocks, not with contents. Listings are not trusted.

mod encoder;
mod listing;
mod numbers;
mod read;
mod rebuild;
mod target;

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;

use umiak_spec::{Digest, Limits, Observer};

use crate::compressor::Settings;
use crate::reader::Image;
use crate::writer::{BaseSource, Sample, same_blocks};
use crate::{Error, ReadAt, StoredContent};

pub use read::content_names;
pub use rebuild::{Contents, Rebuild, rebuild};

/// First bytes of a listing; the last is the version.
const MAGIC: &[u8; 4] = b"SQL\x01";
/// Bytes before the first row.
const HEAD: usize = 19;
/// Where the head has the level, and behind it the mark of the encoder.
const LEVEL: usize = 14;

/// First bytes of rows.
mod row {
    pub(super) const END: u8 = 0;
    pub(super) const AGAIN: u8 = 1;
    pub(super) const DIRECTORY: u8 = 2;
    pub(super) const FILE: u8 = 3;
    pub(super) const FILE_AGAIN: u8 = 4;
    pub(super) const EMPTY_FILE: u8 = 5;
    pub(super) const SYMLINK: u8 = 6;
    pub(super) const BLOCK_DEVICE: u8 = 7;
    pub(super) const CHAR_DEVICE: u8 = 8;
    pub(super) const FIFO: u8 = 9;
    pub(super) const SOCKET: u8 = 10;
    /// Bit of an inode that has extended attributes.
    pub(super) const XATTRS: u8 = 0x80;
}

/// Blocks compressed again to see whether an image has certain settings: so many of files, so many of fragments.
const SAMPLES: usize = 4;

/// Bytes of decompressed blocks kept: contents are read from end to end.
const KEPT: usize = 2 << 20;

/// One distinct content of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartContent {
    /// The first path it has, without a slash in front.
    pub name: Vec<u8>,
    /// Bytes, at least 1.
    pub size: u64,
}

/// An image taken apart.
pub struct Parts {
    image: Arc<Image<Arc<dyn ReadAt>>>,
    listing: Vec<u8>,
    contents: Vec<PartContent>,
    stored: Vec<StoredContent>,
    /// Of each fragment block: places and numbers of the contents that end there.
    tails: BTreeMap<u32, Vec<(u32, usize)>>,
}

/// Takes an image apart, whoever made it. Reads its tables, not its contents.
///
/// # Errors
/// It is no squashfs image, is damaged, is beyond the limits or cannot be read.
pub fn take_apart(image: Arc<dyn ReadAt>, limits: &Limits) -> Result<Parts, Error> {
    let image = Image::open_keeping(KEPT, image, limits)?;
    let tree = image.tree()?;
    let (listing, named) = listing::write(image.superblock(), image.fragments(), &tree);
    let mut tails: BTreeMap<u32, Vec<(u32, usize)>> = BTreeMap::new();
    let (mut contents, mut stored) = (Vec::new(), Vec::new());
    for (number, named) in named.into_iter().enumerate() {
        if let Some((fragment, offset)) = named.stored.fragment() {
            tails.entry(fragment).or_default().push((offset, number));
        }
        contents.push(PartContent { name: named.path, size: named.stored.size() });
        stored.push(named.stored.clone());
    }
    tails.values_mut().for_each(|tails| tails.sort_unstable());
    Ok(Parts { image: Arc::new(image), listing, contents, stored, tails })
}

impl Parts {
    /// The listing. That of a target says its encoder, any other one does not.
    #[must_use]
    pub fn listing(&self) -> &[u8] {
        &self.listing
    }

    /// The distinct contents that are not empty, in the order of the listing.
    #[must_use]
    pub fn contents(&self) -> &[PartContent] {
        &self.contents
    }

    /// The bytes of content `number`, decompressed as they are read; blocks used last are kept (2 MiB for all contents).
    #[must_use]
    pub fn content(&self, number: usize) -> Option<PartReader<'_>> {
        Some(PartReader { image: &self.image, stored: self.stored.get(number)? })
    }

    /// From now on about so many bytes of decompressed blocks are kept between readings, but two blocks at least.
    pub fn keep(&self, bytes: usize) {
        self.image.keep(bytes);
    }

    /// The SHA-256 of every content: all blocks are decompressed once.
    ///
    /// # Errors
    /// The image cannot be read or is damaged; the observer cancelled.
    pub fn digests(&self, threads: NonZeroUsize, observer: &dyn Observer) -> Result<Vec<Digest>, Error> {
        self.image.content_digests(&self.stored, threads, observer)
    }

    fn source(&self) -> Arc<dyn BaseSource> {
        Arc::clone(&self.image) as Arc<dyn BaseSource>
    }

    /// Whether blocks that are compressed with `settings` come out as this image has them.
    fn has(&self, settings: Settings) -> Result<bool, Error> {
        let source: &dyn BaseSource = self.image.as_ref();
        Ok(source.settings_match(&settings) && same_blocks(source, settings, &self.samples(settings.block_size))?)
    }

    /// Some blocks from all over the image; of files the first ones that are no holes.
    fn samples(&self, block_size: u32) -> Vec<Sample> {
        let mut samples = Vec::new();
        let with_blocks = self.stored.iter().filter(|stored| !matches!(stored.blocks().first(), None | Some(0)));
        let full: Vec<&StoredContent> = with_blocks.collect();
        for stored in spread(&full) {
            let word = stored.blocks().first().copied().unwrap_or(0);
            samples.push((stored.start(), word, Some(stored.block_length(0, block_size))));
        }
        for fragment in spread(self.image.fragments()) {
            samples.push((fragment.start, fragment.word, None));
        }
        samples
    }
}

/// The bytes of one content. Errors of the image come as [`io::Error`] with [`Error`] inside.
#[derive(Clone, Copy)]
pub struct PartReader<'a> {
    image: &'a Image<Arc<dyn ReadAt>>,
    stored: &'a StoredContent,
}

impl ReadAt for PartReader<'_> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let count = self.image.read_at(self.stored, offset, buffer).map_err(io::Error::other)?;
        if count == buffer.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.stored.size())
    }
}

/// At most [`SAMPLES`] of them, the same distance apart.
fn spread<T>(all: &[T]) -> impl Iterator<Item = &T> {
    all.iter().step_by(all.len().div_ceil(SAMPLES).max(1))
}
