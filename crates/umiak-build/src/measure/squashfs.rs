//! How large one layer is as a squashfs image of its own, made by our writer: what a device stores that mounts layers.
//!
//! Guarantees: exactly the bytes of the image that the writer makes, which is not kept. Whiteouts are overlayfs' devices, opaque
//! directories have overlayfs' attribute. A hard link to what is not in the layer is left out: such a layer cannot be
//! mounted alone.

use std::collections::BTreeSet;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use umiak_layer::{Body, IndexedEntry, LayerContent, LayerError};
use umiak_registry::{BlobFile, Layer};
use umiak_spec::app::measures::SquashfsMeasure;
use umiak_spec::{Limits, Observer};
use umiak_squashfs::ImageOptions;
use umiak_tree::{Device, Directory, InodeId, Kind, Metadata, OPAQUE_XATTR, Stack, StackError, Tree, TreePath};

use crate::error::BuildError;
use crate::layers::Layers;
use crate::prepare::without_impossible;
use crate::squash::squash;

/// Makes the image, and says how large it is.
pub(super) fn size(
    layer: &Layer,
    blob: &BlobFile,
    options: &ImageOptions,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<SquashfsMeasure, BuildError> {
    let index = umiak_layer::index(blob.reader(), limits, observer).map_err(|error| match error {
        LayerError::Cancelled(cancelled) => cancelled.into(),
        source => BuildError::Layer { layer: layer.digest, source },
    })?;
    let failed = |source| BuildError::Stack { image: layer.digest.to_string(), source };
    let tree = tree(&index.entries, limits).map_err(failed)?;
    let layers = Layers::alone(layer.digest, blob.clone(), index, limits);
    let out = (Counting::default(), Path::new("the layer's image"));
    let (counting, _) = squash(tree, &layers, None, options, out, observer)?;
    Ok(described(options, counting.length))
}

/// The document's member for an image of `size` bytes made with `options`.
pub(super) fn described(options: &ImageOptions, size: u64) -> SquashfsMeasure {
    SquashfsMeasure { size, compressor: options.compressor.name().to_owned(), block_size: options.block_size }
}

/// The layer as overlayfs takes it.
fn tree(entries: &[IndexedEntry], limits: &Limits) -> Result<Tree<LayerContent>, StackError> {
    let mut stack = Stack::new(*limits);
    stack.begin_layer()?;
    let mut opaque: Vec<&TreePath> = Vec::new();
    let shown = entries.iter().filter(|entry| !matches!(entry.body, Body::Whiteout | Body::Opaque));
    let present: BTreeSet<&TreePath> = shown.map(|entry| &entry.path).collect();
    for entry in entries {
        let mut metadata = entry.metadata.clone();
        let kind = match &entry.body {
            Body::Directory => Kind::Directory(Directory::new()),
            Body::File(content) => {
                let (ordinal, size, digest) = (entry.ordinal, content.size, content.digest);
                Kind::File(LayerContent { layer: 0, ordinal, size, digest })
            }
            Body::Symlink(target) => Kind::Symlink(target.clone()),
            Body::CharDevice(device) => Kind::CharDevice(*device),
            Body::BlockDevice(device) => Kind::BlockDevice(*device),
            Body::Fifo => Kind::Fifo,
            Body::HardLink(target) => {
                if present.contains(target) {
                    stack.link(entry.path.clone(), target.clone())?;
                }
                continue;
            }
            // What the layer itself has is not hidden.
            Body::Whiteout if present.contains(&entry.path) => continue,
            Body::Whiteout => {
                metadata = Metadata::root_owned(0);
                Kind::CharDevice(Device::WHITEOUT)
            }
            Body::Opaque => {
                opaque.push(&entry.path);
                continue;
            }
        };
        stack.add(entry.path.clone(), metadata, kind)?;
    }
    let mut builder = without_impossible(stack.finish()?)?.into_builder();
    for path in opaque {
        let directory = path.components().try_fold(InodeId::ROOT, |at, name| builder.child(at, name));
        if let Some(directory) = directory {
            builder.inode(directory).metadata.xattrs.insert(OPAQUE_XATTR.into(), b"y".as_slice().into());
        }
    }
    Ok(builder.finish()?)
}

/// Where an image is written to when only its length is wanted.
#[derive(Default)]
struct Counting {
    position: u64,
    length: u64,
}

impl Write for Counting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.position = self.position.saturating_add(bytes.len() as u64);
        self.length = self.length.max(self.position);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Counting {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let moved = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = moved.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
