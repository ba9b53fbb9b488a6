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
