//! Between a file's bytes and the addresses they are loaded at, and how a target's segments are noted in a delta.

use std::io;

use super::elf::{MAX_SEGMENTS, Segment};
use crate::varint;

/// The loaded parts of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressSpace {
    segments: Vec<Segment>,
}

impl AddressSpace {
    /// Of these segments.
    pub fn new(segments: Vec<Segment>) -> Self {
        Self { segments }
    }

    /// Where the byte at `offset` is loaded.
    pub fn address(&self, offset: u64) -> Option<u64> {
        let of = |segment: &&Segment| offset >= segment.offset && offset - segment.offset < segment.file;
        self.segments.iter().find(of).map(|segment| segment.address + (offset - segment.offset))
    }

    /// Which byte is loaded at `address`.
    pub fn offset(&self, address: u64) -> Option<u64> {
        let of = |segment: &&Segment| address >= segment.address && address - segment.address < segment.file;
        self.segments.iter().find(of).map(|segment| segment.offset + (address - segment.address))
    }

    /// If `address` is in memory but in no file's byte: number of the segment and distance from the end of its file bytes.
    pub fn behind(&self, address: u64) -> Option<(usize, u64)> {
        self.segments.iter().enumerate().find_map(|(number, segment)| {
            let end = segment.address + segment.file;
            let inside = address >= end && address - segment.address < segment.memory;
            inside.then(|| (number, address - end))
        })
    }

    /// The address at a distance from the end of a segment's file bytes.
    pub fn beyond(&self, number: usize, distance: u64) -> Option<u64> {
        let segment = self.segments.get(number)?;
        (segment.address + segment.file).checked_add(distance)
    }

    /// The lowest address.
    pub fn lowest(&self) -> u64 {
        self.segments.iter().map(|segment| segment.address).min().unwrap_or(0)
    }

    /// Whether something is loaded at `address`.
    pub fn holds(&self, address: u64) -> bool {
        let of = |segment: &Segment| {
            address >= segment.address && address - segment.address < segment.memory.max(segment.file)
        };
        self.segments.iter().any(of)
    }

    /// Whether instructions are loaded at `address`.
    pub fn is_code(&self, address: u64) -> bool {
        let of =
            |segment: &Segment| segment.code && address >= segment.address && address - segment.address < segment.file;
        self.segments.iter().any(of)
    }

    /// Appends the segments, each as its difference from the base's of the same number.
    pub fn encode(&self, base: &Self, out: &mut Vec<u8>) {
        varint::put(out, self.segments.len() as u64);
        for (number, segment) in self.segments.iter().enumerate() {
            let like = base.segments.get(number).copied().unwrap_or(NOTHING);
            for (value, like) in segment.numbers().into_iter().zip(like.numbers()) {
                varint::put_signed(out, value.wrapping_sub(like).cast_signed());
            }
        }
    }

    /// What [`Self::encode`] wrote, at the beginning of `note`.
    ///
    /// # Errors
    /// It is not that.
    pub fn decode(base: &Self, note: &mut &[u8]) -> io::Result<Self> {
        let count = varint::get(note)?;
        if count > MAX_SEGMENTS as u64 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a program has too many segments"));
        }
        let mut segments = Vec::new();
        for number in 0..count as usize {
            let like = base.segments.get(number).copied().unwrap_or(NOTHING);
            let mut numbers = like.numbers();
            for value in &mut numbers {
                *value = value.wrapping_add(varint::get_signed(note)?.cast_unsigned());
            }
            let segment = Segment::from_numbers(numbers);
            if !segment.is_sound() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a program has a segment without an end"));
            }
            segments.push(segment);
        }
        Ok(Self { segments })
    }
}

const NOTHING: Segment = Segment { offset: 0, address: 0, file: 0, memory: 0, code: false };

impl Segment {
    fn numbers(&self) -> [u64; 5] {
        [self.offset, self.address, self.file, self.memory, u64::from(self.code)]
    }

    fn from_numbers([offset, address, file, memory, code]: [u64; 5]) -> Self {
        Self { offset, address, file, memory, code: code != 0 }
    }
}
