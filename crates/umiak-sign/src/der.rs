//! As much of DER (X.690) as public keys, names and dates of certificates take.
//!
//! Guarantee: lengths are those that are there, in their shortest form; nothing is read past the end.

/// What is left of some DER.
#[derive(Debug, Clone, Copy)]
pub struct Der<'a>(&'a [u8]);

/// An integer.
pub const INTEGER: u8 = 0x02;
/// Bits; the first byte says how many of the last one do not count.
pub const BIT_STRING: u8 = 0x03;
/// An object identifier.
pub const OID: u8 = 0x06;
/// A time with two digits of the year.
pub const UTC_TIME: u8 = 0x17;
/// A time with four digits of the year.
pub const GENERALIZED_TIME: u8 = 0x18;
/// Values one after the other.
pub const SEQUENCE: u8 = 0x30;
/// Values in no order.
pub const SET: u8 = 0x31;
/// The version of a certificate: `[0] EXPLICIT`.
pub const CONTEXT_0: u8 = 0xa0;

impl<'a> Der<'a> {
    /// Begins to read `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next value, whatever it is: its tag and its content.
    pub fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81 | 0x82 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
                // One way to write each length.
                (length > 0x7f && (first == 0x81 || length > 0xff)).then_some((length, rest))?
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The content of the next value, if it has this tag.
    pub fn value(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let (found, content) = ahead.any()?;
        (found == tag).then(|| {
            *self = ahead;
            content
        })
    }

    /// The next value, if it is a sequence.
    pub fn sequence(&mut self) -> Option<Self> {
        self.value(SEQUENCE).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_one_after_the_other() {
        let mut der = Der::new(&[0x30, 3, 2, 1, 5, 6, 0]);
        let mut inner = der.sequence().unwrap();
        assert_eq!(inner.value(OID), None);
        assert_eq!(inner.value(INTEGER), Some(&[5][..]));
        assert!(inner.is_empty());
        assert_eq!(der.any(), Some((OID, &[][..])));
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for wrong in
            [&[][..], &[2], &[2, 2, 0], &[2, 0x81, 1, 0], &[2, 0x82, 0, 200], &[2, 0x80], &[2, 0x84, 0, 0, 0, 1, 0]]
        {
            assert_eq!(Der::new(wrong).any(), None, "{wrong:?}");
        }
        let long = [&[2, 0x81, 200][..], &[7; 200]].concat();
        assert_eq!(Der::new(&long).any().unwrap().1.len(), 200);
    }
}
