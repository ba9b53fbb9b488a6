//! Decompression of LZO1X blocks, after the stream description in Linux' `Documentation/staging/lzo.rst`.
//!
//! Guarantees: never writes beyond the output, never reads beyond the input, ends after a number of steps that the
//! two bound. Bitstream version 0 only, which is all that squashfs uses. There is no compression here.

use std::io;

/// Decompresses `packed` into the front of `plain` and returns how many bytes that were.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for anything but a whole LZO1X stream that fits.
pub(crate) fn decompress(packed: &[u8], plain: &mut [u8]) -> io::Result<usize> {
    let mut state = Unpacking { input: packed, output: plain, written: 0 };
    state.run().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a valid LZO1X block"))?;
    Ok(state.written)
}

struct Unpacking<'a> {
    input: &'a [u8],
    output: &'a mut [u8],
    written: usize,
}

impl Unpacking<'_> {
    fn run(&mut self) -> Option<()> {
        // How many literals the last instruction copied; 4 stands for "four or more".
        let mut literals = 0;
        if let Some(first @ 18..) = self.input.first().copied() {
            self.input = &self.input[1..];
            let count = usize::from(first - 17);
            self.literals(count)?;
            literals = count.min(4);
        }
        loop {
            let code = usize::from(self.byte()?);
            let (length, distance, trailing) = match code {
                0..=15 if literals == 0 => {
                    let count = 3 + self.length(code, 15)?;
                    self.literals(count)?;
                    literals = 4;
                    continue;
                }
                0..=15 => {
                    let high = usize::from(self.byte()?) << 2;
                    let (length, nearest) = if literals == 4 { (3, 2049) } else { (2, 1) };
                    (length, high + (code >> 2) + nearest, code & 3)
                }
                16..=31 => {
                    let length = 2 + self.length(code & 7, 7)?;
                    let low = self.half()?;
                    let distance = 16_384 + ((code & 8) << 11) + (low >> 2);
                    if distance == 16_384 {
                        // The end marker; anything behind it is no part of the block.
                        return (length == 3 && self.input.is_empty()).then_some(());
                    }
                    (length, distance, low & 3)
                }
                32..=63 => {
                    let length = 2 + self.length(code & 31, 31)?;
                    let low = self.half()?;
                    (length, (low >> 2) + 1, low & 3)
                }
                _ => {
                    let high = usize::from(self.byte()?) << 3;
                    let length = if code < 128 { 3 + (code >> 5 & 1) } else { 5 + (code >> 5 & 3) };
                    (length, high + (code >> 2 & 7) + 1, code & 3)
                }
            };
            self.copy(distance, length)?;
            self.literals(trailing)?;
            literals = trailing;
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.input.split_first()?;
        self.input = rest;
        Some(*first)
    }

    fn half(&mut self) -> Option<usize> {
        Some(usize::from(u16::from_le_bytes([self.byte()?, self.byte()?])))
    }

    /// A length whose short form is zero goes on: 255 for each zero byte, then the first other byte.
    fn length(&mut self, short: usize, base: usize) -> Option<usize> {
        if short != 0 {
            return Some(short);
        }
        let mut length = base;
        loop {
            match self.byte()? {
                0 => length += 255,
                last => return Some(length + usize::from(last)),
            }
        }
    }

    fn literals(&mut self, count: usize) -> Option<()> {
        let (head, rest) = self.input.split_at_checked(count)?;
        self.output.get_mut(self.written..self.written.checked_add(count)?)?.copy_from_slice(head);
        self.input = rest;
        self.written += count;
        Some(())
    }

    fn copy(&mut self, distance: usize, length: usize) -> Option<()> {
        let from = self.written.checked_sub(distance)?;
        let end = self.written.checked_add(length)?;
        if end > self.output.len() {
            return None;
        }
        for at in 0..length {
            self.output[self.written + at] = self.output[from + at];
        }
        self.written = end;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_literals_and_an_overlapping_match() {
        // 4 literals "abcd", then 6 bytes from 4 back (code 1LLDDDSS: length 5+1, distance 4), then the end marker.
        let packed = [21, b'a', b'b', b'c', b'd', 0b1010_1100, 0, 17, 0, 0];
        let mut plain = [0; 16];
        assert_eq!(decompress(&packed, &mut plain).unwrap(), 10);
        assert_eq!(&plain[..10], b"abcdabcdab");
        assert!(decompress(&packed, &mut plain[..9]).is_err());
        for cut in 0..packed.len() {
            assert!(decompress(&packed[..cut], &mut plain).is_err(), "{cut}");
        }
    }
}
