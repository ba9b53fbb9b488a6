//! A zip archive's central directory (APPNOTE.TXT, 4.3.12), with what its records repeat taken out.
//!
//! A record says again what the entry's stream shows (CRC-32 and both sizes) and where the entry begins, which moves whenever one
//! before it grows. In an opened file these fields hold the difference to what is expected, so records of entries that merely
//! moved or that were opened look alike on both sides. All differences are modulo 2^32, so nothing is lost where the
//! expectation is wrong.

use std::io::{self, Read, Write};

use super::DeflateError;

/// What a record begins with.
pub(super) const RECORD: [u8; 4] = *b"PK\x01\x02";
/// What stands behind the directory.
const END: [u8; 4] = *b"PK\x05\x06";
/// Bytes of a record before its name.
const HEAD: usize = 46;
/// Bytes of a local header before its name.
const LOCAL: u64 = 30;
/// A local header has at most so many more bytes behind its name, for a stream to be taken for its entry's.
const EXTRA: u64 = 64;

/// A stream that was opened or closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    /// First byte, in the closed file.
    pub(super) start: u64,
    pub(super) crc: u32,
    /// Bytes compressed, modulo 2^32.
    pub(super) packed: u32,
    /// Bytes held, modulo 2^32.
    pub(super) opened: u32,
}

/// The streams of an archive so far.
#[derive(Default)]
pub(super) struct Members {
    members: Vec<Member>,
}

/// Which way records pass.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Opening,
    Closing,
}

impl Members {
    /// Appends one behind all others.
    pub(super) fn extend(&mut self, member: Option<Member>) {
        self.members.extend(member);
    }

    /// The stream of the entry at `local`, whose name has `name` bytes.
    fn of(&self, local: u64, name: u64) -> Option<&Member> {
        let first = local.checked_add(LOCAL + name)?;
        let member = self.members.get(self.members.partition_point(|member| member.start < first))?;
        (member.start - first <= EXTRA).then_some(member)
    }

    /// Passes a directory of `length` bytes, whose archive begins at `origin` of the closed file; the streams are then forgotten.
    pub(super) fn pass(
        &mut self,
        way: Way,
        (length, origin): (u64, u64),
        source: &mut dyn Read,
        out: &mut dyn Write,
    ) -> Result<(), DeflateError> {
        let mut left = length;
        let mut expected = 0;
        while left > 0 {
            let mut head = [0; HEAD];
            source.read_exact(&mut head)?;
            let rest: u64 = [28, 30, 32].iter().map(|at| u64::from(u16(&head, *at))).sum();
            let Some(after) = left.checked_sub(HEAD as u64 + rest).filter(|_| head.starts_with(&RECORD)) else {
                return Err(DeflateError::Stream("a directory has no such records"));
            };
            left = after;
            self.convert(way, &mut head, &mut expected, origin);
            out.write_all(&head)?;
            if io::copy(&mut Read::take(&mut *source, rest), out)? != rest {
                return Err(DeflateError::Stream("a directory ends early"));
            }
        }
        self.members.clear();
        Ok(())
    }

    /// Turns a record; `expected` is where its entry would begin if only the streams lay between headers.
    fn convert(&self, way: Way, head: &mut [u8; HEAD], expected: &mut u32, origin: u64) {
        let moved = |field: u32, by: u32| match way {
            Way::Opening => field.wrapping_sub(by),
            Way::Closing => field.wrapping_add(by),
        };
        let field = u32(head, 42);
        let local = if way == Way::Closing { moved(field, *expected) } else { field };
        set(head, 42, moved(field, *expected));
        let mut packed = u32(head, 20);
        if let Some(member) =
            self.of(origin.saturating_add(u64::from(local)), u64::from(u16(head, 28))).filter(|_| u16(head, 10) == 8)
        {
            for (at, by) in [(16, member.crc), (20, member.packed), (24, member.opened)] {
                let value = moved(u32(head, at), by);
                set(head, at, value);
            }
            if way == Way::Closing {
                packed = u32(head, 20);
            }
        }
        *expected = local.wrapping_add(packed);
    }
}

/// The length of the directory at the beginning of `file`, and its distance from the archive's beginning; `None` if there is none.
pub(super) fn find(file: &[u8]) -> Option<(usize, u64)> {
    let mut at = 0usize;
    while file.get(at..at.checked_add(4)?)? == RECORD.as_slice() {
        let head = file.get(at..at.checked_add(HEAD)?)?;
        at += HEAD + [28, 30, 32].iter().map(|at| usize::from(u16(head, *at))).sum::<usize>();
    }
    let end = file.get(at..at.checked_add(22)?)?;
    (at > 0 && end.starts_with(&END)).then(|| (at, u64::from(u32(end, 16))))
}

fn u16(bytes: &[u8], at: usize) -> u16 {
    let bytes = bytes.get(at..at + 2).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u16::from_le_bytes)
}

fn u32(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u32::from_le_bytes)
}

fn set(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(bytes) = bytes.get_mut(at..at + 4) {
        bytes.copy_from_slice(&value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &[u8], [crc, packed, opened, local]: [u32; 4]) -> Vec<u8> {
        let mut record = vec![0; HEAD];
        record[..4].copy_from_slice(&RECORD);
        record[10] = 8;
        record[28] = name.len() as u8;
        for (at, value) in [(16, crc), (20, packed), (24, opened), (42, local)] {
            set(&mut record, at, value);
        }
        record.extend_from_slice(name);
        record
    }

    fn members() -> Members {
        let mut members = Members::default();
        members.extend(Some(Member { start: 5 + 33, crc: 7, packed: 100, opened: 900 }));
        members.extend(Some(Member { start: 5 + 133 + 34 + 4, crc: 8, packed: 50, opened: 60 }));
        members
    }

    #[test]
    fn what_is_expected_becomes_nothing() {
        let closed = [record(b"one", [7, 100, 900, 0]), record(b"four", [8, 50, 60, 133])].concat();
        let mut opened = Vec::new();
        members().pass(Way::Opening, (closed.len() as u64, 5), &mut closed.as_slice(), &mut opened).unwrap();
        assert_eq!(opened, [record(b"one", [0; 4]), record(b"four", [0, 0, 0, 33])].concat());
        let mut back = Vec::new();
        members().pass(Way::Closing, (closed.len() as u64, 5), &mut opened.as_slice(), &mut back).unwrap();
        assert_eq!(back, closed);
    }

    #[test]
    fn what_is_not_expected_comes_back() {
        let wild =
            [record(b"one", [1, u32::MAX, 3, u32::MAX]), record(b"x", [9, 9, 9, 140]), record(b"", [0; 4])].concat();
        let mut opened = Vec::new();
        members().pass(Way::Opening, (wild.len() as u64, 5), &mut wild.as_slice(), &mut opened).unwrap();
        let mut back = Vec::new();
        members().pass(Way::Closing, (wild.len() as u64, 5), &mut opened.as_slice(), &mut back).unwrap();
        assert_eq!(back, wild);
        let cut = members().pass(Way::Closing, (wild.len() as u64 - 1, 5), &mut opened.as_slice(), &mut Vec::new());
        assert!(cut.is_err());
    }
}
