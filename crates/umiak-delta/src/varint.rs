//! Whole numbers in as many bytes as they need: unsigned LEB128, and zigzag for signed ones.
//!
//! A number has at most ten bytes and its shortest form only; anything else is an error.

use std::io::{self, Read};

/// Appends `value`.
pub fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed `value`: small magnitudes are short.
pub fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Reads an unsigned number.
///
/// # Errors
/// The source's; [`io::ErrorKind::InvalidData`] for more than 64 bits or a form that is not the shortest.
pub fn get(source: &mut (impl Read + ?Sized)) -> io::Result<u64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let mut byte = [0];
        source.read_exact(&mut byte)?;
        let low = u64::from(byte[0] & 0x7F);
        if shift == 63 && low > 1 || shift > 0 && byte[0] == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a number is not in its shortest form"));
        }
        value |= low << shift;
        if byte[0] < 0x80 {
            return Ok(value);
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "a number has more than ten bytes"))
}

/// Reads a signed number.
///
/// # Errors
/// As [`get`].
pub fn get_signed(source: &mut (impl Read + ?Sized)) -> io::Result<i64> {
    let value = get(source)?;
    Ok((value >> 1) as i64 ^ -((value & 1) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let mut out = Vec::new();
        let numbers = [0, 1, -1, 63, 64, -64, -65, i64::MAX, i64::MIN];
        for number in numbers {
            put_signed(&mut out, number);
            put(&mut out, number as u64);
        }
        let mut rest = out.as_slice();
        for number in numbers {
            assert_eq!(get_signed(&mut rest).ok(), Some(number));
            assert_eq!(get(&mut rest).ok(), Some(number as u64));
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn long_forms_are_refused() {
        for bytes in [&[0x80, 0][..], &[0xFF; 10], &[0x80; 11], &[0x80]] {
            assert!(get(&mut &*bytes).is_err(), "{bytes:?}");
        }
    }
}
