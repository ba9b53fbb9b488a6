//! How a target is closed again, and how it was opened.

use std::io::{self, Read, Write};

use flate2::Crc;

use super::check::{Adler, Check, Checked, Counted};
use super::directory::{Member, Members, Way};
use super::pieces::PieceWriter;
use super::run::{self, Form, Run};
use super::{DeflateError, Layout, MAX_OPENED, layout};
use crate::varint;

/// How a target's bytes come from the opened ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    runs: Vec<Run>,
    /// Raw bytes behind the last run.
    tail: u64,
}

impl Recipe {
    pub(super) fn new(runs: Vec<Run>, tail: u64) -> Self {
        Self { runs, tail }
    }

    /// Bytes of the opened target, at most [`MAX_OPENED`] when the recipe was decoded.
    #[must_use]
    pub fn opened(&self) -> u64 {
        let runs = self.runs.iter().map(|run| run.raw.saturating_add(run.opened).saturating_add(run.form.header()));
        runs.fold(self.tail, u64::saturating_add)
    }

    /// Whether streams are opened.
    #[must_use]
    pub fn opens(&self) -> bool {
        self.runs.iter().any(Run::is_stream)
    }

    /// Appends the recipe to notes that hold `layout`, too.
    pub fn encode(&self, layout: &Layout, out: &mut Vec<u8>) {
        run::encode(&self.runs, Some(&layout.runs), out);
        varint::put(out, self.tail);
    }

    /// Takes a recipe off the front of notes that hold `layout`, too.
    ///
    /// # Errors
    /// [`DeflateError::Malformed`].
    pub fn decode(from: &mut &[u8], layout: &Layout) -> Result<Self, DeflateError> {
        let runs = run::decode(from, Some(&layout.runs))?;
        let recipe = Self { runs, tail: run::number(from)? };
        if recipe.opened() > MAX_OPENED {
            return Err(DeflateError::Malformed("a file opens to too many bytes"));
        }
        Ok(recipe)
    }

    /// Opens the target that the recipe is of.
    ///
    /// # Errors
    /// It is another one.
    pub fn open(&self, target: &[u8]) -> Result<Vec<u8>, DeflateError> {
        let mut opened = Vec::new();
        layout::unwrap(&self.runs, true, &mut &*target, &mut opened)?;
        Ok(opened)
    }

    /// Writes the target whose opened bytes `opened` gives, and returns how many bytes it has. Takes below 1 MiB of memory.
    ///
    /// # Errors
    /// `opened` ends early; reading or writing fails.
    pub fn wrap(&self, opened: &mut dyn Read, out: &mut dyn Write) -> Result<u64, DeflateError> {
        let mut out = Counted { out, count: 0 };
        let mut members = Members::default();
        for run in &self.runs {
            let copied = io::copy(&mut opened.take(run.raw), &mut out)?;
            if copied != run.raw {
                return Err(ENDED);
            }
            if run.is_stream() {
                let start = out.count;
                members.extend(close(run, opened, &mut out, start)?);
            } else {
                members.pass(Way::Closing, (run.opened, run.origin), opened, &mut out)?;
            }
        }
        if io::copy(&mut opened.take(self.tail), &mut out)? != self.tail {
            return Err(ENDED);
        }
        Ok(out.count)
    }
}

const ENDED: DeflateError = DeflateError::Stream("the opened bytes end early");

/// Writes one stream and what is derived. Gives what a directory may say of it.
fn close(run: &Run, opened: &mut dyn Read, out: &mut dyn Write, start: u64) -> Result<Option<Member>, DeflateError> {
    if run.form == Form::Chunked {
        let mut pieces = PieceWriter::new(out, &run.chunks);
        let mut head = [0; 2];
        opened.read_exact(&mut head)?;
        pieces.write_all(&head)?;
        compress(run, opened, &mut pieces, start)?;
        pieces.finish()?;
        return Ok(None);
    }
    let member = compress(run, opened, out, start)?;
    // No directory speaks of zlib streams, whose checksum is another.
    Ok((run.form != Form::Zlib).then_some(member))
}

fn compress(run: &Run, opened: &mut dyn Read, out: &mut dyn Write, start: u64) -> Result<Member, DeflateError> {
    let encoder = run.encoder.ok_or(DeflateError::Malformed("a stream has no encoder"))?;
    let check = match run.form {
        Form::Chunked | Form::Zlib => Check::Adler(Adler::new()),
        Form::Bare | Form::Gzip | Form::Descriptor | Form::Directory => Check::Crc(Crc::new()),
    };
    let mut source = Checked { source: opened, check, left: run.opened };
    let packed = encoder.compress(&mut source, out)? as u32;
    if source.left != 0 {
        return Err(ENDED);
    }
    let (sum, opened) = (source.check.sum(), run.opened as u32);
    let mut trailer = |numbers: &[u32]| numbers.iter().try_for_each(|number| out.write_all(&number.to_le_bytes()));
    match run.form {
        Form::Bare | Form::Directory => {}
        Form::Gzip => trailer(&[sum, opened])?,
        Form::Chunked | Form::Zlib => trailer(&[sum.swap_bytes()])?,
        Form::Descriptor => trailer(&[DESCRIPTOR, sum, packed, opened])?,
    }
    Ok(Member { start, crc: sum, packed, opened })
}

/// What a zip descriptor begins with.
const DESCRIPTOR: u32 = u32::from_le_bytes(*b"PK\x07\x08");
