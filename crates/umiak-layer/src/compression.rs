//! Opens compressed layers: gzip (any number of members), zstd (any number of frames, skippable ones too) and plain tar, told
//! apart by their first bytes. The media type is not asked, since registries and tools get it wrong.
//!
//! What comes out is bounded: by `Limits::expanded`, and by `Limits::expansion_ratio` once 64 MiB have come out. Both
//! are met as [`io::Error`]s that carry an [`ExpansionError`]. zstd windows beyond 128 MiB are refused.

use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use umiak_spec::Limits;

/// Compressed bytes asked from the source at a time.
const BUFFER: usize = 256 << 10;

/// Largest zstd window, as a power of two: 128 MiB, what `zstd --long` makes by default.
const ZSTD_WINDOW_LOG: u32 = 27;

/// Where the ratio begins to count.
const RATIO_FREE: u64 = 64 << 20;

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, RFC 1952.
    Gzip,
    /// Zstandard, RFC 8878.
    Zstd,
    /// xz: known, not supported.
    Xz,
    /// bzip2: known, not supported.
    Bzip2,
    /// lz4 frames: known, not supported.
    Lz4,
}

impl Compression {
    /// What the first bytes of a layer announce; six are enough.
    #[must_use]
    pub fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, ..] => Self::Bzip2,
            [0x04, 0x22, 0x4d, 0x18, ..] => Self::Lz4,
            _ => Self::None,
        }
    }

    /// The name in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
            Self::Lz4 => "lz4",
        }
    }
}

/// Why a layer is not decompressed; found inside an [`io::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExpansionError {
    /// A compression that OCI layers do not have.
    #[error("the layer is compressed with {}, which layers cannot be: gzip and zstd can", .0.name())]
    Unsupported(Compression),
    /// `Limits::expanded`.
    #[error("the layer expands to more than the limit of {0} bytes")]
    TooLarge(u64),
    /// `Limits::expansion_ratio`.
    #[error("the layer expands more than {0} times: a decompression bomb")]
    Bomb(u64),
}

impl From<ExpansionError> for io::Error {
    fn from(error: ExpansionError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// The uncompressed bytes of the layer that `source` gives.
///
/// # Errors
/// What `source` reports, and [`ExpansionError::Unsupported`].
pub fn decompress<'a, R: Read + 'a>(source: R, limits: &Limits) -> io::Result<Box<dyn Read + 'a>> {
    Ok(Box::new(Plain::new(source, limits)?))
}

/// The uncompressed bytes of a layer, as a value that may go to another thread where its source may.
pub struct Plain<R: Read> {
    inner: Inner<R>,
    taken: Arc<AtomicU64>,
    given: u64,
    largest: u64,
    ratio: u64,
}

type Source<R> = BufReader<io::Chain<io::Cursor<Vec<u8>>, Metered<R>>>;

enum Inner<R: Read> {
    None(Source<R>),
    Gzip(Box<MultiGzDecoder<Source<R>>>),
    Zstd(zstd::stream::read::Decoder<'static, Source<R>>),
}

impl<R: Read> Plain<R> {
    /// The uncompressed bytes of the layer that `source` gives.
    ///
    /// # Errors
    /// What `source` reports, and [`ExpansionError::Unsupported`].
    pub fn new(source: R, limits: &Limits) -> io::Result<Self> {
        let taken = Arc::new(AtomicU64::new(0));
        let mut source = Metered { inner: source, taken: Arc::clone(&taken) };
        let mut start = Vec::with_capacity(6);
        source.by_ref().take(6).read_to_end(&mut start)?;
        let compression = Compression::of(&start);
        let source = BufReader::with_capacity(BUFFER, io::Cursor::new(start).chain(source));
        let inner = match compression {
            Compression::None => Inner::None(source),
            Compression::Gzip => Inner::Gzip(Box::new(MultiGzDecoder::new(source))),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Inner::Zstd(decoder)
            }
            other => return Err(ExpansionError::Unsupported(other).into()),
        };
        Ok(Self { inner, taken, given: 0, largest: limits.expanded, ratio: limits.expansion_ratio })
    }
}

impl<R: Read> Read for Plain<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.inner {
            Inner::None(inner) => inner.read(buffer),
            Inner::Gzip(inner) => inner.read(buffer),
            Inner::Zstd(inner) => inner.read(buffer),
        }?;
        self.given += count as u64;
        if self.given > self.largest {
            return Err(ExpansionError::TooLarge(self.largest).into());
        }
        // Fails once too much has come out.
        if self.given > RATIO_FREE && self.given / self.ratio.max(1) > self.taken.load(Ordering::Relaxed) {
            return Err(ExpansionError::Bomb(self.ratio).into());
        }
        Ok(count)
    }
}

/// Counts the compressed bytes.
struct Metered<R> {
    inner: R,
    taken: Arc<AtomicU64>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.taken.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn expanded(bytes: &[u8], limits: &Limits) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        decompress(bytes, limits)?.read_to_end(&mut all)?;
        Ok(all)
    }

    fn expansion(error: &io::Error) -> Option<&ExpansionError> {
        error.get_ref()?.downcast_ref()
    }

    #[test]
    fn members_and_frames_follow_each_other() {
        let limits = Limits::default();
        assert_eq!(expanded(b"plain", &limits).unwrap(), b"plain");
        assert_eq!(expanded(b"", &limits).unwrap(), b"");
        assert_eq!(expanded(&[gzip(b"one "), gzip(b"two")].concat(), &limits).unwrap(), b"one two");
        let frame = |text: &[u8]| zstd::stream::encode_all(text, 3).unwrap();
        let skippable = b"\x50\x2a\x4d\x18\x03\0\0\0abc".to_vec();
        let frames = [skippable.clone(), frame(b"one "), skippable, frame(b"two")].concat();
        assert_eq!(expanded(&frames, &limits).unwrap(), b"one two");
    }

    #[test]
    fn streams_cut_short_and_other_compressions_are_errors() {
        let limits = Limits::default();
        let text = vec![7; 10_000];
        for whole in [gzip(&text), zstd::stream::encode_all(&text[..], 3).unwrap()] {
            for length in 7..whole.len() {
                assert!(expanded(&whole[..length], &limits).is_err(), "{length} of {}", whole.len());
            }
        }
        let error = expanded(b"\xfd7zXZ\0", &limits).unwrap_err();
        assert_eq!(expansion(&error), Some(&ExpansionError::Unsupported(Compression::Xz)));
    }

    #[test]
    fn bombs_are_stopped() {
        let zeros = vec![0; 70 << 20];
        let bomb = zstd::stream::encode_all(&zeros[..], 3).unwrap();
        let error = expanded(&bomb, &Limits::default()).unwrap_err();
        assert_eq!(expansion(&error), Some(&ExpansionError::Bomb(1200)));
        let error = expanded(&gzip(&zeros), &Limits { expanded: 1 << 20, ..Limits::default() }).unwrap_err();
        assert_eq!(expansion(&error), Some(&ExpansionError::TooLarge(1 << 20)));
        assert_eq!(expanded(&gzip(&zeros), &Limits::default()).unwrap().len(), zeros.len());
    }

    #[test]
    fn a_window_beyond_the_cap_is_refused() {
        // A frame header that announces a window of 256 MiB, with one raw block.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, (28 - 10) << 3, 0x09, 0, 0, b'x'];
        assert!(expanded(&frame, &Limits::default()).is_err());
        let small = [0x28, 0xb5, 0x2f, 0xfd, 0x00, (20 - 10) << 3, 0x09, 0, 0, b'x'];
        assert_eq!(expanded(&small, &Limits::default()).unwrap(), b"x");
    }
}
