//! The steps of one choice, in order.

use std::collections::BTreeSet;

use umiak_spec::Digest;

use super::{Choice, count, obsolete};
use crate::contents::Directory;
use crate::cost::Cost;
use crate::device::{Device, Engine, Role};
use crate::engine;
use crate::fs::FileSystem;
use crate::ledger::{Action, Change, Step};
use crate::wanted::{App, BlobKind, Layer, Wanted};

/// Bytes that a bundle may unpack to, whatever it claims.
const BUNDLE: u64 = 1 << 30;

pub(super) struct Builder<'a> {
    pub device: &'a Device,
    pub wanted: &'a Wanted,
    pub choice: Choice,
    /// Apps by name, so that the order in which they were given does not matter.
    pub apps: Vec<&'a App>,
    pub steps: Vec<Step>,
}

impl<'a> Builder<'a> {
    pub fn new(device: &'a Device, wanted: &'a Wanted, choice: Choice) -> Self {
        let mut apps: Vec<&App> = wanted.apps.iter().collect();
        apps.sort_by_key(|app| (&app.name, app.digest));
        Self { device, wanted, choice, apps, steps: Vec::new() }
    }

    /// All steps.
    pub fn steps(mut self) -> Vec<Step> {
        let mut gone = BTreeSet::new();
        if self.choice.reclaim {
            self.steps.extend(obsolete::before(self.device, self.wanted));
            gone = obsolete::removed(self.device, self.wanted);
        }
        self.fetch();
        if self.device.engine == Engine::Squashfs {
            self.ingest();
        } else {
            self.load();
        }
        self.switch();
        if self.wanted.policy.prune_after {
            self.steps.extend(obsolete::after(self.device, self.wanted, &gone));
        }
        self.steps
    }

    pub fn at(&self, role: Role) -> Option<(usize, &'a FileSystem)> {
        let place = self.device.place(role);
        self.device.file_systems.get(place).map(|file_system| (place, file_system))
    }

    /// All layers with the chain ID and how many are below, app by app.
    pub fn layers(&self) -> Vec<(Digest, usize, &'a Layer)> {
        let images = self.apps.iter().flat_map(|app| app.images());
        let stacks = images.flat_map(|image| image.chain().enumerate());
        stacks.map(|(below, (chain, layer))| (chain, below, layer)).collect()
    }

    /// Unpacks bundles and makes containers of apps that do not run yet.
    fn switch(&mut self) {
        let runs =
            |app: &App| self.device.stored.apps.iter().any(|stored| stored.running && stored.app.digest == app.digest);
        let apps: Vec<&App> = self.apps.iter().copied().filter(|app| !runs(app)).collect();
        for app in apps {
            let mut changes = Vec::new();
            if let Some((place, file_system)) = self.at(Role::Projects) {
                changes.push(Change::takes(place, project(file_system, app), "project, unpacked from the bundle"));
            }
            let docker = self.device.engine != Engine::Squashfs;
            if let Some((place, file_system)) = self.at(Role::Engine).filter(|_| docker) {
                let containers =
                    app.images().map(|image| engine::docker_container(file_system, count(image.layers.len())));
                changes.push(Change::takes(place, containers.sum(), "containers, without what they write"));
            }
            self.steps.push(Step::new(Action::Switch, app.name.clone(), changes));
        }
    }
}

/// What a project takes; a bound where nobody looked into the bundle.
fn project(file_system: &FileSystem, app: &App) -> Cost {
    let own = file_system.directories(Directory { entries: 8, name_bytes: 160 }, 1);
    let Some(unpacked) = &app.bundle else {
        let bundles = app.own.iter().filter(|blob| blob.kind == BlobKind::Bundle);
        let size = bundles.fold(0_u64, |sum, blob| sum.saturating_add(blob.size));
        let length = size.saturating_mul(engine::GZIP_EXPANSION).min(BUNDLE);
        return own + engine::tree_of_tar(file_system, length);
    };
    let directories = file_system.directories(Directory { entries: 8, name_bytes: 160 }, unpacked.directories);
    own + directories + unpacked.files.iter().map(|(bytes, number)| file_system.files(*bytes, *number)).sum()
}
