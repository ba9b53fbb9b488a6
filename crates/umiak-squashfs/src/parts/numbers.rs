//! The numbers of a listing: little-endian fields, and LEB128 where they are small as a rule.

use crate::Error;

/// Appends seven bits a byte, the lowest first, the top bit set on all but the last.
pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// The difference of two positions as a small number: 0, -1, 1, -2 are 0, 1, 2, 3.
pub(super) fn zigzag(to: usize, from: usize) -> u64 {
    let difference = (to as u64).wrapping_sub(from as u64).cast_signed();
    ((difference << 1) ^ (difference >> 63)).cast_unsigned()
}

/// The position that lies `value` (see [`zigzag`]) from `from`.
pub(super) fn moved(from: usize, value: u64) -> Option<usize> {
    let difference = (value >> 1).cast_signed() ^ -((value & 1).cast_signed());
    (from as u64).checked_add_signed(difference).and_then(|to| usize::try_from(to).ok())
}

const ENDS: Error = Error::Listing("it ends early");

/// Takes a listing apart from the front.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(ENDS)?;
        self.0 = rest;
        Ok(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (head, rest) = self.0.split_first_chunk().ok_or(ENDS)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Error> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    /// Up to a NUL, which is passed over.
    pub(super) fn text(&mut self) -> Result<&'a [u8], Error> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(ENDS)?;
        let (text, rest) = self.0.split_at(end);
        self.0 = &rest[1..];
        Ok(text)
    }

    pub(super) fn number(&mut self) -> Result<u64, Error> {
        let mut value = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                // One spelling for each number.
                let shortest = byte != 0 || shift == 0;
                return if shortest { Ok(value) } else { Err(Error::Listing("a number is longer than it need be")) };
            }
        }
        Err(Error::Listing("a number is too large"))
    }

    pub(super) fn index(&mut self) -> Result<usize, Error> {
        usize::try_from(self.number()?).map_err(|_| Error::Listing("a number is too large"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), (1 << 63) - 1] {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            assert_eq!(Reader(&bytes).number().unwrap(), value);
            assert!(Reader(&bytes[..bytes.len() - 1]).number().is_err());
        }
        for bytes in [&[0x80, 0][..], &[0xff; 12], &[0x80; 9]] {
            assert!(Reader(bytes).number().is_err());
        }
        for (to, from, value) in [(5, 5, 0), (4, 5, 1), (6, 5, 2), (0, 1000, 1999)] {
            assert_eq!((zigzag(to, from), moved(from, value)), (value, Some(to)));
        }
        assert_eq!(moved(3, zigzag(0, 4)), None);
    }
}
