//! Making an image again of its listing and its contents.

use std::io::{self, Seek, Write};
use std::num::NonZeroUsize;
use std::sync::Arc;

use umiak_spec::{Limits, Observer};

use super::read::{Listing, Shared};
use super::{Parts, encoder};
use crate::reader::content::stored_bytes;
use crate::writer::{BaseSource, Piece};
use crate::{Error, FileRef, ImageOptions, ImageWriter, ReadAt, StoredContent};

/// The phase that plain bytes of contents are counted in.
const PHASE: &str = "Writing";

/// Bytes that all encoders may take together.
const ENCODERS: usize = 16 << 20;

/// The contents of an image to be, in the order of its listing.
pub trait Contents {
    /// How many there are.
    fn count(&self) -> usize;

    /// Bytes of content `number`.
    fn size(&self, number: usize) -> u64;

    /// The base, and the number of the content in it, that has the same bytes.
    fn in_base(&self, number: usize) -> Option<(usize, usize)>;

    /// The bytes of content `number`; asked for where no base has them as they are needed.
    ///
    /// # Errors
    /// They cannot be read.
    fn open(&self, number: usize) -> io::Result<Arc<dyn ReadAt + '_>>;
}

/// What an image is made again of.
#[derive(Clone, Copy)]
pub struct Rebuild<'a> {
    /// See [`Parts::rebuildable`].
    pub listing: &'a [u8],
    /// The contents it lists.
    pub contents: &'a dyn Contents,
    /// Images whose blocks may be copied.
    pub bases: &'a [&'a Parts],
    /// Threads that compress, beside the calling one; fewer are used when their encoders would take too much memory.
    pub threads: NonZeroUsize,
    /// Bounds on the listing.
    pub limits: &'a Limits,
}

/// Writes the image to `out`, from its current position on. Whether it is the very image is for the caller to see.
///
/// # Errors
/// The listing is not valid or of another encoder than ours; a content or a base cannot be read; writing fails; cancelled.
pub fn rebuild<W: Write + Seek>(from: &Rebuild<'_>, out: W, observer: &dyn Observer) -> Result<W, Error> {
    let sizes: Vec<u64> = (0..from.contents.count()).map(|number| from.contents.size(number)).collect();
    let Listing { options, mark, tree, fragments, order } = Listing::read(from.listing, &sizes, from.limits)?;
    let options = ImageOptions { threads: from.threads.min(threads_for(options.block_size)), ..options };
    let settings = options.settings()?;
    if encoder::mark(settings)? != mark {
        return Err(Error::Encoder { compressor: settings.compressor.name() });
    }
    let mut bases = Vec::new();
    for base in from.bases {
        bases.push(if base.has(settings)? { Some(*base) } else { None });
    }
    let mut writer = ImageWriter::new(out, &options)?;
    let empty = writer.announce(0, 0);
    debug_assert_eq!(empty, FileRef(0));
    let layout = Layout::new(&sizes, &fragments, options.block_size)?;
    for (number, size) in sizes.iter().enumerate() {
        writer.announce(*size, layout.blocks(number));
    }
    observer.expect(PHASE, sizes.iter().sum());
    let mut rebuilding = Rebuilding { contents: from.contents, bases, layout, writer, observer };
    let (mut placed, mut own) = (0, order.iter());
    for fragment in &fragments {
        for number in own.by_ref().take(fragment.before - placed) {
            rebuilding.blocks(*number)?;
        }
        placed = fragment.before;
        rebuilding.fragment(&fragment.members)?;
    }
    own.try_for_each(|number| rebuilding.blocks(*number))?;
    let (out, _) = rebuilding.writer.finish(&tree, observer)?;
    Ok(out)
}

/// Encoders that together take no more than [`ENCODERS`], but one.
fn threads_for(block_size: u32) -> NonZeroUsize {
    // What our xz encoder takes for each byte of a block, and the blocks that wait for it.
    let each = 44 * block_size as usize;
    NonZeroUsize::new(ENCODERS / each).unwrap_or(NonZeroUsize::MIN)
}

/// How contents are divided.
struct Layout<'a> {
    sizes: &'a [u64],
    shares: Vec<bool>,
    block_size: u64,
}

impl<'a> Layout<'a> {
    fn new(sizes: &'a [u64], fragments: &[Shared], block_size: u32) -> Result<Self, Error> {
        let block_size = u64::from(block_size);
        if sizes.contains(&0) {
            return Err(Error::Listing("a content is empty"));
        }
        let mut shares = vec![false; sizes.len()];
        for fragment in fragments {
            let mut length = 0;
            for number in &fragment.members {
                shares[*number] = true;
                let tail = sizes[*number] % block_size;
                length += tail;
                if tail == 0 || length > block_size {
                    return Err(Error::Listing("tails that do not fit into a fragment block"));
                }
            }
        }
        Ok(Self { sizes, shares, block_size })
    }

    /// Blocks of content `number` itself.
    fn blocks(&self, number: usize) -> usize {
        let size = self.sizes[number];
        let blocks = if self.shares[number] { size / self.block_size } else { size.div_ceil(self.block_size) };
        usize::try_from(blocks).unwrap_or(usize::MAX)
    }

    /// Where block `index` begins and its bytes; the one behind the last is the tail.
    fn block(&self, number: usize, index: usize) -> (u64, usize) {
        let start = index as u64 * self.block_size;
        let length = self.sizes[number].saturating_sub(start).min(self.block_size);
        (start, usize::try_from(length).unwrap_or(usize::MAX))
    }
}

struct Rebuilding<'a, W: Write + Seek> {
    contents: &'a dyn Contents,
    /// Those whose blocks are as ours.
    bases: Vec<Option<&'a Parts>>,
    layout: Layout<'a>,
    writer: ImageWriter<W>,
    observer: &'a dyn Observer,
}

const fn file(number: usize) -> FileRef {
    FileRef(number + 1)
}

impl<'a, W: Write + Seek> Rebuilding<'a, W> {
    /// The base that has content `number` in blocks like ours.
    fn base(&self, number: usize) -> Option<(&'a Parts, usize, &'a StoredContent)> {
        let (base, content) = self.contents.in_base(number)?;
        let base = (*self.bases.get(base)?)?;
        let stored = base.stored.get(content)?;
        (stored.size() == self.layout.sizes[number]).then_some((base, content, stored))
    }

    /// The blocks of a content that it has for itself.
    fn blocks(&mut self, number: usize) -> Result<(), Error> {
        let base = self.base(number).map(|(base, _, stored)| (base.source(), stored));
        let (mut place, mut opened) = (base.as_ref().map_or(0, |(_, stored)| stored.start()), None);
        for index in 0..self.layout.blocks(number) {
            self.observer.check()?;
            let (start, length) = self.layout.block(number, index);
            let word = base.as_ref().and_then(|(source, stored)| Some((source, *stored.blocks().get(index)?)));
            match word {
                Some((_, 0)) => {}
                Some((source, word)) => {
                    self.writer.place_copy(file(number), index, source, (place, word))?;
                    place += u64::from(stored_bytes(word));
                }
                None => {
                    let content = match &opened {
                        Some(content) => content,
                        None => opened.insert(self.open(number)?),
                    };
                    let mut plain = self.writer.buffer();
                    plain.resize(length, 0);
                    content.read_exact_at(&mut plain, start).map_err(|source| unreadable(number, source))?;
                    self.writer.place(file(number), index, plain)?;
                }
            }
            self.observer.advance(PHASE, length as u64);
        }
        Ok(())
    }

    /// A fragment block: copied where a base has one of the very same tails.
    fn fragment(&mut self, members: &[usize]) -> Result<(), Error> {
        self.observer.check()?;
        let tail = |number: &usize| self.layout.block(*number, self.layout.blocks(*number));
        let lengths: Vec<usize> = members.iter().map(|number| tail(number).1).collect();
        self.observer.advance(PHASE, lengths.iter().sum::<usize>() as u64);
        if let Some((source, place)) = self.same_fragment(members, &lengths) {
            let tails = members.iter().zip(&lengths);
            let tails = tails.map(|(number, length)| (file(*number), u32::try_from(*length).unwrap_or(u32::MAX)));
            return self.writer.place_fragment_copy(tails, &source, place);
        }
        let mut tails = Vec::with_capacity(members.len());
        for number in members {
            let (offset, length) = tail(number);
            let piece = match self.base(*number) {
                Some((base, _, stored)) => {
                    Piece::Stored { source: base.source(), content: stored.clone(), offset, length }
                }
                None => {
                    let mut plain = vec![0; length];
                    let content = self.open(*number)?;
                    content.read_exact_at(&mut plain, offset).map_err(|source| unreadable(*number, source))?;
                    Piece::Plain(plain)
                }
            };
            tails.push((file(*number), piece));
        }
        self.writer.place_fragment(tails)
    }

    /// Place and length word of a base's fragment block of exactly these tails in a row.
    fn same_fragment(&self, members: &[usize], lengths: &[usize]) -> Option<(Arc<dyn BaseSource>, (u64, u32))> {
        let (base, _, first) = self.base(*members.first()?)?;
        let (fragment, _) = first.fragment()?;
        let theirs = base.tails.get(&fragment)?;
        if theirs.len() != members.len() {
            return None;
        }
        let mut end = 0;
        for ((number, length), (offset, content)) in members.iter().zip(lengths).zip(theirs) {
            let (other, ours, _) = self.base(*number)?;
            if !std::ptr::eq(other, base) || ours != *content || *offset as usize != end {
                return None;
            }
            end += length;
        }
        Some((base.source(), base.source().fragment_place(fragment)?))
    }

    fn open(&self, number: usize) -> Result<Arc<dyn ReadAt + 'a>, Error> {
        self.contents.open(number).map_err(|source| unreadable(number, source))
    }
}

fn unreadable(number: usize, source: io::Error) -> Error {
    Error::Content { name: format!("number {number}"), source }
}
