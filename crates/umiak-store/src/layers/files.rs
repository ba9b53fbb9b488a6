//! The files of a layer: their names, their digests, how they are made and opened.

use std::fs::File;
use std::io::{self, BufWriter, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use umiak_spec::{Digest, Limits, Observer, Sha256};
use umiak_squashfs::Image;

use super::kind;
use super::record::{FileRecord, LayerRecord};
use crate::disk::{DiskFile, Stream};
use crate::error::{IoContext as _, StoreError};
use crate::sealed;
use crate::store::Store;

/// What is mounted.
pub(crate) const IMAGE: &str = "image.squashfs";

/// What gives the tar back.
pub(crate) const SKELETON: &str = "skeleton.squashfs";

/// What the two are.
pub(crate) const RECORD: &str = "record";

/// Bytes that are written, or hashed, at a time.
const PIECE: usize = 256 << 10;

/// Bytes of decompressed blocks that each open image keeps: an update has up to a dozen open at a time.
pub(crate) const KEPT: usize = 2 << 20;

/// A squashfs image that is open for reading.
pub(crate) type OpenImage = Arc<Image<File>>;

/// Makes a file for a writer of images.
pub(crate) fn create(store: &Store, path: &Path) -> Result<(Arc<dyn DiskFile>, BufWriter<Stream>), StoreError> {
    let file = store.disk.create(path).at("create", path)?;
    Ok((Arc::clone(&file), BufWriter::with_capacity(PIECE, Stream::new(file))))
}

/// Size and digest of a file, read to its end.
pub(crate) fn hash(path: &Path, observer: &dyn Observer) -> Result<FileRecord, StoreError> {
    let mut file = File::open(path).at("read", path)?;
    let (mut hash, mut bytes, mut piece) = (Sha256::new(), 0, vec![0; PIECE]);
    loop {
        observer.check()?;
        match file.read(&mut piece) {
            Ok(0) => return Ok(FileRecord { bytes, digest: hash.finish() }),
            Ok(count) => {
                hash.update(&piece[..count]);
                bytes += count as u64;
                observer.advance(CHECKING, count as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).at("read", path),
        }
    }
}

/// The phase that bytes are counted in when they are hashed.
pub(crate) const CHECKING: &str = "Checking";

/// Opens one of the images in the directory of a layer.
pub(crate) fn open(
    directory: &Path,
    diff_id: &Digest,
    file: &'static str,
    limits: &Limits,
) -> Result<OpenImage, StoreError> {
    let path = directory.join(file);
    let opened = File::open(&path).at("read", &path)?;
    let squashfs = |source| StoreError::Squashfs { diff_id: *diff_id, file, source };
    Image::open_keeping(KEPT, opened, limits).map(Arc::new).map_err(squashfs)
}

/// Where a file of a layer is.
pub(crate) fn place(store: &Store, diff_id: &Digest, file: &str) -> PathBuf {
    kind::path(store, diff_id).join(file)
}

/// The record of a layer that is here; `None` when it is not.
pub(crate) fn record(store: &Store, diff_id: &Digest) -> Result<Option<LayerRecord>, StoreError> {
    let path = place(store, diff_id, RECORD);
    if !kind::path(store, diff_id).is_dir() {
        return Ok(None);
    }
    let damaged = |why: &str| StoreError::DamagedLayer { diff_id: *diff_id, why: why.to_owned() };
    let body = match sealed::read(&path) {
        Ok(Some(body)) => body,
        Ok(None) => return Err(damaged("its record is lost")),
        Err(StoreError::DamagedDocument { .. }) => return Err(damaged("its record and the copy of it are damaged")),
        Err(error) => return Err(error),
    };
    let record: LayerRecord = serde_json::from_slice(&body).map_err(|_| damaged("its record cannot be read"))?;
    if record.diff_id != *diff_id {
        return Err(damaged("its record is another layer's"));
    }
    Ok(Some(record))
}
