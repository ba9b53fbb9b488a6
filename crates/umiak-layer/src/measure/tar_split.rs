//! How long the file is from which Docker makes a layer's tar again: tar-split's JSON lines (its v0.11), compressed by Go.
//!
//! A line is a *segment*, the archive's bytes between two contents in base64, or a *file*: name, size, CRC-64 of the
//! content. Guarantees: exact for archives that Docker loads, except that padding behind the end may come to it in pieces,
//! each a segment, which takes a few bytes more; of anything else some length. Takes the archive in chunks as
//! they come; memory is bounded by the longest extended header that is read, and by one line.
//!
//! What it does not do: the CRC of a sparse file is that of its stored bytes without holes, which may change the length by a byte.

use crate::base64;
use crate::go_gzip::GoGzip;
use crate::header::{BLOCK, Block, Header};
use crate::pax;

/// Bytes of an extended header that is read; longer ones end the list of files.
const MOST_BODY: u64 = 1 << 20;

/// Bytes of a segment that are written at a time when it is very long; a multiple of 3, as base64 goes.
const PIECE: usize = 3 << 20;

/// Takes an archive, and knows the length at the end.
pub(super) struct TarSplit {
    gzip: GoGzip,
    line: Vec<u8>,
    lines: u64,
    /// The archive's bytes since the last content.
    segment: Vec<u8>,
    /// A piece of the segment's line was written.
    begun: bool,
    state: State,
    block: Vec<u8>,
    named: Named,
    /// Bytes of padding behind the last content.
    padding: usize,
}

/// What the next bytes are.
enum State {
    Padding(usize),
    Header,
    /// An extended header of this type, with so many bytes of text and so many in all.
    Body {
        kind: u8,
        text: usize,
        left: usize,
    },
    /// A block with more of an old GNU sparse map; then the content.
    SparseMap {
        stored: u64,
    },
    Content {
        left: u64,
        crc: u64,
    },
    /// A block of zeros was seen.
    LastBlock,
    /// Behind the end.
    Rest,
}

/// What extended headers said of the next file.
#[derive(Default)]
struct Named {
    pax: pax::Extended,
    long: Option<Vec<u8>>,
    name: Vec<u8>,
    size: u64,
}

impl TarSplit {
    pub(super) fn new() -> Self {
        Self {
            gzip: GoGzip::new(),
            line: Vec::new(),
            lines: 0,
            segment: Vec::new(),
            begun: false,
            state: State::Header,
            block: Vec::new(),
            named: Named::default(),
            padding: 0,
        }
    }

    /// The next bytes of the archive.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.step(bytes);
            bytes = &bytes[taken..];
            self.shorten();
        }
    }

    /// Bytes of the compressed file.
    pub(super) fn finish(mut self) -> u64 {
        match self.state {
            State::Content { crc, .. } => self.write_file(Some(crc)),
            _ if self.segment.is_empty() && !self.begun => {}
            _ => self.write_segment(),
        }
        // The end is a segment of nothing.
        self.write_segment();
        self.gzip.finish()
    }

    /// Keeps memory bounded where an archive has only headers, or goes on behind its end.
    fn shorten(&mut self) {
        if self.segment.len() >= PIECE {
            self.write_piece(PIECE);
            self.gzip.write(&self.line);
            self.line.clear();
        }
    }

    /// Takes some of `bytes`: how many.
    fn step(&mut self, bytes: &[u8]) -> usize {
        match self.state {
            State::Content { left, crc } => {
                let taken = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                let (left, crc) = (left - taken as u64, crc64(crc, &bytes[..taken]));
                self.state = State::Content { left, crc };
                if left == 0 {
                    self.write_file(Some(crc));
                    self.state = State::Padding(self.padding);
                    self.skip_nothing();
                }
                taken
            }
            State::Padding(left) => {
                let taken = left.min(bytes.len());
                self.segment.extend_from_slice(&bytes[..taken]);
                self.state = State::Padding(left - taken);
                self.skip_nothing();
                taken
            }
            State::Rest => {
                self.segment.extend_from_slice(bytes);
                bytes.len()
            }
            State::Body { left, .. } => self.collect(left, bytes),
            State::Header | State::SparseMap { .. } | State::LastBlock => self.collect(BLOCK, bytes),
        }
    }

    /// No padding left is no state.
    fn skip_nothing(&mut self) {
        if matches!(self.state, State::Padding(0)) {
            self.state = State::Header;
        }
    }

    /// Gathers `wanted` bytes, and goes on when they are there.
    fn collect(&mut self, wanted: usize, bytes: &[u8]) -> usize {
        let taken = (wanted - self.block.len()).min(bytes.len());
        self.block.extend_from_slice(&bytes[..taken]);
        self.segment.extend_from_slice(&bytes[..taken]);
        if self.block.len() == wanted {
            let block = std::mem::take(&mut self.block);
            self.state = self.collected(&block);
            self.block = block;
            self.block.clear();
        }
        taken
    }

    /// What comes after these bytes.
    fn collected(&mut self, block: &[u8]) -> State {
        match self.state {
            State::Body { kind, text, .. } => {
                self.body(kind, &block[..text.min(block.len())]);
                State::Header
            }
            State::LastBlock => self.rest(),
            State::SparseMap { stored } => match block.get(504) {
                Some(0) | None => self.content(stored),
                Some(_) => State::SparseMap { stored },
            },
            _ => match block.first_chunk() {
                Some(block) if block.iter().any(|byte| *byte != 0) => self.header(block),
                _ => State::LastBlock,
            },
        }
    }

    fn rest(&mut self) -> State {
        self.write_segment();
        State::Rest
    }

    fn header(&mut self, block: &Block) -> State {
        let Some(header) = Header::new(block) else { return self.rest() };
        let kind = header.kind();
        let size = header.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
        if matches!(kind, b'x' | b'g' | b'L' | b'K') {
            let padded = size.checked_next_multiple_of(BLOCK as u64).filter(|_| size <= MOST_BODY);
            let Some(left) = padded.and_then(|padded| usize::try_from(padded).ok()) else { return self.rest() };
            let text = usize::try_from(size).unwrap_or(left);
            if left == 0 {
                self.body(kind, &[]);
                return State::Header;
            }
            return State::Body { kind, text, left };
        }
        let Named { pax, long, .. } = std::mem::take(&mut self.named);
        self.named.name = pax.sparse.name.or(pax.path).or(long).unwrap_or_else(|| header.path());
        let size = pax.size.unwrap_or(size);
        // Links, devices and directories have no content, whatever they say.
        let is_file = matches!(kind, b'0' | b'\0' | b'7' | b'S') && !(kind != b'S' && self.named.name.ends_with(b"/"));
        let stored = if is_file { size } else { 0 };
        let of_sparse = header.sparse_size().filter(|_| kind == b'S').and_then(|size| u64::try_from(size).ok());
        self.named.size = pax.sparse.size.or(of_sparse).unwrap_or(size);
        if kind == b'S' && header.sparse_extents().1 {
            return State::SparseMap { stored };
        }
        self.content(stored)
    }

    /// A file's content comes next, of so many bytes.
    fn content(&mut self, stored: u64) -> State {
        self.write_segment();
        self.padding = usize::try_from(stored.next_multiple_of(BLOCK as u64) - stored).unwrap_or(0);
        if stored > 0 {
            return State::Content { left: stored, crc: CRC_START };
        }
        self.write_file((self.named.size > 0).then_some(CRC_START));
        State::Header
    }

    fn body(&mut self, kind: u8, text: &[u8]) {
        match kind {
            b'x' => {
                self.named.pax = pax::Extended::default();
                // What cannot be read says nothing.
                let _ = pax::read(&mut self.named.pax, text);
            }
            b'L' => {
                let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
                self.named.long = Some(text[..end].to_vec());
            }
            b'g' => {
                // To tar-split, a global header is a file without content.
                self.write_segment();
                self.named.size = 0;
                self.named.name = b"pax_global_header".to_vec();
                self.write_file(None);
            }
            _ => {}
        }
    }

    /// The bytes gathered so far as a segment, also when there are none.
    fn write_segment(&mut self) {
        self.write_piece(self.segment.len());
        self.begun = false;
        self.line.push(b'"');
        self.end_line();
    }

    /// The first `length` gathered bytes as the next piece of a segment.
    fn write_piece(&mut self, length: usize) {
        if !std::mem::replace(&mut self.begun, true) {
            self.line.extend_from_slice(b"{\"type\":2,\"payload\":\"");
        }
        base64::encode(&mut self.line, &self.segment[..length]);
        self.segment.drain(..length);
    }

    fn write_file(&mut self, crc: Option<u64>) {
        self.line.extend_from_slice(b"{\"type\":1");
        let name = std::mem::take(&mut self.named.name);
        match std::str::from_utf8(&name) {
            Ok("") => {}
            Ok(name) => {
                self.line.extend_from_slice(b",\"name\":\"");
                json_text(&mut self.line, name);
                self.line.push(b'"');
            }
            Err(_) => {
                self.line.extend_from_slice(b",\"name_raw\":\"");
                base64::encode(&mut self.line, &name);
                self.line.push(b'"');
            }
        }
        if self.named.size > 0 {
            self.line.extend_from_slice(format!(",\"size\":{}", self.named.size).as_bytes());
        }
        self.line.extend_from_slice(b",\"payload\":");
        match crc {
            Some(crc) => {
                self.line.push(b'"');
                base64::encode(&mut self.line, &(!crc).to_be_bytes());
                self.line.push(b'"');
            }
            None => self.line.extend_from_slice(b"null"),
        }
        self.end_line();
    }

    fn end_line(&mut self) {
        self.line.extend_from_slice(format!(",\"position\":{}}}\n", self.lines).as_bytes());
        self.lines += 1;
        self.gzip.write(&self.line);
        self.line.clear();
    }
}

/// A text as Go's JSON encoder escapes it.
fn json_text(line: &mut Vec<u8>, text: &str) {
    for letter in text.chars() {
        match letter {
            '"' | '\\' => line.extend_from_slice(&[b'\\', letter as u8]),
            '\n' => line.extend_from_slice(b"\\n"),
            '\r' => line.extend_from_slice(b"\\r"),
            '\t' => line.extend_from_slice(b"\\t"),
            '\0'..' ' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                line.extend_from_slice(format!("\\u{:04x}", u32::from(letter)).as_bytes());
            }
            letter => line.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

const CRC_START: u64 = u64::MAX;

/// CRC-64 of ISO 3309, eight bytes at a time.
fn crc64(mut crc: u64, bytes: &[u8]) -> u64 {
    let (eights, rest) = bytes.as_chunks::<8>();
    for eight in eights {
        crc ^= u64::from_le_bytes(*eight);
        let bytes = crc.to_le_bytes();
        crc = (0..8).fold(0, |sum, at| sum ^ CRC[7 - at][usize::from(bytes[at])]);
    }
    rest.iter().fold(crc, |crc, byte| CRC[0][usize::from((crc & 0xff) as u8 ^ byte)] ^ crc >> 8)
}

/// What a byte does to the CRC, followed by 0 to 7 bytes of zeros.
static CRC: [[u64; 256]; 8] = {
    let mut table = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u64, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xd800_0000_0000_0000 } else { crc >> 1 };
            bit += 1;
        }
        table[0][byte] = crc;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < 8 {
        let mut byte = 0;
        while byte < 256 {
            let crc = table[zeros - 1][byte];
            table[zeros][byte] = table[0][(crc & 0xff) as usize] ^ crc >> 8;
            byte += 1;
        }
        zeros += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_layer_has_82_bytes() {
        let mut split = TarSplit::new();
        split.feed(&[0; 1024]);
        assert_eq!(split.finish(), 82);
    }

    #[test]
    fn crc_and_texts_are_those_of_go() {
        // The check value of the CRC's catalogue entry, CRC-64/GO-ISO.
        assert_eq!(!crc64(CRC_START, b"123456789"), 0xb909_56c7_75a4_1001);
        let mut line = Vec::new();
        json_text(&mut line, "a\"\\\n\u{8}<é>&\u{2028}\u{7f}");
        assert_eq!(String::from_utf8(line).unwrap(), "a\\\"\\\\\\n\\u0008\\u003cé\\u003e\\u0026\\u2028\u{7f}");
    }

    #[test]
    fn chunks_and_damage_do_no_harm() {
        let mut archive = Vec::new();
        for number in 0_u8..40 {
            let mut block = [0; BLOCK];
            block[0] = b'a' + number % 26;
            block[124..135].copy_from_slice(format!("{:011o}", u32::from(number) * 37).as_bytes());
            block[156] = b"0xgLS5"[usize::from(number) % 6];
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
            archive.extend(block);
            archive.extend(vec![number; (usize::from(number) * 37).next_multiple_of(BLOCK)]);
        }
        archive.extend([0; 4096]);
        let length = |chunk: usize| {
            let mut split = TarSplit::new();
            archive.chunks(chunk).for_each(|chunk| split.feed(chunk));
            split.finish()
        };
        assert_eq!(length(archive.len()), length(7));
        assert_eq!(length(archive.len()), length(1));
        for end in 0..archive.len() / 64 {
            let mut split = TarSplit::new();
            split.feed(&archive[..end * 64]);
            assert!(split.finish() > 23);
        }
    }
}
