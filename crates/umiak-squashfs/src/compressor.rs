//! Which compressors there are, and the settings our writer gives to each: the one place to change them.
//!
//! The settings decide the bytes of an image. A change here changes every image that is made from then on, and a base
//! made before it counts as foreign (see [`crate::BaseMatch`]).

use crate::Error;

/// A squashfs compressor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compressor {
    /// xz with LZMA2: smallest, slowest to write. What pvr uses.
    #[default]
    Xz,
    /// Zstandard.
    Zstd,
    /// zlib's deflate, named gzip in squashfs.
    Gzip,
    /// LZ4: fastest.
    Lz4,
    /// LZO1X: read only.
    Lzo,
    /// LZMA in its old container: read only (Linux cannot mount it).
    Lzma,
}

impl Compressor {
    /// All compressors that this crate writes.
    pub const WRITABLE: [Self; 4] = [Self::Xz, Self::Zstd, Self::Gzip, Self::Lz4];

    /// The name as mksquashfs spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Lz4 => "lz4",
            Self::Lzo => "lzo",
            Self::Lzma => "lzma",
        }
    }

    pub(crate) const fn number(self) -> u16 {
        match self {
            Self::Gzip => 1,
            Self::Lzma => 2,
            Self::Lzo => 3,
            Self::Xz => 4,
            Self::Lz4 => 5,
            Self::Zstd => 6,
        }
    }

    pub(crate) const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            1 => Self::Gzip,
            2 => Self::Lzma,
            3 => Self::Lzo,
            4 => Self::Xz,
            5 => Self::Lz4,
            6 => Self::Zstd,
            _ => return None,
        })
    }

    /// Levels that mean something, smallest to largest; `None` when there are no levels or it is not written.
    #[must_use]
    pub fn levels(self) -> Option<std::ops::RangeInclusive<i32>> {
        match self {
            Self::Xz => Some(0..=9),
            Self::Zstd => Some(1..=22),
            Self::Gzip => Some(1..=9),
            Self::Lz4 | Self::Lzo | Self::Lzma => None,
        }
    }

    /// The level used when none is asked for.
    pub(crate) const fn default_level(self) -> i32 {
        match self {
            Self::Xz => 6,
            Self::Zstd => 15,
            Self::Gzip => 9,
            Self::Lz4 | Self::Lzo | Self::Lzma => 0,
        }
    }
}

/// What an encoder must know: compressor, level, and the block size that bounds its dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) compressor: Compressor,
    pub(crate) level: i32,
    pub(crate) block_size: u32,
}

impl Settings {
    /// # Errors
    /// [`Error::Options`] for a compressor that is only read, or a level that it does not have.
    pub(crate) fn new(compressor: Compressor, level: Option<i32>, block_size: u32) -> Result<Self, Error> {
        if !Compressor::WRITABLE.contains(&compressor) {
            return Err(Error::Options(format!("compressor {} is only read, not written", compressor.name())));
        }
        if !crate::layout::BLOCK_SIZES.contains(&block_size) || !block_size.is_power_of_two() {
            return Err(Error::Options(format!("block size {block_size} is no power of two from 4096 to 1048576")));
        }
        let level = match (level, compressor.levels()) {
            (None, _) => compressor.default_level(),
            (Some(level), Some(levels)) if levels.contains(&level) => level,
            (Some(level), Some(levels)) => {
                let (least, most) = levels.into_inner();
                let name = compressor.name();
                return Err(Error::Options(format!("level {level} of {name} does not exist: {least} to {most} do")));
            }
            (Some(_), None) => return Err(Error::Options(format!("{} has no levels", compressor.name()))),
        };
        Ok(Self { compressor, level, block_size })
    }

    /// How hard our xz encoder tries at this level: 0 to 3, 4 to 6, 7 to 9.
    pub(crate) fn xz_effort(&self) -> umiak_lzma::Effort {
        match self.level {
            ..=3 => umiak_lzma::Effort::Fast,
            4..=6 => umiak_lzma::Effort::Balanced,
            _ => umiak_lzma::Effort::Small,
        }
    }

    /// The compressor options block of the superblock, when the compressor wants one or a level was chosen.
    pub(crate) fn options_block(&self) -> Option<Vec<u8>> {
        let chosen = self.level != self.compressor.default_level();
        match self.compressor {
            // LZ4 legacy frame number 1, no high compression; Linux wants this block.
            Compressor::Lz4 => Some([1_u32.to_le_bytes(), 0_u32.to_le_bytes()].concat()),
            Compressor::Zstd if chosen => Some(self.level.to_le_bytes().to_vec()),
            // Level, window of 2^15, default strategy only.
            Compressor::Gzip if chosen => Some([&self.level.to_le_bytes()[..], &[15, 0, 0, 0]].concat()),
            _ => None,
        }
    }
}
