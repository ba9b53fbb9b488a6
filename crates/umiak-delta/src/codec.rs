//! How the bytes of one stream are compressed: stored, LZMA2 or zstd, whichever is smallest or was asked for.
//!
//! A stream is compressed as a whole, so that what repeats anywhere in it costs once; the decoder's memory is its window, at
//! most [`MAX_WINDOW`]. Encoding is deterministic. Verifying what is decoded is the caller's affair.

use std::io::{self, Read};

use liblzma::stream::{Action, Filters, LzmaOptions, MatchFinder, Mode, Status, Stream};

/// The largest window a stream may ask of its decoder.
pub const MAX_WINDOW: u32 = 8 << 20;

/// How hard a delta's streams are pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Effort {
    /// zstd: some percent more bytes, a few times as fast to apply.
    Fast,
    /// LZMA with the best of several settings.
    #[default]
    Smallest,
}

/// How a stream is coded, as its index entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// As it is.
    Stored,
    /// Raw LZMA2 with a window of this many bytes.
    Lzma(u32),
    /// One zstd frame with a window of at most this many bytes.
    Zstd(u32),
}

impl Codec {
    /// The byte that stands for it in an index; the window follows for all but [`Codec::Stored`].
    pub fn number(self) -> u64 {
        match self {
            Self::Stored => 0,
            Self::Lzma(_) => 1,
            Self::Zstd(_) => 2,
        }
    }

    /// Bytes of window the decoder holds.
    pub fn window(self) -> u32 {
        match self {
            Self::Stored => 0,
            Self::Lzma(window) | Self::Zstd(window) => window,
        }
    }

    /// The codec of an index entry.
    pub fn from_parts(number: u64, window: u32) -> Option<Self> {
        match number {
            0 if window == 0 => Some(Self::Stored),
            1 if (4096..=MAX_WINDOW).contains(&window) => Some(Self::Lzma(window)),
            2 if (1024..=MAX_WINDOW).contains(&window) => Some(Self::Zstd(window)),
            _ => None,
        }
    }
}

/// Compresses a whole stream.
///
/// # Errors
/// The compressor has no memory.
pub fn encode(plain: &[u8], effort: Effort) -> io::Result<(Codec, Vec<u8>)> {
    let mut best = (Codec::Stored, plain.to_vec());
    let window = u32::try_from(plain.len()).unwrap_or(MAX_WINDOW).clamp(4096, MAX_WINDOW);
    match effort {
        Effort::Fast => keep_smaller(&mut best, Codec::Zstd(window), zstd(plain, window)?),
        Effort::Smallest => {
            for (literal_context, position) in settings(plain.len()) {
                let coded = lzma(plain, window, *literal_context, *position)?;
                keep_smaller(&mut best, Codec::Lzma(window), coded);
            }
        }
    }
    Ok(best)
}

fn keep_smaller(best: &mut (Codec, Vec<u8>), codec: Codec, coded: Vec<u8>) {
    if coded.len() < best.1.len() {
        *best = (codec, coded);
    }
}

/// Bits of context for literals, and of position: small streams are tried in several ways, large ones in the usual one.
fn settings(length: usize) -> &'static [(u32, u32)] {
    if length <= 4 << 20 { &[(3, 0), (0, 0), (4, 0), (1, 2)] } else { &[(3, 0)] }
}

fn lzma(plain: &[u8], window: u32, literal_context: u32, position: u32) -> io::Result<Vec<u8>> {
    let mut options = LzmaOptions::new_preset(9 | 1 << 31).map_err(io::Error::other)?;
    options.dict_size(window).mode(Mode::Normal).match_finder(MatchFinder::BinaryTree4).nice_len(273);
    options.literal_context_bits(literal_context).literal_position_bits(0).position_bits(position);
    let mut filters = Filters::new();
    filters.lzma2(&options);
    let mut stream = Stream::new_raw_encoder(&filters).map_err(io::Error::other)?;
    let mut coded = Vec::with_capacity(plain.len() / 2 + 1024);
    loop {
        coded.reserve(64 << 10);
        let done = usize::try_from(stream.total_in()).unwrap_or(usize::MAX);
        let rest = plain.get(done..).unwrap_or(&[]);
        if stream.process_vec(rest, &mut coded, Action::Finish).map_err(io::Error::other)? == Status::StreamEnd {
            return Ok(coded);
        }
    }
}

fn zstd(plain: &[u8], window: u32) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::bulk::Compressor::new(19)?;
    let log = u32::BITS - (window - 1).leading_zeros();
    encoder.set_parameter(zstd::zstd_safe::CParameter::WindowLog(log.clamp(10, 23)))?;
    encoder.compress(plain)
}

/// Decodes a stream whose compressed bytes come from `source`.
pub enum Decoder<R> {
    /// Nothing to decode.
    Stored(R),
    /// Raw LZMA2.
    Lzma(Lzma<R>),
    /// zstd.
    Zstd(Box<zstd::stream::read::Decoder<'static, io::BufReader<R>>>),
}

impl<R: Read> Decoder<R> {
    /// A decoder for what [`encode`] made with `codec`.
    ///
    /// # Errors
    /// There is no memory for the window.
    pub fn new(codec: Codec, source: R) -> io::Result<Self> {
        Ok(match codec {
            Codec::Stored => Self::Stored(source),
            Codec::Lzma(window) => Self::Lzma(Lzma::new(source, window)?),
            Codec::Zstd(window) => {
                let mut decoder = zstd::stream::read::Decoder::new(source)?.single_frame();
                decoder.window_log_max((u32::BITS - (window - 1).leading_zeros()).clamp(10, 23))?;
                Self::Zstd(Box::new(decoder))
            }
        })
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stored(source) => source.read(buffer),
            Self::Lzma(lzma) => lzma.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

/// A raw LZMA2 stream.
pub struct Lzma<R> {
    stream: Stream,
    source: R,
    input: Vec<u8>,
    at: usize,
    ended: bool,
}

impl<R: Read> Lzma<R> {
    fn new(source: R, window: u32) -> io::Result<Self> {
        let mut options = LzmaOptions::new();
        options.dict_size(window);
        let mut filters = Filters::new();
        filters.lzma2(&options);
        let stream = Stream::new_raw_decoder(&filters).map_err(io::Error::other)?;
        Ok(Self { stream, source, input: Vec::new(), at: 0, ended: false })
    }

    fn fill(&mut self) -> io::Result<()> {
        self.input.resize(16 << 10, 0);
        self.at = 0;
        let length = self.source.read(&mut self.input)?;
        self.input.truncate(length);
        Ok(())
    }
}

impl<R: Read> Read for Lzma<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.ended && !buffer.is_empty() {
            if self.at == self.input.len() {
                self.fill()?;
            }
            if self.input.is_empty() {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "an LZMA stream ends early"));
            }
            let (read, written) = (self.stream.total_in(), self.stream.total_out());
            let status = self.stream.process(&self.input[self.at..], buffer, Action::Run);
            let status = status.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            self.at += usize::try_from(self.stream.total_in() - read).unwrap_or(usize::MAX);
            self.ended = status == Status::StreamEnd;
            let length = usize::try_from(self.stream.total_out() - written).unwrap_or(usize::MAX);
            if length > 0 {
                return Ok(length);
            }
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_come_back_in_every_codec() {
        let text: Vec<u8> = (0..40_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let noise: Vec<u8> = (0..5000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for plain in [&b""[..], b"x", &text, &noise] {
            for effort in [Effort::Fast, Effort::Smallest] {
                let (codec, coded) = encode(plain, effort).unwrap();
                assert!(coded.len() <= plain.len());
                assert_eq!(Codec::from_parts(codec.number(), codec.window()), Some(codec));
                let mut back = Vec::new();
                Decoder::new(codec, coded.as_slice()).unwrap().read_to_end(&mut back).unwrap();
                assert_eq!(back, plain, "{codec:?}");
            }
        }
    }

    #[test]
    fn a_cut_stream_is_an_error() {
        let plain = b"again and again and again and again".repeat(20);
        for effort in [Effort::Fast, Effort::Smallest] {
            let (codec, coded) = encode(&plain, effort).unwrap();
            for length in 0..coded.len() {
                let mut back = Vec::new();
                let result = Decoder::new(codec, &coded[..length]).unwrap().read_to_end(&mut back);
                assert!(result.is_err() || back != plain || length + 1 == coded.len(), "{codec:?} {length}");
            }
        }
    }
}
