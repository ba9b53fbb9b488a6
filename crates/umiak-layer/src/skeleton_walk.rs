//! The walk over an archive that finds its contents and its skeleton: bytes are pushed in, parts come out.
//!
//! Pushed, so that it can look over the shoulder of another reader of the same stream. What belongs where is told in
//! `docs/formats/delta-containers.md`; deltas depend on every detail of it.
//!
//! Guarantees: any bytes are walked; how they are cut into pushes makes no difference. Memory: one block, one body of an extension
//! header (1 MiB at most), one name.

use crate::LayerError;
use crate::header::{BLOCK, Header};
use crate::pax;
use crate::skeleton::padding;

/// Bytes of an extension header's body, at most. Not a limit of the caller's: all have to find the same parts.
const MOST_BODY: usize = 1 << 20;

/// Takes what a [`Walk`] finds.
pub(crate) trait Parts {
    /// The next bytes of the skeleton.
    fn skeleton(&mut self, bytes: &[u8]) -> Result<(), LayerError>;

    /// The next bytes of the content at hand.
    fn content(&mut self, bytes: &[u8]) -> Result<(), LayerError>;

    /// The content at hand and its padding are over. Not called for contents without bytes.
    fn end(&mut self, found: Found) -> Result<(), LayerError>;
}

/// A content; see [`crate::SkeletonContent`].
pub(crate) struct Found {
    pub(crate) name: Vec<u8>,
    pub(crate) offset: u64,
    pub(crate) size: u64,
    pub(crate) skeleton_before: u64,
    pub(crate) padded: bool,
}

/// What the headers before a file said about it.
#[derive(Default)]
struct Preamble {
    size: Option<u64>,
    path: Option<Vec<u8>>,
    long_name: Option<Vec<u8>>,
}

impl Preamble {
    /// What a PAX header says. A record that cannot be read ends the list; its bytes are skeleton all the same.
    fn extend(&mut self, mut records: &[u8]) {
        let (mut path, mut sparse) = (None, None);
        self.size = None;
        while let Ok(record) = pax::record(records) {
            match record.key {
                b"size" => self.size = pax::decimal(record.value),
                b"path" => path = Some(record.value),
                b"GNU.sparse.name" => sparse = Some(record.value),
                _ => {}
            }
            records = record.rest;
        }
        self.path = sparse.or(path).filter(|path| !path.is_empty()).map(<[u8]>::to_vec);
    }
}

/// A file whose content is to come, or is coming.
struct File {
    name: Vec<u8>,
    /// Bytes it should have.
    size: u64,
    /// Where it began, and how much of it came.
    offset: u64,
    came: u64,
    before: u64,
}

impl File {
    fn found(self, padded: bool) -> Found {
        Found { name: self.name, offset: self.offset, size: self.came, skeleton_before: self.before, padded }
    }
}

/// What the next bytes are.
enum State {
    Block,
    /// The body of an extension header of this type and this many bytes, rounded up to whole blocks.
    Body(u8, usize),
    /// A block with more extents of an old GNU sparse file.
    Map(File),
    Content(File),
    Padding(File),
}

/// See the module.
pub(crate) struct Walk<P> {
    parts: P,
    /// Bytes of archive, at most.
    longest: u64,
    position: u64,
    /// Skeleton bytes since the last content.
    before: u64,
    preamble: Preamble,
    state: State,
    /// What came of the block, body or padding at hand.
    pending: Vec<u8>,
}

impl<P: Parts> Walk<P> {
    pub(crate) fn new(longest: u64, parts: P) -> Self {
        let (preamble, state, pending) = (Preamble::default(), State::Block, Vec::with_capacity(BLOCK));
        Self { parts, longest, position: 0, before: 0, preamble, state, pending }
    }

    /// Where in the archive the content at hand begins and how long it should be, if none of it came yet.
    pub(crate) fn beginning(&self) -> Option<(u64, u64)> {
        match &self.state {
            State::Content(file) if file.came == 0 => Some((self.position, file.size)),
            _ => None,
        }
    }

    /// The next bytes of the archive.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), LayerError> {
        if self.position.saturating_add(bytes.len() as u64) > self.longest {
            let what = "bytes of archive";
            return Err(LayerError::Limit { entry: String::new(), what, limit: self.longest });
        }
        while !bytes.is_empty() {
            let count = match &mut self.state {
                State::Content(file) => {
                    let left = usize::try_from(file.size - file.came).unwrap_or(usize::MAX);
                    let count = left.min(bytes.len());
                    self.parts.content(&bytes[..count])?;
                    file.came += count as u64;
                    count
                }
                _ => {
                    let count = (self.wanted() - self.pending.len()).min(bytes.len());
                    self.pending.extend_from_slice(&bytes[..count]);
                    count
                }
            };
            self.position += count as u64;
            bytes = &bytes[count..];
            self.turn()?;
        }
        Ok(())
    }

    /// The end of the archive: its length, and who took the parts.
    pub(crate) fn finish(mut self) -> Result<(u64, P), LayerError> {
        match std::mem::replace(&mut self.state, State::Block) {
            State::Content(file) if file.came > 0 => {
                let padded = padding(file.came) == 0;
                self.parts.end(file.found(padded))?;
            }
            State::Padding(file) => {
                self.parts.end(file.found(false))?;
                self.skeleton()?;
            }
            _ => self.skeleton()?,
        }
        Ok((self.position, self.parts))
    }

    /// Bytes that must be pending before the state can turn.
    fn wanted(&self) -> usize {
        match &self.state {
            State::Block | State::Map(_) => BLOCK,
            State::Body(_, size) => size.next_multiple_of(BLOCK),
            State::Content(_) => 0,
            State::Padding(file) => usize::try_from(padding(file.came)).unwrap_or(0),
        }
    }

    /// What is pending is skeleton.
    fn skeleton(&mut self) -> Result<(), LayerError> {
        self.before += self.pending.len() as u64;
        self.parts.skeleton(&self.pending)?;
        self.pending.clear();
        Ok(())
    }

    /// Goes on to the next states, as long as what is there is complete.
    fn turn(&mut self) -> Result<(), LayerError> {
        loop {
            let complete = match &self.state {
                State::Content(file) => file.came == file.size,
                _ => self.pending.len() == self.wanted(),
            };
            if !complete {
                return Ok(());
            }
            self.state = match std::mem::replace(&mut self.state, State::Block) {
                State::Block => self.header()?,
                State::Body(kind, size) => {
                    self.body(kind, size);
                    self.skeleton()?;
                    State::Block
                }
                State::Map(file) => {
                    let more = self.pending.get(504).is_some_and(|byte| *byte != 0);
                    self.skeleton()?;
                    if more { State::Map(file) } else { self.content(file) }
                }
                State::Content(file) => State::Padding(file),
                State::Padding(file) => {
                    let padded = self.pending.iter().all(|byte| *byte == 0);
                    self.parts.end(file.found(padded))?;
                    if padded {
                        self.pending.clear();
                    } else {
                        self.skeleton()?;
                    }
                    State::Block
                }
            };
        }
    }

    /// A file whose content comes now; one without bytes has none.
    fn content(&mut self, file: File) -> State {
        if file.size == 0 {
            return State::Block;
        }
        State::Content(File { offset: self.position, before: std::mem::take(&mut self.before), ..file })
    }

    /// What follows the block that is pending.
    fn header(&mut self) -> Result<State, LayerError> {
        let Some(block) = self.pending.first_chunk::<BLOCK>().copied() else { return Ok(State::Block) };
        self.skeleton()?;
        let Some(header) = Header::new(&block) else { return Ok(State::Block) };
        let size = header.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
        if matches!(header.kind(), b'x' | b'X' | b'L' | b'K' | b'g') {
            // Not read as a body, its blocks are skeleton unless they look like headers.
            let size = usize::try_from(size).ok().filter(|size| *size <= MOST_BODY).unwrap_or(0);
            return Ok(State::Body(header.kind(), size));
        }
        let Preamble { size: said, path, long_name } = std::mem::take(&mut self.preamble);
        if !matches!(header.kind(), b'0' | b'\0' | b'7' | b'S') {
            return Ok(State::Block);
        }
        let name = path.or(long_name).unwrap_or_else(|| header.path());
        let file = File { name, size: said.unwrap_or(size), offset: 0, came: 0, before: 0 };
        let more = header.kind() == b'S' && header.sparse_extents().1;
        Ok(if more { State::Map(file) } else { self.content(file) })
    }

    /// The body of an extension header is pending.
    fn body(&mut self, kind: u8, size: usize) {
        let body = &self.pending[..size.min(self.pending.len())];
        match kind {
            b'x' | b'X' => self.preamble.extend(body),
            b'L' => {
                let end = body.iter().position(|byte| *byte == 0).unwrap_or(body.len());
                self.preamble.long_name = Some(body[..end].to_vec());
            }
            _ => {}
        }
    }
}
