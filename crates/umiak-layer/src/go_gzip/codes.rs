//! One block of a deflate stream: how many bits it takes in the cheapest of the three ways.
//!
//! Codes are optimal with a limited length, made by package-merge; of equally cheap items the package goes before the
//! symbol, as in Go, since which of several optimal codes is chosen shows in the length of their description.

/// Symbols for literals, the end of the block, and lengths.
const LITERALS: usize = 286;
const DISTANCES: usize = 30;
const END: usize = 256;
/// Longest code of a symbol, and of a length's symbol.
const LONGEST: usize = 15;
const LONGEST_OF_LENGTHS: usize = 7;
/// Bytes of the longest stored block.
const STORED: usize = 65_535;

/// Order in which the lengths of the codes of lengths stand (RFC 1951, 3.2.7).
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// How often each symbol is in the block.
pub(super) struct Block {
    literals: [u32; LITERALS],
    distances: [u32; DISTANCES],
    tokens: usize,
    extra: u64,
}

impl Default for Block {
    fn default() -> Self {
        let mut literals = [0; LITERALS];
        literals[END] = 1;
        Self { literals, distances: [0; DISTANCES], tokens: 0, extra: 0 }
    }
}

impl Block {
    pub(super) fn tokens(&self) -> usize {
        self.tokens
    }

    pub(super) fn add_literal(&mut self, byte: u8) {
        self.literals[usize::from(byte)] += 1;
        self.tokens += 1;
    }

    /// A match of 3 to 258 bytes, 1 to 32768 back.
    pub(super) fn add_match(&mut self, length: usize, distance: usize) {
        let (symbol, extra) = match length {
            258 => (28, 0),
            length => bucket(length - 3, 4),
        };
        self.literals[END + 1 + symbol] += 1;
        self.extra += u64::from(extra);
        let (symbol, extra) = bucket(distance - 1, 2);
        self.distances[symbol] += 1;
        self.extra += u64::from(extra);
        self.tokens += 1;
    }

    /// Writes it behind `bits` bits; how many there are then. `input` is how many bytes it stands for, where Go could still
    /// store them.
    pub(super) fn write(mut self, bits: u64, input: Option<usize>) -> u64 {
        let literals = used(&self.literals);
        // There must be one code of a distance. Without a match, Go counts one that it then does not write.
        let phantom = used(&self.distances) == 0;
        self.distances[0] += u32::from(phantom);
        let distances = used(&self.distances);
        let (literal_code, distance_code) = (code(&self.literals, LONGEST), code(&self.distances, LONGEST));
        let lengths: Vec<u8> = literal_code[..literals].iter().chain(&distance_code[..distances]).copied().collect();
        let dynamic = described(&lengths) + cost(&self.literals, &literal_code) + cost(&self.distances, &distance_code);
        let fixed = 3 + self.fixed();
        let (coded, of_phantom) = if dynamic < fixed { (dynamic, 1) } else { (fixed, 5) };
        let coded = coded + self.extra;
        match input.filter(|input| *input <= STORED).map(|input| input as u64) {
            Some(input) if (input + 5) * 8 < coded => (bits + 3).div_ceil(8) * 8 + 32 + input * 8,
            _ => bits + coded - if phantom { of_phantom } else { 0 },
        }
    }

    /// Bits of the symbols in the fixed code.
    fn fixed(&self) -> u64 {
        let length = |symbol| match symbol {
            0..144 | 280.. => 8,
            144..256 => 9,
            _ => 7,
        };
        let literals: u64 = (0..).zip(self.literals).map(|(symbol, count)| length(symbol) * u64::from(count)).sum();
        literals + 5 * self.distances.iter().map(|count| u64::from(*count)).sum::<u64>()
    }
}

/// Symbol and extra bits of a length or distance, counted from 0, of which `each` symbols have the same number of extra bits.
fn bucket(value: usize, each: usize) -> (usize, u32) {
    let extra = value.max(1).ilog2().saturating_sub(each.ilog2());
    (extra as usize * each + (value >> extra), extra)
}

/// Symbols up to the last that is there.
fn used(counts: &[u32]) -> usize {
    counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1)
}

fn cost(counts: &[u32], code: &[u8]) -> u64 {
    counts.iter().zip(code).map(|(count, length)| u64::from(*count) * u64::from(*length)).sum()
}

/// Bits of a dynamic block's header, which describes the lengths of its codes.
fn described(lengths: &[u8]) -> u64 {
    let mut counts = [0; ORDER.len()];
    for run in lengths.chunk_by(|one, other| one == other) {
        count_run(&mut counts, usize::from(run[0]), run.len());
    }
    let code = code(&counts, LONGEST_OF_LENGTHS);
    let described = ORDER.iter().rposition(|symbol| counts[*symbol] > 0).map_or(0, |last| last + 1).max(4);
    let extra = 2 * counts[16] + 3 * counts[17] + 7 * counts[18];
    17 + 3 * described as u64 + cost(&counts, &code) + u64::from(extra)
}

/// How a run of equal lengths is described: repeats of 3 to 6, of zeros 3 to 10 and 11 to 138, and the rest one by one.
fn count_run(counts: &mut [u32; ORDER.len()], length: usize, mut left: usize) {
    if length == 0 {
        while left >= 11 {
            counts[18] += 1;
            left -= left.min(138);
        }
        if left >= 3 {
            counts[17] += 1;
            left = 0;
        }
    } else {
        counts[length] += 1;
        left -= 1;
        while left >= 3 {
            counts[16] += 1;
            left -= left.min(6);
        }
    }
    counts[length] += u32::try_from(left).unwrap_or(0);
}

/// Lengths of an optimal code with none longer than `longest`; 0 for symbols that are not there.
fn code(counts: &[u32], longest: usize) -> Vec<u8> {
    let mut lengths = vec![0; counts.len()];
    let mut symbols: Vec<usize> = (0..counts.len()).filter(|symbol| counts[*symbol] > 0).collect();
    symbols.sort_by_key(|symbol| counts[*symbol]);
    let Some(most) = (2 * symbols.len()).checked_sub(2).filter(|_| symbols.len() > 2) else {
        symbols.iter().for_each(|symbol| lengths[*symbol] = 1);
        return lengths;
    };
    let leaves: Vec<u64> = symbols.iter().map(|symbol| u64::from(counts[*symbol])).collect();
    // From the level of the longest codes upwards: the cheapest of symbols and of packages of two from the level below.
    let mut levels: Vec<Vec<(u64, bool)>> = Vec::new();
    for _ in 0..longest.min(symbols.len() - 1) {
        let below = levels.last().map_or(&[][..], Vec::as_slice);
        levels.push(merged(&leaves, below, most));
    }
    // Downwards: what is taken of a level is what the packages taken of the level above consist of.
    let mut taken = most;
    for level in levels.iter().rev() {
        let of_symbols = level[..taken].iter().filter(|(_, package)| !package).count();
        symbols[..of_symbols].iter().for_each(|symbol| lengths[*symbol] += 1);
        taken = 2 * (taken - of_symbols);
    }
    lengths
}

/// One level: at most `most` items, each with its weight and whether it is a package.
fn merged(leaves: &[u64], below: &[(u64, bool)], most: usize) -> Vec<(u64, bool)> {
    let mut leaves = leaves.iter().copied().peekable();
    let mut packages = below.chunks_exact(2).map(|pair| pair[0].0 + pair[1].0).peekable();
    let next = || match (leaves.peek(), packages.peek()) {
        (Some(leaf), Some(package)) if leaf < package => leaves.next().map(|leaf| (leaf, false)),
        (_, Some(_)) => packages.next().map(|package| (package, true)),
        _ => leaves.next().map(|leaf| (leaf, false)),
    };
    std::iter::from_fn(next).take(most).collect()
}
