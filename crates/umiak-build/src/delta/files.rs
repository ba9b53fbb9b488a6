//! Deltas between plain files: tars, squashfs images, anything.

use std::fs::File;
use std::io::{BufWriter, Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use umiak_delta::container::{Container, Shape};
use umiak_delta::index::{Index, MAGIC};
use umiak_delta::{Delta, DeltaError, MakeOptions, Scratch};
use umiak_spec::{Limits, Observer, ReadAt};

use super::parts::{self, Bytes};
use super::place::{Beside, Nameless, parent};
use super::{Made, worth};
use crate::error::{BuildError, IoContext as _};

/// A file's bytes.
pub(super) fn bytes(path: &Path) -> Result<Bytes, BuildError> {
    Ok(Arc::new(File::open(path).at("open", path)?))
}

/// Makes the delta from the file `base` to the file `target`, verifies it by applying it, and puts it at `out`.
///
/// # Errors
/// [`BuildError`]; `out` is then as it was.
pub fn make_file(
    base: &Path,
    target: &Path,
    out: &Path,
    options: &MakeOptions,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<Made, BuildError> {
    let (base_bytes, target_bytes) = (bytes(base)?, bytes(target)?);
    let base = parts::open(base_bytes, base, limits, observer)?;
    let container = parts::open(Arc::clone(&target_bytes), target, limits, observer)?;
    let delta = Beside::create(out)?;
    let scratch = Nameless::new(parent(out));
    let index = make(&[base.as_ref()], container.as_ref(), &delta.file, out, options, observer)?;
    let size = delta.file.metadata().at("look at", out)?.len();
    if !worth::is_worth(size, &target_bytes, observer).at("read", target)? {
        return Ok(Made { index, size, worth: false });
    }
    verify(&delta.file, &[base.as_ref()], &scratch, out, observer)?;
    delta.commit()?;
    Ok(Made { index, size, worth: true })
}

/// Writes the delta's blob to `file`.
pub(super) fn make(
    bases: &[&dyn Container],
    target: &dyn Container,
    file: &File,
    path: &Path,
    options: &MakeOptions,
    observer: &dyn Observer,
) -> Result<Index, BuildError> {
    let mut out = BufWriter::new(file);
    let index = umiak_delta::make(bases, target, options, &mut out, observer).map_err(BuildError::delta)?;
    out.flush().at("write", path)?;
    Ok(index)
}

/// Applies a delta that was just made, into a file that nobody sees.
pub(super) fn verify(
    delta: &File,
    bases: &[&dyn Container],
    scratch: &Nameless,
    path: &Path,
    observer: &dyn Observer,
) -> Result<(), BuildError> {
    let space = scratch.file().at("create a scratch file beside", path)?;
    let delta = Delta::open(delta).map_err(BuildError::delta)?;
    rebuild(&delta, bases, &space, scratch, observer)
}

/// Makes the target of `delta` in `space`, by its shape, and verifies it.
pub(super) fn rebuild(
    delta: &Delta<impl ReadAt>,
    bases: &[&dyn Container],
    space: &File,
    scratch: &dyn Scratch,
    observer: &dyn Observer,
) -> Result<(), BuildError> {
    match delta.index().target.shape {
        Shape::Raw | Shape::Tar => {
            umiak_delta::apply(delta, bases, space, scratch, observer).map_err(BuildError::delta)
        }
        Shape::Squashfs => Err(BuildError::delta(DeltaError::Features(umiak_delta::index::feature::SQUASHFS))),
    }
}

/// Makes `target` from the file `base` and the delta file `delta`.
///
/// # Errors
/// [`BuildError`]; `target` is then as it was.
pub fn apply_file(
    base: &Path,
    delta: &Path,
    target: &Path,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<u64, BuildError> {
    let file = File::open(delta).at("open", delta)?;
    let delta = Delta::open(&file).map_err(BuildError::delta)?;
    let base = open_base(&delta, base, limits, observer)?;
    let made = Beside::create(target)?;
    let scratch = Nameless::new(parent(target));
    rebuild(&delta, &[base.as_ref()], &made.file, &scratch, observer)?;
    made.commit()?;
    Ok(delta.index().target.size)
}

/// Takes the file `base` apart as `delta` says.
pub(super) fn open_base(
    delta: &Delta<impl ReadAt>,
    base: &Path,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<Box<dyn Container>, BuildError> {
    let bytes = bytes(base)?;
    let wanted = match delta.index().bases.as_slice() {
        [wanted] => *wanted,
        several => {
            let expected = format!("{} layers of an image", several.len());
            return Err(BuildError::delta(DeltaError::Base { expected, actual: "one file".into() }));
        }
    };
    let other = |actual: String| BuildError::delta(DeltaError::Base { expected: wanted.digest.to_string(), actual });
    let size = bytes.len().at("read", base)?;
    if size != wanted.size {
        return Err(other(format!("{size} bytes and not {}", wanted.size)));
    }
    match parts::open_as(wanted.shape, Arc::clone(&bytes), base, limits, observer) {
        // It cannot be taken apart as the delta's base could.
        Err(BuildError::Archive { source, .. }) if parts::is_malformed(&source) => {
            Err(other(parts::digest(&bytes, observer).at("read", base)?.to_string()))
        }
        opened => opened,
    }
}

/// Whether the file `path` is a delta between files, and not an archive of an artifact.
///
/// # Errors
/// The file cannot be read.
pub fn is_blob(path: &Path) -> Result<bool, BuildError> {
    let mut start = Vec::new();
    File::open(path).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut start)).at("read", path)?;
    // Later versions of the format, too: their error says so.
    Ok(start.len() == MAGIC.len() && start[..7] == MAGIC[..7])
}
