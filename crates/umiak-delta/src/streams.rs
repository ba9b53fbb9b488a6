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

/// What a stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Instructions: where each content comes from. Only in [`Lane::Skeleton`].
    Plan = 0,
    /// Copies, and what they get wrong: arithmetically coded, see docs/formats/delta-model.md.
    Model = 1,
    /// Bytes that nothing predicts.
    Bytes = 2,
    /// What the methods need to know, in their own forms.
    Notes = 3,
}

impl Kind {
    /// All kinds, by number.
    pub const ALL: [Self; 4] = [Self::Plan, Self::Model, Self::Bytes, Self::Notes];

    /// A word for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Model => "copies and corrections",
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

    /// Lane times 4 plus kind.
    #[must_use]
    pub fn number(self) -> u64 {
        self.lane as u64 * 4 + self.kind as u64
    }

    /// The stream with a number.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        let kind = *Kind::ALL.get(usize::try_from(number % 4).ok()?)?;
        Some(Self { lane: Lane::from_number(number / 4)?, kind })
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
        for number in 0..16 {
            assert_eq!(StreamId::from_number(number).unwrap().number(), number);
        }
        assert_eq!(StreamId::from_number(16), None);
    }
}
