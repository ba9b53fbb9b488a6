//! The head of a delta blob: what it makes of what, and where its streams are.
//!
//! ```text
//! byte 0   magic, 8 bytes: "UMIAKDL" and the version, 1
//! byte 8   features that an applier must know, u32, little-endian
//! byte 12  length of the index, u32, little-endian
//! byte 16  SHA-256 of bytes 0 to 15 and the index
//! byte 48  index, then the frames of all streams in the order of the index
//! ```
//!
//! An index is verified by its digest before it is read, a frame by its own. All numbers in the index are varints. The
//! decoder allocates by what it has read, never by what a number claims.

use std::io::Read;

use umiak_spec::{Digest, Sha256};

use crate::DeltaError;
use crate::codec::Codec;
use crate::container::Shape;
use crate::streams::StreamId;
use crate::varint;

/// First bytes of every delta blob, the last one is the version.
pub const MAGIC: [u8; 8] = *b"UMIAKDL\x01";

/// Bytes before the index.
pub const HEAD: usize = 48;

/// Compressed bytes in a frame; the last frame of a stream may have fewer.
pub const FRAME: u64 = 1 << 20;

/// The largest index: a thousand bytes a GiB of delta, and room.
const MAX_INDEX: u32 = 16 << 20;

/// All windows together, which bounds what decoders hold.
const MAX_WINDOWS: u64 = 40 << 20;

/// Features of the format that a delta uses and an applier must know.
pub mod feature {
    /// Executables are predicted (docs/formats/delta-executables.md).
    pub const PROGRAMS: u32 = 1;
    /// Deflate streams are opened (docs/formats/delta-deflate.md).
    pub const DEFLATE: u32 = 2;
    /// The target is a squashfs image that our writer makes.
    pub const SQUASHFS: u32 = 4;
    /// All that this crate knows.
    pub const KNOWN: u32 = PROGRAMS | DEFLATE | SQUASHFS;
}

/// One container that a delta starts from or makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole {
    /// How it is taken apart.
    pub shape: Shape,
    /// SHA-256 of its bytes; a layer's diff ID.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

/// One stream in the blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEntry {
    /// Which.
    pub id: StreamId,
    /// How it is compressed.
    pub codec: Codec,
    /// Bytes when decoded.
    pub plain: u64,
    /// Bytes in the blob.
    pub stored: u64,
    /// SHA-256 of each frame.
    pub frames: Vec<Digest>,
    /// First byte in the blob; not written, it follows from the streams before.
    pub offset: u64,
}

/// The index of a delta blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// See [`feature`].
    pub features: u32,
    /// What is made.
    pub target: Whole,
    /// Bytes of the target's skeleton.
    pub skeleton: u64,
    /// What it is made of.
    pub bases: Vec<Whole>,
    /// The streams.
    pub streams: Vec<StreamEntry>,
}

impl Index {
    /// Head and index as they begin the blob.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut index = Vec::new();
        put_whole(&mut index, &self.target);
        varint::put(&mut index, self.skeleton);
        varint::put(&mut index, self.bases.len() as u64);
        self.bases.iter().for_each(|base| put_whole(&mut index, base));
        varint::put(&mut index, self.streams.len() as u64);
        for stream in &self.streams {
            varint::put(&mut index, stream.id.number());
            varint::put(&mut index, stream.codec.number());
            varint::put(&mut index, u64::from(stream.codec.window()));
            varint::put(&mut index, stream.plain);
            varint::put(&mut index, stream.stored);
            stream.frames.iter().for_each(|digest| index.extend_from_slice(digest.as_bytes()));
        }
        let mut blob = Vec::with_capacity(HEAD + index.len());
        blob.extend_from_slice(&MAGIC);
        blob.extend_from_slice(&self.features.to_le_bytes());
        blob.extend_from_slice(&u32::try_from(index.len()).unwrap_or(u32::MAX).to_le_bytes());
        let digest = index_digest(&blob, &index);
        blob.extend_from_slice(digest.as_bytes());
        blob.extend_from_slice(&index);
        blob
    }

    /// Length of the index that `head` announces, and what it must hash to.
    ///
    /// # Errors
    /// It is no delta of ours, or one that needs a newer umiak.
    pub fn head(head: &[u8; HEAD]) -> Result<Head, DeltaError> {
        if head[..7] != MAGIC[..7] {
            return Err(DeltaError::NotADelta);
        }
        if head[7] != MAGIC[7] {
            return Err(DeltaError::Version(head[7]));
        }
        let features = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        if features & !feature::KNOWN != 0 {
            return Err(DeltaError::Features(features & !feature::KNOWN));
        }
        let length = u32::from_le_bytes([head[12], head[13], head[14], head[15]]);
        if length > MAX_INDEX {
            return Err(DeltaError::Limit { what: "bytes of the index", limit: u64::from(MAX_INDEX) });
        }
        let digest = head[16..].try_into().map_err(|_| DeltaError::NotADelta)?;
        Ok(Head { features, length, digest: Digest::from_bytes(digest) })
    }

    /// Reads an index whose digest was verified.
    ///
    /// # Errors
    /// It does not follow the format, or goes over a limit.
    pub fn parse(features: u32, bytes: &[u8]) -> Result<Self, DeltaError> {
        let mut rest = bytes;
        let index = Self::read(features, bytes.len(), &mut rest).map_err(|error| match error {
            DeltaError::Read(_) => DeltaError::Malformed("the index ends early or has a number in a long form"),
            other => other,
        })?;
        if rest.is_empty() { Ok(index) } else { Err(DeltaError::Malformed("bytes follow the index")) }
    }

    fn read(features: u32, length: usize, rest: &mut &[u8]) -> Result<Self, DeltaError> {
        let target = get_whole(rest)?;
        let skeleton = varint::get(rest)?;
        let count = varint::get(rest)?;
        let mut bases = Vec::new();
        for _ in 0..count {
            bases.push(get_whole(rest)?);
        }
        let count = varint::get(rest)?;
        let mut offset = (HEAD + length) as u64;
        let (mut streams, mut windows, mut last) = (Vec::new(), 0, None);
        for _ in 0..count {
            let stream = get_stream(rest, offset)?;
            if last.is_some_and(|last| last >= stream.id) {
                return Err(DeltaError::Malformed("streams are not in order"));
            }
            windows += u64::from(stream.codec.window());
            last = Some(stream.id);
            offset = offset.checked_add(stream.stored).ok_or(DeltaError::Malformed("a stream is too long"))?;
            streams.push(stream);
        }
        if windows > MAX_WINDOWS {
            return Err(DeltaError::Limit { what: "bytes of all windows", limit: MAX_WINDOWS });
        }
        Ok(Self { features, target, skeleton, bases, streams })
    }

    /// Bytes of the whole blob.
    #[must_use]
    pub fn blob_size(&self, index_length: u64) -> u64 {
        HEAD as u64 + index_length + self.streams.iter().map(|stream| stream.stored).sum::<u64>()
    }
}

/// What the first bytes of a blob say.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    /// See [`feature`].
    pub features: u32,
    /// Bytes of the index.
    pub length: u32,
    /// What the index hashes to.
    pub digest: Digest,
}

/// What the head says that it and the index hash to; `head` is its first 16 bytes or more.
pub fn index_digest(head: &[u8], index: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update(&head[..16]);
    hash.update(index);
    hash.finish()
}

pub(crate) fn put_whole(out: &mut Vec<u8>, whole: &Whole) {
    varint::put(out, whole.shape as u64);
    varint::put(out, whole.size);
    out.extend_from_slice(whole.digest.as_bytes());
}

pub(crate) fn get_whole(rest: &mut (impl Read + ?Sized)) -> Result<Whole, DeltaError> {
    let shape = Shape::from_number(varint::get(rest)?).ok_or(DeltaError::Malformed("an unknown shape"))?;
    Ok(Whole { shape, size: varint::get(rest)?, digest: get_digest(rest)? })
}

fn get_digest(rest: &mut (impl Read + ?Sized)) -> Result<Digest, DeltaError> {
    let mut digest = [0; 32];
    rest.read_exact(&mut digest)?;
    Ok(Digest::from_bytes(digest))
}

fn get_stream(rest: &mut &[u8], offset: u64) -> Result<StreamEntry, DeltaError> {
    let id = StreamId::from_number(varint::get(rest)?).ok_or(DeltaError::Malformed("an unknown stream"))?;
    let codec = varint::get(rest)?;
    let window = u32::try_from(varint::get(rest)?).map_err(|_| DeltaError::Malformed("a window is too large"))?;
    let codec = Codec::from_parts(codec, window).ok_or(DeltaError::Malformed("an unknown codec or window"))?;
    let (plain, stored) = (varint::get(rest)?, varint::get(rest)?);
    let mut frames = Vec::new();
    for _ in 0..stored.div_ceil(FRAME) {
        frames.push(get_digest(rest)?);
    }
    Ok(StreamEntry { id, codec, plain, stored, frames, offset })
}
