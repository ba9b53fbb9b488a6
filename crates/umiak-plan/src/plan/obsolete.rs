//! What is stored and no longer needed: before an update, and after it.
//!
//! Needed are apps that are wanted, pinned or, before the switch, running; what the choice starts from; and, in umiak's
//! store, whatever a patch that stays lies above. Of an engine only layers and images of apps that are known here are
//! removed: others are not ours.

use std::collections::{BTreeMap, BTreeSet};

use umiak_spec::Digest;

use super::choice::{Choice, Reclaim};
use super::count;
use super::load::layer_cost;
use super::scene::Scene;
use crate::cost::Cost;
use crate::device::{Keeps, Role, StoredApp};
use crate::engine;
use crate::fs::FileSystem;
use crate::layout;
use crate::ledger::{Change, Step};
use crate::task::{Form, Removal, Task};
use crate::wanted::{App, BlobKind, Layer};

/// What is removed in the course of one plan: nothing twice.
pub(super) struct Removing<'a> {
    scene: &'a Scene<'a>,
    choice: &'a Choice<'a>,
    forms: &'a BTreeMap<Digest, Form>,
    gone: Gone,
}

/// What is removed already, by what it is: the same digest may name a blob and a layer.
#[derive(Default)]
struct Gone {
    blobs: BTreeSet<Digest>,
    layers: BTreeSet<Digest>,
    chains: BTreeSet<Digest>,
    images: BTreeSet<Digest>,
    apps: BTreeSet<Digest>,
}

/// What stays.
#[derive(Default)]
struct Kept {
    blobs: BTreeSet<Digest>,
    layers: BTreeSet<Digest>,
    chains: BTreeSet<Digest>,
    images: BTreeSet<Digest>,
    apps: BTreeSet<Digest>,
}

impl<'a> Removing<'a> {
    pub fn of(scene: &'a Scene<'a>, choice: &'a Choice<'a>, forms: &'a BTreeMap<Digest, Form>) -> Self {
        Self { scene, choice, forms, gone: Gone::default() }
    }

    /// Removing what nothing uses before anything is fetched.
    pub fn before(&mut self) -> Vec<Step> {
        let all = self.choice.reclaim == Reclaim::Leftovers;
        let mut kept = self.kept(|stored| all || stored.running || stored.pinned);
        self.keep_sources(&mut kept);
        self.remove(kept, Task::Reclaim)
    }

    /// Removing what the update replaced, after it.
    pub fn after(&mut self) -> Vec<Step> {
        // What layers were made of is gone.
        self.gone.blobs.extend(self.choice.parts.iter().map(|part| part.part.blob));
        if self.scene.device.keeps == Keeps::Layers {
            let fetched: Vec<Digest> = self.fetched().map(|layer| layer.digest).collect();
            self.gone.blobs.extend(fetched);
        }
        let kept = self.kept(|stored| stored.pinned);
        self.remove(kept, Task::Prune)
    }

    fn kept(&self, stays: impl Fn(&StoredApp) -> bool) -> Kept {
        let device = self.scene.device;
        let stored = device.stored.apps.iter().filter(|stored| stays(stored)).map(|stored| &stored.app);
        let mut kept = Kept::default();
        for app in self.scene.wanted.apps.iter().chain(stored) {
            let blobs = app.blobs().filter(|blob| device.keeps == Keeps::Blobs || blob.kind != BlobKind::Layer);
            kept.blobs.extend(blobs.map(|blob| blob.digest));
            kept.apps.insert(app.digest);
            for image in app.images() {
                kept.images.insert(image.config.digest);
                kept.layers.extend(image.layers.iter().map(|layer| layer.diff_id));
                kept.chains.extend(image.chain().map(|(chain, _)| chain));
            }
        }
        kept
    }

    /// Keeps what patches that stay lie above. That is whole, so that once is enough.
    fn keep_bases(&self, kept: &mut Kept) {
        let patches = self.scene.device.stored.layers.iter().filter(|(layer, _)| kept.layers.contains(layer));
        let bases: Vec<Digest> = patches.filter_map(|(_, stored)| stored.form.base().copied()).collect();
        kept.layers.extend(bases);
        kept.layers.extend(self.forms.values().filter_map(Form::base).copied());
    }

    /// Keeps what the choice makes layers of.
    fn keep_sources(&self, kept: &mut Kept) {
        let known = self.scene.known_layers();
        for part in &self.choice.parts {
            kept.blobs.insert(part.part.blob);
            kept.layers.extend(part.delta.base.iter().copied());
            if self.scene.device.keeps == Keeps::Blobs {
                let blobs = part.delta.base.iter().filter_map(|layer| known.get(layer));
                kept.blobs.extend(blobs.flatten().map(|(digest, _)| *digest));
            }
        }
        kept.blobs.extend(self.fetched().map(|layer| layer.digest));
        let made = self.scene.objects.keys().filter_map(|object| self.scene.object_delta(object, self.choice.objects));
        kept.blobs.extend(made.map(|delta| delta.base));
    }

    /// Layers that come as their blobs.
    fn fetched(&self) -> impl Iterator<Item = &'a Layer> {
        let made: BTreeSet<Digest> =
            self.choice.parts.iter().flat_map(|part| part.part.makes.iter().copied()).collect();
        let missing = self.scene.layers.values().map(|missing| missing.layer);
        missing.filter(move |layer| !made.contains(&layer.diff_id))
    }

    fn remove(&mut self, mut kept: Kept, task: fn(Removal) -> Task) -> Vec<Step> {
        self.keep_bases(&mut kept);
        let mut steps = vec![self.blobs(&kept), self.layers(&kept)];
        // By name, so that the order in which they are known does not matter.
        let mut apps: Vec<&App> = self.scene.device.stored.apps.iter().map(|stored| &stored.app).collect();
        apps.sort_by_key(|app| (&app.name, app.digest));
        for app in apps {
            steps.push(self.of_app(&kept, app));
        }
        let steps = steps.into_iter().filter(|(_, removal, _)| !removal.is_nothing());
        steps.map(|(what, removal, changes)| Step::new(task(removal), what, changes)).collect()
    }

    /// Stored blobs that are not needed, those that belong to no app included.
    fn blobs(&mut self, kept: &Kept) -> (String, Removal, Vec<Change>) {
        let stored = &self.scene.device.stored.blobs;
        let unused = |digest: &Digest| !kept.blobs.contains(digest) && !self.gone.blobs.contains(digest);
        let obsolete: Vec<(Digest, u64)> =
            stored.iter().filter(|(digest, _)| unused(digest)).map(|(digest, bytes)| (*digest, *bytes)).collect();
        self.gone.blobs.extend(obsolete.iter().map(|(digest, _)| *digest));
        let change = self.scene.at(Role::Blobs).map(|(place, file_system)| {
            let cost = obsolete.iter().map(|(_, bytes)| file_system.file(*bytes)).sum();
            Change::frees(place, cost, "blobs that no app uses")
        });
        let blobs = obsolete.into_iter().map(|(digest, _)| digest).collect();
        ("blobs".into(), Removal { blobs, ..Removal::default() }, change.into_iter().collect())
    }

    /// Layers in umiak's store that are not needed, all together: a patch and what it lies above may be of two apps.
    fn layers(&mut self, kept: &Kept) -> (String, Removal, Vec<Change>) {
        let stored = &self.scene.device.stored.layers;
        let unused = |layer: &Digest| !kept.layers.contains(layer) && !self.gone.layers.contains(layer);
        let obsolete: Vec<Digest> = stored.keys().filter(|layer| unused(layer)).copied().collect();
        self.gone.layers.extend(obsolete.iter().copied());
        let change = self.scene.at(Role::Blobs).map(|(place, file_system)| {
            let files = obsolete.iter().filter_map(|layer| stored.get(layer)).map(|stored| stored.files);
            let cost = files.map(|files| layout::layer(file_system, files)).sum();
            Change::frees(place, cost, "layers in the store that no app uses")
        });
        let removal = Removal { layers: obsolete, ..Removal::default() };
        ("layers".into(), removal, change.into_iter().collect())
    }

    /// What the engine keeps for an app and for none of those that stay.
    fn of_app(&mut self, kept: &Kept, app: &App) -> (String, Removal, Vec<Change>) {
        let mut changes = Vec::new();
        let mut removal = Removal::default();
        let goes = !kept.apps.contains(&app.digest) && self.gone.apps.insert(app.digest);
        if let Some((place, file_system)) = self.scene.at(Role::Engine) {
            if goes {
                let containers = self.containers(app, file_system);
                changes.push(Change::frees(place, containers, "containers that were replaced"));
            }
            let cost = self.of_engine(kept, app, file_system, &mut removal);
            changes.push(Change::frees(place, cost, "layers that no app uses"));
        }
        if goes {
            removal.apps.push(app.digest);
        }
        (app.name.clone(), removal, changes)
    }

    fn of_engine(&mut self, kept: &Kept, app: &App, file_system: &FileSystem, removal: &mut Removal) -> Cost {
        let device = self.scene.device;
        let mut cost = Cost::NOTHING;
        for image in app.images() {
            for (below, (chain, layer)) in image.chain().enumerate() {
                let known = device.stored.chains.contains(&chain) && !kept.chains.contains(&chain);
                if known && self.gone.chains.insert(chain) {
                    removal.chains.push(chain);
                    cost += layer_cost(device, layer, below);
                }
            }
            let config = image.config.digest;
            let known = device.stored.images.contains(&config) && !kept.images.contains(&config);
            if known && self.gone.images.insert(config) {
                removal.images.push(config);
                cost += engine::docker_image(file_system, image);
            }
        }
        removal.chains.sort_unstable();
        removal.images.sort_unstable();
        cost
    }

    /// Containers of an app that ran and is needed no more.
    fn containers(&self, app: &App, file_system: &FileSystem) -> Cost {
        let ran = self.scene.device.stored.apps.iter().any(|stored| stored.running && stored.app.digest == app.digest);
        if !ran || !self.scene.device.engine.stores() {
            return Cost::NOTHING;
        }
        app.images().map(|image| engine::docker_container(file_system, count(image.layers.len()))).sum()
    }
}
