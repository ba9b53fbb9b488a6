//! Where streams lie in a base, and opening it.

use std::io::{self, BufRead, BufReader, Read, Write};

use flate2::Crc;
use umiak_spec::ReadAt;

use super::check::Counted;
use super::directory::{Member, Members, Way};
use super::inflate::inflate;
use super::pieces::PieceReader;
use super::run::{self, Form, Run};
use super::{DeflateError, MAX_OPENED};

/// How a base is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    pub(super) runs: Vec<Run>,
}

/// Bytes of the base read at once.
const BUFFER: usize = 64 << 10;

impl Layout {
    pub(super) fn new(runs: Vec<Run>) -> Self {
        Self { runs }
    }

    /// Whether streams are opened.
    #[must_use]
    pub fn opens(&self) -> bool {
        self.runs.iter().any(Run::is_stream)
    }

    /// Appends the layout to notes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        run::encode(&self.runs, None, out);
    }

    /// Takes a layout off the front of notes.
    ///
    /// # Errors
    /// [`DeflateError::Malformed`].
    pub fn decode(from: &mut &[u8]) -> Result<Self, DeflateError> {
        Ok(Self { runs: run::decode(from, None)? })
    }

    /// Writes the opened bytes of `base`, which has `size`, and returns how many they are: at most [`MAX_OPENED`] more than
    /// `size`. Takes below 1 MiB of memory.
    ///
    /// # Errors
    /// The streams are not there or hold too much; reading or writing fails.
    pub fn unwrap(&self, base: &dyn ReadAt, size: u64, out: &mut dyn Write) -> Result<u64, DeflateError> {
        let source = InOrder { source: base, at: 0, size };
        let mut source = BufReader::with_capacity(BUFFER, source);
        unwrap(&self.runs, false, &mut source, out)
    }
}

/// Opens everything that `source` gives. The streams together hold at most [`MAX_OPENED`] bytes; if `exact`, each what its run says.
pub(super) fn unwrap(
    runs: &[Run],
    exact: bool,
    source: &mut dyn BufRead,
    out: &mut dyn Write,
) -> Result<u64, DeflateError> {
    let mut source = Counting { source, count: 0 };
    let mut out = Counted { out, count: 0 };
    let mut members = Members::default();
    let mut left = MAX_OPENED;
    let mut stream = |run: &Run, source: &mut dyn BufRead, out: &mut dyn Write| {
        let mut out = Summed { out, crc: Crc::new() };
        let opened = inflate(source, &mut out, run.opened.min(left))?;
        left -= opened;
        if exact && opened != run.opened {
            return Err(DeflateError::Stream("it inflates to fewer bytes than it should"));
        }
        Ok((out.crc.sum(), opened as u32))
    };
    for run in runs {
        let copied = io::copy(&mut Read::take(&mut source, run.raw), &mut out)?;
        if copied != run.raw {
            return Err(DeflateError::Stream("the file ends before it"));
        }
        match run.form {
            Form::Directory => members.pass(Way::Opening, (run.opened, run.origin), &mut source, &mut out)?,
            Form::Chunked => {
                let mut pieces = PieceReader::new(&mut source, &run.chunks);
                let mut head = [0; 2];
                pieces.read_exact(&mut head)?;
                out.write_all(&head)?;
                stream(run, &mut pieces, &mut out)?;
                pieces.read_exact(&mut [0; 4])?;
                pieces.finish()?;
            }
            _ => {
                let start = source.count;
                let (crc, opened) = stream(run, &mut source, &mut out)?;
                let packed = (source.count - start) as u32;
                let member = Member { start, crc, packed, opened };
                members.extend((run.form != Form::Zlib).then_some(member));
                let mut trailer = [0; 16];
                source.read_exact(&mut trailer[..run.form.trailer()])?;
            }
        }
    }
    io::copy(&mut source, &mut out)?;
    Ok(out.count)
}

/// Counts what is read.
struct Counting<'a> {
    source: &'a mut dyn BufRead,
    count: u64,
}

impl Read for Counting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        self.count += length as u64;
        Ok(length)
    }
}

impl BufRead for Counting<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.source.fill_buf()
    }

    fn consume(&mut self, length: usize) {
        self.count += length as u64;
        self.source.consume(length);
    }
}

/// Passes bytes on and takes their checksum.
struct Summed<'a> {
    out: &'a mut dyn Write,
    crc: Crc,
}

impl Write for Summed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.out.write(bytes)?;
        self.crc.update(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
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
