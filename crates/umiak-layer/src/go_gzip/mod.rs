//! How long a stream is that Go's `compress/gzip` makes at its default level, without making it.
//!
//! Docker keeps `tar-split.json.gz` beside every layer, and its length is part of what a layer takes. Guarantees: the
//! length is exact for any input that comes in the same writes, as which a match is found depends a little on where the
//! encoder's window was moved. Memory is constant, about a mebibyte.
//!
//! The method is that of Go 1.7 and all later releases: hash chains over four bytes, lazy matching with the limits of
//! level 6, blocks of 16384 tokens, in each of them the cheapest of stored, fixed and dynamic codes, and an empty stored
//! block at the end.

mod codes;

use codes::Block;

/// What a match may refer back to.
const WINDOW: usize = 32 << 10;
const MIN_MATCH: usize = 4;
const MAX_MATCH: usize = 258;
const HASH_BITS: u32 = 17;
const TOKENS: usize = 1 << 14;

/// A match at least this long is not tried to be beaten by one that begins at the next byte.
const LAZY: usize = 16;
/// A match at least this long ends the search.
const NICE: usize = 128;
/// Candidates that are looked at.
const CHAIN: usize = 128;
/// Matches of the least length are taken only this near.
const NEAR: usize = 4096;

/// Header and trailer of a gzip stream.
const FRAME: u64 = 10 + 8;

/// Takes the input, and knows the output's length at the end.
pub(crate) struct GoGzip {
    /// Twice [`WINDOW`]: what is kept, then what comes.
    window: Vec<u8>,
    end: usize,
    index: usize,
    /// Where the block began; `None` when that has left the window.
    block_start: Option<usize>,
    /// Newest position of each hash, and of each position the one before, as absolute positions plus one; 0 is none.
    heads: Vec<u64>,
    previous: Vec<u64>,
    /// Absolute position of the window's first byte.
    moved: u64,
    candidate: u64,
    length: usize,
    distance: usize,
    /// The byte before `index` is neither a literal nor in a match yet.
    pending: bool,
    block: Block,
    bits: u64,
}

impl GoGzip {
    pub(crate) fn new() -> Self {
        Self {
            window: vec![0; 2 * WINDOW],
            end: 0,
            index: 0,
            block_start: Some(0),
            heads: vec![0; 1 << HASH_BITS],
            previous: vec![0; WINDOW],
            moved: 0,
            candidate: 0,
            length: MIN_MATCH - 1,
            distance: 0,
            pending: false,
            block: Block::default(),
            bits: 0,
        }
    }

    /// Takes `bytes` as one write.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.encode(false);
            let taken = self.fill(bytes);
            bytes = &bytes[taken..];
        }
    }

    /// Bytes of the whole stream.
    pub(crate) fn finish(mut self) -> u64 {
        self.encode(true);
        // The last block is stored and empty: its header up to the byte's end, then its length twice.
        FRAME + (self.bits + 3).div_ceil(8) + 4
    }

    fn fill(&mut self, bytes: &[u8]) -> usize {
        if self.index >= 2 * WINDOW - (MIN_MATCH + MAX_MATCH) {
            self.window.copy_within(WINDOW.., 0);
            self.index -= WINDOW;
            self.end -= WINDOW;
            self.moved += WINDOW as u64;
            self.block_start = self.block_start.and_then(|start| start.checked_sub(WINDOW));
        }
        let taken = bytes.len().min(self.window.len() - self.end);
        self.window[self.end..self.end + taken].copy_from_slice(&bytes[..taken]);
        self.end += taken;
        taken
    }

    /// Makes tokens as far as the longest match could be seen, or of everything.
    fn encode(&mut self, last: bool) {
        loop {
            let ahead = self.end - self.index;
            if ahead < MIN_MATCH + MAX_MATCH {
                if !last {
                    return;
                }
                if ahead == 0 {
                    return self.flush();
                }
            }
            if let Some(candidate) = self.insert(self.index) {
                self.candidate = candidate;
            }
            let (length, distance) = (self.length, self.distance);
            (self.length, self.distance) = (MIN_MATCH - 1, 0);
            if ahead > length && length < LAZY {
                self.search(ahead);
            }
            if length >= MIN_MATCH && self.length <= length {
                self.take_match(length, distance);
            } else {
                self.step();
            }
        }
    }

    /// Puts a position into its chain; gives what was the newest before. `None` where too few bytes are left.
    fn insert(&mut self, at: usize) -> Option<u64> {
        if at + MIN_MATCH > self.end {
            return None;
        }
        let bytes = self.window[at..].first_chunk::<MIN_MATCH>()?;
        let hash = u32::from_be_bytes(*bytes).wrapping_mul(0x1e35_a7bd) >> (32 - HASH_BITS);
        let before = std::mem::replace(&mut self.heads[hash as usize], self.moved + at as u64 + 1);
        self.previous[at % WINDOW] = before;
        Some(before)
    }

    /// Where an absolute position plus one lies in the window, if it still does and can be referred to from `index`.
    fn within(&self, position: u64) -> Option<usize> {
        let at = usize::try_from(position.checked_sub(self.moved + 1)?).ok()?;
        (at + WINDOW >= self.index).then_some(at)
    }

    /// Finds the longest match at `index` among the candidates.
    fn search(&mut self, ahead: usize) {
        let longest = ahead.min(MAX_MATCH);
        let nice = longest.min(NICE);
        let wanted = &self.window[self.index..self.index + longest];
        let mut candidate = self.candidate;
        for _ in 0..CHAIN {
            let Some(at) = self.within(candidate) else { return };
            let there = &self.window[at..];
            if wanted[self.length] == there[self.length] {
                let equal = wanted.iter().zip(there).take_while(|(one, other)| one == other).count();
                let distance = self.index - at;
                if equal > self.length && (equal > MIN_MATCH || distance <= NEAR) {
                    (self.length, self.distance) = (equal, distance);
                    if equal >= nice {
                        return;
                    }
                }
            }
            if at + WINDOW == self.index {
                return;
            }
            candidate = self.previous[at % WINDOW];
        }
    }

    /// The match that begins one byte before `index`.
    fn take_match(&mut self, length: usize, distance: usize) {
        self.block.add_match(length, distance);
        let next = self.index + length - 1;
        for at in self.index + 1..next {
            self.insert(at);
        }
        self.index = next;
        self.pending = false;
        self.length = MIN_MATCH - 1;
        if self.block.tokens() == TOKENS {
            self.end_block(self.index);
        }
    }

    fn step(&mut self) {
        if self.pending {
            self.block.add_literal(self.window[self.index - 1]);
            if self.block.tokens() == TOKENS {
                self.end_block(self.index);
            }
        }
        self.index += 1;
        self.pending = true;
    }

    fn flush(&mut self) {
        if std::mem::take(&mut self.pending) {
            self.block.add_literal(self.window[self.index - 1]);
        }
        if self.block.tokens() > 0 {
            self.end_block(self.index);
        }
    }

    fn end_block(&mut self, at: usize) {
        let input = self.block_start.and_then(|start| at.checked_sub(start));
        self.block_start = Some(at);
        self.bits = std::mem::take(&mut self.block).write(self.bits, input);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(writes: &[&[u8]]) -> u64 {
        let mut gzip = GoGzip::new();
        writes.iter().for_each(|write| gzip.write(write));
        gzip.finish()
    }

    /// Bytes that every test machine makes alike.
    fn noise(count: usize, mut state: u32, alphabet: &[u8]) -> Vec<u8> {
        let step = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            alphabet[(state >> 16) as usize % alphabet.len()]
        };
        (0..count).map(step).collect()
    }

    /// What Go 1.26 made of the same input: `compress/gzip`, default level, one write for each element.
    #[test]
    fn lengths_are_those_of_go() {
        let every: Vec<u8> = (0..=255).collect();
        assert_eq!(length(&[]), GOLDEN[0]);
        assert_eq!(length(&[b"a"]), GOLDEN[1]);
        assert_eq!(length(&[b"hello hello hello hello"]), GOLDEN[2]);
        assert_eq!(length(&[&[0; 100_000]]), GOLDEN[3]);
        assert_eq!(length(&[&noise(200_000, 1, &every)]), GOLDEN[4]);
        assert_eq!(length(&[&noise(200_000, 2, b"ab")]), GOLDEN[5]);
        assert_eq!(length(&[&noise(300_000, 3, b"{}\",:0123456789abcdef")]), GOLDEN[6]);
        let text = noise(600_000, 4, b"aaaaaaaaaaaabbbbbbbccccdd");
        let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'd').collect();
        assert_eq!(length(&lines), GOLDEN[7]);
        let words = noise(40_000, 5, &every);
        let repeated: Vec<u8> = words.iter().flat_map(|word| noise(12, u32::from(word % 23), b"abcdefgh/")).collect();
        let lines: Vec<&[u8]> = repeated.chunks(97).collect();
        assert_eq!(length(&lines), GOLDEN[8]);
    }

    const GOLDEN: [u64; 9] = [23, 25, 32, 136, 200088, 31581, 170139, 161487, 42039];
}
