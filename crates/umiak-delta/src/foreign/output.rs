//! Where a delta's bytes go: counted, bounded, copied in small pieces that can be stopped between.

use std::io::{BufWriter, Read, Write};

use umiak_spec::{Observer, ReadAt};

use super::{Bounds, ForeignError, PIECE};

/// The target while it is written.
pub(super) struct Output<'a> {
    target: BufWriter<&'a mut dyn Write>,
    observer: &'a dyn Observer,
    bounds: Bounds,
    written: u64,
    operations: u64,
    piece: Vec<u8>,
    second: Vec<u8>,
}

impl<'a> Output<'a> {
    pub(super) fn new(target: &'a mut dyn Write, bounds: &Bounds, observer: &'a dyn Observer) -> Self {
        Self {
            target: BufWriter::with_capacity(PIECE, target),
            observer,
            bounds: *bounds,
            written: 0,
            operations: 0,
            piece: vec![0; PIECE],
            second: vec![0; PIECE],
        }
    }

    /// Counts an operation.
    pub(super) fn operation(&mut self) -> Result<(), ForeignError> {
        self.operations += 1;
        if self.operations > self.bounds.operations {
            return Err(ForeignError::Limit { what: "operations", limit: self.bounds.operations });
        }
        if self.operations.is_multiple_of(1024) { Ok(self.observer.check()?) } else { Ok(()) }
    }

    /// Checks that `length` more bytes are allowed.
    pub(super) fn room(&self, length: u64) -> Result<(), ForeignError> {
        let limit = self.bounds.output;
        let fits = self.written.checked_add(length).is_some_and(|all| all <= limit);
        if fits { Ok(()) } else { Err(ForeignError::Limit { what: "bytes of the target", limit }) }
    }

    /// Writes the next `length` bytes of the delta as they are.
    pub(super) fn literal(&mut self, delta: &mut dyn Read, length: u64) -> Result<(), ForeignError> {
        self.pieces(length, |piece, _, _| delta.read_exact(piece).map_err(ForeignError::delta))
    }

    /// Writes a range of a base, which was checked to be there.
    pub(super) fn copy(&mut self, base: &dyn ReadAt, position: u64, length: u64) -> Result<(), ForeignError> {
        self.pieces(length, |piece, _, done| base.read_exact_at(piece, position + done).map_err(ForeignError::Base))
    }

    /// Writes the byte-wise sums, modulo 256, of a range of a base, which was checked to be there, and of the next
    /// `length` bytes of the delta.
    pub(super) fn add(
        &mut self,
        delta: &mut dyn Read,
        base: &dyn ReadAt,
        position: u64,
        length: u64,
    ) -> Result<(), ForeignError> {
        self.pieces(length, |piece, second, done| {
            delta.read_exact(piece).map_err(ForeignError::delta)?;
            base.read_exact_at(second, position + done).map_err(ForeignError::Base)?;
            for (sum, base) in piece.iter_mut().zip(second.iter()) {
                *sum = sum.wrapping_add(*base);
            }
            Ok(())
        })
    }

    /// Writes `length` bytes that `fill` produces a piece at a time: the piece, a second one of the same length to
    /// work with, and how many bytes came before.
    fn pieces(
        &mut self,
        length: u64,
        mut fill: impl FnMut(&mut [u8], &mut [u8], u64) -> Result<(), ForeignError>,
    ) -> Result<(), ForeignError> {
        self.room(length)?;
        let (mut first, mut second) = (std::mem::take(&mut self.piece), std::mem::take(&mut self.second));
        let mut done = 0;
        let mut result = Ok(());
        while result.is_ok() && done < length {
            let now = first.len().min(usize::try_from(length - done).unwrap_or(usize::MAX));
            let (piece, other) = (&mut first[..now], &mut second[..now]);
            result = fill(piece, other, done).and_then(|()| self.bytes(piece));
            done += now as u64;
        }
        (self.piece, self.second) = (first, second);
        result
    }

    /// Writes these bytes.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), ForeignError> {
        self.observer.check()?;
        self.room(bytes.len() as u64)?;
        self.target.write_all(bytes).map_err(ForeignError::Target)?;
        self.written += bytes.len() as u64;
        self.observer.advance("Writing", bytes.len() as u64);
        Ok(())
    }

    /// All is written; how many bytes that was.
    pub(super) fn finish(mut self) -> Result<u64, ForeignError> {
        self.target.flush().map_err(ForeignError::Target)?;
        Ok(self.written)
    }
}

/// Checks that a base has these bytes.
pub(super) fn check_range(position: u64, length: u64, size: u64, place: &str) -> Result<(), ForeignError> {
    let fits = position.checked_add(length).is_some_and(|end| end <= size);
    if fits { Ok(()) } else { Err(ForeignError::Range { position, length, place: place.to_owned(), size }) }
}
