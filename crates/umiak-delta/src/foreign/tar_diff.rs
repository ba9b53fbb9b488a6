//! tar-diff blobs (`application/vnd.tar-diff`): a layer's uncompressed tar from the files of the base image's tree.
//!
//! Eight bytes `tardf1\n\0` or `tardf2\n\0`, then zstd frames whose plain bytes are operations: one byte, a number in
//! base 128 (least significant group first, also in longer forms than needed), and for some as many bytes. The second
//! version adds operation 5. The format has no digest and no size of the target, and no mark of its end but that
//! of the zstd frame.

use std::io::{BufRead, BufReader, Read, Write};

use umiak_spec::{Observer, ReadAt};

use super::output::{Output, check_range};
use super::{Bounds, ForeignError, PIECE};

/// What it begins with, by version.
pub(super) const MAGICS: [&[u8; 8]; 2] = [b"tardf1\n\0", b"tardf2\n\0"];

const DATA: u8 = 0;
const OPEN: u8 = 1;
const COPY: u8 = 2;
const ADD_DATA: u8 = 3;
const SEEK: u8 = 4;
const ZSTD_DICT: u8 = 5;

/// Most bytes of a name.
const NAME: u64 = 4 << 10;

/// Largest window of the operations' own frames, as a power of two: 128 MiB, what zstd's command takes unasked.
const WINDOW_LOG: u32 = 27;

/// Files of the base image, by name.
pub trait Files {
    /// Opens a regular file. `path` is relative to the root of the image's tree, has no empty, `.` or `..` component,
    /// no NUL, and at most 4 KiB; links on the way are the implementation's to refuse.
    ///
    /// # Errors
    /// There is no such file, or it cannot be read.
    fn open(&self, path: &[u8]) -> std::io::Result<Box<dyn ReadAt + '_>>;
}

/// Applies a tar-diff blob to the files of the base and writes the target layer's uncompressed tar to `out`; returns
/// how many bytes that were.
///
/// Memory: the zstd window of the blob, at most 128 MiB and at most [`Bounds::window`] (the one Go maker uses 8 MiB);
/// and where a blob of the second version packs a file against a base file, this file and a window of its size.
///
/// # Errors
/// [`ForeignError`]: a malformed or cut off blob, a name that leaves the tree, a file that cannot be opened or is too
/// short, an exceeded bound, or what reading, writing and the observer report.
pub fn tar_diff(
    files: &dyn Files,
    delta: &mut dyn Read,
    out: &mut dyn Write,
    bounds: &Bounds,
    observer: &dyn Observer,
) -> Result<u64, ForeignError> {
    let mut magic = [0; 8];
    delta.read_exact(&mut magic).map_err(ForeignError::delta)?;
    let version = MAGICS.iter().position(|known| **known == magic);
    let dictionaries = version.ok_or(ForeignError::Magic("a tar-diff blob"))? > 0;
    let mut frames = zstd::stream::read::Decoder::new(delta).map_err(ForeignError::Delta)?;
    frames.window_log_max(window_log(bounds.window).min(WINDOW_LOG)).map_err(ForeignError::Delta)?;
    let mut operations = BufReader::with_capacity(PIECE, frames);
    let mut output = Output::new(out, bounds, observer);
    let mut source = None;
    while let Some(code) = operations.by_ref().bytes().next().transpose().map_err(ForeignError::delta)? {
        output.operation()?;
        let size = number(&mut operations)?;
        match code {
            DATA => output.literal(&mut operations, size)?,
            OPEN => source = Some(Source::open(files, name(&mut operations, size)?)?),
            COPY => {
                let source = source.as_mut().ok_or(ForeignError::NoFile)?;
                let position = source.take(size)?;
                output.copy(&*source.file, position, size)?;
            }
            ADD_DATA => {
                let source = source.as_mut().ok_or(ForeignError::NoFile)?;
                let position = source.take(size)?;
                output.add(&mut operations, &*source.file, position, size)?;
            }
            SEEK => source.as_mut().ok_or(ForeignError::NoFile)?.position = size,
            ZSTD_DICT if dictionaries => {
                let source = source.as_mut().ok_or(ForeignError::NoFile)?;
                unpack(&mut operations, size, source, &mut output, bounds)?;
            }
            code => return Err(ForeignError::Operation(code)),
        }
    }
    output.finish()
}

/// The base's file that is being read, and where.
struct Source<'a> {
    path: String,
    file: Box<dyn ReadAt + 'a>,
    size: u64,
    position: u64,
}

impl<'a> Source<'a> {
    fn open(files: &'a dyn Files, path: Vec<u8>) -> Result<Self, ForeignError> {
        let shown = String::from_utf8_lossy(&path).into_owned();
        let failed = |source| ForeignError::Open { path: shown.clone(), source };
        let file = files.open(&path).map_err(failed)?;
        let size = file.len().map_err(failed)?;
        Ok(Self { path: shown, file, size, position: 0 })
    }

    /// Moves on by `length` bytes that are there; where they begin.
    fn take(&mut self, length: u64) -> Result<u64, ForeignError> {
        let position = self.position;
        check_range(position, length, self.size, &self.path)?;
        self.position = position + length;
        Ok(position)
    }
}

/// A number in base 128. Unlike umiak's own, it may be longer than it needs to be.
fn number(operations: &mut impl Read) -> Result<u64, ForeignError> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let mut byte = [0];
        operations.read_exact(&mut byte).map_err(ForeignError::delta)?;
        let group = u64::from(byte[0] & 0x7F);
        if group > u64::MAX >> shift {
            return Err(ForeignError::Number);
        }
        value |= group << shift;
        if byte[0] < 0x80 {
            return Ok(value);
        }
    }
    Err(ForeignError::Number)
}

/// A file's name: a leading `/`, empty and `.` components are dropped, as the format's own applier does; unlike
/// there, `..` is an error.
fn name(operations: &mut impl Read, size: u64) -> Result<Vec<u8>, ForeignError> {
    if size > NAME {
        return Err(ForeignError::Limit { what: "bytes of a file's name", limit: NAME });
    }
    let mut bytes = Vec::new();
    operations.take(size).read_to_end(&mut bytes).map_err(ForeignError::delta)?;
    if bytes.len() as u64 != size {
        return Err(ForeignError::Truncated);
    }
    if bytes.contains(&0) {
        return Err(ForeignError::Name("has a NUL in its name"));
    }
    let parts = bytes.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    let parts: Vec<&[u8]> = parts.collect();
    match parts.as_slice() {
        [] => Err(ForeignError::Name("has no name")),
        parts if parts.contains(&&b".."[..]) => Err(ForeignError::Name("is outside of the tree")),
        parts => Ok(parts.join(&b'/')),
    }
}

/// Writes what a zstd frame of `size` bytes holds; the whole source file is its dictionary, and is read to its end.
fn unpack(
    operations: &mut impl BufRead,
    size: u64,
    source: &mut Source<'_>,
    output: &mut Output<'_>,
    bounds: &Bounds,
) -> Result<(), ForeignError> {
    if source.size > bounds.window {
        return Err(ForeignError::Limit { what: "bytes of a file that is a dictionary", limit: bounds.window });
    }
    let length = usize::try_from(source.size).map_err(|_| ForeignError::Number)?;
    let mut dictionary = vec![0; length];
    source.file.read_exact_at(&mut dictionary, 0).map_err(ForeignError::Base)?;
    source.position = source.size;
    if size == 0 {
        // Makers write no frame at all for an empty file.
        return Ok(());
    }
    let failed = |error| ForeignError::Dictionary { path: source.path.clone(), source: error };
    let mut packed = operations.take(size);
    let mut frame = zstd::stream::read::Decoder::with_ref_prefix(&mut packed, &dictionary).map_err(failed)?;
    frame = frame.single_frame();
    frame.window_log_max(window_log(bounds.window)).map_err(failed)?;
    let mut piece = vec![0; PIECE];
    loop {
        match frame.read(&mut piece).map_err(failed)? {
            0 => break,
            count => output.bytes(&piece[..count])?,
        }
    }
    drop(frame);
    match packed.limit() {
        0 => Ok(()),
        // Either something follows the frame, or the operations end before it does.
        _ if packed.fill_buf().map_err(ForeignError::delta)?.is_empty() => Err(ForeignError::Truncated),
        _ => Err(ForeignError::Trailing("a packed file")),
    }
}

/// The largest power of two that is not above `window`, as zstd wants it: not below 1 KiB.
fn window_log(window: u64) -> u32 {
    window.max(1024).ilog2().min(31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_may_be_long_but_not_large() {
        let read = |bytes: &[u8]| number(&mut &*bytes);
        assert_eq!(read(&[0xAC, 0x02]).unwrap(), 300);
        assert_eq!(read(&[0x80, 0x00]).unwrap(), 0);
        assert_eq!(read(&[[0xFF; 9].as_slice(), &[1]].concat()).unwrap(), u64::MAX);
        assert!(matches!(read(&[[0xFF; 9].as_slice(), &[2]].concat()), Err(ForeignError::Number)));
        assert!(matches!(read(&[0x80; 11]), Err(ForeignError::Number)));
        assert!(matches!(read(&[0x80; 3]), Err(ForeignError::Truncated)));
    }

    #[test]
    fn names_stay_below_the_root() {
        let read = |text: &[u8]| name(&mut &*text, text.len() as u64);
        assert_eq!(read(b"usr/bin/x").unwrap(), b"usr/bin/x");
        assert_eq!(read(b"//usr/./bin/x/").unwrap(), b"usr/bin/x");
        assert_eq!(read(b"a/..b/c..").unwrap(), b"a/..b/c..");
        for bad in [&b""[..], b"/", b".", b"..", b"a/../b", b"/../etc/passwd", b"a\0b"] {
            assert!(matches!(read(bad), Err(ForeignError::Name(_))), "{bad:?}");
        }
        assert!(matches!(name(&mut &[b'a'; 5000][..], 5000), Err(ForeignError::Limit { .. })));
        assert!(matches!(name(&mut &b"ab"[..], 3), Err(ForeignError::Truncated)));
    }

    #[test]
    fn windows_are_powers_of_two() {
        assert_eq!(window_log(512 << 20), 29);
        assert_eq!(window_log((512 << 20) - 1), 28);
        assert_eq!((window_log(0), window_log(u64::MAX)), (10, 31));
    }
}
