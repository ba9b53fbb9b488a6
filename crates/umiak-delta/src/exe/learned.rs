//! What became of addresses: as far as references settled so far have shown, and as the copies say.

use super::space::AddressSpace;
use crate::align::Copy;

/// Addresses of the base and what they were last seen to be in the target, in memory that does not grow.
pub struct Learned {
    /// The lowest addresses of base and target.
    origins: (u64, u64),
    /// Rows of addresses and what they became, both from their origins; the newest of a row first.
    rows: Vec<[(u32, u32); WAYS]>,
    /// For each area of addresses, how far it moved last; [`NEVER`] at first.
    moves: Vec<u32>,
}

/// Entries of a row.
const WAYS: usize = 4;

/// Bits of an address that share a move.
const NEAR: u32 = 9;

const NEVER: u32 = 0x8000_0000;
const NONE: (u32, u32) = (u32::MAX, u32::MAX);

impl Learned {
    /// Nothing, for a base of `size` bytes.
    pub fn new(size: u64, origins: (u64, u64)) -> Self {
        let rows = (size / 128).next_power_of_two().clamp(1 << 8, 1 << 17) as usize;
        let moves = (size >> (NEAR - 1)).next_power_of_two().clamp(1 << 8, 1 << 18) as usize;
        Self { origins, rows: vec![[NONE; WAYS]; rows], moves: vec![NEVER; moves] }
    }

    fn key(&self, base: u64) -> Option<u32> {
        u32::try_from(base.checked_sub(self.origins.0)?).ok().filter(|key| *key != u32::MAX)
    }

    fn row(&self, key: u32) -> usize {
        (key.wrapping_mul(0x9E37_79B1) >> 8) as usize & (self.rows.len() - 1)
    }

    /// What `base` was last seen to be.
    pub fn exactly(&self, base: u64) -> Option<u64> {
        let key = self.key(base)?;
        let row = &self.rows[self.row(key)];
        let found = row.iter().find(|(known, _)| *known == key)?;
        Some(self.origins.1.wrapping_add(u64::from(found.1)))
    }

    /// What `base` would be if it moved as its surroundings did last.
    pub fn nearby(&self, base: u64) -> Option<u64> {
        let key = self.key(base)?;
        let area = key >> NEAR;
        let toward = if key & (1 << (NEAR - 1)) == 0 { area.wrapping_sub(1) } else { area.wrapping_add(1) };
        let by = [area, toward].into_iter().map(|area| self.moves[self.place(area)]).find(|by| *by != NEVER)?;
        Some(self.origins.1.wrapping_add(u64::from(key.wrapping_add(by))))
    }

    fn place(&self, area: u32) -> usize {
        area as usize & (self.moves.len() - 1)
    }

    /// `base` is `target`.
    pub fn learn(&mut self, base: u64, target: u64) {
        let (Some(key), Some(value)) =
            (self.key(base), target.checked_sub(self.origins.1).and_then(|value| u32::try_from(value).ok()))
        else {
            return;
        };
        let place = self.place(key >> NEAR);
        self.moves[place] = value.wrapping_sub(key);
        let row = self.row(key);
        let row = &mut self.rows[row];
        let at = row.iter().position(|(known, _)| *known == key).unwrap_or(WAYS - 1);
        row[..=at].rotate_right(1);
        row[0] = (key, value);
    }
}

/// Where base bytes are in the target, by the copies.
pub struct CopyMap {
    /// By base.
    copies: Vec<Copy>,
}

/// Copies before a place that are asked whether they reach it.
const BACK: usize = 12;

impl CopyMap {
    /// Of these copies.
    pub fn new(copies: &[Copy]) -> Self {
        let mut copies = copies.to_vec();
        copies.sort_by_key(|copy| (copy.base, copy.target));
        Self { copies }
    }

    /// Where base byte `at` is: in the longest copy that has it, else beside the nearest.
    pub fn target(&self, at: u64) -> Option<u64> {
        let next = self.copies.partition_point(|copy| copy.base <= at);
        let near = &self.copies[next.saturating_sub(BACK)..next];
        let inside = near.iter().rev().filter(|copy| at - copy.base < copy.length);
        if let Some(copy) = inside.max_by_key(|copy| copy.length) {
            return Some(copy.target + (at - copy.base));
        }
        let (before, after) = (near.last(), self.copies.get(next));
        match (before, after) {
            (Some(before), Some(after)) if at - before.base - before.length > after.base - at => {
                (after.target + at).checked_sub(after.base)
            }
            (Some(before), _) => Some(before.target + (at - before.base)),
            (None, Some(after)) => (after.target + at).checked_sub(after.base),
            (None, None) => None,
        }
    }

    /// Where `address` of the base is in the target.
    pub fn address(&self, address: u64, base: &AddressSpace, target: &AddressSpace) -> Option<u64> {
        if let Some(at) = base.offset(address) {
            return target.address(self.target(at)?);
        }
        let (segment, distance) = base.behind(address)?;
        target.beyond(segment, distance)
    }
}
