//! Blobs and parts of deltas that are fetched, and the layers that are made of them.

use std::collections::BTreeSet;

use umiak_spec::Digest;

use super::build::{BESIDE, Builder, Origin};
use super::scene::{Missing, Part};
use crate::contents::Contents;
use crate::cost::Cost;
use crate::device::{Keeps, Role};
use crate::fs::FileSystem;
use crate::layout;
use crate::ledger::{Change, Step};
use crate::task::{Form, Task};
use crate::wanted::{Blob, BlobKind, Layer};

pub(super) const NAMES: &str = "names in the directory of blobs";

impl<'a> Builder<'a> {
    /// Everything but layers, and but what deltas make of it.
    pub(super) fn fetch_documents(&mut self) {
        for (blob, whose) in &self.scene.documents {
            if self.scene.object_delta(&blob.digest, self.choice.objects).is_some() {
                continue;
            }
            let what = format!("{} {} of {whose}", blob.kind.word(), blob.digest.short());
            self.fetch_blob(Some(blob.kind), *blob, what, None);
        }
    }

    pub(super) fn fetch(&mut self, origin: Origin<'a>) {
        match origin {
            Origin::Blob(missing) => {
                let layer = missing.layer;
                let what = format!("layer {} of {}", layer.digest.short(), missing.whose);
                let blob = Blob::new(BlobKind::Layer, layer.digest, layer.size);
                self.fetch_blob(Some(BlobKind::Layer), blob, what, None);
            }
            Origin::Part(Part { delta, part }) => {
                let what = part_name(Part { delta, part });
                let blob = Blob::new(BlobKind::Layer, part.blob, part.size);
                self.fetch_blob(None, blob, what, Some(delta.digest));
            }
        }
    }

    fn fetch_blob(&mut self, kind: Option<BlobKind>, blob: Blob, what: String, delta: Option<Digest>) {
        let Some((place, file_system)) = self.at(Role::Blobs) else { return };
        if self.scene.has(&blob.digest, blob.size) {
            return;
        }
        let fetched = self.scene.fetched(&blob.digest, blob.size);
        let why = match (delta, fetched) {
            (Some(_), _) => "delta, until it is applied",
            (None, 0) => "blob, as it is fetched",
            (None, _) => "rest of a blob, part of which is here",
        };
        let mut changes = vec![Change::takes(place, file_system.rest_of_file(blob.size, fetched), why)];
        changes.push(Change::takes(place, self.blob_names.add(file_system, 1), NAMES));
        if self.scene.device.keeps == Keeps::Layers {
            let beside = layout::ingest(file_system, blob.size);
            changes.push(Change::takes(place, beside, BESIDE));
            self.beside += beside;
        }
        let task = Task::Fetch { kind, blob: blob.digest, size: blob.size, delta };
        self.steps.push(Step::new(task, what, changes).downloading(blob.size - fetched));
    }

    /// Makes layers of what was fetched.
    pub(super) fn make(&mut self, origin: Origin<'a>) {
        match (self.scene.device.keeps, origin) {
            (Keeps::Blobs, Origin::Blob(_)) => {}
            (Keeps::Blobs, Origin::Part(part)) => self.make_blobs(part),
            (Keeps::Layers, Origin::Blob(missing)) => self.ingest(missing),
            (Keeps::Layers, Origin::Part(part)) => self.apply(part),
        }
    }

    /// Where blobs are kept, a delta makes blobs.
    fn make_blobs(&mut self, part: Part<'a>) {
        let Some((place, file_system)) = self.at(Role::Blobs) else { return };
        let mut changes = Vec::new();
        let mut makes = Vec::new();
        for layer in self.makes(part) {
            // What was fetched of it goes only once it is made.
            changes.push(Change::takes(place, file_system.file(layer.layer.size), "layers, made by the delta"));
            changes.push(Change::takes(place, self.blob_names.add(file_system, 1), NAMES));
            makes.push((layer.layer.diff_id, Form::Whole));
        }
        self.push_apply(part, makes, changes);
    }

    fn apply(&mut self, part: Part<'a>) {
        let Some((place, file_system)) = self.at(Role::Blobs) else { return };
        let made = self.makes(part);
        let expanded = made.iter().map(|missing| layout::tar(missing.layer));
        let all = expanded.fold((0_u64, true), |(sum, known), (bytes, one)| (sum.saturating_add(bytes), known && one));
        let spool = match (part.part.spool, all) {
            (Some(bytes), _) => file_system.file(bytes),
            // Nobody said how much changed: perhaps everything.
            (None, (bytes, _)) => Cost { least: 0, ..file_system.file(bytes) }.as_bound(),
        };
        let why = "changed contents, while the delta is applied";
        let mut changes = vec![Change::takes(place, spool, why), Change::returns(place, spool, why)];
        let mut makes = Vec::new();
        for missing in made {
            let form = self.keep(missing, place, file_system, &mut changes);
            makes.push((missing.layer.diff_id, form));
        }
        self.push_apply(part, makes, changes);
    }

    fn push_apply(&mut self, part: Part<'a>, makes: Vec<(Digest, Form)>, mut changes: Vec<Change>) {
        let gone = Blob::new(BlobKind::Layer, part.part.blob, part.part.size);
        changes.extend(self.goes(gone, "delta, no longer needed"));
        changes.extend(self.alone());
        let (delta, base) = (part.delta.digest, part.delta.base.clone());
        let task = Task::Apply { delta, part: part.part.blob, base, makes };
        self.steps.push(Step::new(task, part_name(part), changes));
    }

    fn ingest(&mut self, missing: &'a Missing<'a>) {
        let Some((place, file_system)) = self.at(Role::Blobs) else { return };
        let layer = missing.layer;
        let mut changes = Vec::new();
        let form = self.keep(missing, place, file_system, &mut changes);
        changes.extend(self.goes(Blob::new(BlobKind::Layer, layer.digest, layer.size), "blob, no longer needed"));
        changes.extend(self.alone());
        let task = Task::Ingest { layer: layer.diff_id, blob: layer.digest, form };
        self.steps.push(Step::new(task, format!("layer {}", layer.digest.short()), changes));
    }

    /// What is kept of a layer.
    fn keep(
        &mut self,
        missing: &Missing<'_>,
        place: usize,
        file_system: &FileSystem,
        changes: &mut Vec<Change>,
    ) -> Form {
        let form = self.forms.get(&missing.layer.diff_id).cloned().unwrap_or(Form::Whole);
        let patch = super::forms::patch(self.scene, missing, self.choice.patches);
        changes.push(match patch {
            Some(patch) => {
                let cost = layout::layer(file_system, patch.files);
                let cost = if patch.bound { Cost { least: 0, ..cost }.as_bound() } else { cost };
                Change::takes(place, cost, "layer, as a patch of another")
            }
            None => Change::takes(place, layout::whole(file_system, missing.layer), known(missing.layer)),
        });
        changes.push(Change::takes(place, self.layer_names.add(file_system, 1), "names in the directory of layers"));
        form
    }

    /// A blob goes: what was fetched of it before the plan frees its least, what the plan fetched is given back.
    fn goes(&self, blob: Blob, why: &'static str) -> Vec<Change> {
        let Some((place, file_system)) = self.at(Role::Blobs) else { return vec![] };
        let before = self.scene.fetched(&blob.digest, blob.size);
        let rest = file_system.rest_of_file(blob.size, before);
        match before {
            0 => vec![Change::returns(place, rest, why)],
            all if all == blob.size => vec![Change::frees(place, file_system.file(all), why)],
            part => vec![Change::returns(place, rest, why), Change::frees(place, file_system.file(part), why)],
        }
    }

    /// What lay beside a blob that was fetched by itself, for which no step verifies all.
    fn alone(&self) -> Option<Change> {
        let (place, _) = self.at(Role::Blobs)?;
        Some(Change::returns(place, self.beside, BESIDE))
    }

    /// The missing layers that a part makes, and that no part before it made.
    fn makes(&mut self, part: Part<'a>) -> Vec<&'a Missing<'a>> {
        let makes: BTreeSet<Digest> = part.part.makes.iter().copied().collect();
        let makes = makes.into_iter().filter(|diff_id| self.made.insert(*diff_id));
        makes.filter_map(|diff_id| self.scene.layers.get(&diff_id)).collect()
    }
}

fn part_name(part: Part<'_>) -> String {
    match part.part.makes[..] {
        [only] => format!("delta {} for layer {}", part.delta.digest.short(), only.short()),
        _ => format!("delta {}", part.delta.digest.short()),
    }
}

fn known(layer: &Layer) -> &'static str {
    match &layer.contents {
        _ if layer.known_files().is_some() => "layer, as a squashfs image: its length is known",
        Contents::Measured(_) | Contents::Expanded(_) => {
            "layer, as a squashfs image: only its length unpacked is known"
        }
        Contents::Usage { .. } => "layer, as a squashfs image: from the app's layer metadata",
        Contents::Unknown => "layer, as a squashfs image: nothing is known of it",
    }
}
