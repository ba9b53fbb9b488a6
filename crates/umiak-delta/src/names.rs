//! What a delta takes from its bases, by digest: enough to apply it where the bases are not, but their files are.
//!
//! ```text
//! magic, 8 bytes: "UMIAKNM" and the version, 1
//! block: the lists            block = codec, window, plain, stored (varints), then the stored bytes
//! names: 16 bytes for each content that is used, in order
//! block: the skeletons of all bases in a row
//! ```
//!
//! docs/formats/delta-artifact.md says what the lists hold. A name is the first half of a SHA-256: it finds a content, and what
//! is made of it is verified by the target's digest. Guarantees: a reader allocates by what it has read, and stays within
//! its limits on any bytes. Whether the blob itself is the right one is the caller's affair.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::sync::Arc;

use umiak_spec::{Digest, Limits, ReadAt, WriteAt};

use crate::DeltaError;
use crate::codec::{Codec, Decoder, Effort, encode};
use crate::container::{Bases, Container, Part, Parts};
use crate::index::{Whole, get_whole, put_whole};
use crate::plan::{Origin, PlanReader};
use crate::reading::Delta;
use crate::streams::StreamId;
use crate::varint;

/// First bytes; the last one is the version.
const MAGIC: [u8; 8] = *b"UMIAKNM\x01";

/// Bytes that name a content.
pub const NAME: usize = 16;

/// Bytes that a block may have whatever its compressed size.
const FREE: u64 = 64 << 20;

/// What finds a content: the first half of its SHA-256.
pub type Name = [u8; NAME];

/// The name of a content with this digest.
#[must_use]
pub fn name(digest: &Digest) -> Name {
    let mut name = [0; NAME];
    name.copy_from_slice(&digest.as_bytes()[..NAME]);
    name
}

/// A content of a base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedContent {
    /// Bytes.
    pub size: u64,
    /// See [`Part::spacing`].
    pub spacing: u64,
    /// What finds it; none when the delta does not use it.
    pub name: Option<Name>,
}

/// A base as a delta needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedBase {
    /// What it is as a whole.
    pub whole: Whole,
    /// Bytes of skeleton.
    pub skeleton: u64,
    /// In order.
    pub contents: Vec<NamedContent>,
}

/// Numbers of the sources that `delta` uses of `bases`; source 0, the skeletons, is not among them.
///
/// # Errors
/// The delta is damaged, or not of these bases.
pub fn used(delta: &Delta<impl ReadAt>, bases: &[&dyn Container]) -> Result<BTreeSet<usize>, DeltaError> {
    crate::apply::check_bases(delta, bases)?;
    let bases = Bases::new(bases);
    let mut plan = PlanReader::new(&bases, delta.stream(StreamId::PLAN)?);
    let mut used = BTreeSet::new();
    while let Some(step) = plan.step()? {
        match step.origin {
            Origin::Kept(source) | Origin::Patched { source, .. } => used.insert(source),
            Origin::New(_) | Origin::Again(_) => false,
        };
    }
    Ok(used)
}

/// The blob for `bases`, of which the sources `used` are.
///
/// # Errors
/// A skeleton cannot be read.
pub fn write(bases: &[&dyn Container], used: &BTreeSet<usize>, effort: Effort) -> io::Result<Vec<u8>> {
    let (mut lists, mut names) = (Vec::new(), Vec::new());
    varint::put(&mut lists, bases.len() as u64);
    let mut number = 0;
    for base in bases {
        let parts = base.parts();
        put_whole(&mut lists, &Whole { shape: parts.shape, digest: parts.digest, size: parts.size });
        varint::put(&mut lists, parts.skeleton);
        varint::put(&mut lists, parts.contents.len() as u64);
        for part in &parts.contents {
            number += 1;
            let is_used = used.contains(&number);
            varint::put(&mut lists, part.size);
            varint::put(&mut lists, part.spacing);
            lists.push(u8::from(is_used));
            if is_used {
                names.extend(name(&part.digest));
            }
        }
    }
    let (skeletons, size) = Bases::new(bases).open(0)?;
    let mut skeleton = vec![0; usize::try_from(size).map_err(|_| io::ErrorKind::OutOfMemory)?];
    skeletons.read_exact_at(&mut skeleton, 0)?;
    let mut out = MAGIC.to_vec();
    put_block(&mut out, &lists, effort)?;
    out.extend(names);
    put_block(&mut out, &skeleton, effort)?;
    Ok(out)
}

fn put_block(out: &mut Vec<u8>, plain: &[u8], effort: Effort) -> io::Result<()> {
    let (codec, stored) = encode(plain, effort)?;
    for value in [codec.number(), u64::from(codec.window()), plain.len() as u64, stored.len() as u64] {
        varint::put(out, value);
    }
    out.extend(stored);
    Ok(())
}

/// Reads a blob: the bases, and their skeletons in a row, which go to `skeletons`.
///
/// # Errors
/// It is no such blob, goes over a limit, or cannot be read.
pub fn read(blob: impl Read, limits: &Limits, skeletons: &dyn WriteAt) -> Result<Vec<NamedBase>, DeltaError> {
    let mut blob = io::BufReader::new(blob);
    let mut magic = [0; MAGIC.len()];
    blob.read_exact(&mut magic).map_err(|_| MALFORMED)?;
    if magic != MAGIC {
        return Err(MALFORMED);
    }
    let mut bases = block(&mut blob, limits.metadata, limits, |lists| get_lists(lists, limits))?;
    for content in bases.iter_mut().flat_map(|base| &mut base.contents) {
        if let Some(name) = &mut content.name {
            blob.read_exact(name)?;
        }
    }
    let size: u64 = bases.iter().fold(0, |sum, base| sum.saturating_add(base.skeleton));
    block(&mut blob, size, limits, |skeleton| copy(skeleton, size, skeletons))?;
    if blob.read(&mut [0])? > 0 {
        return Err(MALFORMED);
    }
    Ok(bases)
}

/// Reads a block of at most `most` plain bytes, all of which `take` must take.
fn block<T>(
    blob: &mut impl Read,
    most: u64,
    limits: &Limits,
    take: impl FnOnce(&mut dyn Read) -> Result<T, DeltaError>,
) -> Result<T, DeltaError> {
    let (number, window) = (varint::get(blob)?, u32::try_from(varint::get(blob)?).map_err(|_| MALFORMED)?);
    let (plain, stored) = (varint::get(blob)?, varint::get(blob)?);
    let codec = Codec::from_parts(number, window).ok_or(MALFORMED)?;
    let most = most.min(stored.saturating_mul(limits.expansion_ratio).saturating_add(FREE));
    if plain > most {
        return Err(DeltaError::Limit { what: "bytes of the names of its sources", limit: most });
    }
    let mut coded = blob.by_ref().take(stored);
    let mut decoded = io::BufReader::new(Decoder::new(codec, &mut coded)?.take(plain));
    let value = take(&mut decoded)?;
    if decoded.read(&mut [0])? > 0 || decoded.get_ref().limit() > 0 {
        return Err(MALFORMED);
    }
    drop(decoded);
    // The end of what is coded: an LZMA stream's last byte comes behind its last plain byte.
    io::copy(&mut coded, &mut io::sink())?;
    if coded.limit() > 0 { Err(MALFORMED) } else { Ok(value) }
}

fn get_lists(lists: &mut dyn Read, limits: &Limits) -> Result<Vec<NamedBase>, DeltaError> {
    let count = varint::get(lists)?;
    if count > limits.layers as u64 {
        return Err(DeltaError::Limit { what: "bases", limit: limits.layers as u64 });
    }
    let mut bases = Vec::new();
    let mut left = limits.entries as u64;
    for _ in 0..count {
        let whole = get_whole(lists)?;
        let (skeleton, count) = (varint::get(lists)?, varint::get(lists)?);
        left = left.checked_sub(count).ok_or(DeltaError::Limit { what: "sources", limit: limits.entries as u64 })?;
        if whole.size > limits.expanded || skeleton > whole.size.max(limits.metadata) {
            return Err(DeltaError::Limit { what: "bytes of a base", limit: limits.expanded });
        }
        let mut contents = Vec::new();
        for _ in 0..count {
            let (size, spacing, mut used) = (varint::get(lists)?, varint::get(lists)?, [0]);
            lists.read_exact(&mut used)?;
            let name = match used[0] {
                0 => None,
                1 => Some([0; NAME]),
                _ => return Err(MALFORMED),
            };
            contents.push(NamedContent { size, spacing, name });
        }
        bases.push(NamedBase { whole, skeleton, contents });
    }
    Ok(bases)
}

fn copy(source: &mut dyn Read, size: u64, to: &dyn WriteAt) -> Result<(), DeltaError> {
    let mut buffer = vec![0; 64 << 10];
    let mut offset = 0;
    loop {
        match source.read(&mut buffer)? {
            0 if offset == size => return Ok(()),
            0 => return Err(MALFORMED),
            length => {
                to.write_all_at(&buffer[..length], offset)?;
                offset += length as u64;
            }
        }
    }
}

const MALFORMED: DeltaError = DeltaError::Malformed("the names of its sources make no sense");

/// A base that is not here, made of its names: what the delta uses of it can be read, the rest cannot.
pub struct Gathered<'a> {
    parts: Parts,
    skeleton: Arc<dyn ReadAt + 'a>,
    contents: Vec<Option<Arc<dyn ReadAt + 'a>>>,
}

impl<'a> Gathered<'a> {
    /// `base` with its skeleton, and `contents` in its order; those without a name may be absent.
    #[must_use]
    pub fn new(base: &NamedBase, skeleton: Arc<dyn ReadAt + 'a>, contents: Vec<Option<Arc<dyn ReadAt + 'a>>>) -> Self {
        // Applying goes by sizes and spacings alone: digests are the maker's affair.
        let nothing = Digest::of(b"");
        let part = |content: &NamedContent| {
            let NamedContent { size, spacing, .. } = *content;
            Part { name: Vec::new(), size, digest: nothing, spacing }
        };
        let parts = Parts {
            shape: base.whole.shape,
            size: base.whole.size,
            digest: base.whole.digest,
            skeleton: base.skeleton,
            contents: base.contents.iter().map(part).collect(),
        };
        Self { parts, skeleton, contents }
    }
}

impl Container for Gathered<'_> {
    fn parts(&self) -> &Parts {
        &self.parts
    }

    fn skeleton(&self) -> io::Result<Arc<dyn ReadAt + '_>> {
        Ok(Arc::clone(&self.skeleton) as Arc<dyn ReadAt + '_>)
    }

    fn content(&self, number: usize) -> io::Result<Arc<dyn ReadAt + '_>> {
        let content = self.contents.get(number).and_then(Option::as_ref).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::clone(content) as Arc<dyn ReadAt + '_>)
    }
}
