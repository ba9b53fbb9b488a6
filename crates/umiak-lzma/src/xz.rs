//! The `.xz` container: one stream with one block around LZMA2 chunks.
//!
//! Guarantees what the Linux kernel's decoder accepts: CRC32 check, one filter, and a dictionary of the asked size. The
//! block header leaves out the optional sizes.

use crate::crc::crc32;

const MAGIC: [u8; 6] = *b"\xFD7zXZ\0";
const FOOTER_MAGIC: [u8; 2] = *b"YZ";
/// Stream flags: check type CRC32.
const FLAGS: [u8; 2] = [0, 1];
const LZMA2: u8 = 0x21;
/// Bytes of the block header.
const BLOCK_HEADER: usize = 12;
/// Bytes of the check.
const CHECK: usize = 4;

/// Appends the stream of `plain`, whose LZMA2 form is `coded`, to `out`.
pub(crate) fn frame(plain: &[u8], coded: &[u8], dictionary: u8, out: &mut Vec<u8>) {
    out.reserve(coded.len() + 80);
    out.extend(MAGIC);
    with_crc(&FLAGS, out);
    with_crc(&[(BLOCK_HEADER / 4 - 1) as u8, 0, LZMA2, 1, dictionary, 0, 0, 0], out);
    out.extend_from_slice(coded);
    pad(coded.len(), out);
    out.extend(crc32(plain).to_le_bytes());

    let mut index = vec![0];
    number(1, &mut index);
    number((BLOCK_HEADER + coded.len() + CHECK) as u64, &mut index);
    number(plain.len() as u64, &mut index);
    pad(index.len(), &mut index);
    with_crc(&index, out);

    // The size of the index with its CRC, in words less one.
    let backward = (index.len() / 4) as u32;
    let mut tail = backward.to_le_bytes().to_vec();
    tail.extend(FLAGS);
    out.extend(crc32(&tail).to_le_bytes());
    out.extend(tail);
    out.extend(FOOTER_MAGIC);
}

fn with_crc(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(bytes);
    out.extend(crc32(bytes).to_le_bytes());
}

/// Zeros up to a multiple of four.
fn pad(len: usize, out: &mut Vec<u8>) {
    out.extend(std::iter::repeat_n(0, len.next_multiple_of(4) - len));
}

/// Seven bits in a byte, lowest first; the high bit says that more follow.
fn number(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}
