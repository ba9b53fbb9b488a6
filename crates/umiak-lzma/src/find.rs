//! The match finder: for each position, the nearest earlier places that share its next bytes.
//!
//! The whole block is known, so for each of a few widths one straight pass over it finds where the same `width` bytes
//! stood last, for all positions: one table access each, no branch, no chain or tree to follow. Nearer places share fewer
//! bytes and farther ones more, so the widths together give the choice between short distances and long matches that an
//! optimal parser needs. Widths are samples: a place whose match ends between two widths may be missed. Places are
//! compared with the bytes when they are asked for, so a hash collision only loses a match.

use crate::model::MAX_MATCH;

/// Bytes that must agree, one pass each, ascending, at most 16.
pub(crate) const WIDTHS: [usize; 8] = [2, 3, 4, 5, 6, 8, 10, 13];
/// Farthest place worth looking at, by width: two or three bytes from far away cost more than as literals.
const FAR: [u32; WIDTHS.len()] = [1 << 9, 1 << 14, u32::MAX, u32::MAX, u32::MAX, u32::MAX, u32::MAX, u32::MAX];

/// How many farther places of the greatest width are tried.
const HOPS: usize = 8;

/// Bytes that must be readable behind the last position.
pub(crate) const PAD: usize = 40;
/// Table entries, as binary logarithms: for blocks of at most 256 KiB (half a MiB stays in the second-level cache) and more.
const SMALL_TABLE: u32 = 17;
const LARGE_TABLE: u32 = 20;

/// A place to copy from.
#[derive(Clone, Copy, Default)]
pub(crate) struct Match {
    pub(crate) len: u32,
    /// Bytes back, less one.
    pub(crate) dist: u32,
}

/// The places found for one position, ascending in length and distance.
#[derive(Clone, Default)]
pub(crate) struct Found {
    list: [Match; WIDTHS.len() + HOPS],
    count: usize,
}

impl Found {
    #[inline(always)]
    pub(crate) fn matches(&self) -> &[Match] {
        self.list.get(..self.count).unwrap_or_default()
    }

    /// Length of the longest, 0 if there is none.
    #[inline(always)]
    pub(crate) fn longest(&self) -> usize {
        self.matches().last().map_or(0, |m| m.len as usize)
    }
}

/// Tables, reused between blocks.
pub(crate) struct Finder {
    table: Vec<u32>,
    /// What a table entry of position 0 of this pass is; smaller entries are of earlier passes.
    epoch: u32,
    /// For each width and position: bytes back to the nearest place; more than there are if there is none.
    nearest: [Vec<u32>; WIDTHS.len()],
    window: u32,
}

impl Finder {
    /// A finder of places at most `window` bytes back.
    pub(crate) fn new(window: u32) -> Self {
        Self {
            table: vec![0; 1 << if window <= 1 << 18 { SMALL_TABLE } else { LARGE_TABLE }],
            epoch: 1,
            nearest: Default::default(),
            window,
        }
    }

    /// Looks at a whole block: `len` bytes at the start of `padded`, which has [`PAD`] more.
    pub(crate) fn index(&mut self, padded: &[u8], len: usize) {
        for (i, width) in WIDTHS.into_iter().enumerate() {
            if self.epoch > u32::MAX - 2 * len as u32 - 2 {
                self.table.fill(0);
                self.epoch = 1;
            }
            let nearest = &mut self.nearest[i];
            nearest.resize(len, 0);
            // An array of known length needs no check at each access.
            if let Ok(table) = <&mut [u32; 1 << SMALL_TABLE]>::try_from(&mut self.table[..]) {
                look::<SMALL_TABLE, _>(table, width, self.epoch, nearest, padded);
            } else if let Ok(table) = <&mut [u32; 1 << LARGE_TABLE]>::try_from(&mut self.table[..]) {
                look::<LARGE_TABLE, _>(table, width, self.epoch, nearest, padded);
            }
            self.epoch += len as u32 + 1;
        }
    }

    /// Does any of a sample of positions have a match worth having?
    pub(crate) fn any(&self, padded: &[u8], len: usize) -> bool {
        let mut found = Found::default();
        (0..len.saturating_sub(MAX_MATCH)).step_by(61).any(|pos| {
            self.find(padded, pos, MAX_MATCH, &mut found);
            found.longest() > 4
        })
    }

    /// The places for `pos` with matches of at most `limit` bytes.
    #[inline(always)]
    pub(crate) fn find(&self, padded: &[u8], pos: usize, limit: usize, found: &mut Found) {
        let reach = self.window.min(pos as u32);
        let mut backs = [0u32; 16];
        let mut fresh = 0u32;
        let mut last = 0;
        for (i, nearest) in self.nearest.iter().enumerate() {
            let back = nearest[pos];
            backs[i] = back;
            let new = u32::from((back != last) & (back <= reach.min(FAR[i])));
            fresh |= new << i;
            last ^= (last ^ back) & 0u32.wrapping_sub(new);
        }
        let mut count = 0;
        let mut best = 1;
        while fresh != 0 {
            let back = backs[fresh.trailing_zeros() as usize & 15];
            fresh &= fresh - 1;
            let len = common(padded, pos - back as usize, pos, 0, limit);
            if len > best {
                best = len;
                found.list[count] = Match { len: len as u32, dist: back - 1 };
                count += 1;
            }
        }
        // Places of the greatest width are few: a look at farther ones finds the long matches.
        let Some((rarest, mut at)) = self.nearest.last().zip(pos.checked_sub(last as usize)) else { return };
        if best >= WIDTHS[WIDTHS.len() - 1] && best < limit {
            for _ in 0..HOPS {
                let hop = rarest[at] as usize;
                if hop > at || pos + hop - at > self.window as usize {
                    break;
                }
                at -= hop;
                let len = common(padded, at, pos, 0, limit);
                if len > best {
                    best = len;
                    found.list[count] = Match { len: len as u32, dist: (pos - at - 1) as u32 };
                    count += 1;
                }
            }
        }
        found.count = count;
    }
}

const K1: u64 = 0x9E37_79B9_7F4A_7C15;
const K2: u64 = 0xD6E8_FEB8_6659_FD93;

#[inline(always)]
fn word(window: &[u8], at: usize) -> u64 {
    window.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |eight| u64::from_le_bytes(*eight))
}

/// A pass for one width.
#[inline(always)]
fn look<const BITS: u32, const ENTRIES: usize>(
    table: &mut [u32; ENTRIES],
    width: usize,
    epoch: u32,
    nearest: &mut [u32],
    padded: &[u8],
) {
    if width <= 8 {
        let shift = 64 - 8 * width as u32;
        pass::<8, BITS, ENTRIES>(table, epoch, nearest, padded, |w| (word(w, 0) << shift).wrapping_mul(K1));
    } else {
        let shift = 128 - 8 * width as u32;
        pass::<16, BITS, ENTRIES>(table, epoch, nearest, padded, |w| {
            (word(w, 0) ^ (word(w, 8) << shift).wrapping_mul(K2)).wrapping_mul(K1)
        });
    }
}

/// `hash` gives, for the `BYTES` bytes from a position on, 64 bits of which the highest choose the table entry.
#[inline(always)]
fn pass<const BYTES: usize, const BITS: u32, const ENTRIES: usize>(
    table: &mut [u32; ENTRIES],
    epoch: u32,
    nearest: &mut [u32],
    padded: &[u8],
    hash: impl Fn(&[u8]) -> u64,
) {
    for ((here, out), window) in (epoch..).zip(nearest.iter_mut()).zip(padded.windows(BYTES)) {
        let entry = &mut table[(hash(window) >> (64 - BITS)) as usize];
        *out = here.wrapping_sub(*entry);
        *entry = here;
    }
}

/// Eight bytes as a little-endian number.
#[inline(always)]
pub(crate) fn load(padded: &[u8], at: usize) -> u64 {
    padded.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |eight| u64::from_le_bytes(*eight))
}

/// How many bytes from `a` and from `b` agree, of which the first `known` do; at most `limit`.
#[inline(always)]
pub(crate) fn common(padded: &[u8], a: usize, b: usize, known: usize, limit: usize) -> usize {
    debug_assert!(limit <= MAX_MATCH);
    let mut len = known;
    while len < limit {
        let differ = load(padded, a + len) ^ load(padded, b + len);
        if differ != 0 {
            len += (differ.trailing_zeros() >> 3) as usize;
            return len.min(limit);
        }
        len += 8;
    }
    limit
}
