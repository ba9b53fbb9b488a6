//! How a target is closed again, and how it was opened.

use std::io::{self, Read, Write};

use flate2::Crc;

use super::check::{Adler, Check, Checked, Counted};
use super::pieces::PieceWriter;
use super::run::{self, Form, Run};
use super::{DeflateError, layout};

/// How a target's bytes come from the opened ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    runs: Vec<Run>,
}

impl Recipe {
    pub(super) fn new(runs: Vec<Run>) -> Self {
        Self { runs }
    }

    /// Whether nothing is opened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Appends the recipe to notes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        run::encode(&self.runs, out);
    }

    /// Takes a recipe off the front of notes.
    ///
    /// # Errors
    /// [`DeflateError::Malformed`].
    pub fn decode(from: &mut &[u8]) -> Result<Self, DeflateError> {
        Ok(Self { runs: run::decode(from, true)? })
    }

    /// Opens the target that the recipe is of.
    ///
    /// # Errors
    /// It is another one.
    pub fn open(&self, target: &[u8]) -> Result<Vec<u8>, DeflateError> {
        let mut opened = Vec::new();
        layout::unwrap(&self.runs, &mut &*target, &mut opened)?;
        Ok(opened)
    }

    /// Writes the target whose opened bytes `opened` gives until its end; returns how many bytes it has. Takes below 1 MiB.
    ///
    /// # Errors
    /// `opened` ends early or has more than the recipe says; reading or writing fails.
    pub fn wrap(&self, opened: &mut dyn Read, out: &mut dyn Write) -> Result<u64, DeflateError> {
        let mut out = Counted { out, count: 0 };
        for run in &self.runs {
            let copied = io::copy(&mut opened.take(run.raw), &mut out)?;
            if copied != run.raw {
                return Err(ENDED);
            }
            close(run, opened, &mut out)?;
        }
        io::copy(opened, &mut out)?;
        Ok(out.count)
    }
}

const ENDED: DeflateError = DeflateError::Stream("the opened bytes end early");

/// Writes one stream and what is derived.
fn close(run: &Run, opened: &mut dyn Read, out: &mut dyn Write) -> Result<(), DeflateError> {
    if run.form == Form::Chunked {
        let mut pieces = PieceWriter::new(out, &run.chunks);
        let mut head = [0; 2];
        opened.read_exact(&mut head)?;
        pieces.write_all(&head)?;
        compress(run, opened, &mut pieces)?;
        return Ok(pieces.finish()?);
    }
    compress(run, opened, out)
}

fn compress(run: &Run, opened: &mut dyn Read, out: &mut dyn Write) -> Result<(), DeflateError> {
    let encoder = run.encoder.ok_or(DeflateError::Malformed("a stream has no encoder"))?;
    let check = match run.form {
        Form::Bare => Check::None,
        Form::Gzip | Form::Descriptor => Check::Crc(Crc::new()),
        Form::Zlib | Form::Chunked => Check::Adler(Adler::new()),
    };
    let mut source = Checked { source: opened, check, left: run.opened };
    let packed = encoder.compress(&mut source, out)?;
    if source.left != 0 {
        return Err(ENDED);
    }
    let sum = source.check.sum();
    match run.form {
        Form::Bare => {}
        Form::Gzip => {
            out.write_all(&sum.to_le_bytes())?;
            out.write_all(&(run.opened as u32).to_le_bytes())?;
        }
        Form::Zlib | Form::Chunked => out.write_all(&sum.to_be_bytes())?,
        Form::Descriptor => {
            out.write_all(b"PK\x07\x08")?;
            for number in [sum, packed as u32, run.opened as u32] {
                out.write_all(&number.to_le_bytes())?;
            }
        }
    }
    Ok(())
}
