//! What lies below a directory, counted as a file system with blocks counts it.

use std::path::Path;

pub const BLOCK: u64 = 4096;

/// What a directory takes in whole blocks: files and directories; and the store's reserve.
pub fn taken(path: &Path) -> (u64, u64) {
    let Ok(entries) = std::fs::read_dir(path) else { return (0, 0) };
    let (mut bytes, mut reserve) = (BLOCK, 0);
    for entry in entries.flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        let blocks = metadata.len().next_multiple_of(BLOCK);
        if metadata.is_dir() {
            let (below, _) = taken(&entry.path());
            bytes += below;
        } else if entry.file_name() == "reserve" {
            reserve = blocks;
        } else {
            bytes += blocks;
        }
    }
    (bytes, reserve)
}
