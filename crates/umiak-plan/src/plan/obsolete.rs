//! What is stored and no longer needed: before an update, and after it.
//!
//! Needed are apps that are wanted, pinned or, before the switch, running; and the blobs that chosen deltas start from.
//! Of an engine only layers and images of apps that are known here are removed: others are not ours.

use std::collections::{BTreeMap, BTreeSet};

use umiak_spec::Digest;

use super::count;
use super::load::{layer_cost, layer_key};
use crate::cost::Cost;
use crate::device::{Device, Engine, Role, StoredApp};
use crate::engine;
use crate::ledger::{Action, Change, Step};
use crate::wanted::{App, BlobKind, Wanted};

/// Removing what nothing uses before anything is fetched.
pub(super) fn before(device: &Device, wanted: &Wanted) -> Vec<Step> {
    let bases = wanted.deltas.iter().flat_map(|delta| delta.base.iter().copied());
    let stays = |stored: &StoredApp| stored.running || stored.pinned;
    remove(device, wanted, Action::Reclaim, &BTreeSet::new(), bases.collect(), stays)
}

/// Removing what the update replaced, after it; what `gone` names is removed already.
pub(super) fn after(device: &Device, wanted: &Wanted, gone: &BTreeSet<Digest>) -> Vec<Step> {
    remove(device, wanted, Action::Prune, gone, BTreeSet::new(), |stored| stored.pinned)
}

/// What a removal removes.
pub(super) fn removed(device: &Device, wanted: &Wanted) -> BTreeSet<Digest> {
    let stays = |stored: &StoredApp| stored.running || stored.pinned;
    let kept = Kept::of(device, wanted, stays);
    let bases: BTreeSet<Digest> = wanted.deltas.iter().flat_map(|delta| delta.base.iter().copied()).collect();
    let blobs = device.stored.blobs.keys().filter(|blob| !kept.blobs.contains(blob) && !bases.contains(blob)).copied();
    let layers = device.stored.layers.iter().filter(|layer| !kept.layers.contains(layer)).copied();
    blobs.chain(layers).collect()
}

/// What apps that stay need.
#[derive(Default)]
struct Kept {
    blobs: BTreeSet<Digest>,
    layers: BTreeSet<Digest>,
    images: BTreeSet<Digest>,
}

impl Kept {
    fn of(device: &Device, wanted: &Wanted, stays: impl Fn(&StoredApp) -> bool) -> Self {
        let stored = device.stored.apps.iter().filter(|stored| stays(stored)).map(|stored| &stored.app);
        let mut kept = Self::default();
        for app in wanted.apps.iter().chain(stored) {
            kept.blobs.extend(app.blobs().map(|blob| blob.digest));
            for image in app.images() {
                kept.images.insert(image.config.digest);
                kept.layers.extend(image.chain().map(|(chain, layer)| layer_key(device.engine, chain, layer)));
            }
        }
        kept
    }
}

fn remove(
    device: &Device,
    wanted: &Wanted,
    action: Action,
    gone: &BTreeSet<Digest>,
    bases: BTreeSet<Digest>,
    stays: impl Fn(&StoredApp) -> bool,
) -> Vec<Step> {
    let kept = Kept::of(device, wanted, stays);
    let mut steps = Vec::new();
    let blobs = blobs(device, &kept, &bases, gone);
    if !blobs.is_nothing() {
        let change = Change::frees(device.place(Role::Blobs), blobs, "blobs that no app uses");
        steps.push(Step::new(action, "blobs", vec![change]));
    }
    let mut seen = gone.clone();
    // By name, so that the order in which they are known does not matter.
    let mut apps: Vec<&App> = device.stored.apps.iter().map(|stored| &stored.app).collect();
    apps.sort_by_key(|app| (&app.name, app.digest));
    if action == Action::Prune {
        steps.extend(containers(device, wanted));
    }
    for (name, cost) in apps.into_iter().map(|app| of_app(device, app, &kept, &mut seen)) {
        if !cost.is_nothing() {
            let role = if device.engine == Engine::Squashfs { Role::Layers } else { Role::Engine };
            let change = Change::frees(device.place(role), cost, "layers that no app uses");
            steps.push(Step::new(action, name, vec![change]));
        }
    }
    steps
}

/// Stored blobs that are not needed, those that belong to no app included.
fn blobs(device: &Device, kept: &Kept, bases: &BTreeSet<Digest>, gone: &BTreeSet<Digest>) -> Cost {
    let file_system = device.file_systems.get(device.place(Role::Blobs));
    let obsolete = device
        .stored
        .blobs
        .iter()
        .filter(|(digest, _)| !kept.blobs.contains(digest) && !bases.contains(digest) && !gone.contains(digest));
    file_system.map_or(Cost::NOTHING, |file_system| obsolete.map(|(_, bytes)| file_system.file(*bytes)).sum())
}

/// Containers of apps that run no longer.
fn containers(device: &Device, wanted: &Wanted) -> Option<Step> {
    let place = device.place(Role::Engine);
    let file_system = device.file_systems.get(place).filter(|_| device.engine != Engine::Squashfs)?;
    let replaced = |app: &&App| wanted.apps.iter().all(|wanted| wanted.digest != app.digest);
    let ran = device.stored.apps.iter().filter(|stored| stored.running && !stored.pinned).map(|stored| &stored.app);
    let images = ran.filter(replaced).flat_map(App::images);
    let cost: Cost = images.map(|image| engine::docker_container(file_system, count(image.layers.len()))).sum();
    let change = Change::frees(place, cost, "containers that were replaced");
    (!cost.is_nothing()).then(|| Step::new(Action::Prune, "containers", vec![change]))
}

/// What the engine keeps for an app and for none of those that stay.
fn of_app(device: &Device, app: &App, kept: &Kept, seen: &mut BTreeSet<Digest>) -> (String, Cost) {
    let layers: BTreeMap<Digest, Cost> = app
        .images()
        .flat_map(|image| image.chain().enumerate())
        .map(|(below, (chain, layer))| (layer_key(device.engine, chain, layer), below, layer))
        .filter(|(key, _, _)| device.stored.layers.contains(key) && !kept.layers.contains(key))
        .filter(|(key, _, _)| seen.insert(*key))
        .map(|(key, below, layer)| (key, layer_cost(device, layer, below)))
        .collect();
    let place = device.file_systems.get(device.place(Role::Engine));
    let known = |digest: &Digest| device.stored.images.contains(digest) && !kept.images.contains(digest);
    let images =
        app.images().filter(|image| known(&image.config.digest) && seen.insert(engine_image(&image.config.digest)));
    let images = images.filter_map(|image| place.map(|file_system| engine::docker_image(file_system, image)));
    let images: Cost = if device.engine == Engine::Squashfs { Cost::NOTHING } else { images.sum() };
    (app.name.clone(), layers.into_values().sum::<Cost>() + images)
}

/// The engine's copy of a configuration is not the blob store's.
fn engine_image(config: &Digest) -> Digest {
    Digest::of(format!("engine {config} {}", BlobKind::Config.word()).as_bytes())
}
