//! The steps of a plan, and what each takes and frees on every file system.

use std::borrow::Cow;

use crate::cost::Cost;
use crate::task::Task;

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Removes what no app uses, before anything is fetched.
    Reclaim,
    /// Fetches a blob, or the rest of one.
    Fetch,
    /// Makes layers or objects with a delta.
    Apply,
    /// Compares what was fetched with its digests.
    Verify,
    /// A layer's blob becomes a squashfs image.
    Ingest,
    /// A layer that is kept as a patch becomes whole.
    Whole,
    /// The revision gets its name in the store.
    Name,
    /// The engine takes an image and its layers in.
    Load,
    /// Bundles are unpacked and containers made.
    Switch,
    /// Removes what the update replaced.
    Prune,
}

impl Action {
    /// Whether it removes what was there before the plan.
    #[must_use]
    pub const fn removes(self) -> bool {
        matches!(self, Self::Reclaim | Self::Prune)
    }

    /// The word for it in reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Reclaim => "reclaim",
            Self::Fetch => "fetch",
            Self::Apply => "apply",
            Self::Verify => "verify",
            Self::Ingest => "ingest",
            Self::Whole => "whole",
            Self::Name => "name",
            Self::Load => "load",
            Self::Switch => "switch",
            Self::Prune => "prune",
        }
    }
}

/// Bytes and inodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Bytes in whole blocks.
    pub bytes: u64,
    /// Inodes.
    pub inodes: u64,
}

/// What a step changes on one file system, for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The file system: an index into the device's.
    pub file_system: usize,
    /// Taken at most.
    pub taken: Amount,
    /// Freed at least.
    pub freed: Amount,
    /// The bytes are a bound.
    pub bound: bool,
    /// The inodes are a bound.
    pub inodes_bound: bool,
    /// Why.
    pub why: Cow<'static, str>,
}

impl Change {
    fn new(file_system: usize, cost: Cost, taken: Amount, freed: Amount, why: Cow<'static, str>) -> Self {
        Self { file_system, taken, freed, bound: cost.bound, inodes_bound: cost.inodes_bound, why }
    }

    /// Something is written.
    pub(crate) fn takes(file_system: usize, cost: Cost, why: impl Into<Cow<'static, str>>) -> Self {
        let taken = Amount { bytes: cost.most, inodes: cost.inodes };
        Self::new(file_system, cost, taken, Amount::default(), why.into())
    }

    /// Something that was there before the plan is removed: its least is freed for certain.
    pub(crate) fn frees(file_system: usize, cost: Cost, why: impl Into<Cow<'static, str>>) -> Self {
        let freed = Amount { bytes: cost.least, inodes: cost.inodes_least };
        Self::new(file_system, cost, Amount::default(), freed, why.into())
    }

    /// Something that the plan itself wrote is removed: what was charged for it comes back.
    pub(crate) fn returns(file_system: usize, cost: Cost, why: impl Into<Cow<'static, str>>) -> Self {
        let freed = Amount { bytes: cost.most, inodes: cost.inodes };
        Self::new(file_system, cost, Amount::default(), freed, why.into())
    }

    fn is_nothing(&self) -> bool {
        self.taken == Amount::default() && self.freed == Amount::default()
    }
}

/// One step of a plan. Within a step things are taken before others are freed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it does.
    pub action: Action,
    /// To what, for people.
    pub what: String,
    /// What the executor does.
    pub task: Task,
    /// Bytes that come over the network.
    pub download: u64,
    /// What it changes where. Empty for a step that only looks.
    pub changes: Vec<Change>,
}

impl Step {
    pub(crate) fn new(task: Task, what: impl Into<String>, changes: Vec<Change>) -> Self {
        let changes = changes.into_iter().filter(|change| !change.is_nothing()).collect();
        Self { action: task.action(), what: what.into(), task, download: 0, changes }
    }

    pub(crate) fn downloading(mut self, bytes: u64) -> Self {
        self.download = bytes;
        self
    }
}

/// The course of one resource over the steps.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Course {
    balance: i128,
    /// The most that was in use more than before the plan, and after which step.
    pub peak: i128,
    pub peak_step: usize,
}

impl Course {
    fn go(&mut self, step: usize, taken: i128, freed: i128) {
        self.balance += taken;
        if self.balance > self.peak {
            (self.peak, self.peak_step) = (self.balance, step);
        }
        self.balance -= freed;
    }

    /// Use after the last step, compared with before the first.
    pub fn last(&self) -> i128 {
        self.balance
    }
}

/// Bytes and inodes of one file system over the steps.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ledger {
    pub bytes: Course,
    pub inodes: Course,
    pub bound: bool,
    pub inodes_bound: bool,
}

impl Ledger {
    /// Goes through the steps for one file system.
    pub fn of(steps: &[Step], file_system: usize) -> Self {
        let mut ledger = Self::default();
        for (index, step) in steps.iter().enumerate() {
            let changes = || step.changes.iter().filter(|change| change.file_system == file_system);
            let sum = |amount: fn(&Change) -> u64| changes().map(|change| i128::from(amount(change))).sum::<i128>();
            ledger.bytes.go(index, sum(|change| change.taken.bytes), sum(|change| change.freed.bytes));
            ledger.inodes.go(index, sum(|change| change.taken.inodes), sum(|change| change.freed.inodes));
            ledger.bound |= changes().any(|change| change.bound);
            ledger.inodes_bound |= changes().any(|change| change.inodes_bound);
        }
        ledger
    }

    /// The first step in which more than `bytes` or `inodes` are in use more than before.
    pub fn exceeds(steps: &[Step], file_system: usize, limit: u64, course: fn(&Self) -> Course) -> Option<usize> {
        let over = |count: usize| course(&Self::of(&steps[..count], file_system)).peak > i128::from(limit);
        // The peak only grows with more steps.
        let counts: Vec<usize> = (0..=steps.len()).collect();
        let first = counts.partition_point(|count| !over(*count));
        (first <= steps.len()).then(|| first.saturating_sub(1))
    }
}
