//! The alphabets of deflate (RFC 1951, 3.2.5 to 3.2.7): which symbol stands for a length or distance, its extra bits, the
//! fixed code, and codes from their lengths.

/// Literals, the end of a block, lengths.
pub(super) const LITERALS: usize = 286;
/// Distances.
pub(super) const DISTANCES: usize = 30;
/// Code lengths.
pub(super) const LENGTHS: usize = 19;
/// The symbol that ends a block.
pub(super) const END: usize = 256;
/// The shortest match.
pub(super) const SHORTEST: usize = 3;
/// The longest match.
pub(super) const LONGEST: usize = 258;

/// Extra bits of each length symbol, from 257 on.
pub(super) const LENGTH_EXTRA: [u8; 29] =
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
/// The shortest length of each length symbol, from 257 on.
pub(super) const LENGTH_BASE: [u16; 29] =
    [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];
/// Extra bits of each distance symbol.
pub(super) const DISTANCE_EXTRA: [u8; DISTANCES] =
    [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13];
/// The nearest distance of each distance symbol.
pub(super) const DISTANCE_BASE: [u16; DISTANCES] = [
    1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145,
    8193, 12289, 16385, 24577,
];
/// Extra bits of the code length symbols.
pub(super) const REPEAT_EXTRA: [u8; LENGTHS] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 3, 7];
/// The order in which the lengths of the code length code are written.
pub(super) const LENGTH_ORDER: [u8; LENGTHS] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Index of a length (3 to 258) in the length tables.
pub(super) const LENGTH_INDEX: [u8; LONGEST + 1] = {
    let mut table = [0; LONGEST + 1];
    let mut length = SHORTEST;
    let mut index = 0;
    while length < LONGEST {
        if index + 1 < 28 && length >= LENGTH_BASE[index + 1] as usize {
            index += 1;
        }
        table[length] = index as u8;
        length += 1;
    }
    table[LONGEST] = 28;
    table
};

/// The symbol of a distance, 1 to 32768.
#[inline]
pub(super) fn distance_symbol(distance: u32) -> usize {
    let value = distance.saturating_sub(1);
    if value < 4 {
        return value as usize;
    }
    let high = 31 - value.leading_zeros();
    (2 * high + ((value >> (high - 1)) & 1)) as usize
}

/// A prefix code: bits (reversed, as they are written) and length of each symbol.
#[derive(Clone, Copy, Default)]
pub(super) struct Code {
    pub(super) bits: u16,
    pub(super) length: u8,
}

/// The canonical codes of `lengths` (3.2.2).
pub(super) fn assign(lengths: &[u8], codes: &mut [Code]) {
    let mut count = [0u16; 16];
    for length in lengths {
        count[usize::from(length & 15)] += 1;
    }
    count[0] = 0;
    let mut next = [0u16; 16];
    let mut code = 0u16;
    for length in 1..16 {
        code = (code + count[length - 1]) << 1;
        next[length] = code;
    }
    for (place, &length) in codes.iter_mut().zip(lengths) {
        *place = Code { bits: 0, length };
        if length != 0 {
            let next = &mut next[usize::from(length & 15)];
            place.bits = next.reverse_bits() >> (16 - length);
            *next = next.wrapping_add(1);
        }
    }
}

/// Code lengths of the fixed literal and length code.
pub(super) const FIXED_LITERALS: [u8; 288] = {
    let mut lengths = [8; 288];
    let mut symbol = 144;
    while symbol < 256 {
        lengths[symbol] = 9;
        symbol += 1;
    }
    while symbol < 280 {
        lengths[symbol] = 7;
        symbol += 1;
    }
    lengths
};
/// Code lengths of the fixed distance code.
pub(super) const FIXED_DISTANCES: [u8; 30] = [5; 30];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_and_distance_lies_in_the_range_of_its_symbol() {
        for (length, index) in LENGTH_INDEX.into_iter().enumerate().skip(SHORTEST) {
            let index = usize::from(index);
            let (base, extra) = (usize::from(LENGTH_BASE[index]), LENGTH_EXTRA[index]);
            assert!(length >= base && length - base < 1 << extra, "{length}");
        }
        for distance in 1..=32768u32 {
            let symbol = distance_symbol(distance);
            let (base, extra) = (u32::from(DISTANCE_BASE[symbol]), DISTANCE_EXTRA[symbol]);
            assert!(distance >= base && distance - base < 1 << extra, "{distance}");
        }
    }
}
