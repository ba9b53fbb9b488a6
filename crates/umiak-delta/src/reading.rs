//! Streams on the applier's side: frames are verified, then decoded, then read as values.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use umiak_spec::{Digest, ReadAt};

use crate::DeltaError;
use crate::codec::Decoder;
use crate::index::{FRAME, HEAD, Head, Index, StreamEntry, index_digest};
use crate::model;
use crate::streams::{Kind, Lane, StreamId};

/// A delta blob whose index was read and verified.
pub struct Delta<B> {
    blob: B,
    index: Index,
    index_length: u64,
}

impl<B: ReadAt> Delta<B> {
    /// Reads head and index.
    ///
    /// # Errors
    /// It is no delta, damaged, or needs a newer umiak.
    pub fn open(blob: B) -> Result<Self, DeltaError> {
        let length = blob.len()?;
        let mut head = [0; HEAD];
        if length < HEAD as u64 {
            return Err(DeltaError::NotADelta);
        }
        blob.read_exact_at(&mut head, 0)?;
        let Head { features, length: index_length, digest } = Index::head(&head)?;
        let index_length = u64::from(index_length);
        if index_length > length - HEAD as u64 {
            return Err(DeltaError::Malformed("it ends before its index does"));
        }
        let mut bytes = vec![0; usize::try_from(index_length).unwrap_or(usize::MAX)];
        blob.read_exact_at(&mut bytes, HEAD as u64)?;
        compare("the index", digest, index_digest(&head, &bytes))?;
        let index = Index::parse(features, &bytes)?;
        if index.blob_size(index_length) != length {
            return Err(DeltaError::Malformed("its length is not what its index says"));
        }
        Ok(Self { blob, index, index_length })
    }

    /// What the delta says of itself.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Bytes of head and index.
    pub fn overhead(&self) -> u64 {
        HEAD as u64 + self.index_length
    }

    /// Opens a stream; one that the delta lacks is empty.
    pub(crate) fn stream(&self, id: StreamId) -> Result<Values<'_>, DeltaError> {
        let entry = self.index.streams.iter().find(|entry| entry.id == id);
        let values = match entry {
            None => None,
            Some(entry) => {
                let frames = Frames { blob: &self.blob, entry, next: 0, frame: Vec::new(), at: 0 };
                let limited = Decoder::new(entry.codec, frames)?.take(entry.plain);
                Some(BufReader::with_capacity(buffer_size(entry.plain), limited))
            }
        };
        Ok(Values { values, meter: Meter::default() })
    }

    /// Opens all streams of a lane.
    pub(crate) fn lane(&self, lane: Lane) -> Result<LaneIn<'_>, DeltaError> {
        let stream = |kind| self.stream(StreamId { lane, kind });
        let (model, bytes, notes) = (stream(Kind::Model)?, stream(Kind::Bytes)?, stream(Kind::Notes)?);
        let meters = [&model, &bytes, &notes].map(|values| values.meter.clone());
        Ok(LaneIn { model: model::Lane::new(model::Decoder::new(model)), bytes, notes, meters })
    }
}

fn buffer_size(plain: u64) -> usize {
    usize::try_from(plain).unwrap_or(usize::MAX).clamp(64, 32 << 10)
}

fn compare(what: &str, expected: Digest, actual: Digest) -> Result<(), DeltaError> {
    if actual == expected { Ok(()) } else { Err(DeltaError::Damaged { what: what.to_owned(), expected, actual }) }
}

/// The compressed bytes of one stream, frame by frame. A frame is verified as a whole before a byte of it is given out.
struct Frames<'a> {
    blob: &'a dyn ReadAt,
    entry: &'a StreamEntry,
    next: usize,
    frame: Vec<u8>,
    at: usize,
}

impl Read for Frames<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.frame.len() {
            let Some(digest) = self.entry.frames.get(self.next) else {
                self.frame = Vec::new();
                self.at = 0;
                return Ok(0);
            };
            let start = self.next as u64 * FRAME;
            let length = (self.entry.stored - start).min(FRAME);
            self.frame.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
            self.blob.read_exact_at(&mut self.frame, self.entry.offset + start)?;
            let name =
                format!("frame {} of the {} of {}", self.next, self.entry.id.kind.name(), self.entry.id.lane.name());
            compare(&name, *digest, Digest::of(&self.frame)).map_err(io::Error::other)?;
            self.next += 1;
            self.at = 0;
        }
        let rest = &self.frame[self.at..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.at += length;
        Ok(length)
    }
}

/// The decoded bytes of one stream.
pub struct Values<'a> {
    values: Option<BufReader<io::Take<Decoder<Frames<'a>>>>>,
    meter: Meter,
}

impl Read for Values<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.values.as_mut().map_or(Ok(0), |values| values.read(buffer))?;
        self.meter.count(read);
        Ok(read)
    }
}

impl BufRead for Values<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.values.as_mut().map_or(Ok(&[]), BufRead::fill_buf)
    }

    fn consume(&mut self, amount: usize) {
        if let Some(values) = &mut self.values {
            values.consume(amount);
            self.meter.count(amount);
        }
    }
}

/// How many decoded bytes of a stream were used, to be read by whoever has a copy.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<AtomicU64>);

impl Meter {
    /// Bytes so far.
    pub fn used(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Only the reader counts, so that nothing is lost between reading and writing the number.
    fn count(&self, bytes: usize) {
        self.0.store(self.used() + bytes as u64, Ordering::Relaxed);
    }
}

/// The streams of one lane.
pub struct LaneIn<'a> {
    /// See [`Kind::Model`].
    pub model: model::Lane<model::Decoder<Values<'a>>>,
    /// See [`Kind::Bytes`].
    pub bytes: Values<'a>,
    /// See [`Kind::Notes`].
    pub notes: Values<'a>,
    /// Of the three, in this order.
    pub meters: [Meter; 3],
}
