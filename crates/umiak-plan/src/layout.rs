//! What umiak's store takes for a blob, a layer, a name: file by file, as the store lays them out.

use crate::contents::{Contents, Directory, LayerFiles};
use crate::cost::Cost;
use crate::engine::GZIP_EXPANSION;
use crate::fs::FileSystem;
use crate::wanted::Layer;

/// A layer's image and skeleton are at most so many times as long as its blob, whatever that was compressed with. Seen was
/// about once for gzip; an archive that was pressed with a window of many megabytes may be twice. This is no law: where it
/// fails, the disk fills up while the layer is made, and what was there stays.
const PRESSED: u64 = 3;
/// Bytes of a layer's record, at most, where it is not known.
const RECORD: u64 = 2 << 10;
/// Bytes of a digest in a document, with quotes and what stands between two.
const NAMED: u64 = 80;
/// Bytes of a document beside digests: its seal, words.
const DOCUMENT: u64 = 1 << 10;
/// Bytes before a document: its digest and length.
const SEAL: u64 = 128;
/// A document is there twice: itself and its copy.
const COPIES: u64 = 2;
/// A blob that is being fetched has a record of [`CHECKPOINT`] bytes for at least so many of its own: many come at once.
const CHECKPOINTED: u64 = 64 << 10;
const CHECKPOINT: u64 = 32;

/// The directory of a layer: its image, its skeleton, its record and a copy of that; of some a mark for a stack, and its copy.
const OF_LAYER: Directory = Directory { entries: 4, name_bytes: 45 };
/// The directory of a blob that is being fetched: its bytes, what is known of it, its checkpoints.
const OF_INGEST: Directory = Directory { entries: 3, name_bytes: 21 };

/// What lies beside a blob of so many bytes while it is fetched.
pub(crate) fn ingest(file_system: &FileSystem, size: u64) -> Cost {
    // A checkpoint is made at the end and when the line is cut, too: as many again.
    let checkpoints = (size / CHECKPOINTED).saturating_add(8).saturating_mul(2 * CHECKPOINT);
    file_system.directories(OF_INGEST, 1) + file_system.file(DOCUMENT) + file_system.file(checkpoints)
}

/// A layer of which the lengths of its files are known.
pub(crate) fn layer(file_system: &FileSystem, files: LayerFiles) -> Cost {
    let record = match files.record {
        0 => Cost { least: 0, ..file_system.files(RECORD, COPIES) },
        bytes => file_system.files(bytes, COPIES),
    };
    file_system.directories(OF_LAYER, 1) + file_system.file(files.image) + file_system.file(files.skeleton) + record
}

/// A layer that is made whole.
pub(crate) fn whole(file_system: &FileSystem, made: &Layer) -> Cost {
    if let Some(files) = made.known_files() {
        return layer(file_system, files);
    }
    let (length, _) = tar(made);
    // Incompressible, and every header twice: in the image's tables and in the skeleton.
    let twice = length.saturating_mul(2);
    let unpressed = twice.saturating_add(twice / 64).saturating_add(64 << 10);
    // What was pressed once is pressed again: no layer is refused for what its blob could be in the worst case.
    let most = unpressed.min(made.size.saturating_mul(PRESSED).saturating_add(1 << 20));
    let files = layer(file_system, LayerFiles { image: most, skeleton: 0, record: 0 });
    Cost { least: 0, ..files }.as_bound()
}

/// Bytes of the uncompressed layer, and whether they are known.
pub(crate) fn tar(layer: &Layer) -> (u64, bool) {
    match &layer.contents {
        Contents::Measured(measured) => (measured.layer.tar_size, true),
        Contents::Expanded(length) => (*length, true),
        // Every inode took a block; a header, a long name and what fills up are three.
        Contents::Usage { usage, block_size, .. } => {
            let inodes = usage.div_ceil(u64::from((*block_size).max(512))).saturating_mul(2).saturating_add(64);
            (usage.saturating_add(inodes.saturating_mul(4 * 512)), false)
        }
        Contents::Unknown => (layer.size.saturating_mul(GZIP_EXPANSION), false),
    }
}

/// A record of so many bytes.
pub(crate) fn record(file_system: &FileSystem, bytes: u64) -> Cost {
    if bytes == 0 {
        return Cost::NOTHING;
    }
    file_system.files(bytes.saturating_add(SEAL), COPIES)
}

/// A name in the store that lists so many digests.
pub(crate) fn name(file_system: &FileSystem, digests: u64) -> Cost {
    let most = digests.saturating_mul(NAMED).saturating_add(DOCUMENT);
    Cost { least: 0, ..file_system.files(most, COPIES) }
}
