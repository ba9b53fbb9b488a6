//! Where streams lie in a base, and opening it.

use std::io::{self, BufRead, BufReader, Read, Write};

use umiak_spec::ReadAt;

use super::DeflateError;
use super::check::Counted;
use super::inflate::inflate;
use super::pieces::PieceReader;
use super::run::{self, Form, Run};

/// How a base is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    runs: Vec<Run>,
}

/// Bytes of the base read at once.
const BUFFER: usize = 64 << 10;

impl Layout {
    pub(super) fn new(runs: Vec<Run>) -> Self {
        Self { runs }
    }

    /// Whether nothing is opened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Appends the layout to notes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        run::encode(&self.runs, out);
    }

    /// Takes a layout off the front of notes.
    ///
    /// # Errors
    /// [`DeflateError::Malformed`].
    pub fn decode(from: &mut &[u8]) -> Result<Self, DeflateError> {
        Ok(Self { runs: run::decode(from, false)? })
    }

    /// Writes the opened bytes of `base`, which has `size`, and returns how many they are: at most [`super::MAX_OPENED`] more than
    /// `size`. Takes below 1 MiB of memory.
    ///
    /// # Errors
    /// The streams are not there or do not hold what the layout says; reading or writing fails.
    pub fn unwrap(&self, base: &dyn ReadAt, size: u64, out: &mut dyn Write) -> Result<u64, DeflateError> {
        let source = InOrder { source: base, at: 0, size };
        let mut source = BufReader::with_capacity(BUFFER, source);
        unwrap(&self.runs, &mut source, out)
    }
}

/// Opens everything that `source` gives.
pub(super) fn unwrap(runs: &[Run], mut source: &mut dyn BufRead, out: &mut dyn Write) -> Result<u64, DeflateError> {
    let mut out = Counted { out, count: 0 };
    for run in runs {
        let copied = io::copy(&mut Read::take(&mut source, run.raw), &mut out)?;
        if copied != run.raw {
            return Err(DeflateError::Stream("the file ends before it"));
        }
        if run.form == Form::Chunked {
            let mut pieces = PieceReader::new(source, &run.chunks);
            let mut head = [0; 2];
            pieces.read_exact(&mut head)?;
            out.write_all(&head)?;
            open(run, &mut pieces, &mut out)?;
            pieces.finish()?;
        } else {
            open(run, source, &mut out)?;
        }
    }
    io::copy(source, &mut out)?;
    Ok(out.count)
}

/// Opens one stream and goes behind what is derived.
fn open(run: &Run, source: &mut dyn BufRead, out: &mut dyn Write) -> Result<(), DeflateError> {
    if inflate(source, out, run.opened)? != run.opened {
        return Err(DeflateError::Stream("it inflates to fewer bytes than it should"));
    }
    let mut trailer = [0; 16];
    Ok(source.read_exact(&mut trailer[..run.form.trailer()])?)
}

/// Reads a file at random from its beginning to its end.
struct InOrder<'a> {
    source: &'a dyn ReadAt,
    at: u64,
    size: u64,
}

impl Read for InOrder<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.size - self.at).unwrap_or(usize::MAX).min(buffer.len());
        self.source.read_exact_at(&mut buffer[..length], self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}
