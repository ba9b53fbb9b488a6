//! A streaming reader of tar archives: V7, ustar, PAX and GNU, as layers are.
//!
//! Why our own: a layer must later be rebuilt bit for bit from a tree and the skeleton of its archive, so every header
//! byte has to pass through code that could keep it; and a reader that hands out slices of the decompressor's
//! buffers hashes contents without copying them.
//!
//! What it guarantees: memory is bounded by `Limits` whatever the archive claims; every header's checksum is checked;
//! paths are relative, normal and without `..`; owners are the numeric ones. Holes of sparse files read as zeros.
//!
//! Where the archive ends: at the first block of zeros, or where the stream ends between two members. What follows
//! the end (padding to a record, usually) belongs to the diff ID but is not looked at, also when it is another archive.
//! A missing padding after the last file is forgiven; a file cut short is an error.
//!
//! Entry types: `0`, `\0`, `7` files (directories when the name ends in `/`), `1` hard links, `2` symbolic links, `3` `4` devices, `5` and
//! GNU's `D` directories, `6` pipes, `S` old GNU sparse files, `L` `K` long names, `x` `X` `g` extended headers; `V`
//! volume labels are skipped; anything else is an error, as no layer should leave out what it cannot say.

use std::io::{self, BufRead, Read as _};

use umiak_spec::Limits;

use crate::content::{Content, Stored};
use crate::entry::{Entry, Meaning, meaning};
use crate::error::{LayerError, shown};
use crate::header::{BLOCK, Block, Header};
use crate::member::Member;
use crate::pax::{self, Extended};

/// Reads the entries of an uncompressed layer one after the other.
pub struct TarReader<R> {
    source: Counted<R>,
    limits: Limits,
    globals: Extended,
    members: u32,
    expanded: u64,
    /// Bytes of names, link targets and attributes handed out.
    metadata: u64,
    /// The content of the current entry and what of it was read.
    stored: Stored,
    ended: bool,
}

/// What the headers in front of a member said.
#[derive(Default)]
struct Preamble {
    extended: Option<Extended>,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<R: BufRead> TarReader<R> {
    /// Reads from `source`, which gives the uncompressed archive.
    pub fn new(source: R, limits: Limits) -> Self {
        let source = Counted { inner: source, position: 0 };
        let (globals, stored) = (Extended::default(), Stored::default());
        Self { source, limits, globals, members: 0, expanded: 0, metadata: 0, stored, ended: false }
    }

    /// Uncompressed bytes read so far.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.source.position
    }

    /// The reader below.
    pub(crate) fn get_ref(&self) -> &R {
        &self.source.inner
    }

    /// The reader below. After the last entry it stands behind the end mark.
    pub fn into_inner(self) -> R {
        self.source.inner
    }

    /// The next entry, or `None` after the last; what was not read of the one before is passed over.
    /// `F` is the size of a file in bytes, holes included.
    ///
    /// # Errors
    /// [`LayerError`].
    pub fn next_entry(&mut self) -> Result<Option<Entry<u64>>, LayerError> {
        loop {
            let Some(member) = self.next_member()? else { return Ok(None) };
            let ordinal = self.members;
            if self.members as usize >= self.limits.entries {
                let limit = self.limits.entries as u64;
                return Err(LayerError::Limit { entry: shown(&member.path), what: "entries in a layer", limit });
            }
            self.members += 1;
            let meaning = meaning(&member.path, &self.limits)?;
            self.open(&member)?;
            let metadata = member.metadata;
            let (path, body) = match meaning {
                Meaning::Bookkeeping => continue,
                Meaning::Whiteout(path) => (path, crate::Body::Whiteout),
                Meaning::Opaque(path) => (path, crate::Body::Opaque),
                Meaning::Plain(path) => (path, member.body),
            };
            return Ok(Some(Entry { ordinal, path, metadata, body }));
        }
    }

    /// The content of the current entry from where it was last read; empty for anything but files.
    pub fn content(&mut self) -> Content<'_, Counted<R>> {
        Content::new(&mut self.source, &mut self.stored)
    }

    /// Finds where the content of `member` lies.
    fn open(&mut self, member: &Member) -> Result<(), LayerError> {
        let invalid = |reason| LayerError::Sparse { entry: shown(&member.path), reason };
        self.expanded = self.expanded.saturating_add(member.size);
        let too_large = |what, limit| LayerError::Limit { entry: shown(&member.path), what, limit };
        if member.size > self.limits.file {
            return Err(too_large("bytes in a file", self.limits.file));
        }
        if self.expanded > self.limits.expanded {
            return Err(too_large("bytes in all files of a layer", self.limits.expanded));
        }
        self.metadata += member.metadata_bytes();
        if self.metadata > self.limits.metadata {
            return Err(too_large("bytes of names and extended attributes in a layer", self.limits.metadata));
        }
        self.stored = member.stored(&mut self.source, &invalid)?;
        Ok(())
    }

    /// The next member that is no header of another, with everything said about it.
    fn next_member(&mut self) -> Result<Option<Member>, LayerError> {
        self.pass_over()?;
        let mut preamble = Preamble::default();
        while let Some(block) = self.header_block()? {
            let Some(header) = Header::new(&block) else {
                return Err(LayerError::Checksum { position: self.source.position - BLOCK as u64 });
            };
            match header.kind() {
                b'x' | b'X' => {
                    let bytes = self.extension(header)?;
                    let extended = preamble.extended.get_or_insert_with(|| self.globals.clone());
                    read_extended(extended, &bytes, header)?;
                }
                b'g' => {
                    let bytes = self.extension(header)?;
                    read_extended(&mut self.globals, &bytes, header)?;
                }
                b'L' => preamble.path = Some(until_nul(self.extension(header)?)),
                b'K' => preamble.link = Some(until_nul(self.extension(header)?)),
                b'V' => drop(self.extension(header)?),
                _ => {
                    let extended = preamble.extended.unwrap_or_else(|| self.globals.clone());
                    let mut member = Member::new(header, extended, preamble.path, preamble.link, &self.limits)?;
                    self.read_old_sparse_blocks(header, &mut member)?;
                    return Ok(Some(member));
                }
            }
        }
        Ok(None)
    }

    /// The blocks with more extents that follow the header of an old GNU sparse file.
    fn read_old_sparse_blocks(&mut self, header: Header<'_>, member: &mut Member) -> Result<(), LayerError> {
        let Some(extents) = member.old_extents() else { return Ok(()) };
        let entry = header.path();
        let invalid = |reason| LayerError::Sparse { entry: shown(&entry), reason };
        let mut more = header.sparse_extents().1;
        while more {
            let mut block = [0; BLOCK];
            self.fill(&mut block, "a sparse map")?;
            crate::sparse::push_old(extents, &block[..504]).map_err(invalid)?;
            more = block[504] != 0;
        }
        Ok(())
    }

    /// The bytes of an extension header.
    fn extension(&mut self, header: Header<'_>) -> Result<Vec<u8>, LayerError> {
        let entry = || shown(&header.path());
        let field = || LayerError::Field { entry: entry(), field: "size of an extended header", value: String::new() };
        let size = u64::try_from(header.size().ok_or_else(field)?).map_err(|_| field())?;
        if size > self.limits.tar_header {
            let limit = self.limits.tar_header;
            return Err(LayerError::Limit { entry: entry(), what: "bytes in an extended header", limit });
        }
        let mut bytes = vec![0; usize::try_from(size.next_multiple_of(BLOCK as u64)).map_err(|_| field())?];
        self.fill(&mut bytes, "an extended header")?;
        bytes.truncate(usize::try_from(size).map_err(|_| field())?);
        Ok(bytes)
    }

    /// The next header; `None` at the end of the archive.
    fn header_block(&mut self) -> Result<Option<Block>, LayerError> {
        let mut block = [0; BLOCK];
        if self.ended || self.source.at_end().map_err(LayerError::read)? {
            self.ended = true;
            return Ok(None);
        }
        self.fill(&mut block, "a header")?;
        if block.iter().all(|byte| *byte == 0) {
            self.ended = true;
            return Ok(None);
        }
        Ok(Some(block))
    }

    fn fill(&mut self, buffer: &mut [u8], what: &str) -> Result<(), LayerError> {
        let position = self.source.position;
        self.source.read_exact(buffer).map_err(|error| match LayerError::read(error) {
            LayerError::Read(error) if error.kind() == io::ErrorKind::UnexpectedEof && error.get_ref().is_none() => {
                LayerError::Truncated { what: what.into(), position }
            }
            error => error,
        })
    }

    /// Skips what is left of the current member and its padding.
    fn pass_over(&mut self) -> Result<(), LayerError> {
        let (left, padding) = self.stored.take_rest();
        if self.source.skip(left).map_err(LayerError::read)? < left {
            return Err(LayerError::Truncated { what: "a file".into(), position: self.source.position });
        }
        self.source.skip(padding).map_err(LayerError::read)?;
        Ok(())
    }
}

fn read_extended(extended: &mut Extended, bytes: &[u8], header: Header<'_>) -> Result<(), LayerError> {
    pax::read(extended, bytes).map_err(|reason| LayerError::ExtendedHeader { entry: shown(&header.path()), reason })
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

/// A buffered reader that counts.
pub struct Counted<R> {
    inner: R,
    position: u64,
}

impl<R: BufRead> Counted<R> {
    fn at_end(&mut self) -> io::Result<bool> {
        Ok(self.fill_buf()?.is_empty())
    }

    /// Passes over `count` bytes, fewer at the end of the stream.
    fn skip(&mut self, count: u64) -> io::Result<u64> {
        let mut skipped = 0;
        while skipped < count {
            let available = self.fill_buf()?.len();
            if available == 0 {
                break;
            }
            let step = usize::try_from(count - skipped).map_or(available, |left| left.min(available));
            self.consume(step);
            skipped += step as u64;
        }
        Ok(skipped)
    }
}

impl<R: BufRead> io::Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        loop {
            // Twice, because a borrow that is returned from a loop lasts for the whole loop.
            match self.inner.fill_buf() {
                Ok(_) => return self.inner.fill_buf(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted && error.get_ref().is_none() => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn consume(&mut self, count: usize) {
        self.inner.consume(count);
        self.position += count as u64;
    }
}
