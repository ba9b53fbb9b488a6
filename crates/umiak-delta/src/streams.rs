//! The streams of a delta: what kinds there are, and writing into them.
//!
//! Values of one kind lie together, over all files of one lane (files of a like nature), because like values compress best beside each
//! other. A maker collects them in memory; an applier reads each from its beginning to its end.

use std::collections::BTreeMap;

/// Files of a like nature share streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Lane {
    /// Headers of archives, listings.
    Skeleton = 0,
    /// Text.
    Text = 1,
    /// Anything else.
    Binary = 2,
    /// ELF files.
    Program = 3,
}

impl Lane {
    /// All lanes, by number.
    pub const ALL: [Self; 4] = [Self::Skeleton, Self::Text, Self::Binary, Self::Program];

    /// The lane with a number.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// A word for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Skeleton => "skeleton",
            Self::Text => "text",
            Self::Binary => "binary",
            Self::Program => "programs",
        }
    }
}

/// What the values of a stream mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Instructions: where each content comes from. Only in [`Lane::Skeleton`].
    Plan = 0,
    /// Lengths of literals before copies, varints.
    Literals = 1,
    /// Lengths of copies, varints.
    Copies = 2,
    /// Where copies begin in the base, signed varints from the end of the copy before.
    Seeks = 3,
    /// Predicted bytes that are right before each that is wrong, varints.
    Gaps = 4,
    /// What is added to each wrong byte.
    Mismatches = 5,
    /// Bytes that nothing predicts.
    Bytes = 6,
    /// What the methods need to know, in their own forms.
    Notes = 7,
}

impl Kind {
    /// All kinds, by number.
    pub const ALL: [Self; 8] = [
        Self::Plan,
        Self::Literals,
        Self::Copies,
        Self::Seeks,
        Self::Gaps,
        Self::Mismatches,
        Self::Bytes,
        Self::Notes,
    ];

    /// A word for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Literals => "literal lengths",
            Self::Copies => "copy lengths",
            Self::Seeks => "seeks",
            Self::Gaps => "gaps",
            Self::Mismatches => "mismatches",
            Self::Bytes => "literals",
            Self::Notes => "notes",
        }
    }
}

/// One stream: a lane and a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Whose values.
    pub lane: Lane,
    /// Which values.
    pub kind: Kind,
}

impl StreamId {
    /// The instructions of a delta.
    pub const PLAN: Self = Self { lane: Lane::Skeleton, kind: Kind::Plan };

    /// Lane times 8 plus kind.
    #[must_use]
    pub fn number(self) -> u64 {
        self.lane as u64 * 8 + self.kind as u64
    }

    /// The stream with a number.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        let kind = *Kind::ALL.get(usize::try_from(number % 8).ok()?)?;
        Some(Self { lane: Lane::from_number(number / 8)?, kind })
    }
}

/// Streams that are being made.
#[derive(Debug, Default)]
pub struct Streams {
    streams: BTreeMap<StreamId, Vec<u8>>,
}

impl Streams {
    /// The bytes of a stream so far, to be appended to.
    pub fn get(&mut self, lane: Lane, kind: Kind) -> &mut Vec<u8> {
        self.streams.entry(StreamId { lane, kind }).or_default()
    }

    /// All streams that hold anything, by number.
    pub fn finish(self) -> Vec<(StreamId, Vec<u8>)> {
        self.streams.into_iter().filter(|(_, bytes)| !bytes.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_name_streams() {
        for number in 0..32 {
            assert_eq!(StreamId::from_number(number).unwrap().number(), number);
        }
        assert_eq!(StreamId::from_number(32), None);
    }
}
