//! Directory listings: runs of names that share one inode block, and an index for listings of several blocks.

use umiak_tree::Name;

use super::metadata::{MetadataWriter, Place};
use crate::Error;
use crate::layout::{HEADER_ENTRIES, METADATA_BYTES};

/// A name of a directory.
pub(super) struct Entry<'a> {
    pub(super) name: &'a [u8],
    pub(super) place: u64,
    pub(super) number: u32,
    pub(super) kind: u16,
}

/// Where a listing lies.
#[derive(Debug, Clone, Default)]
pub(super) struct Listing {
    pub(super) place: Place,
    /// Plain bytes.
    pub(super) length: u32,
    pub(super) index: Vec<IndexEntry>,
}

/// A run that starts in a later metadata block than the one before it.
#[derive(Debug, Clone)]
pub(super) struct IndexEntry {
    /// Plain byte in the listing.
    pub(super) position: u32,
    /// Metadata block of the directory table.
    pub(super) block: u32,
    /// First name of the run.
    pub(super) name: Name,
}

/// Writes a listing; `entries` are sorted by bytes.
pub(super) fn write(table: &mut MetadataWriter, entries: &[Entry<'_>]) -> Result<Listing, Error> {
    let place = table.place()?;
    let mut listing = Listing { place, length: 0, index: Vec::new() };
    let mut indexed = place.block;
    let mut rest = entries;
    while !rest.is_empty() {
        let start = table.place()?;
        let run = run(rest, usize::from(start.offset));
        let (head, tail) = rest.split_at(run);
        if start.block != indexed && listing.index.len() < usize::from(u16::MAX) {
            indexed = start.block;
            listing.index.push(IndexEntry { position: listing.length, block: start.block, name: head[0].name.into() });
        }
        let bytes = run_bytes(head);
        let limit = Error::TooMany { what: "bytes of names in one directory", limit: u64::from(u32::MAX) };
        let length = u32::try_from(bytes.len()).ok().and_then(|length| listing.length.checked_add(length));
        listing.length = length.filter(|length| *length < u32::MAX - 3).ok_or(limit)?;
        table.write(&bytes)?;
        rest = tail;
    }
    Ok(listing)
}

/// How many entries the next run takes: at most 256, of one inode block, numbers near the first, and none that starts
/// in the next metadata block, so that the index can name a run there.
fn run(entries: &[Entry<'_>], offset: usize) -> usize {
    let first = &entries[0];
    let mut end = offset + 12;
    let mut count = 0;
    for entry in entries.iter().take(HEADER_ENTRIES) {
        let near = i16::try_from(i64::from(entry.number) - i64::from(first.number)).is_ok();
        if count > 0 && (entry.place >> 16 != first.place >> 16 || !near || end >= METADATA_BYTES) {
            break;
        }
        end += 8 + entry.name.len();
        count += 1;
    }
    count
}

fn run_bytes(run: &[Entry<'_>]) -> Vec<u8> {
    let first = &run[0];
    let mut bytes = Vec::new();
    let count = u32::try_from(run.len() - 1).expect("a run has at most 256 entries");
    let block = u32::try_from(first.place >> 16).expect("inode blocks are counted in 32 bits");
    for word in [count, block, first.number] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    for entry in run {
        let offset = u16::try_from(entry.place & 0xffff).expect("masked to 16 bits");
        let delta = i64::from(entry.number) - i64::from(first.number);
        let delta = i16::try_from(delta).expect("a run holds near numbers only");
        let length = u16::try_from(entry.name.len() - 1).expect("names are at most 256 bytes");
        bytes.extend_from_slice(&offset.to_le_bytes());
        bytes.extend_from_slice(&delta.to_le_bytes());
        bytes.extend_from_slice(&entry.kind.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(entry.name);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compressor::{Compressor, Settings};

    fn table() -> MetadataWriter {
        MetadataWriter::new(Settings::new(Compressor::Lz4, None, 131_072).unwrap()).unwrap()
    }

    fn entry(name: &[u8], block: u64, number: u32) -> Entry<'_> {
        Entry { name, place: block << 16 | 7, number, kind: 2 }
    }

    #[test]
    fn a_run_has_the_known_bytes() {
        let bytes = run_bytes(&[entry(b"a", 3, 10), entry(b"bc", 3, 9)]);
        let expected = [
            &[1, 0, 0, 0, 3, 0, 0, 0, 10, 0, 0, 0][..],
            &[7, 0, 0, 0, 2, 0, 0, 0, b'a'],
            &[7, 0, 0xff, 0xff, 2, 0, 1, 0, b'b', b'c'],
        ];
        assert_eq!(bytes, expected.concat());
    }

    #[test]
    fn runs_end_where_the_header_does_not_fit_any_more() {
        let names: Vec<Vec<u8>> = (0..1000_u32).map(|number| format!("{number:04}").into_bytes()).collect();
        let same = |number: u32| entry(&names[number as usize], 0, number);
        let all: Vec<Entry<'_>> = (0..1000).map(same).collect();
        assert_eq!(run(&all, 0), 256);
        let other_block = [entry(b"a", 0, 1), entry(b"b", 1, 2)];
        assert_eq!(run(&other_block, 0), 1);
        let far = [entry(b"a", 0, 1), entry(b"b", 0, 32_769)];
        assert_eq!(run(&far, 0), 1);
        let near = [entry(b"a", 0, 1), entry(b"b", 0, 32_768)];
        assert_eq!(run(&near, 0), 2);
    }

    #[test]
    fn the_index_names_the_first_run_in_each_later_block() {
        let names: Vec<Vec<u8>> = (0..2000_u32).map(|number| format!("name{number:05}").into_bytes()).collect();
        let entries: Vec<Entry<'_>> = (0..).zip(&names).map(|(number, name)| entry(name, 0, number)).collect();
        let listing = write(&mut table(), &entries).unwrap();
        assert_eq!(listing.index.len(), listing.length as usize / METADATA_BYTES);
        for pair in listing.index.windows(2) {
            assert!(pair[0].block < pair[1].block && pair[0].name < pair[1].name);
            let step = (pair[1].position - pair[0].position) as usize;
            assert!(step.abs_diff(METADATA_BYTES) < 2 * 20, "{step}");
        }
    }
}
