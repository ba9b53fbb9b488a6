//! Deltas between files that others made: librsync streams and tar-diff blobs.
//!
//! Neither format has a digest of base or target. A result is written beside and renamed like any other, but whether
//! it is the target only its user can tell.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write as _};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use umiak_delta::foreign::{Bounds, Files, ForeignError, Format, rdiff, tar_diff};
use umiak_delta::index::MAGIC;
use umiak_layer::{Compression, is_tar};
use umiak_spec::{Digest, Limits, Observer, ReadAt};

use super::parts::{self, Bytes, Tar};
use super::place::Beside;
use super::tree_files::TreeFiles;
use crate::error::{BuildError, IoContext as _};

/// What a file is that is given as a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeltaFile {
    /// One of ours between files.
    Ours,
    /// Of another program, between files.
    Foreign(Format),
    /// An archive, compressed or not: maybe of an artifact.
    Archive,
    /// Something else.
    Unknown,
}

impl DeltaFile {
    /// Told by its first bytes.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn of(path: &Path) -> Result<Self, BuildError> {
        let mut start = Vec::new();
        File::open(path).and_then(|file| file.take(512).read_to_end(&mut start)).at("read", path)?;
        // Later versions of ours, too: their error says so.
        if start.starts_with(&MAGIC[..MAGIC.len() - 1]) {
            return Ok(Self::Ours);
        }
        if let Some(format) = Format::of(&start) {
            return Ok(Self::Foreign(format));
        }
        let is_archive = is_tar(&start) || Compression::of(&start) != Compression::None;
        Ok(if is_archive { Self::Archive } else { Self::Unknown })
    }
}

/// Makes `target` from `base` and the delta file `delta` of another program: librsync's from a file, tar-diff's from a
/// directory or a tar. Gives size and digest of what came out.
///
/// # Errors
/// [`BuildError`]; `target` is then as it was.
pub fn apply_foreign_file(
    base: &Path,
    (delta, format): (&Path, Format),
    target: &Path,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<(u64, Digest), BuildError> {
    let file = File::open(delta).at("open", delta)?;
    let mut input = BufReader::with_capacity(256 << 10, file);
    let made = Beside::create(target)?;
    let mut out = BufWriter::with_capacity(256 << 10, &made.file);
    let bounds = Bounds { output: limits.expanded, ..Bounds::default() };
    let size = match format {
        Format::Librsync => {
            let base = File::open(base).at("open", base)?;
            rdiff(&base, &mut input, &mut out, &bounds, observer)
        }
        Format::TarDiff if base.is_dir() => tar_diff(&Folder::open(base)?, &mut input, &mut out, &bounds, observer),
        Format::TarDiff => {
            let bytes: Bytes = Arc::new(File::open(base).at("open", base)?);
            let tar = Tar::open(bytes, base, limits, observer)?;
            let files = TreeFiles::new(&[&tar], limits, observer)?;
            tar_diff(&files, &mut input, &mut out, &bounds, observer)
        }
    };
    let size = size.map_err(foreign)?;
    out.flush().at("write", target)?;
    drop(out);
    let written: Bytes = Arc::new(made.file.try_clone().at("read", target)?);
    let digest = parts::digest(&written, observer).at("read", target)?;
    made.commit()?;
    Ok((size, digest))
}

/// What went wrong with a delta of another's; a request to stop stays one.
pub(super) fn foreign(error: ForeignError) -> BuildError {
    match error {
        ForeignError::Cancelled(cancelled) => cancelled.into(),
        other => BuildError::Foreign(Box::new(other)),
    }
}

/// A directory as the base's tree. No link is followed, not even to within it.
struct Folder(File);

impl Folder {
    fn open(path: &Path) -> Result<Self, BuildError> {
        Ok(Self(File::open(path).at("open", path)?))
    }
}

impl Files for Folder {
    fn open(&self, path: &[u8]) -> io::Result<Box<dyn ReadAt + '_>> {
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        // Not waiting: the name may be a pipe's.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file: File = rustix::fs::openat2(&self.0, path, flags, Mode::empty(), within)?.into();
        if file.metadata()?.is_file() {
            return Ok(Box::new(file));
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"))
    }
}
