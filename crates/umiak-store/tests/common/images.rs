//! Squashfs images as packages have them, and deltas between them.

use std::io::{self, Cursor};
use std::num::NonZeroUsize;
use std::sync::Arc;

use umiak_delta::container::{Container, Part, Parts, Shape};
use umiak_delta::divide::Divided;
use umiak_delta::{MakeOptions, make};
use umiak_spec::{Digest, Limits, ReadAt, Silent};
use umiak_squashfs::{Compressor, ImageOptions, ImageWriter, NewContent, take_apart};
use umiak_tree::{Builder, Inode, InodeId, Kind, Metadata};

/// An image of these files, in small blocks.
pub fn image(files: &[(&str, &[u8])]) -> Vec<u8> {
    let options = ImageOptions { compressor: Compressor::Zstd, block_size: 16 << 10, ..ImageOptions::default() };
    let mut writer = ImageWriter::new(Cursor::new(Vec::new()), &options).unwrap();
    let mut tree = Builder::new(Metadata::root_owned(0o755));
    for (name, bytes) in files {
        let content = NewContent { size: <[u8]>::len(bytes) as u64, digest: Digest::of(bytes), name: name.as_bytes() };
        let file = writer.add(&content, &mut &bytes[..]).unwrap();
        let id = tree.add(Inode { metadata: Metadata::root_owned(0o644), kind: Kind::File(file) }).unwrap();
        tree.directory(InodeId::ROOT).unwrap().insert(name.as_bytes().into(), id);
    }
    writer.finish(&tree.finish().unwrap(), &Silent).unwrap().0.into_inner()
}

/// An image as the maker of a delta sees it.
struct Apart {
    image: umiak_squashfs::Parts,
    parts: Parts,
}

impl Apart {
    fn new(bytes: &[u8], target: bool) -> Self {
        let limits = Limits::default();
        let mut image = take_apart(Arc::new(bytes.to_vec()), &limits).unwrap();
        if target {
            image = image.rebuildable(NonZeroUsize::MIN, &limits, &Silent).unwrap().unwrap();
        }
        let digests = image.digests(NonZeroUsize::MIN, &Silent).unwrap();
        let contents = image.contents().iter().zip(digests);
        let part = |(content, digest): (&umiak_squashfs::PartContent, Digest)| Part {
            name: content.name.clone(),
            size: content.size,
            digest,
            spacing: 0,
        };
        let contents = contents.map(part).collect();
        let (size, digest) = (bytes.len() as u64, Digest::of(bytes));
        let skeleton = image.listing().len() as u64;
        Self { parts: Parts { shape: Shape::Squashfs, size, digest, skeleton, contents }, image }
    }
}

impl Container for Apart {
    fn parts(&self) -> &Parts {
        &self.parts
    }

    fn skeleton(&self) -> io::Result<Arc<dyn ReadAt + '_>> {
        Ok(Arc::new(self.image.listing()))
    }

    fn content(&self, number: usize) -> io::Result<Arc<dyn ReadAt + '_>> {
        Ok(Arc::new(self.image.content(number).unwrap()))
    }
}

/// A target that is said to have another length.
struct Told {
    target: Box<dyn Container>,
    parts: Parts,
}

impl Container for Told {
    fn parts(&self) -> &Parts {
        &self.parts
    }

    fn skeleton(&self) -> io::Result<Arc<dyn ReadAt + '_>> {
        self.target.skeleton()
    }

    fn content(&self, number: usize) -> io::Result<Arc<dyn ReadAt + '_>> {
        self.target.content(number)
    }
}

/// The delta between two images, or between two files as they are.
pub fn delta(base: &[u8], target: &[u8], images: bool) -> Vec<u8> {
    delta_saying(base, target, images, target.len() as u64)
}

/// The same, which says that it makes so many bytes.
pub fn delta_saying(base: &[u8], target: &[u8], images: bool, size: u64) -> Vec<u8> {
    let [base, target]: [Box<dyn Container>; 2] = if images {
        [Box::new(Apart::new(base, false)), Box::new(Apart::new(target, true))]
    } else {
        let plain = |bytes: &[u8]| Divided::new(bytes.to_vec(), b"file", Digest::of(bytes), &Silent).unwrap();
        [Box::new(plain(base)), Box::new(plain(target))]
    };
    let target = Told { parts: Parts { size, ..target.parts().clone() }, target };
    let mut delta = Vec::new();
    make(&[base.as_ref()], &target, &MakeOptions::default(), &mut delta, &Silent).unwrap();
    delta
}
