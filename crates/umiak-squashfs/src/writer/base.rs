//! A base: an image at hand whose compressed blocks stand in for compressing the same bytes again.
//!
//! What is copied: every full block of a content that the base has (same SHA-256), and every fragment block that
//! would hold exactly the same tails in the same order. Nothing is decompressed for either. Tails that land in a
//! changed fragment block are read out of the base's fragment blocks.
//!
//! A base made by this writer with the same settings gives the very bytes that compressing would give, so the image
//! is the same with and without it. Whether a base is such a one is not taken on faith from a mark in it: some of its
//! blocks are compressed again and compared ([`BaseMatch`]). Any other base of the same compressor and block size is
//! copied from as well: the image is valid and equal in content, but not byte for byte what it would be without.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use umiak_spec::{Digest, Sha256};
use umiak_tree::{Kind, Tree};

use crate::codec::Encoder;
use crate::compressor::Settings;
use crate::layout::BLOCK_STORED;
use crate::reader::content::stored_bytes;
use crate::reader::{Digests, Image, StoredContent};
use crate::{Error, ReadAt};

/// Blocks compressed again to see whether a base has our settings: so many of files, so many of fragments.
const SAMPLES: usize = 2;

/// How a base relates to what this writer would make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BaseMatch {
    /// Its blocks are what we would make: the image is the same with and without the base.
    Same,
    /// Its blocks are compressed otherwise: copied, but the image depends on the base.
    Foreign,
    /// Another compressor or block size: nothing could be copied, the base was not used.
    Unusable,
}

/// An image at hand and the digests of its contents.
pub struct Base {
    pub(super) source: Arc<dyn BaseSource>,
    contents: HashMap<Digest, StoredContent>,
    /// Fragment block by what it holds.
    fragments: HashMap<Digest, u32>,
}

/// What is needed of an image whose source type does not matter any more.
pub(crate) trait BaseSource: Send + Sync {
    fn plain(&self, content: &StoredContent, offset: u64, buffer: &mut [u8]) -> Result<usize, Error>;
    fn raw(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error>;
    fn fragment_place(&self, index: u32) -> Option<(u64, u32)>;
    fn unpacked(&self, place: u64, word: u32, expected: Option<usize>) -> Result<Vec<u8>, Error>;
    fn settings_match(&self, settings: &Settings) -> bool;
}

impl<R: ReadAt> BaseSource for Image<R> {
    fn plain(&self, content: &StoredContent, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        self.read_at(content, offset, buffer)
    }

    fn raw(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        self.fetch(buffer, offset)
    }

    fn fragment_place(&self, index: u32) -> Option<(u64, u32)> {
        self.fragment(index).map(|fragment| (fragment.start, fragment.word))
    }

    fn unpacked(&self, place: u64, word: u32, expected: Option<usize>) -> Result<Vec<u8>, Error> {
        let mut plain = Vec::new();
        self.load(&mut self.decoder()?, place, word, expected, &mut Vec::new(), &mut plain)?;
        Ok(plain)
    }

    fn settings_match(&self, settings: &Settings) -> bool {
        let superblock = self.superblock();
        superblock.compressor == settings.compressor && superblock.block_size == settings.block_size
    }
}

impl Base {
    /// A base out of an image, its tree and the digests of its files' contents. Files without a digest are not used.
    /// The digests are trusted: a wrong one puts wrong content into the image.
    #[must_use]
    pub fn new<R: ReadAt + 'static>(image: Arc<Image<R>>, tree: &Tree<StoredContent>, digests: &Digests) -> Self {
        let block_size = u64::from(image.superblock().block_size);
        let mut contents = HashMap::new();
        let mut members: Vec<BTreeMap<(u32, u32), Digest>> = vec![BTreeMap::new(); image.fragments().len()];
        for (id, inode) in tree.inodes() {
            let (Kind::File(content), Some(digest)) = (&inode.kind, digests.get(id)) else { continue };
            if let Some((fragment, offset)) = content.fragment() {
                let start = content.size() / block_size * block_size;
                let length = u32::try_from(content.size() - start).unwrap_or(u32::MAX);
                if let Some(members) = members.get_mut(fragment as usize) {
                    members.insert((offset, length), tail_key(&digest, start));
                }
            }
            contents.entry(digest).or_insert_with(|| content.clone());
        }
        let mut fragments = HashMap::new();
        for (index, members) in (0..).zip(&members) {
            if let Some(key) = contiguous_key(members) {
                fragments.entry(key).or_insert(index);
            }
        }
        Self { source: image, contents, fragments }
    }

    pub(super) fn content(&self, digest: &Digest, size: u64) -> Option<&StoredContent> {
        self.contents.get(digest).filter(|content| content.size() == size)
    }

    /// Place and length word of the fragment block that holds exactly this.
    pub(super) fn fragment(&self, key: &Digest) -> Option<(u64, u32)> {
        self.source.fragment_place(*self.fragments.get(key)?)
    }

    /// Compresses some blocks again.
    pub(super) fn compare(&self, settings: Settings) -> Result<BaseMatch, Error> {
        if !self.source.settings_match(&settings) {
            return Ok(BaseMatch::Unusable);
        }
        let same = same_blocks(self.source.as_ref(), settings, &self.samples(settings.block_size))?;
        Ok(if same { BaseMatch::Same } else { BaseMatch::Foreign })
    }

    /// The same blocks whatever the order of the map: of the contents with the smallest digests.
    fn samples(&self, block_size: u32) -> Vec<Sample> {
        let mut full = BTreeMap::new();
        let mut fragments = BTreeMap::new();
        for (digest, content) in &self.contents {
            if let Some(word) = content.blocks().first().copied().filter(|word| *word != 0) {
                let expected = content.block_length(0, block_size);
                full.insert(digest, (content.start(), word, Some(expected)));
            }
            let place = content.fragment().and_then(|(index, _)| self.source.fragment_place(index));
            if let Some((place, word)) = place {
                fragments.insert(digest, (place, word, None));
            }
        }
        full.into_values().take(SAMPLES).chain(fragments.into_values().take(SAMPLES)).collect()
    }
}

/// A block of a base: its place, its length word, its plain length where that is known.
pub(crate) type Sample = (u64, u32, Option<usize>);

/// Compresses blocks of `source` again: whether the same bytes come out.
pub(crate) fn same_blocks(source: &dyn BaseSource, settings: Settings, samples: &[Sample]) -> Result<bool, Error> {
    let failed = |source| Error::Compress { compressor: settings.compressor.name(), source };
    let mut encoder = Encoder::new(settings).map_err(failed)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for (place, word, expected) in samples {
        let plain = source.unpacked(*place, *word, *expected)?;
        theirs.resize(stored_bytes(*word) as usize, 0);
        source.raw(*place, &mut theirs)?;
        let smaller = encoder.compress(&plain, &mut ours).map_err(failed)?;
        let stored = word & BLOCK_STORED != 0;
        if smaller == stored || (smaller && ours != theirs) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What a tail is known by: the content's digest when it is the whole content, else digest and place in it.
pub(super) fn tail_key(digest: &Digest, start: u64) -> Digest {
    if start == 0 {
        return *digest;
    }
    let mut hash = Sha256::new();
    hash.update(digest.as_bytes());
    hash.update(&start.to_le_bytes());
    hash.finish()
}

/// What a fragment block is known by: its tails in order.
pub(super) fn fragment_key<'a>(tails: impl Iterator<Item = (&'a Digest, u32)>) -> Digest {
    let mut hash = Sha256::new();
    for (key, length) in tails {
        hash.update(key.as_bytes());
        hash.update(&length.to_le_bytes());
    }
    hash.finish()
}

/// The key of a base's fragment block whose tails follow each other without a gap.
fn contiguous_key(members: &BTreeMap<(u32, u32), Digest>) -> Option<Digest> {
    let mut end = 0;
    for (offset, length) in members.keys() {
        if *offset != end {
            return None;
        }
        end += length;
    }
    (end > 0).then(|| fragment_key(members.iter().map(|((_, length), key)| (key, *length))))
}

/// A part of a block to be.
pub(crate) enum Piece {
    /// Bytes in memory.
    Plain(Vec<u8>),
    /// Bytes of a content in the base.
    Stored { source: Arc<dyn BaseSource>, content: StoredContent, offset: u64, length: usize },
}

impl Piece {
    pub(super) const fn length(&self) -> usize {
        match self {
            Self::Plain(bytes) => bytes.len(),
            Self::Stored { length, .. } => *length,
        }
    }

    pub(super) fn append_to(self, plain: &mut Vec<u8>) -> Result<(), Error> {
        match self {
            Self::Plain(bytes) => plain.extend_from_slice(&bytes),
            Self::Stored { source, content, offset, length } => {
                let start = plain.len();
                plain.resize(start + length, 0);
                if source.plain(&content, offset, &mut plain[start..])? != length {
                    return Err(Error::damaged("a file of the base is shorter than its inode says", content.start()));
                }
            }
        }
        Ok(())
    }
}
