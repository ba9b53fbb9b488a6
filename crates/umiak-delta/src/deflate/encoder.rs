//! Deflate as zlib and GNU gzip do it, to the bit.
//!
//! Both look for matches in hash chains, greedily at the levels 1 to 3 and lazily (a match is taken only if the next byte does
//! not begin a longer one) from 4 on. They differ in when a block ends and in what happens near the end of the input. The
//! result is what `deflate` of zlib 1.2.11 to 1.3.1 gives when all input is at hand, and what `gzip` 1.3 to 1.13 gives.

use std::io::{self, Read, Write};

use super::bits::BitWriter;
use super::block::{Block, Symbol};
use super::codes::SHORTEST;
use super::first::First;
use super::window::{Search, Window};

/// Whose bytes are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// GNU gzip.
    Gnu,
    /// zlib, and what is made with it: Python, Java, Info-ZIP (memory 8), libpng, git.
    Zlib {
        /// `memLevel`, 1 to 9.
        memory: u8,
        /// `strategy`.
        strategy: Strategy,
    },
}

/// zlib's strategies; `Z_RLE` is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Strategy {
    /// `Z_DEFAULT_STRATEGY`
    Default = 0,
    /// `Z_FILTERED`: matches of up to 5 bytes are not taken lazily.
    Filtered = 1,
    /// `Z_HUFFMAN_ONLY`: no matches.
    Huffman = 2,
    /// `Z_FIXED`: the fixed codes only.
    Fixed = 3,
}

/// An encoder with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Encoder {
    family: Family,
    level: u8,
}

/// Match finding by level.
#[derive(Clone, Copy)]
struct Effort {
    /// From this length on the search for a better one is cut short.
    good: usize,
    /// Shorter ones are tried to be beaten; for the fast levels, longer ones are not inserted.
    lazy: usize,
    nice: usize,
    chain: usize,
}

const EFFORTS: [Effort; 9] = [
    Effort { good: 4, lazy: 4, nice: 8, chain: 4 },
    Effort { good: 4, lazy: 5, nice: 16, chain: 8 },
    Effort { good: 4, lazy: 6, nice: 32, chain: 32 },
    Effort { good: 4, lazy: 4, nice: 16, chain: 16 },
    Effort { good: 8, lazy: 16, nice: 32, chain: 32 },
    Effort { good: 8, lazy: 16, nice: 128, chain: 128 },
    Effort { good: 8, lazy: 32, nice: 128, chain: 256 },
    Effort { good: 32, lazy: 128, nice: 258, chain: 1024 },
    Effort { good: 32, lazy: 258, nice: 258, chain: 4096 },
];

/// A match of three bytes from farther away is longer than three literals.
const TOO_FAR: usize = 4096;

/// GNU gzip thinks about ending a block at every multiple of so many symbols.
const PONDER: usize = 4096;

impl Encoder {
    /// `family` at `level` 1 to 9; `None` for others.
    #[must_use]
    pub fn new(family: Family, level: u8) -> Option<Self> {
        let memory_exists = match family {
            Family::Gnu => true,
            Family::Zlib { memory, .. } => (1..=9).contains(&memory),
        };
        ((1..=9).contains(&level) && memory_exists).then_some(Self { family, level })
    }

    /// The encoder as a number below 512: the family times 10 plus the level. Family 0 is GNU gzip, 1 + 9 × strategy +
    /// (memory − 1) is zlib.
    #[must_use]
    pub fn number(self) -> u64 {
        let family = match self.family {
            Family::Gnu => 0,
            Family::Zlib { memory, strategy } => strategy as u64 * 9 + u64::from(memory),
        };
        family * 10 + u64::from(self.level)
    }

    /// The encoder with a number.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        let family = match usize::try_from(number / 10).ok()? {
            0 => Family::Gnu,
            family => {
                let strategies = [Strategy::Default, Strategy::Filtered, Strategy::Huffman, Strategy::Fixed];
                let strategy = *strategies.get((family - 1) / 9)?;
                Family::Zlib { memory: ((family - 1) % 9 + 1) as u8, strategy }
            }
        };
        Self::new(family, (number % 10) as u8)
    }

    /// Whether a stream may be made by this encoder that begins with such a block.
    pub(super) fn may_make(self, first: &First) -> bool {
        let room = self.room();
        match self.family {
            Family::Zlib { strategy: Strategy::Huffman, .. } if first.matches || self.level != 6 => false,
            _ if first.last => first.symbols <= room,
            Family::Gnu => first.symbols == room || self.level > 2 && first.symbols.is_multiple_of(PONDER),
            Family::Zlib { .. } => first.symbols == room,
        }
    }

    /// A block has at most so many symbols.
    fn room(self) -> usize {
        match self.family {
            Family::Gnu => (1 << 15) - 1,
            Family::Zlib { memory, .. } => (1 << (memory + 6)) - 1,
        }
    }

    /// Writes all of `plain` as one deflate stream; returns how many bytes it took.
    ///
    /// # Errors
    /// Reading or writing fails.
    pub fn compress(self, plain: &mut dyn Read, out: &mut dyn Write) -> io::Result<u64> {
        let mut run = Run::new(self, plain, out);
        match self.family {
            Family::Zlib { strategy: Strategy::Huffman, .. } => run.literals()?,
            _ if self.level <= 3 => run.greedy()?,
            _ => run.lazy()?,
        }
        run.finish()
    }
}

struct Run<'a> {
    window: Window<'a>,
    block: Block,
    out: BitWriter<'a>,
    effort: Effort,
    /// A block has at most so many symbols.
    room: usize,
    /// GNU gzip ends blocks where it pays.
    ponders: bool,
    filtered: bool,
}

impl<'a> Run<'a> {
    fn new(encoder: Encoder, plain: &'a mut dyn Read, out: &'a mut dyn Write) -> Self {
        let (hash_bits, strategy) = match encoder.family {
            Family::Gnu => (15, Strategy::Default),
            Family::Zlib { memory, strategy } => (u32::from(memory) + 7, strategy),
        };
        let gnu = encoder.family == Family::Gnu;
        Self {
            window: Window::new(plain, 15, hash_bits, gnu),
            block: Block::new(strategy == Strategy::Fixed),
            out: BitWriter::new(out),
            effort: EFFORTS[usize::from(encoder.level - 1)],
            room: encoder.room(),
            ponders: gnu && encoder.level > 2,
            filtered: strategy == Strategy::Filtered,
        }
    }

    fn finish(mut self) -> io::Result<u64> {
        self.block.write(&mut self.out, self.window.block_bytes(), true)?;
        self.out.finish()
    }

    /// Appends a symbol; true when the block is to end.
    #[inline]
    fn push(&mut self, distance: usize, value: usize) -> bool {
        self.block.push(Symbol { distance: distance as u16, value: value as u16 });
        let count = self.block.len();
        if self.ponders && count.is_multiple_of(PONDER) {
            let plain = self.window.at as i64 - self.window.block;
            if self.block.pays(plain as u64) {
                return true;
            }
        }
        count == self.room
    }

    fn end_block(&mut self) -> io::Result<()> {
        self.block.write(&mut self.out, self.window.block_bytes(), false)?;
        self.window.block = self.window.at as i64;
        Ok(())
    }

    fn literals(&mut self) -> io::Result<()> {
        while self.window.fill()? {
            let full = self.push(0, usize::from(self.window.current()));
            self.window.skip(1);
            if full {
                self.end_block()?;
            }
        }
        Ok(())
    }

    fn greedy(&mut self) -> io::Result<()> {
        let Effort { lazy, nice, chain, .. } = self.effort;
        while self.window.fill()? {
            let candidate = self.window.insert();
            let mut length = 0;
            if self.window.reachable(candidate) {
                length = self.window.search(candidate, Search { chain, nice, above: SHORTEST - 1 });
            }
            let full = if length >= SHORTEST {
                let full = self.push(self.window.at - self.window.found, length);
                // zlib looks at what is left behind the match.
                let insert = length <= lazy && (self.window.is_gnu() || self.window.ahead - length >= SHORTEST);
                if insert {
                    self.window.pass(length);
                } else {
                    self.window.skip(length);
                }
                full
            } else {
                let full = self.push(0, usize::from(self.window.current()));
                self.window.skip(1);
                full
            };
            if full {
                self.end_block()?;
            }
        }
        Ok(())
    }

    fn lazy(&mut self) -> io::Result<()> {
        let Effort { good, lazy, nice, chain } = self.effort;
        // The match, or the literal, of the byte before, which may still be beaten.
        let mut pending = false;
        let mut length = SHORTEST - 1;
        while self.window.fill()? {
            let candidate = self.window.insert();
            let (previous, previous_found) = (length, self.window.found);
            length = SHORTEST - 1;
            if previous < lazy && self.window.reachable(candidate) {
                let chain = if previous >= good { chain >> 2 } else { chain };
                length = self.window.search(candidate, Search { chain, nice, above: previous });
                let far = length == SHORTEST && self.window.at - self.window.found > TOO_FAR;
                if far || self.filtered && length <= 5 {
                    length = SHORTEST - 1;
                }
            }
            if previous >= SHORTEST && length <= previous {
                let full = self.push(self.window.at - 1 - previous_found, previous);
                self.window.pass(previous - 1);
                pending = false;
                length = SHORTEST - 1;
                if full {
                    self.end_block()?;
                }
            } else {
                if pending && self.push(0, usize::from(self.window.previous())) {
                    self.end_block()?;
                }
                pending = true;
                self.window.skip(1);
            }
        }
        if pending {
            self.push(0, usize::from(self.window.previous()));
        }
        Ok(())
    }
}
