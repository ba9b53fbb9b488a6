//! From a device and what is wanted to the steps that bring it there.
//!
//! Chosen are: where each layer comes from, how it is kept, what goes first, and whether everything is fetched at once.
//! The first choice that fits wins; their order is that of [`choice`]. Where none fits, the one that is nearest to
//! fitting is the answer, and it says what is missing.

mod build;
mod choice;
mod fetch;
mod forms;
mod load;
mod names;
mod objects;
mod obsolete;
mod reasons;
mod scene;

use crate::answer::{Answer, add};
use crate::device::Device;
use crate::ledger::{Amount, Change, Step};
use crate::wanted::Wanted;
use build::Builder;
use choice::{Choice, Pace, Patches, Reclaim};
use objects::Objects;
use scene::Scene;

/// The steps of an update, what they take on every file system, and whether they can be done.
///
/// A device without file systems fits nothing that takes something, and that is not seen here: a [`crate::Profile`]
/// has at least one.
#[must_use]
pub fn plan(device: &Device, wanted: &Wanted) -> Answer {
    let scene = Scene::of(device, wanted);
    let groups = choice::groups(&scene);
    let mut found = Found::default();
    for group in &groups {
        // Where pruning is not allowed it is only asked whether it would help.
        let allowed = wanted.policy.reclaim || group.iter().all(|choice| choice.reclaim == Reclaim::Nothing);
        for choice in group {
            found.look(&scene, choice, allowed);
        }
        if found.fits {
            break;
        }
    }
    let Some((choice, mut answer)) = found.best.take() else { return Answer::of(device, vec![]) };
    answer.choices = reasons::of(&scene, choice, found.first.as_ref());
    answer.notes = reasons::notes(&scene, choice, found.first.as_ref(), answer.fits());
    answer.fits_when_pruned = found.fits_when_pruned || answer.fits();
    answer.reclaimable = reclaimable(&scene);
    answer
}

/// The best choice so far.
#[derive(Default)]
struct Found<'a> {
    best: Option<(&'a Choice<'a>, Answer)>,
    /// The first choice that was looked at: what would have been fetched least.
    first: Option<(&'a Choice<'a>, Answer)>,
    fits: bool,
    fits_when_pruned: bool,
}

impl<'a> Found<'a> {
    fn look(&mut self, scene: &'a Scene<'a>, choice: &'a Choice<'a>, allowed: bool) {
        if !allowed && self.fits_when_pruned {
            return;
        }
        let steps = Builder::new(scene, choice).steps();
        let answer = Answer::of(scene.device, begun(scene.device, steps));
        if self.first.is_none() {
            self.first = Some((choice, answer.clone()));
        }
        self.fits_when_pruned |= answer.fits();
        if !allowed {
            return;
        }
        let key = |answer: &Answer| (answer.missing(), answer.last(), answer.peak());
        if self.best.as_ref().is_none_or(|(_, best)| key(&answer) < key(best)) {
            self.fits |= answer.fits();
            self.best = Some((choice, answer));
        }
    }
}

/// What no app uses now, by file system.
fn reclaimable(scene: &Scene<'_>) -> Vec<Amount> {
    let choice = Choice {
        parts: scene.pick(&scene.usable()),
        patches: Patches::Known,
        objects: Objects::Deltas,
        reclaim: Reclaim::Obsolete,
        pace: Pace::Together,
    };
    let forms = forms::chosen(scene, &choice);
    let steps = begun(scene.device, obsolete::Removing::of(scene, &choice, &forms).before());
    let mut reclaimable = vec![Amount::default(); scene.device.file_systems.len()];
    for change in steps.iter().flat_map(|step| &step.changes) {
        if let Some(sum) = reclaimable.get_mut(change.file_system) {
            add(sum, change.freed);
        }
    }
    reclaimable
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
