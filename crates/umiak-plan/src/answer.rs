//! What the planner answers: use of every file system, the verdict, and the reasons as rows.

use std::borrow::Cow;
use std::collections::BTreeMap;

use umiak_spec::Digest;

use crate::device::{Device, Role};
use crate::ledger::{Action, Amount, Change, Ledger, Step};
use crate::task::Form;

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

/// What is reserved on the file system of [`Role::Blobs`] around one step, in bytes. With what is in use it is never more
/// than the peak. Nothing is held before something is reclaimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hold {
    /// When the step begins: what it and the steps after it need. What is written through the store is taken from it.
    pub before: u64,
    /// While the step runs, if what it writes is not taken from the reserve: what the steps after it need.
    pub during: u64,
}

/// Where a layer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// It is on the device.
    Here,
    /// Its blob is on the device, fetched by an update that was cut or brought by hand.
    Blob,
    /// Its blob is fetched, or the rest of it.
    Full,
    /// A delta makes it from what is here.
    Delta {
        /// The digest of the delta's manifest.
        delta: Digest,
        /// The digest of the part's blob.
        part: Digest,
    },
}

/// What was chosen for a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Its diff ID.
    pub layer: Digest,
    /// Who wants it first: `app/service`.
    pub whose: String,
    /// Where it comes from.
    pub way: Way,
    /// How it is kept in umiak's store when it comes; [`Form::Whole`] elsewhere.
    pub form: Form,
    /// Bytes that are fetched for it; a part of a delta that makes several layers is in each.
    pub download: u64,
    /// Bytes of its blob.
    pub full: u64,
    /// Why.
    pub why: String,
}

/// The answer to a fit check: the plan, if it fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What is done, in this order.
    pub steps: Vec<Step>,
    /// What was chosen for each wanted layer, in the order of apps and stacks.
    pub choices: Vec<Choice>,
    /// Why it is done in this order and at this price, where the cheapest did not fit.
    pub notes: Vec<String>,
    /// Bytes to reserve on the file system of [`Role::Blobs`] when what is reclaimed is gone and before anything is
    /// fetched.
    pub reserve: u64,
    /// For each step what is reserved there.
    pub holds: Vec<Hold>,
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
        let place = device.place(Role::Blobs);
        let (reserve, holds) = reservation(&steps, place);
        Self {
            steps,
            choices: vec![],
            notes: vec![],
            reserve,
            holds,
            uses,
            download,
            verdict,
            reclaimable: vec![],
            reclaims,
            fits_when_pruned: false,
        }
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

    /// Bytes more than now on all file systems after the last step.
    pub(crate) fn last(&self) -> i128 {
        self.uses.iter().map(|found| found.last).sum()
    }

    /// Bytes at the peak on all file systems.
    pub(crate) fn peak(&self) -> u128 {
        self.uses.iter().map(|found| u128::from(found.peak)).sum()
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

/// What is reserved on one file system before the first step that takes something, and while each step runs.
fn reservation(steps: &[Step], place: usize) -> (u64, Vec<Hold>) {
    let mut balance = 0_i128;
    let mut starts = Vec::with_capacity(steps.len());
    let mut peaks = Vec::with_capacity(steps.len());
    for step in steps {
        let here = || step.changes.iter().filter(|change| change.file_system == place);
        let sum = |amount: fn(&Change) -> u64| here().map(|change| i128::from(amount(change))).sum::<i128>();
        starts.push(balance);
        balance += sum(|change| change.taken.bytes);
        peaks.push(balance);
        balance -= sum(|change| change.freed.bytes);
    }
    let mut later = i128::MIN;
    let mut holds = vec![Hold::default(); steps.len()];
    let first = steps.iter().take_while(|step| step.action == Action::Reclaim).count();
    for index in (first..steps.len()).rev() {
        let during = clamp(later.saturating_sub(peaks[index]));
        later = later.max(peaks[index]);
        holds[index] = Hold { before: clamp(later - starts[index]), during };
    }
    (holds.get(first).map_or(0, |hold| hold.before), holds)
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
