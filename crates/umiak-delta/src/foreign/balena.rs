//! balena's delta images: an image whose layers are not file systems but librsync deltas, told by two labels.
//!
//! `io.resin.delta.base` is the ID of the base image, that is the digest of its config; `io.resin.delta.config` is
//! the whole config of the target as text, so that its digest is the target's image ID. There are as many layers as
//! the target has, in its order. Each is, once uncompressed, a tar of one file `delta`: a librsync delta from all base
//! layers' tars ([`super::Basis`]) to the target layer's tar; or an empty tar: then target and base have the same layer
//! there and below.
//!
//! Nothing here is trusted: the caller compares the diff IDs of what [`super::rdiff()`] writes with the target's config.

use std::collections::BTreeMap;
use std::io::{self, Read};

use serde::Deserialize;
use umiak_spec::{Digest, DigestError, ImageConfig, Limits};

/// Label with the base image's ID.
pub const BASE_LABEL: &str = "io.resin.delta.base";

/// Label with the target image's config.
pub const CONFIG_LABEL: &str = "io.resin.delta.config";

/// The name of the one file in a layer.
const ENTRY: &[u8] = b"delta";

/// A tar's unit.
const BLOCK: usize = 512;

/// Two empty blocks end an archive; writers fill up to 20.
const END_BLOCKS: usize = 2;

/// What the config of a delta image says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeltaImage {
    /// Digest of the base image's config.
    pub base: Digest,
    /// The target image's config; its `text` hashes to the target image's ID.
    pub target: ImageConfig,
    /// How many layers the delta image has: as many as the target.
    pub layers: usize,
}

/// A delta image that is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum BalenaError {
    /// The config is not JSON of this shape, or too large.
    #[error("cannot read the config of a delta image")]
    Config(#[source] umiak_spec::DocumentError),
    /// One label is there and the other is not.
    #[error("the delta image has the label {there} but no {missing}")]
    Label {
        /// The label that is there.
        there: &'static str,
        /// The label that is not.
        missing: &'static str,
    },
    /// The base is no digest.
    #[error("the delta image names its base `{text}`, which is no digest")]
    Base {
        /// What it says.
        text: String,
        /// Why it is none.
        #[source]
        source: DigestError,
    },
    /// The target's config is no config.
    #[error("cannot read the target's config in the delta image")]
    Target(#[source] umiak_spec::DocumentError),
    /// It has layers for another target.
    #[error("the delta image has {layers} layers, its target {target}")]
    Layers {
        /// How many there are.
        layers: usize,
        /// How many there should be.
        target: usize,
    },
    /// A layer is not a tar of one file.
    #[error("a layer of the delta image is not a tar of one file `delta`: {0}")]
    Layer(&'static str),
    /// Reading a layer.
    #[error("cannot read a layer of the delta image")]
    Read(#[source] io::Error),
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    config: Option<Run>,
}

#[derive(Deserialize)]
struct Run {
    #[serde(default, rename = "Labels")]
    labels: Option<BTreeMap<String, Option<String>>>,
}

/// Reads the config of an image; `None` when it is an image like any other.
///
/// # Errors
/// [`BalenaError`] when it is a delta image that contradicts itself, or no config at all.
pub fn recognise(config: &[u8], limits: &Limits) -> Result<Option<DeltaImage>, BalenaError> {
    let delta = ImageConfig::parse(config, limits).map_err(BalenaError::Config)?;
    let written: Written = serde_json::from_slice(config).map_err(|error| BalenaError::Config(error.into()))?;
    let mut labels = written.config.and_then(|run| run.labels).unwrap_or_default();
    let (base, target) = match (labels.remove(BASE_LABEL).flatten(), labels.remove(CONFIG_LABEL).flatten()) {
        (None, None) => return Ok(None),
        (Some(_), None) => return Err(BalenaError::Label { there: BASE_LABEL, missing: CONFIG_LABEL }),
        (None, Some(_)) => return Err(BalenaError::Label { there: CONFIG_LABEL, missing: BASE_LABEL }),
        (Some(base), Some(target)) => (base, target),
    };
    let base = base.parse().map_err(|source| BalenaError::Base { text: base, source })?;
    let target = ImageConfig::parse(target.as_bytes(), limits).map_err(BalenaError::Target)?;
    let layers = delta.diff_ids.len();
    if layers != target.diff_ids.len() {
        return Err(BalenaError::Layers { layers, target: target.diff_ids.len() });
    }
    Ok(Some(DeltaImage { base, target, layers }))
}

impl DeltaImage {
    /// The target image's ID: the digest of its config.
    #[must_use]
    pub fn target_id(&self) -> Digest {
        Digest::of(self.target.text.as_bytes())
    }
}

/// Opens one layer of a delta image, uncompressed: the librsync delta in it, or `None` when the layer is empty and so
/// the same as the base's at this place.
///
/// The reader that comes back ends with the delta and checks that nothing but padding follows.
///
/// # Errors
/// [`BalenaError`] when it is not a tar of one file `delta`, or reading fails.
pub fn layer<R: Read>(mut tar: R) -> Result<Option<Entry<R>>, BalenaError> {
    let mut header = [0; BLOCK];
    tar.read_exact(&mut header).map_err(BalenaError::Read)?;
    if header == [0; BLOCK] {
        end(&mut tar, 0, END_BLOCKS - 1).map_err(BalenaError::Read)?;
        return Ok(None);
    }
    check(&header)?;
    let size = size(&header[124..136]).ok_or(BalenaError::Layer("its size is no number"))?;
    Ok(Some(Entry { tar, left: size, padding: (size.wrapping_neg() % BLOCK as u64) as usize, ended: false }))
}

/// Checksum, name and kind.
fn check(header: &[u8; BLOCK]) -> Result<(), BalenaError> {
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    let field = &header[148..156];
    let held: u64 = field.iter().map(|byte| u64::from(*byte)).sum();
    if octal(field) != Some(sum - held + 8 * u64::from(b' ')) {
        return Err(BalenaError::Layer("its header's checksum is wrong"));
    }
    let name = header[..100].split(|byte| *byte == 0).next().unwrap_or_default();
    if name != ENTRY {
        return Err(BalenaError::Layer("the file has another name"));
    }
    if !matches!(header[156], b'0' | 0) {
        return Err(BalenaError::Layer("it is no regular file"));
    }
    Ok(())
}

/// A size: octal digits, or past 8 GiB a big-endian number behind a byte 0x80.
fn size(field: &[u8]) -> Option<u64> {
    match field.split_first() {
        Some((0x80, number)) => {
            let (high, low) = number.split_last_chunk::<8>()?;
            high.iter().all(|byte| *byte == 0).then(|| u64::from_be_bytes(*low))
        }
        _ => octal(field),
    }
}

fn octal(field: &[u8]) -> Option<u64> {
    let digits = field.split(|byte| matches!(byte, 0 | b' ')).find(|part| !part.is_empty())?;
    digits.iter().try_fold(0u64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// Reads `padding` bytes, then at least `least` blocks, and nothing but zeros up to the end.
fn end(tar: &mut impl Read, padding: usize, least: usize) -> io::Result<()> {
    let wrong = |text| io::Error::new(io::ErrorKind::InvalidData, text);
    let mut count = 0u64;
    let mut piece = [0; 8 * BLOCK];
    loop {
        match tar.read(&mut piece) {
            Ok(0) => break,
            Ok(read) if piece[..read].iter().all(|byte| *byte == 0) => count += read as u64,
            Ok(_) => return Err(wrong("there is more in the layer than one file")),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let blocks = count.checked_sub(padding as u64);
    let whole = blocks.is_some_and(|bytes| bytes % BLOCK as u64 == 0 && bytes >= (least * BLOCK) as u64);
    if whole { Ok(()) } else { Err(wrong("the layer is cut off behind its file")) }
}

/// The librsync delta in a layer. Reading it to its end reads the layer to its end.
#[derive(Debug)]
pub struct Entry<R> {
    tar: R,
    left: u64,
    padding: usize,
    ended: bool,
}

impl<R> Entry<R> {
    /// How many bytes of the delta are still to be read; at first the delta's size.
    pub fn left(&self) -> u64 {
        self.left
    }
}

impl<R: Read> Read for Entry<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.ended {
            return Ok(0);
        }
        if self.left == 0 {
            end(&mut self.tar, self.padding, END_BLOCKS)?;
            self.ended = true;
            return Ok(0);
        }
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        match self.tar.read(&mut buffer[..most])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.left -= count as u64;
                Ok(count)
            }
        }
    }
}
