//! Which parts of a file are in the archive, and which are holes.
//!
//! Four formats of GNU tar lead to one list of [`Extent`]s: the old one (type `S`, maps in header blocks), and PAX 0.0,
//! 0.1 (maps in extended records) and 1.0 (map in front of the stored bytes).

use std::io::{self, BufRead};

use crate::LayerError;
use crate::header::{BLOCK, number};
use crate::pax::decimal;

/// A run of stored bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Where it belongs in the file.
    pub offset: u64,
    /// Its length.
    pub length: u64,
}

/// More extents in one file are refused.
const MAX_EXTENTS: usize = 1 << 20;

/// Checks that the extents are in order, apart, inside the file, and need exactly the `stored` bytes.
pub fn check(extents: &[Extent], size: u64, stored: u64) -> Result<(), &'static str> {
    let (mut end, mut sum) = (0_u64, 0_u64);
    for extent in extents {
        if extent.offset < end {
            return Err("its map is out of order");
        }
        end = extent.offset.checked_add(extent.length).ok_or("its map overflows")?;
        sum += extent.length;
    }
    if end > size {
        return Err("its map reaches beyond its end");
    }
    if sum != stored { Err("its map needs another number of bytes than are stored") } else { Ok(()) }
}

/// Pairs of offset and length.
pub fn from_numbers(numbers: &[u64]) -> Result<Vec<Extent>, &'static str> {
    if !numbers.len().is_multiple_of(2) {
        return Err("its map has an offset without a length");
    }
    if numbers.len() / 2 > MAX_EXTENTS {
        return Err("its map has too many extents");
    }
    Ok(numbers.chunks_exact(2).map(|pair| Extent { offset: pair[0], length: pair[1] }).collect())
}

/// The extents of old GNU blocks: 24 bytes each, an empty field ends the list.
pub fn push_old(extents: &mut Vec<Extent>, fields: &[u8]) -> Result<(), &'static str> {
    for pair in fields.chunks_exact(24) {
        if pair[0] == 0 && pair[12] == 0 {
            break;
        }
        let value = |field| number(field).and_then(|value| u64::try_from(value).ok()).ok_or("its map is no number");
        if extents.len() >= MAX_EXTENTS {
            return Err("its map has too many extents");
        }
        extents.push(Extent { offset: value(&pair[..12])?, length: value(&pair[12..])? });
    }
    Ok(())
}

/// Reads the map of PAX format 1.0 from `source`, which is positioned at the first stored byte, and returns
/// it with the number of bytes it took, padding included.
pub fn read_front(
    source: &mut impl BufRead,
    stored: u64,
    invalid: &dyn Fn(&'static str) -> LayerError,
) -> Result<(Vec<Extent>, u64), LayerError> {
    let cut_short = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => invalid("the layer ends in its map"),
        _ => LayerError::read(error),
    };
    let mut numbers = Vec::new();
    let mut expected = 1;
    let (mut taken, mut digits) = (0_u64, Vec::new());
    while numbers.len() < expected {
        let mut byte = [0];
        if taken >= stored {
            return Err(invalid("its map is longer than its content"));
        }
        source.read_exact(&mut byte).map_err(cut_short)?;
        taken += 1;
        match byte[0] {
            b'\n' => {
                numbers.push(decimal(&digits).ok_or_else(|| invalid("its map is no list of numbers"))?);
                digits.clear();
            }
            _ if digits.len() >= 20 => return Err(invalid("its map is no list of numbers")),
            digit => digits.push(digit),
        }
        if numbers.len() == 1 {
            let count = usize::try_from(numbers[0]).ok().filter(|count| *count <= MAX_EXTENTS);
            expected = 1 + 2 * count.ok_or_else(|| invalid("its map has too many extents"))?;
        }
    }
    let padded = taken.next_multiple_of(BLOCK as u64);
    if padded > stored {
        return Err(invalid("its map is longer than its content"));
    }
    let mut padding = vec![0; usize::try_from(padded - taken).unwrap_or(0)];
    source.read_exact(&mut padding).map_err(cut_short)?;
    Ok((from_numbers(&numbers[1..]).map_err(invalid)?, padded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_must_fit_file_and_data() {
        let map = from_numbers(&[0, 10, 20, 5]).unwrap();
        assert_eq!(check(&map, 25, 15), Ok(()));
        assert_eq!(check(&map, 100, 15), Ok(()));
        assert!(check(&map, 24, 15).is_err());
        assert!(check(&map, 25, 14).is_err());
        assert!(check(&from_numbers(&[5, 10, 10, 1]).unwrap(), 25, 11).is_err());
        assert!(check(&from_numbers(&[5, u64::MAX]).unwrap(), 25, 11).is_err());
        assert!(from_numbers(&[1]).is_err());
        assert_eq!(check(&[], 1 << 40, 0), Ok(()));
    }
}
