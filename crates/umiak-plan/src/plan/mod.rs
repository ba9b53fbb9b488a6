//! From a device and what is wanted to the steps that bring it there.
//!
//! Two things are chosen: whether deltas are used, and whether what is obsolete goes first. The first choice that fits
//! wins, in this order: least download before least pruning. Where none fits, the one that is nearest to fitting is
//! the answer, and it says what is missing.

mod build;
mod fetch;
mod load;
mod names;
mod obsolete;

use crate::answer::{Answer, add};
use crate::device::Device;
use crate::ledger::{Amount, Change, Step};
use crate::wanted::Wanted;
use build::Builder;

/// What an update may choose.
#[derive(Debug, Clone, Copy)]
struct Choice {
    deltas: bool,
    reclaim: bool,
}

/// The steps of an update, what they take on every file system, and whether they can be done.
///
/// A device without file systems fits nothing that takes something, and that is not seen here: a [`crate::Profile`]
/// has at least one.
#[must_use]
pub fn plan(device: &Device, wanted: &Wanted) -> Answer {
    let mut reclaimable = vec![Amount::default(); device.file_systems.len()];
    for change in begun(device, obsolete::before(device, wanted)).iter().flat_map(|step| &step.changes) {
        if let Some(sum) = reclaimable.get_mut(change.file_system) {
            add(sum, change.freed);
        }
    }
    let mut answers = Vec::new();
    for deltas in [true, false] {
        for reclaim in [false, true] {
            let choice = Choice { deltas: deltas && !wanted.deltas.is_empty(), reclaim };
            answers.push((choice, Answer::of(device, begun(device, Builder::new(device, wanted, choice).steps()))));
        }
    }
    let fits_when_pruned = answers.iter().any(|(choice, answer)| choice.reclaim && answer.fits());
    let allowed = answers.into_iter().filter(|(choice, _)| wanted.policy.reclaim || !choice.reclaim);
    let best = allowed.map(|(_, answer)| answer).min_by_key(Answer::missing);
    let mut answer = best.unwrap_or_else(|| Answer::of(device, vec![]));
    answer.fits_when_pruned = fits_when_pruned;
    answer.reclaimable = reclaimable;
    answer
}

/// Puts what a file system takes once, however many inodes are made, into the first step that makes one there; and takes
/// it off what is freed when inodes are removed.
fn begun(device: &Device, mut steps: Vec<Step>) -> Vec<Step> {
    for (index, file_system) in device.file_systems.iter().enumerate() {
        let here = |change: &Change| change.file_system == index;
        let sum = |steps: &[Step], inodes: fn(&Step, &Change) -> u64| {
            let changes = steps.iter().flat_map(|step| step.changes.iter().map(move |change| (step, change)));
            let inodes = changes.filter(|(_, change)| here(change)).map(|(step, change)| inodes(step, change));
            inodes.fold(0_u64, u64::saturating_add)
        };
        let made = file_system.beginning(sum(&steps, |_, change| change.taken.inodes));
        let removed = |step: &Step, change: &Change| if step.action.removes() { change.freed.inodes } else { 0 };
        let mut kept = file_system.keeping(sum(&steps, removed));
        for change in steps.iter_mut().filter(|step| step.action.removes()).flat_map(|step| &mut step.changes) {
            if here(change) {
                let off = kept.min(change.freed.bytes);
                change.freed.bytes -= off;
                kept -= off;
            }
        }
        let makes = |step: &&mut Step| step.changes.iter().any(|change| here(change) && change.taken.inodes > 0);
        if let Some(first) = steps.iter_mut().find(makes).filter(|_| !made.is_nothing()) {
            first.changes.push(Change::takes(index, made, "inodes are taken in chunks, one begun in each group"));
        }
    }
    steps
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
