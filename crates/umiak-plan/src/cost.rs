//! What something takes on a file system: bytes in whole blocks, and inodes.
//!
//! A cost is a range. What is about to be written is charged with `most`; what is about to be removed is credited
//! with `least`: so a sum is never too low. All arithmetic stops at the ends of `u64` instead of wrapping.

use std::iter::Sum;
use std::ops::{Add, AddAssign};

/// Bytes and inodes on one file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Bytes that it takes at least: what removing it frees for certain.
    pub least: u64,
    /// Bytes that it takes at most.
    pub most: u64,
    /// Inodes that it takes at most.
    pub inodes: u64,
    /// Inodes that it takes at least.
    pub inodes_least: u64,
    /// The sizes behind it are not known: `most` is a bound and may be far above what is taken.
    pub bound: bool,
    /// The same of `inodes`.
    pub inodes_bound: bool,
}

impl Cost {
    /// Nothing.
    pub const NOTHING: Self = Self::exactly(0, 0);

    /// Known bytes and inodes.
    #[must_use]
    pub const fn exactly(bytes: u64, inodes: u64) -> Self {
        Self { least: bytes, most: bytes, inodes, inodes_least: inodes, bound: false, inodes_bound: false }
    }

    /// At most this much, and perhaps nothing.
    #[must_use]
    pub const fn at_most(bytes: u64, inodes: u64) -> Self {
        Self { least: 0, most: bytes, inodes, inodes_least: 0, bound: false, inodes_bound: false }
    }

    /// The same cost, said to be a bound in bytes and inodes.
    #[must_use]
    pub const fn as_bound(mut self) -> Self {
        (self.bound, self.inodes_bound) = (true, true);
        self
    }

    /// The cost `count` times.
    #[must_use]
    pub const fn times(self, count: u64) -> Self {
        Self {
            least: self.least.saturating_mul(count),
            most: self.most.saturating_mul(count),
            inodes: self.inodes.saturating_mul(count),
            inodes_least: self.inodes_least.saturating_mul(count),
            bound: self.bound,
            inodes_bound: self.inodes_bound,
        }
    }

    /// Whether nothing is taken.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.most == 0 && self.inodes == 0
    }
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            least: self.least.saturating_add(other.least),
            most: self.most.saturating_add(other.most),
            inodes: self.inodes.saturating_add(other.inodes),
            inodes_least: self.inodes_least.saturating_add(other.inodes_least),
            bound: self.bound || other.bound,
            inodes_bound: self.inodes_bound || other.inodes_bound,
        }
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::NOTHING, Add::add)
    }
}
