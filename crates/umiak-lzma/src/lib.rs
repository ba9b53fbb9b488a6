//! A fast LZMA encoder for blocks, in safe Rust.
//!
//! It is made for squashfs: blocks of at most 1 MiB that are compressed alone, each as one `.xz` stream (one block, one LZMA2
//! filter, CRC32 check) that the Linux kernel's decoder reads. A whole block in memory lets it look up the matches of all
//! positions in a few straight passes instead of walking a tree for each, price them without branches, and leave out
//! positions that the cheapest way is likely to run over. It takes less than half of liblzma's time (preset 6)
//! for less than 1 % more bytes, or two thirds for the same size.
//!
//! Guarantees:
//! - Any bytes are encoded, and a decoder gives exactly these bytes back.
//! - The output depends on the bytes and the [`Settings`] only, not on what the [`Encoder`] did before.
//! - The dictionary the stream asks for is never larger than the block size of the settings, rounded up to 4 KiB, `2^n` or
//!   `3 * 2^n`.
//!
//! It does not decode, does not stream, and does not use branch filters (BCJ).
//!
//! The formats are those of the `.xz` file format 1.2.1 and of the LZMA specification.
//!
//! ```
//! use umiak_lzma::{Effort, Encoder, Settings};
//!
//! let mut encoder = Encoder::new(Settings::new(128 * 1024, Effort::Balanced)?);
//! let mut xz = Vec::new();
//! encoder.encode_block(b"one block", &mut xz);
//! assert!(xz.starts_with(b"\xFD7zXZ\0"));
//! # Ok::<(), umiak_lzma::SettingsError>(())
//! ```
#![forbid(unsafe_code)]
// A codec cuts numbers into bytes everywhere; each cast here keeps the low bits on purpose or is bounded by the block size.
#![allow(clippy::cast_possible_truncation)]

mod chunk;
mod crc;
mod find;
mod model;
mod parse;
mod price;
mod range;
mod settings;
mod survey;
mod xz;

use chunk::Lzma2;

pub use settings::{Effort, MAX_BLOCK_SIZE, MIN_BLOCK_SIZE, Settings, SettingsError};

/// Encodes blocks, one after the other. Holds about 36 bytes for each byte of the block size plus 1 MiB (5 MiB for
/// blocks above 256 KiB).
pub struct Encoder {
    settings: Settings,
    lzma2: Lzma2,
    coded: Vec<u8>,
}

impl Encoder {
    /// An encoder with its tables allocated. Use one for each thread and keep it: making one costs as much as a small block.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, lzma2: Lzma2::new(settings), coded: Vec::new() }
    }

    /// Appends `plain` as one complete `.xz` stream to `out`.
    ///
    /// Bytes that do not shrink are stored and grow by at most 64 bytes and 3 in 65,536. More bytes than the block size
    /// are encoded too, but nothing is matched across its multiples.
    pub fn encode_block(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        self.coded.clear();
        for piece in plain.chunks(self.settings.block_size() as usize) {
            self.lzma2.encode(piece, &mut self.coded);
        }
        self.coded.push(chunk::END);
        xz::frame(plain, &self.coded, self.settings.dictionary_property(), out);
    }
}
