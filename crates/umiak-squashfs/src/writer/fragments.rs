//! Which tails share a fragment block.
//!
//! A tail is a file shorter than a block, or what is left of a longer one behind its last full block. Tails of the
//! same kind (by the extension of the name) collect in one group, so that similar bytes are compressed together.
//! When a group would outgrow a block, it is cut: not where it happens to be full, but, between [`FILL`] and a full
//! block, behind the tail with the smallest key. Keys come from digests, so two images that share a run of tails soon
//! cut at the same places, and a changed file changes one or two fragment blocks, not all that follow.
//!
//! Guarantees: the result depends on the sequence of tails (key, length, group) alone, not on where their bytes come
//! from; at most [`GROUPS`] + 1 blocks of tails are held.

use std::collections::{BTreeMap, VecDeque};

use umiak_spec::Digest;

use super::base::Piece;

/// A block is cut when it is at least so full, in 1/64 of the block size.
const FILL: u64 = 44;
/// Groups of tails that are open at a time: one without extension, the others by a hash of it. Few are best: on real
/// trees 5 and 32 both give images 0.6 % smaller than one group does, but every group that a change touches costs a
/// fragment block or two when the image is rebuilt.
pub(super) const GROUPS: u64 = 5;

/// One tail in 1024 ends its block wherever it comes: however unlucky the other cuts, two images agree from there on.
fn is_anchor(key: &Digest) -> bool {
    matches!(key.as_bytes(), [0, second, ..] if *second < 64)
}

/// Where a tail came to lie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct TailPlace {
    pub(super) fragment: u32,
    pub(super) offset: u32,
}

/// A tail that waits for its fragment block.
pub(super) struct Tail {
    pub(super) number: usize,
    pub(super) key: Digest,
    pub(super) piece: Piece,
}

impl Tail {
    pub(super) fn length(&self) -> u32 {
        u32::try_from(self.piece.length()).unwrap_or(u32::MAX)
    }
}

/// Tails of one kind in order of arrival.
#[derive(Default)]
struct Group {
    tails: VecDeque<Tail>,
    length: u64,
}

impl Group {
    fn push(&mut self, tail: Tail) {
        self.length += u64::from(tail.length());
        self.tails.push_back(tail);
    }

    fn take(&mut self) -> Vec<Tail> {
        self.length = 0;
        self.tails.drain(..).collect()
    }

    /// Cuts off the front: behind the tail with the smallest key of those that end between the fill and the end.
    fn cut(&mut self, block_size: u64) -> Vec<Tail> {
        let least = block_size * FILL / 64;
        let mut end = 0;
        let mut best: Option<(&Digest, usize)> = None;
        for (index, tail) in self.tails.iter().enumerate() {
            end += u64::from(tail.length());
            if end >= least && best.is_none_or(|(key, _)| tail.key < *key) {
                best = Some((&tail.key, index));
            }
        }
        let count = best.map_or(self.tails.len(), |(_, index)| index + 1);
        let tails: Vec<Tail> = self.tails.drain(..count).collect();
        self.length -= tails.iter().map(|tail| u64::from(tail.length())).sum::<u64>();
        tails
    }
}

/// Collects tails into fragment blocks.
pub(super) struct Packer {
    block_size: u64,
    groups: BTreeMap<u64, Group>,
}

impl Packer {
    pub(super) fn new(block_size: u32) -> Self {
        Self { block_size: u64::from(block_size), groups: BTreeMap::new() }
    }

    /// Adds a tail and returns the fragment blocks that are to be written now.
    pub(super) fn push(&mut self, name: &[u8], tail: Tail) -> Vec<Vec<Tail>> {
        let block_size = self.block_size;
        let group = self.groups.entry(group(name)).or_default();
        let mut cuts = Vec::new();
        while group.length + u64::from(tail.length()) > block_size {
            cuts.push(group.cut(block_size));
        }
        let anchor = is_anchor(&tail.key);
        group.push(tail);
        if anchor {
            cuts.push(group.take());
        }
        cuts
    }

    /// What is left in the groups, packed together in the order of the groups.
    pub(super) fn finish(&mut self) -> Vec<Vec<Tail>> {
        let mut cuts = Vec::new();
        let mut rest = Group::default();
        for tail in std::mem::take(&mut self.groups).into_values().flat_map(|group| group.tails) {
            while rest.length + u64::from(tail.length()) > self.block_size {
                cuts.push(rest.cut(self.block_size));
            }
            rest.push(tail);
        }
        cuts.extend((!rest.tails.is_empty()).then(|| rest.tails.into()));
        cuts
    }
}

/// The group of a file name: by extension, many extensions to a group.
fn group(name: &[u8]) -> u64 {
    let base = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let extension = match base.iter().rposition(|byte| *byte == b'.') {
        Some(dot) if dot > 0 => &base[dot + 1..],
        _ => b"",
    };
    if extension.is_empty() {
        return 0;
    }
    // FNV-1a over the lower-case extension.
    let hash = extension.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
    });
    1 + (hash >> 32) % (GROUPS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BLOCK: u32 = 4096;

    /// Packs tails of these (identity, length) and returns the fragment blocks as lists of identities.
    fn pack(tails: &[(u64, usize)], name: impl Fn(u64) -> String) -> Vec<Vec<usize>> {
        let mut packer = Packer::new(BLOCK);
        let mut cuts = Vec::new();
        for (number, (identity, length)) in tails.iter().enumerate() {
            let key = Digest::of(&identity.to_le_bytes());
            let tail = Tail { number, key, piece: Piece::Plain(vec![0; *length]) };
            cuts.extend(packer.push(name(*identity).as_bytes(), tail));
        }
        cuts.extend(packer.finish());
        cuts.into_iter().map(|cut| cut.iter().map(|tail| tail.number).collect()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn every_tail_is_in_one_block_that_is_not_too_long(
            tails in proptest::collection::vec((0..50_u64, 1..4096_usize), 0..200),
        ) {
            let blocks = pack(&tails, |identity| format!("dir.d/{identity}.e{}", identity % 7));
            for block in &blocks {
                prop_assert!(!block.is_empty());
                prop_assert!(block.iter().map(|number| tails[*number].1).sum::<usize>() <= BLOCK as usize);
            }
            let mut numbers: Vec<usize> = blocks.into_iter().flatten().collect();
            numbers.sort_unstable();
            prop_assert!(numbers.into_iter().eq(0..tails.len()));
        }
    }

    #[test]
    fn a_changed_tail_changes_few_blocks() {
        let tails: Vec<(u64, usize)> = (0..2000).map(|number| (number, 50 + (number * 37 % 400) as usize)).collect();
        let keyed = |tails: &[(u64, usize)]| -> std::collections::BTreeSet<Vec<u64>> {
            let blocks = pack(tails, |_| "x.js".into()).into_iter();
            blocks.map(|block| block.into_iter().map(|number| tails[number].0).collect()).collect()
        };
        let before = keyed(&tails);
        assert!(before.len() > 100);
        let mut changed = Vec::new();
        for at in [0, 3, 700, 1500, 1999] {
            let mut inserted = tails.clone();
            inserted.insert(at, (9999, 300));
            let mut removed = tails.clone();
            removed.remove(at);
            let mut grown = tails.clone();
            grown[at] = (8888, 900);
            for after in [inserted, removed, grown].map(|tails| keyed(&tails)) {
                changed.push(after.difference(&before).count());
            }
        }
        // Sixteen tails in a block leave about five places to cut: here the old cuts are met again late.
        assert!(changed.iter().sum::<usize>() <= 8 * changed.len(), "{changed:?} blocks changed");
    }

    #[test]
    fn groups_go_by_extension() {
        assert_eq!(group(b"a/b.JS"), group(b"c.js"));
        for name in [&b"README"[..], b".profile", b"dir.js/name", b""] {
            assert_eq!(group(name), 0);
        }
        assert!((0..1000_u32).all(|number| group(format!("x.{number}").as_bytes()) < GROUPS));
    }
}
