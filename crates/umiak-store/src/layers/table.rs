//! The table of a skeleton: where the contents of a tar are, and what they are.
//!
//! ```text
//! "umiakLTB" 01           magic, version
//! number                  bytes of the tar
//! number                  bytes of the skeleton
//! number                  contents; for each
//!     number                  its size
//!     number                  bytes of skeleton before it * 2, + 1 when no padding follows
//!     number                  where: 0 in the skeleton's own file, else 1 image, 2 base, + 3 * zigzag(inode - the one after the last)
//! number                  files of the layer that are no content of the tar as they are; for each
//!     number                  entries since the one before
//!     32 bytes                SHA-256 of the file
//! 32 bytes each           SHA-256 of the contents
//! 32 bytes                SHA-256 of all before
//! ```
//!
//! Numbers are unsigned LEB128. Any bytes give a table or an error; what is allocated is bounded by the bytes there are.

use std::collections::BTreeMap;

use umiak_layer::{Skeleton, SkeletonContent};
use umiak_spec::Digest;

const MAGIC: [u8; 9] = *b"umiakLTB\x01";

/// Where a content lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the skeleton's file, behind those of the contents before.
    Own,
    /// The file with this number in the layer's image.
    Image(u32),
    /// The file with this number in the image of the patch's base.
    Base(u32),
}

/// The contents of a layer's tar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    /// Names are empty.
    pub(crate) skeleton: Skeleton,
    /// For each content.
    pub(crate) places: Vec<Place>,
    /// Digests of files that are no content of the tar, by entry.
    pub(crate) others: BTreeMap<u32, Digest>,
}

impl Table {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        number(&mut out, self.skeleton.archive);
        number(&mut out, self.skeleton.size);
        number(&mut out, self.skeleton.contents.len() as u64);
        let mut next = [0_i64; 2];
        for (content, place) in self.skeleton.contents.iter().zip(&self.places) {
            number(&mut out, content.size);
            number(&mut out, content.spacing());
            let (kind, inode) = match place {
                Place::Own => {
                    number(&mut out, 0);
                    continue;
                }
                Place::Image(inode) => (0, *inode),
                Place::Base(inode) => (1, *inode),
            };
            let away = i64::from(inode) - next[kind];
            next[kind] = i64::from(inode) + 1;
            let zigzag = (away << 1) ^ (away >> 63);
            number(&mut out, 1 + kind as u64 + 3 * zigzag.cast_unsigned());
        }
        number(&mut out, self.others.len() as u64);
        let mut after = 0;
        for (entry, digest) in &self.others {
            number(&mut out, u64::from(entry - after));
            after = entry + 1;
            out.extend_from_slice(digest.as_bytes());
        }
        for content in &self.skeleton.contents {
            out.extend_from_slice(content.digest.as_bytes());
        }
        let seal = Digest::of(&out);
        out.extend_from_slice(seal.as_bytes());
        out
    }

    /// The table in `bytes` of the layer `diff_id`.
    ///
    /// # Errors
    /// What is wrong, in one clause.
    pub(crate) fn from_bytes(bytes: &[u8], diff_id: Digest) -> Result<Self, &'static str> {
        let (body, seal) = bytes.split_last_chunk::<32>().ok_or("its table is cut short")?;
        if Digest::of(body).as_bytes() != seal {
            return Err("its table has another digest");
        }
        let mut input = Input(body.strip_prefix(&MAGIC).ok_or("its table is not of this version")?);
        let (archive, size) = (input.number()?, input.number()?);
        let mut rows = input.rows(archive)?;
        let count = input.count(33)?;
        let mut others = BTreeMap::new();
        let mut after = 0;
        for _ in 0..count {
            let entry = input.number()?.checked_add(after).and_then(|entry| u32::try_from(entry).ok()).ok_or(WRONG)?;
            others.insert(entry, input.digest()?);
            after = u64::from(entry) + 1;
        }
        for (content, _) in &mut rows {
            content.digest = input.digest()?;
        }
        let (contents, places): (Vec<_>, _) = rows.into_iter().unzip();
        let before: u64 = contents.iter().map(|content: &SkeletonContent| content.skeleton_before).sum();
        if !input.0.is_empty() || before > size {
            return Err(WRONG);
        }
        Ok(Self { skeleton: Skeleton { size, archive, diff_id, contents }, places, others })
    }
}

const WRONG: &str = "its table contradicts itself";

fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn number(&mut self) -> Result<u64, &'static str> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(WRONG)?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(WRONG);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WRONG)
    }

    /// A number of things of which each takes at least `least` bytes.
    fn count(&mut self, least: usize) -> Result<usize, &'static str> {
        let count = usize::try_from(self.number()?).map_err(|_| WRONG)?;
        if count > self.0.len() / least { Err(WRONG) } else { Ok(count) }
    }

    fn digest(&mut self) -> Result<Digest, &'static str> {
        let (digest, rest) = self.0.split_first_chunk().ok_or(WRONG)?;
        self.0 = rest;
        Ok(Digest::from_bytes(*digest))
    }

    /// The contents, without digests.
    fn rows(&mut self, archive: u64) -> Result<Vec<(SkeletonContent, Place)>, &'static str> {
        // Three numbers and a digest.
        let count = self.count(35)?;
        let mut rows: Vec<(SkeletonContent, Place)> = Vec::with_capacity(count);
        let (mut offset, mut next) = (0_u64, [0_i64; 2]);
        for _ in 0..count {
            let (size, spacing, place) = (self.number()?, self.number()?, self.number()?);
            offset = offset.checked_add(spacing / 2).ok_or(WRONG)?;
            let place = match place.checked_sub(1) {
                None => Place::Own,
                Some(place) => {
                    let kind = usize::from(place % 3 == 1);
                    let zigzag = place / 3;
                    let away = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
                    let inode = next[kind].checked_add(away).and_then(|inode| u32::try_from(inode).ok());
                    let inode = inode.filter(|_| place % 3 < 2).ok_or(WRONG)?;
                    next[kind] = i64::from(inode) + 1;
                    if kind == 0 { Place::Image(inode) } else { Place::Base(inode) }
                }
            };
            let digest = Digest::from_bytes([0; 32]);
            let (skeleton_before, padded) = (spacing / 2, spacing % 2 == 0);
            let content = SkeletonContent { name: Vec::new(), offset, size, digest, skeleton_before, padded };
            if size == 0 || offset.checked_add(size).is_none_or(|end| end > archive) {
                return Err(WRONG);
            }
            offset = content.end();
            rows.push((content, place));
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut offset = 0;
        let rows = [
            (700, 512, true, Place::Image(1)),
            (5, 1024, true, Place::Image(2)),
            (9, 512, false, Place::Own),
            (1, 3, true, Place::Base(70_000)),
            (1 << 20, 512, true, Place::Image(0)),
        ];
        let contents = rows.iter().map(|(size, before, padded, _)| {
            let digest = Digest::of(&[u8::try_from(size % 251).unwrap()]);
            let content = SkeletonContent {
                name: Vec::new(),
                offset: offset + before,
                size: *size,
                digest,
                skeleton_before: *before,
                padded: *padded,
            };
            offset = content.end();
            content
        });
        let contents: Vec<_> = contents.collect();
        let diff_id = Digest::of(b"a layer");
        Table {
            skeleton: Skeleton { size: 5000, archive: offset + 1024, diff_id, contents },
            places: rows.iter().map(|row| row.3).collect(),
            others: [(3, Digest::of(b"3")), (4, Digest::of(b"4")), (1000, Digest::of(b"1000"))].into(),
        }
    }

    #[test]
    fn a_table_comes_again() {
        let table = sample();
        assert_eq!(Table::from_bytes(&table.to_bytes(), table.skeleton.diff_id), Ok(table));
    }

    #[test]
    fn any_bytes_give_a_table_or_an_error() {
        let bytes = sample().to_bytes();
        let (body, _) = bytes.split_last_chunk::<32>().unwrap();
        let sealed = |body: &[u8]| [body, Digest::of(body).as_bytes()].concat();
        let diff_id = Digest::of(b"a layer");
        for at in 0..body.len() {
            assert!(Table::from_bytes(&bytes[..at], diff_id).is_err());
            assert!(Table::from_bytes(&sealed(&body[..at]), diff_id).is_err(), "cut at {at}");
            for value in [0, 0x7f, 0x80, 0xff, body[at] ^ 1] {
                let mut bad = body.to_vec();
                bad[at] = value;
                if let Ok(table) = Table::from_bytes(&sealed(&bad), diff_id) {
                    // Whatever is accepted is a table that can be written again.
                    assert_eq!(Table::from_bytes(&table.to_bytes(), diff_id), Ok(table));
                }
            }
        }
    }
}
