//! Checksums behind compressed streams: CRC-32 (gzip, zip) and Adler-32 (zlib), taken of bytes as they pass.

use std::io::{self, Read, Write};

use flate2::Crc;

/// Adler-32 of RFC 1950.
pub(super) struct Adler {
    low: u32,
    high: u32,
}

/// Adler's modulus.
const MODULUS: u32 = 65521;

/// So many bytes are summed before the sums could overflow.
const BEFORE_OVERFLOW: usize = 5552;

impl Adler {
    pub(super) fn new() -> Self {
        Self { low: 1, high: 0 }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(BEFORE_OVERFLOW) {
            for byte in part {
                self.low += u32::from(*byte);
                self.high += self.low;
            }
            self.low %= MODULUS;
            self.high %= MODULUS;
        }
    }

    pub(super) fn sum(&self) -> u32 {
        self.high << 16 | self.low
    }
}

/// Which checksum is taken.
pub(super) enum Check {
    None,
    Crc(Crc),
    Adler(Adler),
}

impl Check {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::None => {}
            Self::Crc(crc) => crc.update(bytes),
            Self::Adler(adler) => adler.update(bytes),
        }
    }

    /// The checksum; 0 for none.
    pub(super) fn sum(&self) -> u32 {
        match self {
            Self::None => 0,
            Self::Crc(crc) => crc.sum(),
            Self::Adler(adler) => adler.sum(),
        }
    }
}

/// Passes on at most `left` bytes and takes their checksum.
pub(super) struct Checked<'a> {
    pub(super) source: &'a mut dyn Read,
    pub(super) check: Check,
    pub(super) left: u64,
}

impl Read for Checked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..most];
        let length = self.source.read(buffer)?;
        self.check.update(&buffer[..length]);
        self.left -= length as u64;
        Ok(length)
    }
}

/// Passes bytes on and counts them.
pub(super) struct Counted<'a> {
    pub(super) out: &'a mut dyn Write,
    pub(super) count: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.out.write(bytes)?;
        self.count += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adler_is_what_the_standard_says() {
        let mut adler = Adler::new();
        adler.update(b"Wikipedia");
        assert_eq!(adler.sum(), 0x11E6_0398);
        let mut adler = Adler::new();
        adler.update(&vec![0xFF; 1 << 20]);
        let (mut low, mut high) = (1u64, 0u64);
        for _ in 0..1 << 20 {
            low = (low + 255) % 65521;
            high = (high + low) % 65521;
        }
        assert_eq!(u64::from(adler.sum()), high << 16 | low);
    }
}
