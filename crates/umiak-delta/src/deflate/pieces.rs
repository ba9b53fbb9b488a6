//! A zlib stream cut into the IDAT chunks of a PNG: read and written as one.
//!
//! A chunk is its length (4 bytes, big-endian), "IDAT", the bytes, and the CRC-32 of name and bytes.

use std::io::{self, BufRead, Read, Write};

use flate2::Crc;

/// The name of the chunks.
pub(super) const NAME: [u8; 4] = *b"IDAT";

/// Lengths of chunks in order, each with how many chunks in a row have it.
pub(super) type Lengths = [(u32, u32)];

/// The chunk lengths one by one.
struct Each<'a> {
    lengths: &'a Lengths,
    done: u32,
}

impl Iterator for Each<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        loop {
            let (&(length, times), rest) = self.lengths.split_first()?;
            if self.done < times {
                self.done += 1;
                return Some(length);
            }
            self.lengths = rest;
            self.done = 0;
        }
    }
}

fn broken() -> io::Error {
    crate::patch::invalid("the chunks of a picture are not what the delta says")
}

/// Reads what chunks hold.
pub(super) struct PieceReader<'a> {
    source: &'a mut dyn BufRead,
    lengths: Each<'a>,
    left: u32,
    begun: bool,
}

impl<'a> PieceReader<'a> {
    /// `source` is before the first chunk.
    pub(super) fn new(source: &'a mut dyn BufRead, lengths: &'a Lengths) -> Self {
        Self { source, lengths: Each { lengths, done: 0 }, left: 0, begun: false }
    }

    /// Everything was read; `source` is behind the last chunk.
    pub(super) fn finish(mut self) -> io::Result<()> {
        if self.fill_buf()?.is_empty() { Ok(()) } else { Err(broken()) }
    }

    fn end_chunk(&mut self) -> io::Result<()> {
        if self.begun {
            self.source.read_exact(&mut [0; 4])?;
            self.begun = false;
        }
        Ok(())
    }
}

impl Read for PieceReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for PieceReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.left == 0 {
            self.end_chunk()?;
            let Some(length) = self.lengths.next() else { return Ok(&[]) };
            let mut head = [0; 8];
            self.source.read_exact(&mut head)?;
            if head[..4] != length.to_be_bytes() || head[4..] != NAME {
                return Err(broken());
            }
            self.left = length;
            self.begun = true;
        }
        let bytes = self.source.fill_buf()?;
        Ok(&bytes[..bytes.len().min(self.left as usize)])
    }

    fn consume(&mut self, length: usize) {
        self.source.consume(length);
        self.left -= length as u32;
    }
}

/// Writes bytes in chunks.
pub(super) struct PieceWriter<'a> {
    out: &'a mut dyn Write,
    lengths: Each<'a>,
    left: u32,
    crc: Option<Crc>,
}

impl<'a> PieceWriter<'a> {
    /// Chunks of these lengths.
    pub(super) fn new(out: &'a mut dyn Write, lengths: &'a Lengths) -> Self {
        Self { out, lengths: Each { lengths, done: 0 }, left: 0, crc: None }
    }

    /// Everything was written, and it was as much as the chunks have room for.
    pub(super) fn finish(mut self) -> io::Result<()> {
        while self.left == 0 {
            if !self.next_chunk()? {
                return Ok(());
            }
        }
        Err(broken())
    }

    /// Ends the chunk and begins the next, if there is one.
    fn next_chunk(&mut self) -> io::Result<bool> {
        if let Some(crc) = self.crc.take() {
            self.out.write_all(&crc.sum().to_be_bytes())?;
        }
        let Some(length) = self.lengths.next() else { return Ok(false) };
        self.out.write_all(&length.to_be_bytes())?;
        self.out.write_all(&NAME)?;
        self.crc.get_or_insert_default().update(&NAME);
        self.left = length;
        Ok(true)
    }
}

impl Write for PieceWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        while self.left == 0 {
            if !self.next_chunk()? {
                return Err(broken());
            }
        }
        let part = &bytes[..bytes.len().min(self.left as usize)];
        self.out.write_all(part)?;
        self.crc.get_or_insert_default().update(part);
        self.left -= part.len() as u32;
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_back() {
        let lengths = [(0, 2), (3, 2), (1, 1), (0, 1)];
        let mut out = Vec::new();
        let mut writer = PieceWriter::new(&mut out, &lengths);
        writer.write_all(b"seven b").unwrap();
        writer.finish().unwrap();
        // The CRC of an empty IDAT chunk, as in RFC 2083 made by any encoder.
        assert_eq!(out[..12], *b"\0\0\0\0IDAT\x35\xAF\x06\x1E");
        let mut source = out.as_slice();
        let mut reader = PieceReader::new(&mut source, &lengths);
        let mut back = Vec::new();
        reader.read_to_end(&mut back).unwrap();
        reader.finish().unwrap();
        assert_eq!(back, b"seven b");
        assert!(source.is_empty());
    }

    #[test]
    fn too_much_and_too_little_are_refused() {
        let mut out = Vec::new();
        let mut writer = PieceWriter::new(&mut out, &[(3, 1)]);
        assert!(writer.write_all(b"four").is_err());
        let mut writer = PieceWriter::new(&mut out, &[(3, 1)]);
        writer.write_all(b"tw").unwrap();
        assert!(writer.finish().is_err());
    }
}
