//! Making one content: kept, repeated, new, or patched in one of the three ways.

use std::io::{self, Read};
use std::sync::Arc;

use umiak_spec::{ReadAt, WriteAt};

use super::output::{Output, Space};
use super::{Place, Walk};
use crate::DeltaError;
use crate::patch::{Patch, Source, copies};
use crate::plan::{Method, Origin, Step};
use crate::reading::LaneIn;
use crate::streams::Lane;
use crate::varint;
use crate::{deflate, exe};

/// Copies in one program; their map is held in memory.
pub const MAX_COPIES: usize = 1 << 18;

/// Bytes of notes for one content.
pub const MAX_NOTE: u64 = 4 << 20;

impl Walk<'_> {
    pub(super) fn content(&mut self, step: &Step) -> Result<(), DeltaError> {
        match step.origin {
            Origin::Kept(source) => {
                let (bytes, size) = self.bases.open(source)?;
                Ok(copy(&bytes, 0, size, &mut self.output)?)
            }
            Origin::Again(content) => match self.places[content] {
                Place::Spool { offset, size } => {
                    self.output.settle()?;
                    let space = self.output.space();
                    Ok(copy(space, offset, size, &mut self.output)?)
                }
                Place::Source(source) => {
                    let (bytes, size) = self.bases.open(source)?;
                    Ok(copy(&bytes, 0, size, &mut self.output)?)
                }
            },
            Origin::New(lane) => {
                let lane = lane_of(&mut self.lanes, lane)?;
                literal(lane, step.size, &mut self.output)
            }
            Origin::Patched { source, method, lane } => {
                let (bytes, size) = self.bases.open(source)?;
                let lane = lane_of(&mut self.lanes, lane)?;
                let source = Source { bytes: &bytes, size };
                match method {
                    Method::Plain => {
                        let mut making = Making { patch: Patch::new(step.size, size), lane, source };
                        making.all(step.size, &mut self.output)
                    }
                    Method::Program => program(lane, source, step.size, &mut self.output),
                    Method::Deflate => opened(lane, source, self.scratch.space()?, &mut self.output),
                }
            }
        }
    }
}

fn lane_of<'l, 'a>(lanes: &'l mut [Option<LaneIn<'a>>; 4], lane: Lane) -> Result<&'l mut LaneIn<'a>, DeltaError> {
    let lane = lanes.get_mut(lane as usize).and_then(Option::as_mut);
    lane.ok_or(DeltaError::Malformed("a content uses the skeleton's streams"))
}

fn copy(source: &(impl ReadAt + ?Sized), mut offset: u64, size: u64, output: &mut Output<'_>) -> io::Result<()> {
    let end = offset + size;
    while offset < end {
        offset += output.grow(end - offset, |buffer| {
            source.read_exact_at(buffer, offset)?;
            Ok(buffer.len())
        })?;
    }
    Ok(())
}

fn literal(lane: &mut LaneIn<'_>, size: u64, output: &mut Output<'_>) -> Result<(), DeltaError> {
    let mut left = size;
    while left > 0 {
        left -= output.grow(left, |buffer| {
            lane.bytes.read_exact(buffer)?;
            Ok(buffer.len())
        })?;
    }
    Ok(())
}

/// A content that is patched plainly, as a reader.
struct Making<'s, 'l, 'a> {
    patch: Patch,
    lane: &'s mut LaneIn<'l>,
    source: Source<'a>,
}

impl Making<'_, '_, '_> {
    fn all(&mut self, size: u64, output: &mut Output<'_>) -> Result<(), DeltaError> {
        let mut left = size;
        while left > 0 {
            let made = output.grow(left, |buffer| self.patch.read(self.lane, self.source, buffer))?;
            if made == 0 {
                return Err(DeltaError::Malformed("a content ends early"));
            }
            left -= made;
        }
        Ok(())
    }
}

impl Read for Making<'_, '_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.patch.read(self.lane, self.source, buffer)
    }
}

fn note(lane: &mut LaneIn<'_>) -> Result<Vec<u8>, DeltaError> {
    let length = varint::get(&mut lane.notes)?;
    if length > MAX_NOTE {
        return Err(DeltaError::Limit { what: "bytes of notes for one file", limit: MAX_NOTE });
    }
    let mut note = Vec::new();
    let read = (&mut lane.notes).take(length).read_to_end(&mut note)?;
    if read as u64 == length { Ok(note) } else { Err(DeltaError::Malformed("the notes end early")) }
}

fn program(lane: &mut LaneIn<'_>, source: Source<'_>, size: u64, output: &mut Output<'_>) -> Result<(), DeltaError> {
    let note = note(lane)?;
    let start = output.reserve(size)?;
    let space = output.space();
    let mut placed = Placed { space, start, pending: Vec::new(), at: 0 };
    let copies = copies(lane, size, source.size, MAX_COPIES, |lane, at, length| placed.literal(lane, at, length))?;
    let mut out = |offset: u64, bytes: &[u8]| placed.write(offset, bytes);
    exe::predict(source.bytes, &note, &copies, None, &mut lane.model, &mut out).map_err(DeltaError::Program)?;
    placed.flush()?;
    output.skip(size);
    Ok(())
}

/// Writes to a part of a file, gathering what is adjacent.
struct Placed<'a> {
    space: &'a dyn Space,
    start: u64,
    pending: Vec<u8>,
    at: u64,
}

const PENDING: usize = 64 << 10;

impl Placed<'_> {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if offset != self.at + self.pending.len() as u64 || self.pending.len() + bytes.len() > PENDING {
            self.flush()?;
            self.at = offset;
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.space.write_all_at(&self.pending, self.start + self.at)?;
        self.pending.clear();
        Ok(())
    }

    fn literal(&mut self, lane: &mut LaneIn<'_>, mut at: u64, mut length: u64) -> io::Result<()> {
        let mut buffer = [0; 4096];
        while length > 0 {
            let part = usize::try_from(length).unwrap_or(usize::MAX).min(buffer.len());
            lane.bytes.read_exact(&mut buffer[..part])?;
            self.write(at, &buffer[..part])?;
            at += part as u64;
            length -= part as u64;
        }
        Ok(())
    }
}

/// A content whose deflate streams are opened: the base is opened into a temporary file, the target is closed again as it comes.
fn opened(
    lane: &mut LaneIn<'_>,
    source: Source<'_>,
    space: Box<dyn Space>,
    output: &mut Output<'_>,
) -> Result<(), DeltaError> {
    let note = note(lane)?;
    let mut rest = note.as_slice();
    let layout = deflate::Layout::decode(&mut rest).map_err(DeltaError::Deflate)?;
    let recipe = deflate::Recipe::decode(&mut rest, &layout).map_err(DeltaError::Deflate)?;
    if !rest.is_empty() {
        return Err(DeltaError::Malformed("bytes follow the notes of an opened file"));
    }
    let mut base = Output::new(space.as_ref(), 1 << 40, None);
    let base_size = layout.unwrap(source.bytes, source.size, &mut base).map_err(DeltaError::Deflate)?;
    base.settle()?;
    let opened: Arc<dyn ReadAt + '_> = Arc::new(SpaceReader(space.as_ref()));
    let mut making = Making {
        patch: Patch::new(recipe.opened(), base_size),
        lane,
        source: Source { bytes: &opened, size: base_size },
    };
    recipe.wrap(&mut making, output).map_err(DeltaError::Deflate)?;
    Ok(())
}

struct SpaceReader<'a>(&'a dyn Space);

impl ReadAt for SpaceReader<'_> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
}

impl WriteAt for SpaceReader<'_> {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }
}
