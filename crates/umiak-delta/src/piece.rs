//! One patched content on the maker's side: its copies, and writing it into the streams of a lane.

use std::io;

use umiak_spec::ReadAt;

use crate::DeltaError;
use crate::align::{Aligner, Copy};
use crate::correct::{Correct, Guess, Others};
use crate::model::{self, BLOCK, Operation, Progress};
use crate::plan::Method;
use crate::streams::Lane;
use crate::varint;
use crate::{deflate, exe};

/// How a content is patched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// How its copies are predicted.
    pub method: Method,
    copies: Vec<Copy>,
    note: Vec<u8>,
    /// About how many bytes it takes in a delta.
    pub cost: u64,
}

/// Bytes that the streams of a base or target may hold: matching takes nine times as much.
const OPENED: u64 = 96 << 20;

/// A match must agree in this many bytes more than the copy before it would, to begin a copy: what suits files that hardly
/// moved, and such that were shuffled.
const CLEARLY: [usize; 3] = [24, 14, 8];

impl Piece {
    /// Copies of `base` as it is.
    ///
    /// # Errors
    /// The base is too large.
    pub fn plain(base: &[u8], target: &[u8]) -> Result<Self, DeltaError> {
        let aligner = Aligner::new(base).map_err(DeltaError::Match)?;
        let mut best: Option<Self> = None;
        for clearly in CLEARLY {
            let piece = Self::copied(base, target, aligner.align(target, clearly))?;
            if best.as_ref().is_some_and(|best| best.cost <= piece.cost) {
                break;
            }
            best = Some(piece);
        }
        best.ok_or(DeltaError::Malformed("nothing was tried"))
    }

    fn copied(base: &[u8], target: &[u8], copies: Vec<Copy>) -> Result<Self, DeltaError> {
        let mut trace = Trace::new(target);
        for copy in &copies {
            let (from, to, length) = (copy.base as usize, copy.target as usize, copy.length as usize);
            trace.compare(&base[from..from + length], &target[to..to + length]);
        }
        let cost = trace.cost(&copies)?;
        Ok(Self { method: Method::Plain, copies, note: Vec::new(), cost })
    }

    /// Both are programs: references are predicted. `None` when they are not, or when plain copies say it shorter.
    ///
    /// # Errors
    /// The base is too large.
    pub fn program(base: &[u8], target: &[u8]) -> Result<Option<Self>, DeltaError> {
        let Some(programs) = exe::Programs::open(base, target)? else { return Ok(None) };
        let first = Self::copied(base, target, Aligner::new(base).map_err(DeltaError::Match)?.align(target, 12))?;
        let note = programs.note();
        let mut best = Self::predicted(base, target, &note, first.copies.clone())?;
        if base.len() as u64 * 9 + target.len() as u64 * 5 > LABELLED {
            return Ok(Some(if first.cost < best.cost { first } else { best }));
        }
        let labelled = exe::Labelled::new(&programs, &first.copies)?;
        let labels = labelled.base();
        let aligner = Aligner::new(&labels).map_err(DeltaError::Match)?;
        for clearly in RELABELLED {
            let piece = Self::predicted(base, target, &note, aligner.align(&labelled.target(&best.copies), clearly))?;
            if piece.cost < best.cost {
                best = piece;
            }
        }
        Ok(Some(if first.cost < best.cost { first } else { best }))
    }

    fn predicted(base: &[u8], target: &[u8], note: &[u8], copies: Vec<Copy>) -> Result<Self, DeltaError> {
        if copies.len() > crate::apply::MAX_COPIES {
            return Ok(Self { method: Method::Program, copies, note: Vec::new(), cost: u64::MAX });
        }
        let mut trace = Trace::new(target);
        exe::predict(&base, note, &copies, Some(target), &mut trace, &mut |_, _| Ok(()))
            .map_err(DeltaError::Program)?;
        let cost = trace.cost(&copies)? + note.len() as u64;
        Ok(Self { method: Method::Program, copies, note: note.to_vec(), cost })
    }

    /// Deflate streams in them are opened. `None` when there is nothing to open.
    ///
    /// # Errors
    /// The opened base is too large.
    pub fn deflate(base: &[u8], target: &[u8]) -> Result<Option<Opened>, DeltaError> {
        let Some(opening) = deflate::open(base, target, OPENED) else { return Ok(None) };
        let mut piece = Self::plain(&opening.base, &opening.target)?;
        piece.method = Method::Deflate;
        opening.layout.encode(&mut piece.note);
        opening.recipe.encode(&opening.layout, &mut piece.note);
        if piece.note.len() as u64 > crate::apply::MAX_NOTE {
            return Ok(None);
        }
        piece.cost += compressed(&piece.note)?;
        // The middle: a header is not what the file is.
        let lane = crate::make::lane(&opening.target[opening.target.len() / 2..]);
        Ok(Some(Opened { piece, lane, packed: opening.packed }))
    }

    /// Writes the content into the streams of its lane.
    ///
    /// # Errors
    /// Prediction fails, which its own input never makes it do.
    pub fn write(&self, base: &[u8], target: &[u8], lane: &mut LaneOut) -> Result<(), DeltaError> {
        match self.method {
            Method::Plain => Ok(self.write_plain(base, target, lane)?),
            Method::Program => {
                lane.note(&self.note);
                let mut progress = Progress::new(target.len() as u64, base.len() as u64);
                self.operations(target, &mut progress, lane, |_, _| Ok(()))?;
                exe::predict(&base, &self.note, &self.copies, Some(target), &mut lane.model, &mut |_, _| Ok(()))
                    .map_err(DeltaError::Program)
            }
            Method::Deflate => {
                let (base, target) = self.opened(base, target).map_err(DeltaError::Deflate)?;
                lane.note(&self.note);
                Ok(self.write_plain(&base, &target, lane)?)
            }
        }
    }

    /// Base and target, opened as the note says.
    fn opened(&self, base: &[u8], target: &[u8]) -> Result<(Vec<u8>, Vec<u8>), deflate::DeflateError> {
        let mut note = self.note.as_slice();
        let layout = deflate::Layout::decode(&mut note)?;
        let recipe = deflate::Recipe::decode(&mut note, &layout)?;
        let mut opened = Vec::new();
        layout.unwrap(&base, base.len() as u64, &mut opened)?;
        Ok((opened, recipe.open(target)?))
    }

    fn write_plain(&self, base: &[u8], target: &[u8], lane: &mut LaneOut) -> io::Result<()> {
        let mut progress = Progress::new(target.len() as u64, base.len() as u64);
        let mut block = Vec::new();
        self.operations(target, &mut progress, lane, |copy, lane| {
            let copied = &base[copy.base as usize..][..copy.length as usize];
            let actual = &target[copy.target as usize..][..copy.length as usize];
            for (copied, actual) in copied.chunks(BLOCK as usize).zip(actual.chunks(BLOCK as usize)) {
                block.clear();
                block.extend_from_slice(copied);
                lane.model.correct(&mut block, Some(actual), 0)?;
            }
            Ok(())
        })
    }

    fn operations(
        &self,
        target: &[u8],
        progress: &mut Progress,
        lane: &mut LaneOut,
        mut copied: impl FnMut(&Copy, &mut LaneOut) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut literal = |from: u64, to: u64, copy: Option<(u64, u64)>, lane: &mut LaneOut| {
            lane.bytes.extend_from_slice(&target[from as usize..to as usize]);
            lane.model.operation(Some(Operation { literal: to - from, copy }), progress)
        };
        let mut at = 0;
        for copy in &self.copies {
            literal(at, copy.target, Some((copy.base, copy.length)), lane)?;
            copied(copy, lane)?;
            at = copy.target + copy.length;
        }
        if at < target.len() as u64 {
            literal(at, target.len() as u64, None, lane)?;
        }
        Ok(())
    }
}

/// Bytes of memory that the texts with labels may take; larger programs are aligned without them.
const LABELLED: u64 = 1400 << 20;

/// As [`CLEARLY`], for programs with labels.
const RELABELLED: [usize; 2] = [12, 9];

/// A patch between opened files.
pub struct Opened {
    /// The patch.
    pub piece: Piece,
    /// The lane for what the streams hold.
    pub lane: Lane,
    /// Bytes of the target's opened streams, compressed.
    pub packed: u64,
}

impl Opened {
    /// Whether it is so much shorter than the compressed bytes that copying these cannot be better.
    pub fn is_clear(&self) -> bool {
        self.piece.cost.saturating_mul(8) < self.packed
    }
}

/// The streams of a lane that are being written.
pub struct LaneOut {
    model: model::Lane<model::Encoder>,
    /// See [`crate::streams::Kind::Bytes`].
    pub bytes: Vec<u8>,
    /// See [`crate::streams::Kind::Notes`].
    pub notes: Vec<u8>,
}

impl LaneOut {
    /// Empty.
    pub fn new() -> Self {
        Self { model: model::Lane::new(model::Encoder::default()), bytes: Vec::new(), notes: Vec::new() }
    }

    fn note(&mut self, note: &[u8]) {
        varint::put(&mut self.notes, note.len() as u64);
        self.notes.extend_from_slice(note);
    }

    /// Model, literals, notes.
    pub fn finish(self) -> [Vec<u8>; 3] {
        [self.model.coder.finish(), self.bytes, self.notes]
    }
}

/// Notes where predictions are wrong, to estimate what they cost.
struct Trace<'a> {
    target: &'a [u8],
    gaps: Vec<u8>,
    gap: u64,
    mismatches: Vec<u8>,
}

impl<'a> Trace<'a> {
    fn new(target: &'a [u8]) -> Self {
        Self { target, gaps: Vec::new(), gap: 0, mismatches: Vec::new() }
    }

    fn compare(&mut self, predicted: &[u8], actual: &[u8]) {
        let mut at = 0;
        while at < actual.len() {
            let run = crate::suffix::common(&predicted[at..], &actual[at..]);
            self.gap += run as u64;
            at += run;
            if at < actual.len() {
                varint::put(&mut self.gaps, self.gap);
                self.gap = 0;
                self.mismatches.push(actual[at].wrapping_sub(predicted[at]));
                at += 1;
            }
        }
    }

    /// With what `copies` cost and the literals between them.
    fn cost(&self, copies: &[Copy]) -> io::Result<u64> {
        let (mut numbers, mut literals) = (Vec::new(), Vec::new());
        let (mut at, mut end) = (0, 0);
        for copy in copies {
            literals.extend_from_slice(&self.target[at..copy.target as usize]);
            varint::put(&mut numbers, copy.target - at as u64);
            varint::put(&mut numbers, copy.length);
            varint::put_signed(&mut numbers, copy.base.wrapping_sub(end).cast_signed());
            at = (copy.target + copy.length) as usize;
            end = copy.base + copy.length;
        }
        literals.extend_from_slice(&self.target[at..]);
        let mut cost = 0;
        for bytes in [&numbers, &literals, &self.gaps, &self.mismatches] {
            cost += compressed(bytes)?;
        }
        Ok(cost)
    }
}

/// About how many bytes `bytes` take among others of their kind.
///
/// # Errors
/// The compressor has no memory.
pub fn compressed(bytes: &[u8]) -> io::Result<u64> {
    // What is compressed alone pays for a header that it would not pay among others.
    Ok((zstd::bulk::compress(bytes, 6)?.len() as u64).saturating_sub(12))
}

impl Correct for Trace<'_> {
    fn bytes(&mut self, predicted: &mut [u8], actual: Option<&[u8]>) -> io::Result<()> {
        if let Some(actual) = actual {
            self.compare(predicted, actual);
            predicted.copy_from_slice(actual);
        }
        Ok(())
    }

    fn reference(
        &mut self,
        guess: &Guess,
        others: &mut dyn FnMut(&mut Others),
        actual: Option<u64>,
    ) -> io::Result<u64> {
        let actual = actual.unwrap_or(guess.word);
        if actual == guess.word {
            self.gap += 1;
            return Ok(actual);
        }
        varint::put(&mut self.gaps, self.gap);
        self.gap = 0;
        let mut more = Others::beside(guess.word);
        others(&mut more);
        if let Some(place) = more.words().iter().position(|(word, _)| *word == actual) {
            self.mismatches.push(place as u8);
        } else {
            let distance = guess.form.value(actual).wrapping_sub(guess.form.value(guess.word));
            varint::put_signed(&mut self.mismatches, distance.cast_signed());
        }
        Ok(actual)
    }
}

/// All bytes of a source.
///
/// # Errors
/// It cannot be read.
pub fn read_all(source: &dyn ReadAt, size: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(size).map_err(|_| io::ErrorKind::OutOfMemory)?];
    source.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
