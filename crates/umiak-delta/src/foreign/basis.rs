//! Several sources one after the other, as one: the base of balena's deltas is all base layers' tars, bottom first.

use std::io;

use umiak_spec::ReadAt;

/// Sources as if they were one.
pub struct Basis<'a> {
    /// Each with the position of its first byte.
    parts: Vec<(u64, &'a dyn ReadAt)>,
    length: u64,
}

impl<'a> Basis<'a> {
    /// Joins the parts in this order.
    ///
    /// # Errors
    /// A part does not know its length, or all together have more than 64 bits count.
    pub fn new(parts: impl IntoIterator<Item = &'a dyn ReadAt>) -> io::Result<Self> {
        let mut length = 0u64;
        let mut joined = Vec::new();
        for part in parts {
            joined.push((length, part));
            length = length.checked_add(part.len()?).ok_or_else(|| io::Error::other("too many bytes to count"))?;
        }
        Ok(Self { parts: joined, length })
    }
}

impl ReadAt for Basis<'_> {
    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let first = self.parts.partition_point(|(start, _)| *start <= offset).saturating_sub(1);
        let ends = self.parts.iter().skip(1).map(|(start, _)| *start).chain([self.length]);
        for ((start, part), end) in self.parts.iter().zip(ends).skip(first) {
            let here = buffer.len().min(usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX));
            let (now, rest) = buffer.split_at_mut(here);
            if !now.is_empty() {
                part.read_exact_at(now, offset - start)?;
            }
            offset += here as u64;
            buffer = rest;
            if buffer.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_range_of_joined_parts_is_the_range_of_their_bytes() {
        let parts: [&[u8]; 6] = [b"", b"ab", b"", b"cdefg", b"h", b""];
        let whole = parts.concat();
        let basis = Basis::new(parts.iter().map(|part| part as &dyn ReadAt)).unwrap();
        assert_eq!(basis.len().unwrap(), whole.len() as u64);
        for start in 0..=whole.len() {
            for end in start..=whole.len() {
                let mut found = vec![0; end - start];
                basis.read_exact_at(&mut found, start as u64).unwrap();
                assert_eq!(found, whole[start..end], "{start}..{end}");
            }
        }
        assert!(basis.read_exact_at(&mut [0; 2], 7).is_err());
        assert!(basis.read_exact_at(&mut [0], u64::MAX).is_err());
        assert!(basis.read_exact_at(&mut [], 9).is_err());
        assert!(Basis::new([]).unwrap().read_exact_at(&mut [0], 0).is_err());
    }
}
