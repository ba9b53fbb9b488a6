//! Extended attributes: sets shared by inodes, values that may be stored once and referred to.
//!
//! ```text
//! index    u64 byte where the pairs start | u32 sets | u32 unused | u64 place of each metadata block of sets
//! set      u64 place of its first pair (block << 16 | offset) | u32 pairs | u32 bytes
//! pair     u16 prefix, bit 8: value elsewhere | u16 length | name | u32 length | value or u64 its place
//! ```

use umiak_tree::Xattrs;

use super::Image;
use super::metadata::MetadataReader;
use crate::layout::{Fields, NO_TABLE};
use crate::{Error, ReadAt};

/// Prefixes by number.
pub(crate) const PREFIXES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
/// Bit of a pair's type: the value is stored elsewhere.
pub(crate) const ELSEWHERE: u16 = 0x0100;

/// The table of sets of one image.
pub(super) struct XattrTable {
    pairs: u64,
    sets: Vec<u8>,
}

impl XattrTable {
    pub(super) fn read<R: ReadAt>(image: &Image<R>) -> Result<Self, Error> {
        let at = image.superblock.xattr_table;
        if at == NO_TABLE {
            return Ok(Self { pairs: 0, sets: Vec::new() });
        }
        let mut head = [0; 16];
        image.fetch(&mut head, at)?;
        let mut fields = Fields(&head);
        let (pairs, count) = (fields.u64(), fields.u32());
        Ok(Self { pairs, sets: image.table(at + 16, count as usize, 16)? })
    }

    /// Set number `index`.
    pub(super) fn set<R: ReadAt>(
        &self,
        index: u32,
        metadata: &mut MetadataReader<'_, R>,
        largest: usize,
    ) -> Result<Xattrs, Error> {
        let start = (index as usize).saturating_mul(16);
        let entry = self.sets.get(start..start.saturating_add(16));
        let mut fields = Fields(entry.ok_or(Error::damaged("an extended attribute set does not exist", self.pairs))?);
        let (place, count) = (fields.u64(), fields.u32());
        let (mut block, mut offset) = self.position(place)?;
        let mut set = Xattrs::new();
        for _ in 0..count {
            let mut cursor = metadata.at(block, offset)?;
            let head: [u8; 4] = cursor.array()?;
            let mut fields = Fields(&head);
            let (kind, length) = (fields.u16(), fields.u16());
            let prefix = PREFIXES.get(usize::from(kind & !ELSEWHERE));
            let mut name = prefix.ok_or(Error::damaged("an extended attribute has an unknown prefix", block))?.to_vec();
            name.extend(cursor.bytes(usize::from(length))?);
            let inline = value(&mut cursor, largest)?;
            (block, offset) = cursor.position();
            let value = if kind & ELSEWHERE == 0 {
                inline
            } else {
                let place: [u8; 8] = inline
                    .try_into()
                    .map_err(|_| Error::damaged("an attribute value's place is not 8 bytes", block))?;
                let (block, offset) = self.position(u64::from_le_bytes(place))?;
                value(&mut metadata.at(block, offset)?, largest)?
            };
            if length == 0 || name.contains(&0) {
                return Err(Error::damaged("an extended attribute has no proper name", block));
            }
            if set.insert(name.into(), value.into()).is_some() {
                return Err(Error::damaged("an extended attribute appears twice in one set", block));
            }
        }
        Ok(set)
    }

    fn position(&self, place: u64) -> Result<(u64, usize), Error> {
        let block = self.pairs.checked_add(place >> 16);
        let block = block.ok_or(Error::damaged("an extended attribute lies outside the image", self.pairs))?;
        Ok((block, usize::try_from(place & 0xffff).unwrap_or(usize::MAX)))
    }
}

fn value<R: ReadAt>(cursor: &mut super::metadata::Cursor<'_, '_, R>, largest: usize) -> Result<Vec<u8>, Error> {
    let length = u32::from_le_bytes(cursor.array()?) as usize;
    if length > largest {
        return Err(Error::Limit { what: "bytes in one extended attribute", limit: largest as u64 });
    }
    cursor.bytes(length)
}
