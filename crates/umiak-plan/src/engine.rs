//! What engines keep of a layer, an image and a container, file by file.
//!
//! For Docker's classic store with overlay2, as its daemon (20.10) was seen to do it:
//!
//! - `docker load` unpacks the whole archive to a directory below `tmp`, registers the missing layers one after the
//!   other, writes the configuration and `repositories.json`, and then removes the directory. Nothing else is copied.
//! - A layer is a directory in `overlay2` with `diff`, `link` and, above another layer, `lower` and `work`; a symbolic
//!   link in `overlay2/l`; a directory in `layerdb` with `cache-id`, `diff`, `size`, `tar-split.json.gz` and, above
//!   another, `parent`. A mark `committed` comes when something is put on top.
//! - An image is one file in `imagedb`.
//! - A container is two more layers without `diff`s worth counting, its directory of settings, and three small files.

use crate::contents::{Contents, Directory};
use crate::cost::Cost;
use crate::fs::{FileSystem, Kind};
use crate::wanted::{Image, Layer};

/// Length of a digest's hex digits: the names in Docker's directories.
pub(crate) const HEX: u64 = 64;
/// Length of the names in `overlay2/l`.
pub(crate) const LINK: u64 = 26;
/// An entry of a tar cannot be shorter.
const TAR_BLOCK: u64 = 512;
/// What gzip can make of one byte, at most.
pub(crate) const GZIP_EXPANSION: u64 = 1032;
/// Bytes of compressed tar-split for each entry, where it is not known: 30 to 100 were seen.
const TAR_SPLIT_ENTRY: u64 = 160;

const EMPTY: Directory = Directory { entries: 0, name_bytes: 0 };

/// A layer that is `below` layers above the ground, in Docker's classic store.
pub(crate) fn docker_layer(file_system: &FileSystem, layer: &Layer, below: u64) -> Cost {
    let above = u64::from(below > 0);
    let small = file_system.files(64, 2) + file_system.file(20) + file_system.file(71).times(above);
    let layerdb = file_system.directories(Directory { entries: 5, name_bytes: 60 }, 1) + small;
    let link = file_system.links(72, 1);
    layerdb + link + unpacked(file_system, layer, below) + tar_split(file_system, layer)
}

/// `overlay2/ID` of a layer.
fn unpacked(file_system: &FileSystem, layer: &Layer, below: u64) -> Cost {
    let above = u64::from(below > 0);
    let own = file_system.directories(Directory { entries: 5, name_bytes: 30 }, 1)
        + file_system.directories(EMPTY, above)
        + file_system.file(LINK)
        + file_system.file(below.saturating_mul(29)).times(above)
        + file_system.file(0);
    match &layer.contents {
        Contents::Measured(measured) => own + file_system.tree(&measured.layer),
        Contents::Usage { usage, block_size, .. } if same_kind(file_system, *block_size) => {
            // Docker's own files beside `diff` and the tar-split are in the figure; those of a layer above others
            // are not when it was measured as the lowest of its image.
            let lowest =
                file_system.directories(EMPTY, above) + file_system.file(below.saturating_mul(29)).times(above);
            let figure = Cost::exactly(file_system.rounded(*usage), own.inodes);
            let inodes = usage_inodes(*usage, *block_size);
            Cost { most: figure.most.saturating_add(lowest.most), inodes, inodes_bound: true, ..figure }
        }
        Contents::Usage { usage, block_size, size } => usage_elsewhere(file_system, *usage, *block_size, *size) + own,
        Contents::Expanded(length) => own + tree_of_tar(file_system, *length),
        Contents::Unknown => own + tree_of_tar(file_system, layer.size.saturating_mul(GZIP_EXPANSION)),
    }
}

/// `usage` is measured on ext4: there, with the same blocks, it is the figure.
fn same_kind(file_system: &FileSystem, block_size: u32) -> bool {
    file_system.kind == Kind::Ext4 && file_system.block_size == block_size
}

/// Inodes of a layer of which only `usage` is known. Those without blocks (links, empty files, devices) are not seen in
/// it: it is assumed that they are no more than there are blocks.
fn usage_inodes(usage: u64, block_size: u32) -> u64 {
    usage.div_ceil(u64::from(block_size.max(512))).saturating_mul(2).saturating_add(64)
}

/// What a layer takes of which only another file system's `usage` is known.
fn usage_elsewhere(file_system: &FileSystem, usage: u64, block_size: u32, size: u64) -> Cost {
    let inodes = usage_inodes(usage, block_size);
    let most = if file_system.kind == Kind::Ext4 && file_system.block_size < block_size {
        // Files take no more; directories do when their names no longer fit one block: up to thrice.
        usage.saturating_add(usage.saturating_sub(size).saturating_mul(2))
    } else {
        // Every inode may take a block here that it did not take there, and itself.
        let each = file_system.directories(EMPTY, 1).most.max(file_system.file(1).most);
        size.saturating_add(inodes.saturating_mul(each)).max(usage)
    };
    Cost::at_most(file_system.rounded(most), inodes).as_bound()
}

/// The most that a tar of this length unpacks to: all directories, each with an entry of its own.
pub(crate) fn tree_of_tar(file_system: &FileSystem, length: u64) -> Cost {
    let entries = length.div_ceil(TAR_BLOCK);
    let each = file_system.directories(EMPTY, 1).most.max(u64::from(file_system.block_size));
    Cost::at_most(entries.saturating_mul(each).max(length), entries).as_bound()
}

/// `tar-split.json.gz`.
fn tar_split(file_system: &FileSystem, layer: &Layer) -> Cost {
    let of_entries = |entries: u64| file_system.file(entries.saturating_mul(TAR_SPLIT_ENTRY).saturating_add(256));
    match &layer.contents {
        Contents::Measured(measured) => file_system.file(measured.layer.tar_split),
        Contents::Usage { .. } => Cost::at_most(0, 1),
        Contents::Expanded(length) => of_entries(length.div_ceil(TAR_BLOCK)).as_bound(),
        Contents::Unknown => of_entries(layer.size.saturating_mul(GZIP_EXPANSION).div_ceil(TAR_BLOCK)).as_bound(),
    }
}

/// What Docker keeps of an image beside its layers.
pub(crate) fn docker_image(file_system: &FileSystem, image: &Image) -> Cost {
    file_system.file(image.config.size)
}

/// A container of an image with so many layers: what is made when it is created and started, without what it writes.
pub(crate) fn docker_container(file_system: &FileSystem, layers: u64) -> Cost {
    let few = Directory { entries: 6, name_bytes: 60 };
    // containers/ID, overlay2/ID, overlay2/ID-init; of containers/ID checkpoints; layerdb/mounts/ID; of both others diff,
    // work, work/work; of the first diff: etc, dev, dev/shm, dev/pts, proc, sys.
    let directories = file_system.directories(few, 3) + file_system.directories(EMPTY, 1 + 1 + 6 + 6);
    let lower = layers.saturating_add(1).saturating_mul(29);
    let names = file_system.files(72, 3) + file_system.files(LINK, 2) + file_system.files(lower, 2);
    let links = file_system.links(80, 2) + file_system.links(12, 1);
    let always = directories + names + links + file_system.files(0, 6);
    // What the service's own settings and addresses make of these is not known; a log may not have been begun.
    let settings = file_system.file(8 << 10) + file_system.file(4 << 10);
    // The first container makes layerdb/mounts; one that is started its mounts and merged.
    let started = file_system.files(512, 4) + file_system.file(0) + file_system.directories(EMPTY, 3);
    let least = always + file_system.files(1, 2);
    Cost { least: least.least, inodes_least: least.inodes_least, ..always + settings + started }
}

/// A layer in containerd's overlayfs snapshotter.
pub(crate) fn containerd_layer(file_system: &FileSystem, layer: &Layer) -> Cost {
    let own = file_system.directories(EMPTY, 3);
    let tree = match &layer.contents {
        Contents::Measured(measured) => file_system.tree(&measured.layer),
        Contents::Usage { usage, block_size, .. } if same_kind(file_system, *block_size) => {
            Cost { inodes_bound: true, ..Cost::at_most(file_system.rounded(*usage), usage_inodes(*usage, *block_size)) }
        }
        Contents::Usage { usage, block_size, size } => usage_elsewhere(file_system, *usage, *block_size, *size),
        Contents::Expanded(length) => tree_of_tar(file_system, *length),
        Contents::Unknown => tree_of_tar(file_system, layer.size.saturating_mul(GZIP_EXPANSION)),
    };
    own + tree
}

/// The blobs of an image that containerd keeps, and its books, which grow by pages.
pub(crate) fn containerd_image(file_system: &FileSystem, image: &Image) -> Cost {
    let blobs: Cost = image.blobs().map(|blob| file_system.file(blob.size)).sum();
    let pages = u64::try_from(image.layers.len()).unwrap_or(u64::MAX).saturating_mul(4 << 10).saturating_add(64 << 10);
    blobs + Cost::at_most(file_system.rounded(pages), 0).as_bound()
}
