//! Extended attribute sets: each distinct set is written once, each longer value once.

use std::collections::HashMap;

use umiak_tree::Xattrs;

use super::metadata::MetadataWriter;
use crate::Error;
use crate::compressor::Settings;
use crate::layout::NO_TABLE;
use crate::reader::{ELSEWHERE, PREFIXES};

/// A reference takes eight bytes: shorter values are written again.
const REFERENCE_BYTES: usize = 8;

pub(super) struct XattrWriter {
    settings: Settings,
    pairs: MetadataWriter,
    sets: HashMap<Xattrs, u32>,
    /// Place, pairs, bytes of each set.
    entries: Vec<(u64, u32, u32)>,
    values: HashMap<Box<[u8]>, u64>,
}

/// The prefix number and the rest of an attribute's name; `None` for a name that squashfs cannot hold.
pub(super) fn split_name(name: &[u8]) -> Option<(u16, &[u8])> {
    let rests = (0..).zip(PREFIXES).filter_map(|(number, prefix)| Some((number, name.strip_prefix(prefix)?)));
    rests.filter(|(_, rest)| !rest.is_empty() && rest.len() <= usize::from(u8::MAX)).last()
}

impl XattrWriter {
    pub(super) fn new(settings: Settings) -> Result<Self, Error> {
        let pairs = MetadataWriter::new(settings)?;
        Ok(Self { settings, pairs, sets: HashMap::new(), entries: Vec::new(), values: HashMap::new() })
    }

    /// The number of a set; `None` for the empty one. Names were checked by [`super::check()`].
    pub(super) fn number(&mut self, set: &Xattrs) -> Result<Option<u32>, Error> {
        if set.is_empty() {
            return Ok(None);
        }
        if let Some(number) = self.sets.get(set) {
            return Ok(Some(*number));
        }
        let limit = Error::TooMany { what: "sets of extended attributes", limit: u64::from(u32::MAX) };
        let number = u32::try_from(self.entries.len()).map_err(|_| limit)?;
        let start = self.pairs.place()?.word();
        let (mut count, mut bytes) = (0, 0);
        for (name, value) in set {
            bytes += self.pair(name, value)?;
            count += 1;
        }
        self.entries.push((start, count, u32::try_from(bytes).unwrap_or(u32::MAX)));
        self.sets.insert(set.clone(), number);
        Ok(Some(number))
    }

    fn pair(&mut self, name: &[u8], value: &[u8]) -> Result<usize, Error> {
        let Some((prefix, rest)) = split_name(name) else { return Err(Error::Broken) };
        let known = self.values.get(value).copied();
        let kind = if known.is_some() { prefix | ELSEWHERE } else { prefix };
        let length = u16::try_from(rest.len()).map_err(|_| Error::Broken)?;
        self.pairs.write(&kind.to_le_bytes())?;
        self.pairs.write(&length.to_le_bytes())?;
        self.pairs.write(rest)?;
        let place = self.pairs.place()?.word();
        let reference = known.map(u64::to_le_bytes);
        let stored = reference.as_ref().map_or(value, |reference| reference.as_slice());
        self.pairs.write(&u32::try_from(stored.len()).map_err(|_| Error::Broken)?.to_le_bytes())?;
        self.pairs.write(stored)?;
        if known.is_none() && value.len() > REFERENCE_BYTES {
            self.values.insert(value.into(), place);
        }
        Ok(8 + rest.len() + stored.len())
    }

    /// The table for byte `at` of the image, and the byte that the superblock names.
    pub(super) fn finish(self, at: u64) -> Result<(Vec<u8>, u64), Error> {
        if self.entries.is_empty() {
            return Ok((Vec::new(), NO_TABLE));
        }
        let mut table = self.pairs.finish()?;
        let mut sets = MetadataWriter::new(self.settings)?;
        for (place, count, bytes) in &self.entries {
            sets.write(&place.to_le_bytes())?;
            sets.write(&count.to_le_bytes())?;
            sets.write(&bytes.to_le_bytes())?;
        }
        let count = u32::try_from(self.entries.len()).map_err(|_| Error::Broken)?;
        let head = [&at.to_le_bytes()[..], &count.to_le_bytes(), &[0; 4]].concat();
        let (sets, index) = sets.finish_table(at + table.len() as u64, &head)?;
        table.extend_from_slice(&sets);
        Ok((table, index))
    }
}
