//! How layers are kept in umiak's store: whole, or as patches of others.
//!
//! A patch is valid only above the layers it was made for and only against a layer that is whole. So a layer is kept as
//! a patch where all stacks that have it agree, the base is here and whole, and it takes less than the whole. One that is
//! here as a patch and wanted in another stack becomes whole.

use std::collections::BTreeMap;

use umiak_spec::Digest;

use super::build::Builder;
use super::choice::{Choice, Patches};
use super::scene::{Missing, Scene};
use crate::contents::LayerFiles;
use crate::device::{Keeps, Role};
use crate::layout;
use crate::ledger::{Change, Step};
use crate::task::{Form, Task};
use crate::wanted::{Layer, Patch};

/// A patch that a missing layer can be kept as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub base: Digest,
    pub below: Vec<Digest>,
    pub files: LayerFiles,
    /// It takes no more than that, and perhaps less.
    pub bound: bool,
}

/// How each missing layer is kept.
pub(super) fn chosen(scene: &Scene<'_>, choice: &Choice<'_>) -> BTreeMap<Digest, Form> {
    let form = |missing: &Missing<'_>| {
        let patch = patch(scene, missing, choice.patches);
        patch.map_or(Form::Whole, |patch| Form::Patch { base: patch.base, below: patch.below })
    };
    scene.layers.iter().map(|(diff_id, missing)| (*diff_id, form(missing))).collect()
}

/// The patch that a missing layer can be kept as: the smallest, if it is worth it.
pub(super) fn patch(scene: &Scene<'_>, missing: &Missing<'_>, which: Patches) -> Option<Kept> {
    let known = offered(scene, missing).filter(|patch| is_whole(scene, &patch.base));
    let known = known.map(|patch| {
        let Patch { base, below, files, .. } = patch.clone();
        Kept { base, below, files, bound: false }
    });
    let best = known.min_by_key(|patch| (stored_size(patch.files), patch.base));
    let whole = missing.layer.known_files().map(stored_size);
    let best = best.filter(|patch| whole.is_none_or(|whole| stored_size(patch.files) < whole));
    match which {
        Patches::None => None,
        Patches::Known => best,
        Patches::Deep => best.or_else(|| deep(scene, missing)),
    }
}

/// The patch above what the patch lies above that a missing layer would be a patch of. It holds what either of the two
/// holds, at most; that is taken only where it is little, for the base stays for its patches alone.
pub(super) fn deep(scene: &Scene<'_>, missing: &Missing<'_>) -> Option<Kept> {
    let whole = missing.layer.known_files()?;
    let through = |patch: &Patch| {
        let stored = scene.device.stored.layers.get(&patch.base)?;
        let base = *stored.form.base().filter(|base| is_whole(scene, base))?;
        let image = patch.files.image.saturating_add(stored.files.image);
        // Tails of files and tables are packed with others than they were: a little more may come of it.
        let image = image.saturating_add(image / 16).saturating_add(64 << 10);
        // The skeleton is the tar's own; only where contents lie is written differently.
        let skeleton = whole.skeleton.max(patch.files.skeleton);
        let skeleton = skeleton.saturating_add(skeleton / 8).saturating_add(4 << 10);
        let record = patch.files.record.max(stored.files.record);
        let below = patch.below.clone();
        Some(Kept { base, below, files: LayerFiles { image, skeleton, record }, bound: true })
    };
    let best = offered(scene, missing).filter_map(through).min_by_key(|patch| (stored_size(patch.files), patch.base));
    best.filter(|patch| stored_size(patch.files).saturating_mul(LITTLE) < stored_size(whole))
}

/// A patch above a base that stays for its patches alone is at most the layer divided by this.
const LITTLE: u64 = 4;

/// The patches that somebody told of and that hold in the one stack that wants the layer.
fn offered<'a>(scene: &Scene<'a>, missing: &Missing<'_>) -> impl Iterator<Item = &'a Patch> {
    let can = scene.device.keeps == Keeps::Layers && missing.stacks.len() == 1;
    let patches = scene.wanted.patches.iter().filter(move |_| can);
    patches.filter(|patch| patch.layer == missing.layer.diff_id && missing.stacks.contains(&patch.below))
}

fn is_whole(scene: &Scene<'_>, layer: &Digest) -> bool {
    scene.device.stored.layers.get(layer).is_some_and(|stored| stored.form.is_whole())
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
