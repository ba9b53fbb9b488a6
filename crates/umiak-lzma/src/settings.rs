//! What an encoder may be told: the block size and how hard to try.
//!
//! A [`Settings`] is always one that the encoder can serve. It does not hold what the encoder chooses by itself from the
//! bytes of a block (position bits, storing).

use thiserror::Error;

/// Smallest block size, bytes: the smallest LZMA2 dictionary.
pub const MIN_BLOCK_SIZE: u32 = 4 << 10;
/// Largest block size, bytes: the largest of squashfs.
pub const MAX_BLOCK_SIZE: u32 = 1 << 20;

/// How hard to try. Times and sizes are against liblzma preset 6 on blocks of 128 KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effort {
    /// About two fifths of the time, 1.5 % larger.
    Fast,
    /// Less than half of the time, less than 1 % larger (1 % at 1 MiB).
    #[default]
    Balanced,
    /// Two thirds of the time, the same size within 0.3 %.
    Small,
}

/// What an [`crate::Encoder`] is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    block_size: u32,
    effort: Effort,
}

/// Settings that no encoder can serve.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SettingsError {
    /// The block size is out of bounds.
    #[error("an xz block size of {0} bytes is not between {MIN_BLOCK_SIZE} and {MAX_BLOCK_SIZE}")]
    BlockSize(u32),
}

impl Settings {
    /// Settings for blocks of at most `block_size` bytes.
    ///
    /// # Errors
    /// A block size below [`MIN_BLOCK_SIZE`] or above [`MAX_BLOCK_SIZE`] is refused.
    pub fn new(block_size: u32, effort: Effort) -> Result<Self, SettingsError> {
        if (MIN_BLOCK_SIZE..=MAX_BLOCK_SIZE).contains(&block_size) {
            Ok(Self { block_size, effort })
        } else {
            Err(SettingsError::BlockSize(block_size))
        }
    }

    /// Bytes in a block at most; no match reaches back farther.
    #[must_use]
    pub fn block_size(&self) -> u32 {
        self.block_size
    }

    /// A match of this length is taken without weighing it.
    pub(crate) fn nice_len(&self) -> usize {
        match self.effort {
            Effort::Fast => 48,
            Effort::Balanced => 64,
            Effort::Small => 128,
        }
    }

    /// How much dearer (16ths of a bit) the next position may be for this one to be left out; see `parse`.
    pub(crate) fn hurry(&self) -> u32 {
        match self.effort {
            Effort::Fast => 112,
            Effort::Balanced => 40,
            Effort::Small => 0,
        }
    }

    /// The LZMA2 property byte: the smallest dictionary that holds a block, in steps of `2^n` and `3 * 2^n`.
    pub(crate) fn dictionary_property(&self) -> u8 {
        (0u8..40).find(|&p| (2 | u32::from(p & 1)) << (p / 2 + 11) >= self.block_size).unwrap_or(40)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        assert_eq!(Settings::new(4095, Effort::Fast), Err(SettingsError::BlockSize(4095)));
        assert_eq!(Settings::new(1048577, Effort::Fast), Err(SettingsError::BlockSize(1048577)));
    }

    #[test]
    fn dictionaries_are_the_smallest_that_fit() {
        for (block, property) in
            [(4096, 0), (4097, 1), (6144, 1), (8192, 2), (131_072, 10), (131_073, 11), (1 << 20, 16)]
        {
            let settings = Settings::new(block, Effort::Balanced).unwrap();
            assert_eq!(settings.dictionary_property(), property, "{block}");
        }
    }
}
