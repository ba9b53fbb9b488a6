//! What a caller may choose about an image.

use std::num::NonZeroUsize;

use crate::compressor::Settings;
use crate::{Compressor, Error};

/// How an image is written. Everything but `threads` decides the image's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageOptions {
    /// Compressor of blocks and metadata (default xz).
    pub compressor: Compressor,
    /// Its level; `None` for the default: xz 6, zstd 15, gzip 9. LZ4 has none.
    pub level: Option<i32>,
    /// Plain bytes of a full block: a power of two from 4 KiB to 1 MiB (default 128 KiB).
    pub block_size: u32,
    /// Threads that compress, beside the calling one (default 1).
    pub threads: NonZeroUsize,
    /// Seconds since 1970 in the superblock (default 0).
    pub image_time: u32,
    /// Whether an export table is written, as NFS wants it (default true, as mksquashfs has it).
    pub exportable: bool,
}

impl Default for ImageOptions {
    fn default() -> Self {
        Self {
            compressor: Compressor::default(),
            level: None,
            block_size: 128 << 10,
            threads: NonZeroUsize::MIN,
            image_time: 0,
            exportable: true,
        }
    }
}

impl ImageOptions {
    pub(crate) fn settings(&self) -> Result<Settings, Error> {
        Settings::new(self.compressor, self.level, self.block_size)
    }
}
