//! Directories of the device that grow with the names that a plan adds.

use super::count;
use crate::cost::Cost;
use crate::fs::FileSystem;

/// Names that are added to a directory of the device in the course of a plan.
pub(super) struct Names {
    have: u64,
    new: u64,
    length: u64,
}

impl Names {
    pub fn of(have: usize, length: u64) -> Self {
        Self { have: count(have), new: 0, length }
    }

    /// What the directory grows by with `more` names. Counted from the plan's start, so that it does not matter how many
    /// are added at a time.
    pub fn add(&mut self, file_system: &FileSystem, more: u64) -> Cost {
        let before = file_system.growth(self.have, self.new, self.length);
        self.new = self.new.saturating_add(more);
        let after = file_system.growth(self.have, self.new, self.length);
        Cost { most: after.most.saturating_sub(before.most), ..after }
    }
}
