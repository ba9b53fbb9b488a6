//! `.pvr/umiak-stat`: digests of files whose `stat` has not changed, so that `status` need not read them again.
//!
//! ```text
//! magic    "umiak-stat 1\n"            13 bytes
//! count    u32                          all numbers little-endian
//! records  count times: digest [32], size u64, mtime i64, ctime i64 (ns), inode u64, device u64, path length u16,
//!          kind u8 (0 object: digest of the bytes; 1 document: digest of their canonical JSON), path
//! crc32    u32 over all before it
//! ```
//!
//! A file with another magic, a wrong checksum or any inconsistency is ignored: it is only a cache.
//!
//! A file can be changed without its `stat` changing if it happens within one tick of the file system's clock. So only
//! files are recorded whose mtime and ctime are *older* than the start of the run that hashed them, as told by the file
//! system itself (the mtime of a file made at that moment), and that are on the same file system.

use std::cmp::Ordering;

use umiak_pvr::StatePath;
use umiak_spec::Digest;

use crate::hash::Stat;

const MAGIC: &[u8] = b"umiak-stat 1\n";
const FIXED: usize = 32 + 8 * 5 + 2 + 1;

/// How a file was digested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// SHA-256 of its bytes.
    Object,
    /// SHA-256 of the canonical form of the JSON document it holds.
    Document,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Record {
    stat: Stat,
    kind: Kind,
    digest: Digest,
}

/// What is known of files from earlier runs.
#[derive(Debug, Default)]
pub(crate) struct StatCache {
    bytes: Vec<u8>,
    /// Start of each record in `bytes`, in the order of the paths.
    records: Vec<u32>,
}

impl StatCache {
    /// Takes the content of the file; anything wrong with it makes an empty cache.
    pub(crate) fn decode(bytes: Vec<u8>) -> Self {
        Self::index(&bytes).map(|records| Self { bytes, records }).unwrap_or_default()
    }

    fn index(bytes: &[u8]) -> Option<Vec<u32>> {
        let (body, checksum) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
        let mut crc = flate2::Crc::new();
        crc.update(body);
        if crc.sum().to_le_bytes() != checksum {
            return None;
        }
        let count = u32_at(body.strip_prefix(MAGIC)?, 0)?;
        let mut at = MAGIC.len() + 4;
        let mut records = Vec::new();
        let mut previous: Option<&[u8]> = None;
        for _ in 0..count {
            let path = name_at(body, at)?;
            if previous.is_some_and(|previous| previous >= path) {
                return None;
            }
            previous = Some(path);
            records.push(u32::try_from(at).ok()?);
            at += FIXED + path.len();
        }
        (at == body.len()).then_some(records)
    }

    /// Asks for paths in ascending order, without searching.
    pub(crate) fn cursor(&self) -> Cursor<'_> {
        Cursor { cache: self, next: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }
}

/// See [`StatCache::cursor`].
pub(crate) struct Cursor<'a> {
    cache: &'a StatCache,
    next: usize,
}

impl Cursor<'_> {
    /// The digest of `path`, if it was digested as `kind` and its `stat` is still the same. `path` must not be smaller
    /// than the one asked for before; for one that is, nothing is found.
    pub(crate) fn get(&mut self, path: &str, kind: Kind, stat: &Stat) -> Option<Digest> {
        let bytes = &self.cache.bytes;
        loop {
            let at = *self.cache.records.get(self.next)? as usize;
            match name_at(bytes, at)?.cmp(path.as_bytes()) {
                Ordering::Less => self.next += 1,
                Ordering::Greater => return None,
                Ordering::Equal => {
                    let record = record_at(bytes, at)?;
                    return (record.kind == kind && record.stat == *stat).then_some(record.digest);
                }
            }
        }
    }
}

/// The next content of the file.
#[derive(Debug, Default)]
pub(crate) struct NextCache {
    /// In no order, each path once.
    records: Vec<(StatePath, Record)>,
    /// Whether anything is in it that was not in the cache that was read.
    pub(crate) fresh: bool,
}

impl NextCache {
    /// Notes a digest. `started` is the `stat` of a file made on the same file system before hashing began.
    pub(crate) fn put(&mut self, path: &StatePath, kind: Kind, stat: Stat, digest: Digest, started: Option<&Stat>) {
        let Some(started) = started else { return };
        let settled = stat.mtime < started.mtime && stat.ctime < started.mtime && stat.device == started.device;
        if settled {
            self.records.push((path.clone(), Record { stat, kind, digest }));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn encode(mut self) -> Vec<u8> {
        self.records.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let mut bytes = MAGIC.to_vec();
        bytes.extend(u32::try_from(self.records.len()).unwrap_or(0).to_le_bytes());
        for (path, record) in &self.records {
            bytes.extend(record.digest.as_bytes());
            for number in [record.stat.size, record.stat.inode, record.stat.device] {
                bytes.extend(number.to_le_bytes());
            }
            for time in [record.stat.mtime, record.stat.ctime] {
                bytes.extend(time.to_le_bytes());
            }
            bytes.extend(u16::try_from(path.as_str().len()).unwrap_or(0).to_le_bytes()); // at most 4096
            bytes.push(match record.kind {
                Kind::Object => 0,
                Kind::Document => 1,
            });
            bytes.extend(path.as_str().as_bytes());
        }
        let mut crc = flate2::Crc::new();
        crc.update(&bytes);
        bytes.extend(crc.sum().to_le_bytes());
        bytes
    }
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

fn name_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let length = array_at(bytes, at + FIXED - 3).map(u16::from_le_bytes)?;
    bytes.get(at + FIXED..at + FIXED + usize::from(length))
}

fn record_at(bytes: &[u8], at: usize) -> Option<Record> {
    let number = |index: usize| array_at::<8>(bytes, at + 32 + 8 * index);
    let stat = Stat {
        size: u64::from_le_bytes(number(0)?),
        inode: u64::from_le_bytes(number(1)?),
        device: u64::from_le_bytes(number(2)?),
        mtime: i64::from_le_bytes(number(3)?),
        ctime: i64::from_le_bytes(number(4)?),
    };
    let kind = match bytes.get(at + FIXED - 1)? {
        0 => Kind::Object,
        1 => Kind::Document,
        _ => return None,
    };
    Some(Record { stat, kind, digest: Digest::from_bytes(array_at(bytes, at)?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(mtime: i64) -> Stat {
        Stat { size: 7, mtime, ctime: mtime, inode: 3, device: 9 }
    }

    fn name(path: &str) -> StatePath {
        StatePath::new(path).unwrap()
    }

    fn sample() -> NextCache {
        let mut next = NextCache::default();
        for path in ["web/root.squashfs", "a", "web/run.json", "é"] {
            next.put(&name(path), Kind::Object, stat(10), Digest::of(path.as_bytes()), Some(&stat(11)));
        }
        next
    }

    #[test]
    fn what_is_put_is_got_back_and_only_for_the_same_stat_and_kind() {
        let cache = StatCache::decode(sample().encode());
        assert_eq!(cache.len(), 4);
        assert_eq!(cache.cursor().get("a", Kind::Object, &stat(10)), Some(Digest::of(b"a")));
        assert_eq!(cache.cursor().get("é", Kind::Object, &stat(10)), Some(Digest::of("é".as_bytes())));
        assert_eq!(cache.cursor().get("a", Kind::Document, &stat(10)), None);
        assert_eq!(cache.cursor().get("b", Kind::Object, &stat(10)), None);
        for other in [
            Stat { size: 8, ..stat(10) },
            Stat { mtime: 9, ..stat(10) },
            Stat { ctime: 9, ..stat(10) },
            Stat { inode: 1, ..stat(10) },
            Stat { device: 1, ..stat(10) },
        ] {
            assert_eq!(cache.cursor().get("a", Kind::Object, &other), None);
        }
    }

    #[test]
    fn files_that_are_not_older_than_the_run_are_not_recorded() {
        let mut next = NextCache::default();
        let digest = Digest::of(b"");
        next.put(&name("same tick"), Kind::Object, stat(11), digest, Some(&stat(11)));
        next.put(&name("mtime set back"), Kind::Object, Stat { mtime: 1, ..stat(11) }, digest, Some(&stat(11)));
        next.put(&name("elsewhere"), Kind::Object, Stat { device: 1, ..stat(10) }, digest, Some(&stat(11)));
        next.put(&name("no clock"), Kind::Object, stat(10), digest, None);
        assert_eq!(next.len(), 0);
    }

    #[test]
    fn a_damaged_cache_is_an_empty_one() {
        let good = sample().encode();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            assert_eq!(StatCache::decode(bad).len(), 0, "byte {at}");
            assert_eq!(StatCache::decode(good[..at].to_vec()).len(), 0, "cut at {at}");
        }
        // Right checksum, wrong content.
        let mut bytes = MAGIC.to_vec();
        bytes.extend(u32::MAX.to_le_bytes());
        bytes.extend([0xff; 100]);
        let mut crc = flate2::Crc::new();
        crc.update(&bytes);
        bytes.extend(crc.sum().to_le_bytes());
        assert_eq!(StatCache::decode(bytes).len(), 0);
    }
}
