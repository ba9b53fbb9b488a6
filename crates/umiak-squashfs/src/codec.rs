//! Compressing and decompressing single blocks. One encoder or decoder per thread, used again for every block.
//!
//! Guarantees: an encoder's result depends on its settings and the block alone; a decoder never writes more than the
//! caller allows and needs at most [`XZ_MEMORY`] bytes beside it.

use std::io;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use liblzma::stream::{Action, Status, Stream};

use crate::compressor::{Compressor, Settings};
use crate::lzo;

/// Memory an xz or lzma block may ask for: a dictionary of 8 MiB and the decoder itself.
const XZ_MEMORY: u64 = 9 << 20;

/// Compresses blocks with fixed settings.
pub(crate) struct Encoder {
    engine: Engine,
}

enum Engine {
    Xz(Box<umiak_lzma::Encoder>),
    Zstd(zstd::bulk::Compressor<'static>),
    Gzip(Compress),
    Lz4,
}

impl Encoder {
    pub(crate) fn new(settings: Settings) -> io::Result<Self> {
        let engine = match settings.compressor {
            Compressor::Xz => {
                let settings = umiak_lzma::Settings::new(settings.block_size, settings.xz_effort());
                Engine::Xz(Box::new(umiak_lzma::Encoder::new(settings.map_err(io::Error::other)?)))
            }
            Compressor::Zstd => Engine::Zstd(zstd::bulk::Compressor::new(settings.level)?),
            Compressor::Gzip => {
                Engine::Gzip(Compress::new(Compression::new(u32::try_from(settings.level).unwrap_or(9)), true))
            }
            Compressor::Lz4 => Engine::Lz4,
            Compressor::Lzo | Compressor::Lzma => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(Self { engine })
    }

    /// Compresses `plain` into `packed`; `false` when that does not make it smaller (`packed` is then rubbish).
    pub(crate) fn compress(&mut self, plain: &[u8], packed: &mut Vec<u8>) -> io::Result<bool> {
        // One byte less than the input: a block that does not fit is better stored.
        let room = plain.len().saturating_sub(1);
        packed.clear();
        packed.resize(room, 0);
        let written = match &mut self.engine {
            Engine::Xz(encoder) => {
                packed.clear();
                encoder.encode_block(plain, packed);
                (packed.len() <= room).then_some(packed.len())
            }
            Engine::Zstd(compressor) => zstd_block(compressor, plain, packed)?,
            Engine::Gzip(compressor) => {
                compressor.reset();
                let status = compressor.compress(plain, packed, FlushCompress::Finish).map_err(io::Error::other)?;
                (status == flate2::Status::StreamEnd).then(|| usize::try_from(compressor.total_out()).unwrap_or(room))
            }
            Engine::Lz4 => {
                // The encoder asks for room for the worst case.
                packed.resize(lz4_flex::block::get_maximum_output_size(plain.len()), 0);
                let written = lz4_flex::block::compress_into(plain, packed).map_err(io::Error::other)?;
                (written <= room).then_some(written)
            }
        };
        packed.truncate(written.unwrap_or(0));
        Ok(written.is_some())
    }
}

/// zstd reports a full output only as a text; with room for the worst case there is no error to tell apart.
fn zstd_block(
    compressor: &mut zstd::bulk::Compressor<'_>,
    plain: &[u8],
    packed: &mut Vec<u8>,
) -> io::Result<Option<usize>> {
    let room = packed.len();
    packed.resize(zstd::zstd_safe::compress_bound(plain.len()), 0);
    let written = compressor.compress_to_buffer(plain, packed.as_mut_slice())?;
    Ok((written <= room).then_some(written))
}

/// Decompresses blocks of one compressor.
pub(crate) struct Decoder {
    engine: Unpacker,
}

enum Unpacker {
    Xz,
    Lzma,
    Zstd(zstd::bulk::Decompressor<'static>),
    Gzip(Decompress),
    Lz4,
    Lzo,
}

impl Decoder {
    pub(crate) fn new(compressor: Compressor) -> io::Result<Self> {
        let engine = match compressor {
            Compressor::Xz => Unpacker::Xz,
            Compressor::Lzma => Unpacker::Lzma,
            Compressor::Zstd => Unpacker::Zstd(zstd::bulk::Decompressor::new()?),
            Compressor::Gzip => Unpacker::Gzip(Decompress::new(true)),
            Compressor::Lz4 => Unpacker::Lz4,
            Compressor::Lzo => Unpacker::Lzo,
        };
        Ok(Self { engine })
    }

    /// Decompresses `packed` into `plain`, which becomes at most `most` bytes long.
    pub(crate) fn decompress(&mut self, packed: &[u8], plain: &mut Vec<u8>, most: usize) -> io::Result<()> {
        plain.clear();
        plain.resize(most, 0);
        let written = match &mut self.engine {
            Unpacker::Xz => finish(Stream::new_stream_decoder(XZ_MEMORY, 0)?, packed, plain)?,
            Unpacker::Lzma => finish(Stream::new_lzma_decoder(XZ_MEMORY)?, packed, plain)?,
            Unpacker::Zstd(decompressor) => decompressor.decompress_to_buffer(packed, plain.as_mut_slice())?,
            Unpacker::Gzip(decompressor) => {
                decompressor.reset(true);
                let status = decompressor.decompress(packed, plain, FlushDecompress::Finish)?;
                if status != flate2::Status::StreamEnd {
                    return Err(incomplete());
                }
                usize::try_from(decompressor.total_out()).unwrap_or(most)
            }
            Unpacker::Lz4 => lz4_flex::block::decompress_into(packed, plain).map_err(io::Error::other)?,
            Unpacker::Lzo => lzo::decompress(packed, plain)?,
        };
        plain.truncate(written);
        Ok(())
    }
}

fn finish(mut stream: Stream, packed: &[u8], plain: &mut [u8]) -> io::Result<usize> {
    match stream.process(packed, plain, Action::Finish)? {
        Status::StreamEnd => Ok(usize::try_from(stream.total_out()).unwrap_or(plain.len())),
        _ => Err(incomplete()),
    }
}

fn incomplete() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the block ends early or is longer than it may be")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_compressor_gives_the_block_back_and_refuses_to_grow() {
        let text: Vec<u8> = (0..20_000_u32).flat_map(|i| (i / 7 % 50).to_le_bytes()).collect();
        let noise: Vec<u8> = (0..5000_u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
        for compressor in Compressor::WRITABLE {
            let settings = Settings::new(compressor, None, 131_072).unwrap();
            let mut encoder = Encoder::new(settings).unwrap();
            let mut decoder = Decoder::new(compressor).unwrap();
            let (mut packed, mut again, mut plain) = (Vec::new(), Vec::new(), Vec::new());
            assert!(encoder.compress(&text, &mut packed).unwrap(), "{compressor:?}");
            encoder.compress(&noise, &mut again).unwrap();
            assert!(encoder.compress(&text, &mut again).unwrap());
            assert_eq!(packed, again, "{compressor:?} depends on earlier blocks");
            decoder.decompress(&packed, &mut plain, text.len()).unwrap();
            assert_eq!(plain, text, "{compressor:?}");
            assert!(decoder.decompress(&packed, &mut plain, text.len() - 1).is_err(), "{compressor:?}");
            assert!(decoder.decompress(&packed[..packed.len() / 2], &mut plain, text.len()).is_err());
            let random = Vec::from(umiak_spec::Digest::of(b"x").as_bytes());
            assert!(!encoder.compress(&random, &mut packed).unwrap(), "{compressor:?}");
        }
    }
}
