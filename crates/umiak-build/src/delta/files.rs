//! Deltas between plain files: tars, squashfs images, anything.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;

use umiak_delta::container::{Container, Shape};
use umiak_delta::index::{Index, Whole};
use umiak_delta::{Delta, DeltaError, MakeOptions, Scratch};
use umiak_spec::{Limits, Observer, ReadAt};

use super::parts::{self, Bytes};
use super::place::{Beside, Nameless, parent};
use super::squashfs::{self, Apart, Bench};
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
    let target_bytes = bytes(target)?;
    let making = Making { target: &target_bytes, out, options, limits, observer };
    let scratch = Nameless::new(parent(out));
    let bench = Bench { scratch: &scratch, limits, observer };
    if let Some(image) = bench.target(&target_bytes, target)? {
        let base = bench.apart(bytes(base)?, base)?;
        match making.make(&base, &image, &scratch) {
            // Our encoder does not make all of its blocks, though it makes those that were tried.
            Err(BuildError::Delta(error)) if matches!(*error, DeltaError::Target { .. }) => {
                observer.note("the target is not quite as umiak makes squashfs images: it is taken as a plain file");
            }
            made => return made,
        }
    }
    let target = parts::open(Arc::clone(&target_bytes), target, limits, observer)?;
    let base = match target.parts().shape {
        Shape::Tar => bench.apart(bytes(base)?, base)?,
        // Compressed blocks are like compressed blocks at best.
        Shape::Raw | Shape::Squashfs => Apart::Other(parts::open(bytes(base)?, base, limits, observer)?),
    };
    making.make(&base, target.as_ref(), &scratch)
}

/// What making a delta between files goes by.
struct Making<'a> {
    target: &'a Bytes,
    out: &'a Path,
    options: &'a MakeOptions,
    limits: &'a Limits,
    observer: &'a dyn Observer,
}

impl Making<'_> {
    /// Makes the delta, verifies it by applying it, and puts it into its place.
    fn make(&self, base: &Apart, target: &dyn Container, scratch: &Nameless) -> Result<Made, BuildError> {
        let delta = Beside::create(self.out)?;
        let index = make(&[base.container()], target, &delta.file, self.out, self.options, self.observer)?;
        let size = delta.file.metadata().at("look at", self.out)?.len();
        if !worth::is_worth(size, self.target, self.observer).at("read the target of", self.out)? {
            return Ok(Made { index, size, worth: false });
        }
        let space = scratch.file().at("create a scratch file beside", self.out)?;
        let made = Delta::open(&delta.file).map_err(BuildError::from)?;
        rebuild_file(&made, base, &space, scratch, (self.out, self.limits), self.observer)?;
        delta.commit()?;
        Ok(Made { index, size, worth: true })
    }
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
    let index = umiak_delta::make(bases, target, options, &mut out, observer).map_err(BuildError::from)?;
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
    let delta = Delta::open(delta).map_err(BuildError::from)?;
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
        Shape::Raw | Shape::Tar => umiak_delta::apply(delta, bases, space, scratch, observer).map_err(BuildError::from),
        Shape::Squashfs => Err(BuildError::from(DeltaError::Features(umiak_delta::index::feature::SQUASHFS))),
    }
}

/// The same of a base that is a file.
fn rebuild_file(
    delta: &Delta<impl ReadAt>,
    base: &Apart,
    space: &File,
    scratch: &Nameless,
    (name, limits): (&Path, &Limits),
    observer: &dyn Observer,
) -> Result<(), BuildError> {
    match delta.index().target.shape {
        Shape::Squashfs => squashfs::rebuild(delta, base, space, scratch, (name, limits), observer),
        Shape::Raw | Shape::Tar => rebuild(delta, &[base.container()], space, scratch, observer),
    }
}

/// Makes `target` from the file `base` and the delta file `delta`. Gives what was made.
///
/// # Errors
/// [`BuildError`]; `target` is then as it was.
pub fn apply_file(
    base: &Path,
    delta: &Path,
    target: &Path,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<Whole, BuildError> {
    let file = File::open(delta).at("open", delta)?;
    let delta = Delta::open(&file).map_err(BuildError::from)?;
    check_size(&delta, limits.expanded)?;
    let scratch = Nameless::new(parent(target));
    let base = open_base(&delta, base, &scratch, limits, observer)?;
    let made = Beside::create(target)?;
    rebuild_file(&delta, &base, &made.file, &scratch, (target, limits), observer)?;
    made.commit()?;
    Ok(delta.index().target)
}

/// Fails for a delta that makes more than `most` bytes: what it says is not yet paid for with bytes of its own.
pub(super) fn check_size(delta: &Delta<impl ReadAt>, most: u64) -> Result<(), BuildError> {
    if delta.index().target.size > most {
        return Err(DeltaError::Limit { what: "bytes of the target", limit: most }.into());
    }
    Ok(())
}

/// Takes the file `base` apart as `delta` says.
pub(super) fn open_base(
    delta: &Delta<impl ReadAt>,
    base: &Path,
    scratch: &Nameless,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<Apart, BuildError> {
    let bytes = bytes(base)?;
    let wanted = match delta.index().bases.as_slice() {
        [wanted] => *wanted,
        several => {
            let expected = format!("{} layers of an image", several.len());
            return Err(BuildError::from(DeltaError::Base { expected, actual: "one file".into() }));
        }
    };
    let other = |actual: String| BuildError::from(DeltaError::Base { expected: wanted.digest.to_string(), actual });
    let size = bytes.len().at("read", base)?;
    if size != wanted.size {
        return Err(other(format!("a file of {size} bytes, not of {}", wanted.size)));
    }
    let opened = match wanted.shape {
        Shape::Squashfs => {
            let bench = Bench { scratch, limits, observer };
            bench.source(&bytes, base)?.map(|image| Apart::Image(image.into()))
        }
        shape => match parts::open_as(shape, Arc::clone(&bytes), base, limits, observer) {
            Err(BuildError::Archive { source, .. }) if parts::is_malformed(&source) => None,
            opened => Some(Apart::Other(opened?)),
        },
    };
    match opened {
        Some(opened) => Ok(opened),
        // It cannot be taken apart as the delta's base could.
        None => Err(other(parts::digest(&bytes, observer).at("read", base)?.to_string())),
    }
}
