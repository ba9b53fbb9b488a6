//! One 512-byte tar header block: V7, ustar, GNU.
//!
//! Numbers are octal text or, with the top bit of the first byte set, GNU's big-endian two's complement ("base-256").
//! The checksum is accepted as the sum of unsigned or, as some old programs wrote it, of signed bytes.

/// Length of a header and the unit everything is padded to.
pub const BLOCK: usize = 512;

/// A block as it is in the archive.
pub type Block = [u8; BLOCK];

/// Which dialect the magic bytes announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// No magic: before POSIX.1-1988.
    V7,
    /// `ustar\0` `00`: POSIX, with a prefix field.
    Ustar,
    /// `ustar  \0`: GNU, with times and sparse map where POSIX has the prefix.
    Gnu,
}

/// A header block whose checksum matched.
#[derive(Debug, Clone, Copy)]
pub struct Header<'a>(&'a Block);

impl<'a> Header<'a> {
    /// The header in `block`; `None` when the checksum does not match.
    pub fn new(block: &'a Block) -> Option<Self> {
        let header = Self(block);
        let claimed = number(header.field(148, 8))?;
        let (mut unsigned, mut signed) = (0_i64, 0_i64);
        for (index, byte) in block.iter().enumerate() {
            let byte = if (148..156).contains(&index) { b' ' } else { *byte };
            unsigned += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        (claimed == unsigned || claimed == signed).then_some(header)
    }

    fn field(self, offset: usize, length: usize) -> &'a [u8] {
        &self.0[offset..offset + length]
    }

    /// The dialect.
    pub fn dialect(self) -> Dialect {
        match self.field(257, 8) {
            b"ustar  \0" => Dialect::Gnu,
            magic if magic.starts_with(b"ustar") => Dialect::Ustar,
            _ => Dialect::V7,
        }
    }

    /// The name, with the prefix of ustar in front.
    pub fn path(self) -> Vec<u8> {
        let name = text(self.field(0, 100));
        let prefix = if self.dialect() == Dialect::Ustar { text(self.field(345, 155)) } else { &[] };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    /// Target of a link.
    pub fn link(self) -> &'a [u8] {
        text(self.field(157, 100))
    }

    /// The type byte.
    pub fn kind(self) -> u8 {
        self.0[156]
    }

    /// Permission bits and, in some archives, the type.
    pub fn mode(self) -> Option<i64> {
        number(self.field(100, 8))
    }

    /// Numeric owner.
    pub fn uid(self) -> Option<i64> {
        number(self.field(108, 8))
    }

    /// Numeric group.
    pub fn gid(self) -> Option<i64> {
        number(self.field(116, 8))
    }

    /// Bytes that follow the header, without padding.
    pub fn size(self) -> Option<i64> {
        number(self.field(124, 12))
    }

    /// Seconds since 1970.
    pub fn mtime(self) -> Option<i64> {
        number(self.field(136, 12))
    }

    /// Major device number; V7 has none.
    pub fn major(self) -> Option<i64> {
        if self.dialect() == Dialect::V7 { Some(0) } else { number(self.field(329, 8)) }
    }

    /// Minor device number; V7 has none.
    pub fn minor(self) -> Option<i64> {
        if self.dialect() == Dialect::V7 { Some(0) } else { number(self.field(337, 8)) }
    }

    /// Old GNU sparse file: the (up to four) extents in the header and whether a block with more follows.
    pub fn sparse_extents(self) -> (&'a [u8], bool) {
        (self.field(386, 96), self.0[482] != 0)
    }

    /// Old GNU sparse file: its length with holes.
    pub fn sparse_size(self) -> Option<i64> {
        number(self.field(483, 12))
    }
}

/// Up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A numeric field: octal (an empty one is 0) or base-256; `None` for anything else and for what 64 bits do not hold.
pub fn number(field: &[u8]) -> Option<i64> {
    let (first, rest) = field.split_first()?;
    if *first == 0x80 || *first == 0xff {
        let negative = *first == 0xff;
        let start = if negative { -1_i64 } else { 0 };
        return rest.iter().try_fold(start, |value, byte| value.checked_mul(256)?.checked_add(i64::from(*byte)));
    }
    let digits = field.trim_ascii_start();
    let end = digits.iter().position(|byte| matches!(byte, 0 | b' ')).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    if rest.iter().any(|byte| !matches!(byte, 0 | b' ')) {
        return None;
    }
    digits.iter().try_fold(0_i64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_all_their_spellings() {
        for (field, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"00000644", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"12x4\0\0\0\0", None),
            (b"8\0\0\0\0\0\0\0", None),
            (b"7\0 7\0\0\0\0", None),
            (b"-1\0\0\0\0\0\0", None),
            (b"", None),
        ] {
            assert_eq!(number(field), value, "{field:?}");
        }
    }

    #[test]
    fn the_checksum_may_be_signed_or_unsigned_but_must_match() {
        let mut block = [0; BLOCK];
        block[0] = 0xe9;
        let unsigned = 0xe9 + 8 * 32;
        for sum in [unsigned, unsigned - 256] {
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            assert!(Header::new(&block).is_some(), "{sum}");
        }
        block[148..156].copy_from_slice(format!("{:06o}\0 ", unsigned + 1).as_bytes());
        assert!(Header::new(&block).is_none());
    }
}
