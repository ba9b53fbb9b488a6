//! The sliding window and its hash chains, as zlib and GNU gzip keep them.
//!
//! What is found depends on details that no format fixes: the window is twice as long as matches reach and slides by one half
//! when too little is left ahead; a string at the very start of it is never found; chains are followed for so many steps. All of
//! it is done here in the same way, for input that is at hand as fast as it is asked for. Memory: below 300 KiB.

use std::io::{self, Read};

use super::codes::{LONGEST, SHORTEST};

/// Fewer bytes than these ahead, and more are read.
pub(super) const AHEAD: usize = LONGEST + SHORTEST + 1;

/// What of a search the level and family decide.
#[derive(Clone, Copy)]
pub(super) struct Search {
    /// Candidates that are looked at.
    pub(super) chain: usize,
    /// A match this long ends the search.
    pub(super) nice: usize,
    /// Only longer matches count.
    pub(super) above: usize,
}

pub(super) struct Window<'a> {
    source: &'a mut dyn Read,
    /// Two window sizes, and room to compare and to hash behind the end.
    bytes: Vec<u8>,
    /// The last place of each hash; 0 is none.
    head: Vec<u16>,
    /// The place before, of each place in the last window size.
    before: Vec<u16>,
    size: usize,
    shift: u32,
    /// GNU gzip's ways at the end of the input.
    gnu: bool,
    /// The next byte to code.
    pub(super) at: usize,
    /// How many bytes from there on are read.
    pub(super) ahead: usize,
    /// The first byte of the block, from the window's start; negative when it is gone.
    pub(super) block: i64,
    /// Where the last search found its match.
    pub(super) found: usize,
    ended: bool,
}

impl<'a> Window<'a> {
    /// A window of `1 << window_bits` bytes with `1 << hash_bits` chains.
    pub(super) fn new(source: &'a mut dyn Read, window_bits: u32, hash_bits: u32, gnu: bool) -> Self {
        let size = 1 << window_bits;
        Self {
            source,
            bytes: vec![0; 2 * size + 2 * LONGEST],
            head: vec![0; 1 << hash_bits],
            before: vec![0; size],
            size,
            shift: hash_bits.div_ceil(3),
            gnu,
            at: 0,
            ahead: 0,
            block: 0,
            found: 0,
            ended: false,
        }
    }

    /// Whether GNU gzip's ways hold.
    pub(super) fn is_gnu(&self) -> bool {
        self.gnu
    }

    /// The farthest match.
    #[inline]
    pub(super) fn reach(&self) -> usize {
        self.size - AHEAD
    }

    /// The byte before the next.
    #[inline]
    pub(super) fn previous(&self) -> u8 {
        self.bytes[self.at - 1]
    }

    /// The next byte.
    #[inline]
    pub(super) fn current(&self) -> u8 {
        self.bytes[self.at]
    }

    /// The plain bytes of the block, if all are still in the window.
    pub(super) fn block_bytes(&self) -> Option<&[u8]> {
        self.bytes.get(usize::try_from(self.block).ok()?..self.at)
    }

    /// Reads and slides as needed before the next byte is coded; false when there is none.
    #[inline]
    pub(super) fn fill(&mut self) -> io::Result<bool> {
        if self.ahead < AHEAD && !(self.gnu && self.ended) {
            self.refill()?;
        }
        Ok(self.ahead != 0)
    }

    fn refill(&mut self) -> io::Result<()> {
        while self.ahead < AHEAD {
            if self.at >= self.size + self.reach() {
                self.slide();
            }
            if self.ended {
                return Ok(());
            }
            let from = self.at + self.ahead;
            let mut to = from;
            while to < 2 * self.size {
                match self.source.read(&mut self.bytes[to..2 * self.size]) {
                    Ok(0) => break,
                    Ok(count) => to += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            self.ahead += to - from;
            // Nothing at all, not less than asked for, is the end: GNU gzip clears and stops to slide then.
            if to == from {
                self.ended = true;
                self.bytes[from..from + SHORTEST - 1].fill(0);
            }
        }
        Ok(())
    }

    fn slide(&mut self) {
        let size = self.size;
        self.bytes.copy_within(size..2 * size, 0);
        self.at -= size;
        self.block -= size as i64;
        self.found = self.found.saturating_sub(size);
        // Places that are gone, and the one at the very start, become "none".
        let gone = |place: &mut u16| *place = usize::from(*place).saturating_sub(size) as u16;
        self.head.iter_mut().for_each(gone);
        self.before.iter_mut().for_each(gone);
    }

    /// Puts the string at `place` first in its chain; returns the one that was.
    #[inline]
    fn insert_at(&mut self, place: usize) -> usize {
        let [one, two, three] = [self.bytes[place], self.bytes[place + 1], self.bytes[place + 2]].map(usize::from);
        let hash = (one << (2 * self.shift) ^ two << self.shift ^ three) & (self.head.len() - 1);
        let first = self.head[hash];
        let mask = self.before.len() - 1;
        self.before[place & mask] = first;
        self.head[hash] = place as u16;
        usize::from(first)
    }

    /// Inserts the string at the next byte; the nearest place with its hash, 0 if there is none.
    #[inline]
    pub(super) fn insert(&mut self) -> usize {
        if self.gnu || self.ahead >= SHORTEST { self.insert_at(self.at) } else { 0 }
    }

    /// Goes on by `count` bytes of which the first is inserted, and inserts the others.
    pub(super) fn pass(&mut self, count: usize) {
        let end = self.at + self.ahead;
        for place in self.at + 1..self.at + count {
            if self.gnu || place + SHORTEST <= end {
                self.insert_at(place);
            }
        }
        self.skip(count);
    }

    /// Goes on by `count` bytes.
    #[inline]
    pub(super) fn skip(&mut self, count: usize) {
        self.at += count;
        self.ahead -= count;
    }

    /// Whether a search from `candidate` may be made.
    #[inline]
    pub(super) fn reachable(&self, candidate: usize) -> bool {
        candidate != 0 && self.at - candidate <= self.reach() && (!self.gnu || self.at <= 2 * self.size - AHEAD)
    }

    /// The length of the longest match among the candidates, `search.above` if none is longer; sets `found`.
    #[inline]
    pub(super) fn search(&mut self, candidate: usize, search: Search) -> usize {
        let nice = if self.gnu { search.nice } else { search.nice.min(self.ahead) };
        let (mut candidate, mut chain, mut best) = (candidate, search.chain, search.above);
        let limit = self.at.saturating_sub(self.reach());
        let bytes = self.bytes.as_slice();
        let mask = self.before.len() - 1;
        let scan = &bytes[self.at..self.at + LONGEST + 1];
        let pair = |bytes: &[u8], place: usize| u16::from_le_bytes([bytes[place], bytes[place + 1]]);
        let first = pair(scan, 0);
        let mut tail = pair(scan, best - 1);
        loop {
            if pair(bytes, candidate + best - 1) == tail && pair(bytes, candidate) == first {
                let length = common(&bytes[candidate..candidate + LONGEST], &scan[..LONGEST]);
                if length > best {
                    self.found = candidate;
                    best = length;
                    if length >= nice {
                        break;
                    }
                    tail = pair(scan, best - 1);
                }
            }
            candidate = usize::from(self.before[candidate & mask]);
            chain -= 1;
            if candidate <= limit || chain == 0 {
                break;
            }
        }
        best.min(self.ahead)
    }
}

/// How many bytes from the start agree; both are `LONGEST` long.
#[inline]
fn common(one: &[u8], other: &[u8]) -> usize {
    let mut length = 0;
    for (one, other) in one.chunks_exact(8).zip(other.chunks_exact(8)) {
        let word = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
        let difference = word(one) ^ word(other);
        if difference != 0 {
            return length + (difference.trailing_zeros() / 8) as usize;
        }
        length += 8;
    }
    length + one[length..].iter().zip(&other[length..]).take_while(|(one, other)| one == other).count()
}
