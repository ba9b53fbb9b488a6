//! How a target is closed again, and how it was opened.

use std::io::{self, Read, Write};

use flate2::Crc;

use super::check::{Adler, Check, Checked, Counted};
use super::directory::{Member, Members, Way};
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

    /// Whether streams are opened.
    #[must_use]
    pub fn opens(&self) -> bool {
        self.runs.iter().any(Run::is_stream)
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
        let mut members = Members::default();
        for run in &self.runs {
            let copied = io::copy(&mut opened.take(run.raw), &mut out)?;
            if copied != run.raw {
                return Err(ENDED);
            }
            if run.is_stream() {
                let start = out.count;
                members.push(close(run, opened, &mut out, start)?);
            } else {
                members.pass(Way::Closing, (run.opened, run.origin), opened, &mut out)?;
            }
        }
        io::copy(opened, &mut out)?;
        Ok(out.count)
    }
}

const ENDED: DeflateError = DeflateError::Stream("the opened bytes end early");

/// Writes one stream and what is derived.
fn close(run: &Run, opened: &mut dyn Read, out: &mut dyn Write, start: u64) -> Result<Member, DeflateError> {
    if run.form == Form::Chunked {
        let mut pieces = PieceWriter::new(out, &run.chunks);
        let mut head = [0; 2];
        opened.read_exact(&mut head)?;
        pieces.write_all(&head)?;
        let member = compress(run, opened, &mut pieces, start)?;
        pieces.finish()?;
        return Ok(member);
    }
    compress(run, opened, out, start)
}

fn compress(run: &Run, opened: &mut dyn Read, out: &mut dyn Write, start: u64) -> Result<Member, DeflateError> {
    let encoder = run.encoder.ok_or(DeflateError::Malformed("a stream has no encoder"))?;
    let check = match run.form {
        Form::Zlib | Form::Chunked => Check::Adler(Adler::new()),
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
        Form::Zlib | Form::Chunked => trailer(&[sum.swap_bytes()])?,
        Form::Descriptor => trailer(&[DESCRIPTOR, sum, packed, opened])?,
    }
    Ok(Member { start, crc: sum, packed, opened })
}

/// What a zip descriptor begins with.
const DESCRIPTOR: u32 = u32::from_le_bytes(*b"PK\x07\x08");
