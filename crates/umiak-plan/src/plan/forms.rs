//! How layers are kept in umiak's store: whole, or as patches of others.
//!
//! A patch is valid only above the layers it was made for and only against a layer that is whole. So a layer is kept as
//! a patch where all stacks that have it agree, the base is here and whole, and it takes less than the whole. One that is
//! here as a patch and wanted in another stack becomes whole.

use std::collections::BTreeMap;

use umiak_spec::Digest;

use super::build::Builder;
use super::choice::Choice;
use super::scene::{Missing, Scene};
use crate::contents::LayerFiles;
use crate::device::{Keeps, Role};
use crate::layout;
use crate::ledger::{Change, Step};
use crate::task::{Form, Task};
use crate::wanted::{Layer, Patch};

/// How each missing layer is kept.
pub(super) fn chosen(scene: &Scene<'_>, choice: &Choice<'_>) -> BTreeMap<Digest, Form> {
    let form = |missing: &Missing<'_>| {
        let patch = patch(scene, missing).filter(|_| choice.patches);
        patch.map_or(Form::Whole, |patch| Form::Patch { base: patch.base, below: patch.below.clone() })
    };
    scene.layers.iter().map(|(diff_id, missing)| (*diff_id, form(missing))).collect()
}

/// The patch that a missing layer can be kept as: the smallest, if it is worth it.
pub(super) fn patch<'a>(scene: &Scene<'a>, missing: &Missing<'_>) -> Option<&'a Patch> {
    if scene.device.keeps != Keeps::Layers || missing.stacks.len() != 1 {
        return None;
    }
    let diff_id = missing.layer.diff_id;
    let whole = |layer: &Digest| scene.device.stored.layers.get(layer).is_some_and(|stored| stored.form.is_whole());
    let whole_size = missing.layer.known_files().map(stored_size);
    let patches = scene.wanted.patches.iter().filter(|patch| patch.layer == diff_id && whole(&patch.base));
    let patches = patches.filter(|patch| missing.stacks.contains(&patch.below));
    let best = patches.min_by_key(|patch| (stored_size(patch.files), patch.base));
    best.filter(|patch| whole_size.is_none_or(|whole| stored_size(patch.files) < whole))
}

fn stored_size(files: LayerFiles) -> u64 {
    files.image.saturating_add(files.skeleton)
}

impl Builder<'_> {
    /// Makes patches whole that are wanted where they are not valid.
    pub(super) fn convert(&mut self) {
        let Some((place, file_system)) = self.at(Role::Blobs) else { return };
        let mut done: BTreeMap<Digest, &Layer> = BTreeMap::new();
        for image in self.scene.apps.iter().flat_map(|app| app.images()) {
            let mut under = Vec::new();
            for layer in &image.layers {
                if let Some(stored) = self.scene.device.stored.layers.get(&layer.diff_id)
                    && let Form::Patch { below, .. } = &stored.form
                    && *below != under
                {
                    done.insert(layer.diff_id, layer);
                }
                under.push(layer.diff_id);
            }
        }
        for (diff_id, layer) in done {
            let patch = self.scene.device.stored.layers[&diff_id].files;
            let changes = vec![
                Change::takes(
                    place,
                    layout::whole(file_system, layer),
                    "layer, whole: it is wanted above other layers",
                ),
                Change::frees(place, layout::layer(file_system, patch), "patch, no longer needed"),
            ];
            self.steps.push(Step::new(Task::Whole { layer: diff_id }, format!("layer {}", diff_id.short()), changes));
        }
    }
}
