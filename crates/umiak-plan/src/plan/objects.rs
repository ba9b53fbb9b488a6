//! Objects of pvr revisions that a delta at hand makes of objects that are here.
//!
//! An object is kept as it comes, so that there is nothing to choose but whether the delta is used: where the object can be
//! had whole as well, that is for where the delta does not fit.

use std::collections::BTreeMap;

use umiak_spec::{Digest, Size};

use super::build::Builder;
use super::choice::Choice;
use super::scene::Scene;
use crate::answer::{self, Way};
use crate::device::Role;
use crate::ledger::{Change, Step};
use crate::task::{Form, Task};
use crate::wanted::{BlobKind, ObjectDelta};

/// How objects come that can be had in two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Objects {
    /// By their deltas.
    Deltas,
    /// Whole.
    Whole,
}

impl Objects {
    /// The ways that are worth a look, the one that brings least first.
    pub(super) fn all(scene: &Scene<'_>) -> &'static [Self] {
        let choice = scene.objects.keys().any(|object| comes_whole(scene, object));
        if choice { &[Self::Deltas, Self::Whole] } else { &[Self::Deltas] }
    }
}

/// The delta of each missing object for which there is one that can be used and brings less: the shortest.
pub(super) fn usable<'a>(scene: &Scene<'a>) -> BTreeMap<Digest, &'a ObjectDelta> {
    let mut found: BTreeMap<Digest, &ObjectDelta> = BTreeMap::new();
    for delta in scene.wanted.objects.iter().filter(|delta| has_base(scene, delta)) {
        let mut missing = scene.documents.iter().map(|(blob, _)| blob);
        let missing = missing.find(|blob| blob.kind == BlobKind::Object && blob.digest == delta.object);
        let Some(missing) = missing.filter(|missing| missing.size == delta.size) else { continue };
        let rest = missing.size - scene.fetched(&missing.digest, missing.size);
        if comes_whole(scene, &delta.object) && rest <= delta.bytes {
            continue;
        }
        let best = found.entry(delta.object).or_insert(delta);
        if (delta.bytes, delta.blob) < (best.bytes, best.blob) {
            *best = delta;
        }
    }
    found
}

/// Whether an object can be had whole, too.
fn comes_whole(scene: &Scene<'_>, object: &Digest) -> bool {
    scene.wanted.objects.iter().any(|delta| delta.object == *object && delta.whole)
}

fn has_base(scene: &Scene<'_>, delta: &ObjectDelta) -> bool {
    scene.has(&delta.base, delta.base_size)
}

impl<'a> Scene<'a> {
    /// The delta that makes an object, if it does not come whole.
    pub(super) fn object_delta(&self, object: &Digest, objects: Objects) -> Option<&'a ObjectDelta> {
        self.objects.get(object).copied().filter(|_| objects == Objects::Deltas || !comes_whole(self, object))
    }
}

impl Builder<'_> {
    /// Makes objects by their deltas, one after the other.
    pub(super) fn make_objects(&mut self) {
        let Some((place, file_system)) = self.at(Role::Blobs) else { return };
        let deltas =
            self.scene.objects.keys().filter_map(|object| self.scene.object_delta(object, self.choice.objects));
        for delta in deltas.collect::<Vec<_>>() {
            let beside = file_system.file(delta.spool);
            let why = "changed contents, while the delta is applied";
            let changes = vec![
                Change::takes(place, beside, why),
                Change::returns(place, beside, why),
                Change::takes(place, file_system.file(delta.size), "object, made by its delta"),
                Change::takes(place, self.blob_names.add(file_system, 1), super::fetch::NAMES),
            ];
            let ObjectDelta { object, base, blob, size, spool, .. } = *delta;
            let task = Task::Make { object, base, delta: blob, size, spool };
            let what = format!("object {} by its delta", delta.object.short());
            self.steps.push(Step::new(task, what, changes).downloading(delta.bytes));
        }
    }
}

/// What was chosen for each missing object that a delta leads to. `lacks`: what was too little of where deltas were used.
pub(super) fn reasons(scene: &Scene<'_>, chosen: &Choice<'_>, lacks: &str) -> Vec<answer::Choice> {
    let mut choices = Vec::new();
    for (blob, whose) in scene.documents.iter().filter(|(blob, _)| blob.kind == BlobKind::Object) {
        let Some(led) = scene.wanted.objects.iter().find(|delta| delta.object == blob.digest) else { continue };
        let rest = blob.size - scene.fetched(&blob.digest, blob.size);
        let (way, download, why) = match scene.object_delta(&blob.digest, chosen.objects) {
            Some(delta) => {
                let why = format!("delta from {}: {} instead of {}", delta.from, Size(delta.bytes), Size(rest));
                (Way::Delta { delta: delta.blob, part: delta.blob }, delta.bytes, why)
            }
            None if scene.objects.contains_key(&blob.digest) => {
                (Way::Full, rest, format!("in full: by the delta from {} it would not fit: {lacks}", led.from))
            }
            None if !scene.wanted.objects.iter().any(|delta| delta.object == blob.digest && has_base(scene, delta)) => {
                (Way::Full, rest, format!("in full: the delta from {} starts from what is not here", led.from))
            }
            None => (Way::Full, rest, "in full: no delta is smaller".to_owned()),
        };
        choices.push(answer::Choice {
            layer: blob.digest,
            whose: format!("{whose}/{}", led.name),
            way,
            form: Form::Whole,
            download,
            full: blob.size,
            why,
        });
    }
    choices
}
