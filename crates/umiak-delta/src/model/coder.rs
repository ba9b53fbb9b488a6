//! Binary arithmetic coding: each bit costs what its probability says, to a fraction of a bit.
//!
//! The coder keeps an interval of 32-bit numbers; a bit takes its part of it, and leading bytes on which both ends agree are
//! written. Model code runs the same on both sides: it offers a bit, the encoder writes it, the decoder gives the one that was written.

use std::io::{self, Read};

/// One side of the coding.
pub trait Coder {
    /// Codes one bit that is 1 with probability `one / 65536`, `one` from 1 to 65535. The encoder gives `bit` back, the decoder the
    /// bit that the encoder was given.
    ///
    /// # Errors
    /// The decoder's source cannot be read, or has long ended.
    fn code(&mut self, bit: bool, one: u32) -> io::Result<bool>;
}

/// Writes bits to memory.
#[derive(Debug)]
pub struct Encoder {
    low: u32,
    high: u32,
    out: Vec<u8>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { low: 0, high: u32::MAX, out: Vec::new() }
    }
}

/// The last number of the part that a 1 takes.
fn split(low: u32, high: u32, one: u32) -> u32 {
    low + ((u64::from(high - low) * u64::from(one)) >> 16) as u32
}

impl Coder for Encoder {
    fn code(&mut self, bit: bool, one: u32) -> io::Result<bool> {
        let middle = split(self.low, self.high, one);
        if bit {
            self.high = middle;
        } else {
            self.low = middle + 1;
        }
        while (self.low ^ self.high) >> 24 == 0 {
            self.out.push((self.high >> 24) as u8);
            self.low <<= 8;
            self.high = self.high << 8 | 0xFF;
        }
        Ok(bit)
    }
}

impl Encoder {
    /// All bytes: as few as decide the last bits, the decoder reads zeros behind them.
    pub fn finish(mut self) -> Vec<u8> {
        // A number in the interval with as many zero bytes at its end as there can be.
        for kept in 0..=4u32 {
            let mask = u32::MAX.checked_shr(8 * kept).unwrap_or(0);
            let number = if kept == 0 { 0 } else { self.low.checked_add(mask).map_or(u32::MAX, |up| up & !mask) };
            if number >= self.low && number <= self.high {
                self.out.extend_from_slice(&number.to_be_bytes()[..kept as usize]);
                break;
            }
        }
        while self.out.last() == Some(&0) {
            self.out.pop();
        }
        self.out
    }
}

/// Reads bits.
#[derive(Debug)]
pub struct Decoder<R> {
    low: u32,
    high: u32,
    code: u32,
    source: R,
    /// Bytes taken from the source, and how many of them were used.
    ahead: [u8; AHEAD],
    filled: usize,
    used: usize,
    /// Zeros read behind the end.
    behind: u32,
    begun: bool,
}

/// Bytes taken from a source at once: few, so that what a content used of a stream can be told.
const AHEAD: usize = 32;

/// Zeros that may be read behind the end: an honest stream needs few, as it ends when its values do.
const MOST_BEHIND: u32 = 1 << 20;

impl<R: Read> Decoder<R> {
    /// At the beginning of `source`, which is best buffered.
    pub fn new(source: R) -> Self {
        Self { low: 0, high: u32::MAX, code: 0, source, ahead: [0; AHEAD], filled: 0, used: 0, behind: 0, begun: false }
    }

    #[inline(always)]
    fn byte(&mut self) -> io::Result<u32> {
        if self.used == self.filled {
            self.fill()?;
        }
        let byte = self.ahead[self.used & (AHEAD - 1)];
        self.used += 1;
        Ok(u32::from(byte))
    }

    /// The next bytes, or zeros behind the end.
    #[cold]
    fn fill(&mut self) -> io::Result<()> {
        self.used = 0;
        self.filled = if self.behind == 0 { read(&mut self.source, &mut self.ahead)? } else { 0 };
        if self.filled == 0 {
            self.behind += 1;
            if self.behind > MOST_BEHIND {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.ahead[0] = 0;
            self.filled = 1;
        }
        Ok(())
    }

    #[cold]
    fn begin(&mut self) -> io::Result<()> {
        for _ in 0..4 {
            self.code = self.code << 8 | self.byte()?;
        }
        self.begun = true;
        Ok(())
    }
}

fn read(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

impl<R: Read> Coder for Decoder<R> {
    fn code(&mut self, _: bool, one: u32) -> io::Result<bool> {
        if !self.begun {
            self.begin()?;
        }
        let middle = split(self.low, self.high, one);
        let bit = self.code <= middle;
        if bit {
            self.high = middle;
        } else {
            self.low = middle + 1;
        }
        while (self.low ^ self.high) >> 24 == 0 {
            self.low <<= 8;
            self.high = self.high << 8 | 0xFF;
            self.code = self.code << 8 | self.byte()?;
        }
        Ok(bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_back() {
        let bits: Vec<(bool, u32)> = (0..5000u32)
            .map(|n| {
                let noise = n.wrapping_mul(2_654_435_761);
                (noise & 0x700 == 0, [1, 65535, 8192, 30000][(noise >> 20) as usize % 4])
            })
            .collect();
        for length in [0, 1, 2, 7, 100, 5000] {
            let mut encoder = Encoder::default();
            bits[..length].iter().for_each(|(bit, one)| {
                encoder.code(*bit, *one).unwrap();
            });
            let bytes = encoder.finish();
            let mut decoder = Decoder::new(bytes.as_slice());
            for (bit, one) in &bits[..length] {
                assert_eq!(decoder.code(false, *one).unwrap(), *bit);
            }
        }
    }

    #[test]
    fn what_is_expected_costs_little() {
        let mut encoder = Encoder::default();
        (0..100_000).for_each(|_| {
            encoder.code(true, 65_000).unwrap();
        });
        assert!(encoder.finish().len() < 160);
    }
}
