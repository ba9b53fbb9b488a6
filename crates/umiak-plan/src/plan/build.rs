//! The steps of one choice, in order.

use std::collections::{BTreeMap, BTreeSet};

use umiak_spec::Digest;

use super::choice::{Choice, Pace, Reclaim};
use super::count;
use super::names::Names;
use super::obsolete::Removing;
use super::scene::{Missing, Part, Scene};
use crate::contents::Directory;
use crate::cost::Cost;
use crate::device::{Keeps, Role};
use crate::engine::{self, HEX};
use crate::fs::FileSystem;
use crate::layout;
use crate::ledger::{Change, Step};
use crate::task::{Form, Task};
use crate::wanted::{App, BlobKind};

/// Bytes that a bundle may unpack to, whatever it claims.
const BUNDLE: u64 = 1 << 30;

/// Why something lies beside a blob.
pub(super) const BESIDE: &str = "what is needed to go on after a cut";

/// Why something is taken and given back when the revision gets its name.
const JOURNAL: &str = "a document, written beside and put in place";

/// Why something is taken before anything is fetched.
const BEGUN: &str = "what is written down before anything comes";

/// Why something is taken for services beside their images.
const KEPT: &str = "directories and logs of services, without what they write";

/// Where a missing layer comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin<'a> {
    /// Its own blob.
    Blob(&'a Missing<'a>),
    /// A part of a delta.
    Part(Part<'a>),
}

pub(super) struct Builder<'a> {
    pub scene: &'a Scene<'a>,
    pub choice: &'a Choice<'a>,
    /// How missing layers are kept, by diff ID.
    pub forms: BTreeMap<Digest, Form>,
    /// Names in the directories of blobs and of layers.
    pub blob_names: Names,
    pub layer_names: Names,
    /// What lies beside blobs until everything is verified.
    pub beside: Cost,
    /// Missing layers that a delta made already.
    pub made: BTreeSet<Digest>,
    pub steps: Vec<Step>,
}

impl<'a> Builder<'a> {
    pub fn new(scene: &'a Scene<'a>, choice: &'a Choice<'a>) -> Self {
        let forms = super::forms::chosen(scene, choice);
        let stored = &scene.device.stored;
        Self {
            scene,
            choice,
            forms,
            blob_names: Names::of(stored.blobs.len(), HEX),
            layer_names: Names::of(stored.layers.len(), HEX),
            beside: Cost::NOTHING,
            made: BTreeSet::new(),
            steps: Vec::new(),
        }
    }

    /// All steps.
    pub fn steps(mut self) -> Vec<Step> {
        let forms = self.forms.clone();
        let mut removing = Removing::of(self.scene, self.choice, &forms);
        if self.choice.reclaim > Reclaim::Nothing {
            self.steps.extend(removing.before());
        }
        self.fetch_documents();
        self.make_objects();
        self.fetch_layers();
        self.convert();
        self.name();
        self.load();
        self.switch();
        if self.scene.wanted.policy.prune_after {
            self.steps.extend(removing.after());
        }
        self.begin();
        self.steps
    }

    /// What the device writes down before anything comes belongs to the first step, whichever that is.
    fn begin(&mut self) {
        let Some((place, file_system)) = self.at(Role::Blobs) else { return };
        let first = self.scene.wanted.own.first(file_system);
        if let Some(step) = self.steps.first_mut().filter(|_| !first.is_nothing()) {
            step.changes.insert(0, Change::takes(place, first, BEGUN));
        }
    }

    pub fn at(&self, role: Role) -> Option<(usize, &'a FileSystem)> {
        self.scene.at(role)
    }

    /// Fetches missing layers and makes of them what is kept.
    fn fetch_layers(&mut self) {
        let origins = self.origins();
        match self.choice.pace {
            Pace::Together => {
                origins.iter().for_each(|origin| self.fetch(*origin));
                self.verify();
                origins.iter().for_each(|origin| self.make(*origin));
            }
            Pace::OneByOne => {
                self.verify();
                for origin in origins {
                    self.fetch(origin);
                    self.make(origin);
                    self.beside = Cost::NOTHING;
                }
            }
        }
    }

    /// Where missing layers come from. Whole ones are first, those with the largest blob at the head, so that it is gone
    /// when the others come; a patch comes after what is under it.
    fn origins(&self) -> Vec<Origin<'a>> {
        let made: BTreeSet<Digest> =
            self.choice.parts.iter().flat_map(|part| part.part.makes.iter().copied()).collect();
        let full = self.scene.layers.values().filter(|missing| !made.contains(&missing.layer.diff_id));
        let mut origins: Vec<Origin<'a>> = full.map(Origin::Blob).collect();
        origins.extend(self.choice.parts.iter().map(|part| Origin::Part(*part)));
        origins.sort_by_key(|origin| {
            let (beside, depth, digest) = match origin {
                Origin::Blob(missing) => (missing.layer.size, self.depth(missing), missing.layer.digest),
                Origin::Part(part) => {
                    let made = self.scene.makes(*part, &BTreeSet::new());
                    let spool = part.part.spool.unwrap_or(0);
                    let depth = made.iter().map(|missing| self.depth(missing)).max().unwrap_or(0);
                    (part.part.size.saturating_add(spool), depth, part.part.blob)
                }
            };
            (depth, std::cmp::Reverse(beside), digest)
        });
        origins
    }

    /// 0 for a layer that is whole; for a patch, how high it lies.
    fn depth(&self, missing: &Missing<'_>) -> usize {
        match self.forms.get(&missing.layer.diff_id) {
            Some(Form::Patch { .. }) => missing.depth + 1,
            _ => 0,
        }
    }

    /// Verifies all that was fetched so far; what lay beside it to go on after a cut is removed.
    fn verify(&mut self) {
        let fetched = self.steps.iter().filter(|step| matches!(step.task, Task::Fetch { .. })).count();
        if fetched > 0 {
            let blobs = if fetched == 1 { "1 blob".to_owned() } else { format!("{fetched} blobs") };
            let beside = std::mem::take(&mut self.beside);
            let place = self.scene.device.place(Role::Blobs);
            self.steps.push(Step::new(Task::Verify, blobs, vec![Change::returns(place, beside, BESIDE)]));
        }
    }

    /// Unpacks bundles and makes containers of apps that do not run yet.
    fn switch(&mut self) {
        let device = self.scene.device;
        let runs =
            |app: &App| device.stored.apps.iter().any(|stored| stored.running && stored.app.digest == app.digest);
        let apps: Vec<&App> = self.scene.apps.iter().copied().filter(|app| !runs(app)).collect();
        let mut kept = Some(&self.scene.wanted.own);
        for app in apps {
            let mut changes = Vec::new();
            if let Some((place, file_system)) = self.at(Role::Projects) {
                let project = project(file_system, app, device.keeps);
                changes.push(Change::takes(place, project, "project, unpacked from the bundle"));
                // Of all apps, because they share directories; with the first.
                changes.extend(kept.take().map(|own| Change::takes(place, own.kept(file_system), KEPT)));
            }
            if let Some((place, file_system)) = self.at(Role::Engine).filter(|_| device.engine.stores()) {
                let containers =
                    app.images().map(|image| engine::docker_container(file_system, count(image.layers.len())));
                changes.push(Change::takes(place, containers.sum(), "containers, without what they write"));
            }
            self.steps.push(Step::new(Task::Switch { app: app.digest }, app.name.clone(), changes));
        }
    }

    /// Names the revision in umiak's store, where everything it needs is now.
    fn name(&mut self) {
        let device = self.scene.device;
        let runs =
            |app: &&App| device.stored.apps.iter().any(|stored| stored.running && stored.app.digest == app.digest);
        let Some((place, file_system)) = self.at(Role::Blobs) else { return };
        if self.scene.apps.iter().all(runs) || device.keeps != Keeps::Layers {
            return;
        }
        let blobs: usize = self.scene.apps.iter().map(|app| app.blobs().count()).sum();
        let layers: usize = self.scene.apps.iter().flat_map(|app| app.images()).map(|image| image.layers.len()).sum();
        // Layers are named by themselves and in their stacks.
        let name = layout::name(file_system, count(blobs + 2 * layers));
        let new = self.scene.apps.iter().filter(|app| !runs(app)).flat_map(|app| app.images());
        let stacks: BTreeSet<Vec<Digest>> =
            new.map(|image| image.layers.iter().map(|layer| layer.diff_id).collect()).collect();
        let stacks = stacks.iter().map(|stack| layout::name(file_system, count(stack.len()))).sum();
        let own = &self.scene.wanted.own;
        let changes = vec![
            Change::takes(place, name, "the revision's name and what belongs to it"),
            Change::takes(place, own.last(file_system), "what is written down of it"),
            Change::takes(place, own.beside(file_system), JOURNAL),
            Change::returns(place, own.beside(file_system), JOURNAL),
            Change::takes(place, stacks, "how layers are mounted above each other"),
        ];
        self.steps.push(Step::new(Task::Name, "revision", changes));
    }
}

/// What a project takes; a bound where nobody looked into the bundle, and nothing where there is none.
fn project(file_system: &FileSystem, app: &App, keeps: Keeps) -> Cost {
    if app.bundle.is_none() && !app.own.iter().any(|blob| blob.kind == BlobKind::Bundle) {
        return Cost::NOTHING;
    }
    let own = file_system.directories(Directory { entries: 8, name_bytes: 160 }, 1);
    // umiak marks what is unpacked whole with a file that has nothing in it.
    let own = if keeps == Keeps::Layers { own + file_system.file(0) } else { own };
    let Some(unpacked) = &app.bundle else {
        let bundles = app.own.iter().filter(|blob| blob.kind == BlobKind::Bundle);
        let size = bundles.fold(0_u64, |sum, blob| sum.saturating_add(blob.size));
        let length = size.saturating_mul(engine::GZIP_EXPANSION).min(BUNDLE);
        return own + engine::tree_of_tar(file_system, length);
    };
    let directories = file_system.directories(Directory { entries: 8, name_bytes: 160 }, unpacked.directories);
    own + directories + unpacked.files.iter().map(|(bytes, number)| file_system.files(*bytes, *number)).sum()
}
