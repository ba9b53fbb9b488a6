//! gzip for packages: documents are compressed, what is compressed already is stored as it is.
//!
//! Follows RFC 1951 and RFC 1952: one member, whose blocks are compressed or stored. Most of a package is squashfs images, of
//! which deflate takes nothing and on which it spends a second for every 30 MB; a weak device that reads the package spends
//! it again. Guarantees: the bytes depend on the content and on where it is stored, not on how it is cut into writes; the
//! header says neither time nor name.

use std::io::{self, Write};

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// No name, no time, deflate, a system that is not known.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// Bytes of a stored block, and of what is compressed at a time: how input is cut decides how it is compressed.
const PIECE: usize = u16::MAX as usize;

/// Where a package is written to.
pub(super) trait Output: Write {
    /// Whether what is written from now on is compressed already.
    fn compressed_already(&mut self, _: bool) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes as they are.
pub(super) struct Plain<W>(pub(super) W);

impl<W: Write> Write for Plain<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W: Write> Output for Plain<W> {}

/// A gzip member that is being written.
pub(super) struct Gzip<W> {
    output: W,
    deflate: Compress,
    crc: Crc,
    buffer: Vec<u8>,
    /// What came and fills no piece yet.
    piece: Vec<u8>,
    /// Whether it is to be stored.
    stored: bool,
}

impl<W: Write> Gzip<W> {
    pub(super) fn new(mut output: W) -> io::Result<Self> {
        output.write_all(&HEADER)?;
        let deflate = Compress::new(Compression::default(), false);
        Ok(Self {
            output,
            deflate,
            crc: Crc::new(),
            buffer: vec![0; 32 << 10],
            piece: Vec::with_capacity(PIECE),
            stored: false,
        })
    }

    /// Ends the member.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.compressed_already(false)?;
        self.emit()?;
        self.deflate(&[], FlushCompress::Finish)?;
        self.output.write_all(&self.crc.sum().to_le_bytes())?;
        self.output.write_all(&self.crc.amount().to_le_bytes())?;
        Ok(self.output)
    }

    fn deflate(&mut self, mut input: &[u8], flush: FlushCompress) -> io::Result<()> {
        loop {
            let (read, written) = (self.deflate.total_in(), self.deflate.total_out());
            let status = self.deflate.compress(input, &mut self.buffer, flush).map_err(io::Error::other)?;
            // Both are at most the lengths of the slices.
            let read = usize::try_from(self.deflate.total_in() - read).unwrap_or(usize::MAX);
            let written = usize::try_from(self.deflate.total_out() - written).unwrap_or(usize::MAX);
            self.output.write_all(&self.buffer[..written])?;
            input = &input[read..];
            let drained = input.is_empty() && written < self.buffer.len();
            if status == Status::StreamEnd || (drained && flush != FlushCompress::Finish) {
                return Ok(());
            }
        }
    }

    /// Writes what came since the last time.
    fn emit(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.piece);
        if self.stored && !piece.is_empty() {
            self.block(&piece)?;
        } else if !piece.is_empty() {
            self.deflate(&piece, FlushCompress::None)?;
        }
        self.piece = piece;
        self.piece.clear();
        Ok(())
    }

    /// Writes a stored block that is not the last one. The stream is at the border of a byte.
    fn block(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
        self.output.write_all(&[0])?;
        self.output.write_all(&length.to_le_bytes())?;
        self.output.write_all(&(!length).to_le_bytes())?;
        self.output.write_all(bytes)
    }
}

impl<W: Write> Write for Gzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.crc.update(bytes);
        let mut left = bytes;
        while self.piece.len() + left.len() >= PIECE {
            let (now, later) = left.split_at(PIECE - self.piece.len());
            self.piece.extend_from_slice(now);
            self.emit()?;
            left = later;
        }
        self.piece.extend_from_slice(left);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

impl<W: Write> Output for Gzip<W> {
    fn compressed_already(&mut self, already: bool) -> io::Result<()> {
        if already == self.stored {
            return Ok(());
        }
        self.emit()?;
        self.stored = already;
        if already {
            // Ends the block at the border of a byte.
            self.deflate(&[], FlushCompress::Full)?;
        } else {
            // A new stream refers to nothing before it: what was stored would be in the way.
            self.deflate.reset();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    fn written(parts: &[(bool, &[u8])], cut: usize) -> Vec<u8> {
        let mut gzip = Gzip::new(Vec::new()).unwrap();
        for (already, part) in parts {
            gzip.compressed_already(*already).unwrap();
            part.chunks(cut).for_each(|piece| gzip.write_all(piece).unwrap());
        }
        gzip.finish().unwrap()
    }

    #[test]
    fn stored_and_compressed_parts_come_out_as_they_went_in() {
        let text = b"the same words again and again, ".repeat(5000);
        let noise: Vec<u8> = (0..200_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect();
        let exact = vec![7; 2 * PIECE];
        let all: [&[(bool, &[u8])]; 6] = [
            &[],
            &[(true, &[])],
            &[(false, &text)],
            &[(true, &noise)],
            &[(false, &text), (true, &noise), (false, &text), (true, &exact), (true, &noise), (false, b"end")],
            &[(true, &text), (false, &text)],
        ];
        for parts in all {
            let plain: Vec<u8> = parts.iter().flat_map(|(_, part)| part.iter().copied()).collect();
            let bytes = written(parts, 1 << 20);
            let mut read = Vec::new();
            let mut decoder = GzDecoder::new(bytes.as_slice());
            decoder.read_to_end(&mut read).unwrap();
            assert!(read == plain && decoder.into_inner().is_empty());
            for cut in [1000, 65_535, 65_536] {
                assert!(written(parts, cut) == bytes, "cut into {cut}");
            }
        }
        let both = written(&[(false, &text), (true, &noise)], 4096);
        assert!(both.len() > noise.len() && both.len() < noise.len() + 2000, "text is small, noise is stored");
    }
}
