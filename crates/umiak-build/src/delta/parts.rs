//! Taking files and layers apart: tars into headers and files, anything else as it is; large contents in pieces.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use umiak_delta::DeltaError;
use umiak_delta::container::{Container, Part, Parts, Shape};
use umiak_delta::divide::{Divided, Placed, divide};
use umiak_delta::index::feature;
use umiak_layer::{LayerError, Skeleton, SkeletonView, is_tar};
use umiak_spec::{Digest, Limits, Observer, ReadAt, Sha256, Stretch};

use crate::error::{BuildError, IoContext as _};

/// Bytes that several may read.
pub(super) type Bytes = Arc<dyn ReadAt>;

/// Takes `bytes` apart by what they are. What begins like a tar and is none is taken as it is.
pub(super) fn open(
    bytes: Bytes,
    name: &Path,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<Box<dyn Container>, BuildError> {
    let size = bytes.len().at("read", name)?;
    let mut start = vec![0; usize::try_from(size.min(512)).unwrap_or(512)];
    bytes.read_exact_at(&mut start, 0).at("read", name)?;
    let shape = if is_tar(&start) { Shape::Tar } else { Shape::Raw };
    match open_as(shape, Arc::clone(&bytes), name, limits, observer) {
        Err(BuildError::Archive { source, .. }) if is_malformed(&source) => {
            open_as(Shape::Raw, bytes, name, limits, observer)
        }
        opened => opened,
    }
}

/// Takes `bytes` apart as a delta says that they are to be.
pub(super) fn open_as(
    shape: Shape,
    bytes: Bytes,
    name: &Path,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<Box<dyn Container>, BuildError> {
    Ok(match shape {
        Shape::Tar => Box::new(Tar::open(bytes, name, limits, observer)?),
        Shape::Raw => Box::new(raw(bytes, name, observer).at("read", name)?),
        Shape::Squashfs => return Err(BuildError::from(DeltaError::Features(feature::SQUASHFS))),
    })
}

fn raw(bytes: Bytes, name: &Path, observer: &dyn Observer) -> io::Result<Divided<Bytes>> {
    let digest = digest(&bytes, observer)?;
    Divided::new(bytes, name.as_os_str().as_encoded_bytes(), digest, observer)
}

/// Whether it is the archive's fault, and not the disk's.
pub(super) fn is_malformed(error: &LayerError) -> bool {
    !matches!(error, LayerError::Read(error) if error.raw_os_error().is_some())
}

/// Offsets, and parts.
fn placed(contents: Vec<Placed>) -> (Vec<u64>, Vec<Part>) {
    contents.into_iter().map(|content| (content.offset, content.part)).unzip()
}

/// The bytes of a content.
fn stretch<'a>(bytes: &Bytes, offsets: &[u64], parts: &Parts, number: usize) -> io::Result<Arc<dyn ReadAt + 'a>> {
    let (offset, part) = offsets.get(number).zip(parts.contents.get(number)).ok_or(io::ErrorKind::NotFound)?;
    Ok(Arc::new(Stretch { bytes: Arc::clone(bytes), offset: *offset, size: part.size }))
}

/// A tar archive, uncompressed.
pub(super) struct Tar {
    bytes: Bytes,
    skeleton: Skeleton,
    /// Where each content begins.
    offsets: Vec<u64>,
    parts: Parts,
}

impl Tar {
    pub(super) fn open(
        bytes: Bytes,
        name: &Path,
        limits: &Limits,
        observer: &dyn Observer,
    ) -> Result<Self, BuildError> {
        let skeleton = umiak_layer::skeleton(InOrder::new(&bytes), limits, observer).map_err(|error| match error {
            LayerError::Cancelled(cancelled) => cancelled.into(),
            source => BuildError::Archive { path: name.to_owned(), source },
        })?;
        let contents = skeleton.contents.iter().map(|content| Placed {
            offset: content.offset,
            part: Part {
                name: content.name.clone(),
                size: content.size,
                digest: content.digest,
                spacing: content.spacing(),
            },
        });
        let contents = divide(contents.collect(), &bytes, observer).at("read", name)?;
        let (offsets, contents) = placed(contents);
        let parts = Parts {
            shape: Shape::Tar,
            size: skeleton.archive,
            digest: skeleton.diff_id,
            skeleton: skeleton.size,
            contents,
        };
        Ok(Self { bytes, skeleton, offsets, parts })
    }
}

impl Tar {
    /// The archive.
    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl Container for Tar {
    fn parts(&self) -> &Parts {
        &self.parts
    }

    fn skeleton(&self) -> io::Result<Arc<dyn ReadAt + '_>> {
        Ok(Arc::new(SkeletonView::new(&self.skeleton, Arc::clone(&self.bytes))))
    }

    fn content(&self, number: usize) -> io::Result<Arc<dyn ReadAt + '_>> {
        stretch(&self.bytes, &self.offsets, &self.parts, number)
    }
}

/// Reads from the beginning to the end.
pub(super) struct InOrder<'a> {
    bytes: &'a Bytes,
    at: u64,
}

impl<'a> InOrder<'a> {
    pub(super) fn new(bytes: &'a Bytes) -> Self {
        Self { bytes, at: 0 }
    }
}

impl Read for InOrder<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.bytes.len()?.saturating_sub(self.at);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        self.bytes.read_exact_at(&mut buffer[..length], self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

/// SHA-256 of all of it.
pub(super) fn digest(bytes: &Bytes, observer: &dyn Observer) -> io::Result<Digest> {
    let mut reader = InOrder::new(bytes);
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        observer.check()?;
        match reader.read(&mut buffer)? {
            0 => return Ok(hash.finish()),
            length => hash.update(&buffer[..length]),
        }
    }
}
