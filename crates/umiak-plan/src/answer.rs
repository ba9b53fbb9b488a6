//! What the planner answers: use of every file system, the verdict, and the reasons as rows.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::device::Device;
use crate::ledger::{Action, Amount, Ledger, Step};

/// What there may be too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Bytes.
    Bytes,
    /// Inodes.
    Inodes,
}

/// What one file system has too little of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortfall {
    /// The file system: an index into the device's.
    pub file_system: usize,
    /// Of what.
    pub resource: Resource,
    /// How much is needed at the peak.
    pub needed: u64,
    /// How much may be taken.
    pub available: u64,
    /// The first step that cannot be done: an index into the answer's steps.
    pub step: usize,
}

impl Shortfall {
    /// How much is missing at the peak.
    #[must_use]
    pub const fn missing(&self) -> u64 {
        self.needed.saturating_sub(self.available)
    }
}

/// Whether the update can be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every step can be done.
    Fits,
    /// What there is too little of, by file system; never empty.
    Shortfall(Vec<Shortfall>),
}

/// The use of one file system: compared with now, so that figures may be below zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// Bytes that an update may take: what is free less what the watermark and root keep.
    pub available: u64,
    /// Inodes that may be made; `None` where there is no limit.
    pub inodes_available: Option<u64>,
    /// The most that is taken at any time, in bytes; at least 0.
    pub peak: u64,
    /// The step in which it is.
    pub peak_step: usize,
    /// What is taken more than now after the last step, in bytes.
    pub last: i128,
    /// The most inodes that are taken at any time.
    pub inodes_peak: u64,
    /// Inodes taken more than now after the last step.
    pub inodes_last: i128,
    /// The bytes are a bound, perhaps far above what is taken.
    pub bound: bool,
    /// The inodes are a bound.
    pub inodes_bound: bool,
}

/// One line of the explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What is done.
    pub action: Action,
    /// To what.
    pub what: String,
    /// On which file system: an index into the device's.
    pub file_system: usize,
    /// What is taken.
    pub taken: Amount,
    /// What is freed.
    pub freed: Amount,
    /// A bound.
    pub bound: bool,
    /// Why.
    pub why: Cow<'static, str>,
}

/// The answer to a fit check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What is done, in this order.
    pub steps: Vec<Step>,
    /// The use of each of the device's file systems, in their order.
    pub uses: Vec<Use>,
    /// Bytes that come over the network.
    pub download: u64,
    /// Whether it fits.
    pub verdict: Verdict,
    /// What no app uses now, by file system: pruning frees at least this much.
    pub reclaimable: Vec<Amount>,
    /// Whether the steps begin with removing that, because the update does not fit otherwise.
    pub reclaims: bool,
    /// Where it does not fit: whether it would if what no app uses were removed first.
    pub fits_when_pruned: bool,
}

impl Answer {
    /// What these steps come to on a device.
    pub(crate) fn of(device: &Device, steps: Vec<Step>) -> Self {
        let mut uses = Vec::new();
        let mut shortfalls = Vec::new();
        for (index, file_system) in device.file_systems.iter().enumerate() {
            let ledger = Ledger::of(&steps, index);
            let found = Use {
                available: file_system.available(device.watermark),
                inodes_available: file_system.inodes_free,
                peak: clamp(ledger.bytes.peak),
                peak_step: ledger.bytes.peak_step,
                last: ledger.bytes.last(),
                inodes_peak: clamp(ledger.inodes.peak),
                inodes_last: ledger.inodes.last(),
                bound: ledger.bound,
                inodes_bound: ledger.inodes_bound,
            };
            let bytes = (ledger.bytes.peak, Some(found.available));
            shortfalls.extend(shortfall(&steps, index, Resource::Bytes, bytes));
            let inodes = (ledger.inodes.peak, found.inodes_available);
            shortfalls.extend(shortfall(&steps, index, Resource::Inodes, inodes));
            uses.push(found);
        }
        let download = steps.iter().fold(0_u64, |sum, step| sum.saturating_add(step.download));
        let verdict = if shortfalls.is_empty() { Verdict::Fits } else { Verdict::Shortfall(shortfalls) };
        let reclaims = steps.iter().any(|step| step.action == Action::Reclaim);
        Self { steps, uses, download, verdict, reclaimable: vec![], reclaims, fits_when_pruned: false }
    }

    /// Whether it fits.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.verdict == Verdict::Fits
    }

    /// Whether no figure in bytes is a bound: each is as exact as the file systems allow.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.uses.iter().any(|found| found.bound)
    }

    /// Bytes and inodes that are missing, all together: how far from fitting it is.
    pub(crate) fn missing(&self) -> u128 {
        match &self.verdict {
            Verdict::Fits => 0,
            Verdict::Shortfall(all) => all.iter().map(|shortfall| u128::from(shortfall.missing())).sum(),
        }
    }

    /// Why the figures are what they are: what is taken and freed by action, subject, file system and reason, in the
    /// order of the steps.
    #[must_use]
    pub fn explain(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        let mut places: BTreeMap<(Action, String, usize, Cow<'static, str>), usize> = BTreeMap::new();
        for (step, change) in self.steps.iter().flat_map(|step| step.changes.iter().map(move |change| (step, change))) {
            let key = (step.action, step.what.clone(), change.file_system, change.why.clone());
            let place = *places.entry(key).or_insert_with(|| {
                rows.push(Row {
                    action: step.action,
                    what: step.what.clone(),
                    file_system: change.file_system,
                    taken: Amount::default(),
                    freed: Amount::default(),
                    bound: false,
                    why: change.why.clone(),
                });
                rows.len() - 1
            });
            let row = &mut rows[place];
            add(&mut row.taken, change.taken);
            add(&mut row.freed, change.freed);
            row.bound |= change.bound;
        }
        rows
    }
}

pub(crate) fn add(sum: &mut Amount, amount: Amount) {
    sum.bytes = sum.bytes.saturating_add(amount.bytes);
    sum.inodes = sum.inodes.saturating_add(amount.inodes);
}

fn clamp(number: i128) -> u64 {
    u64::try_from(number.max(0)).unwrap_or(u64::MAX)
}

fn shortfall(
    steps: &[Step],
    file_system: usize,
    resource: Resource,
    (needed, available): (i128, Option<u64>),
) -> Option<Shortfall> {
    let available = available.filter(|available| needed > i128::from(*available))?;
    let course = match resource {
        Resource::Bytes => |ledger: &Ledger| ledger.bytes,
        Resource::Inodes => |ledger: &Ledger| ledger.inodes,
    };
    let step = Ledger::exceeds(steps, file_system, available, course)?;
    Some(Shortfall { file_system, resource, needed: clamp(needed), available, step })
}
