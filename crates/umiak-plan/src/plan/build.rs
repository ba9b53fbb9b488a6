//! The steps of one choice, in order.

use std::collections::{BTreeMap, BTreeSet};

use umiak_spec::Digest;

use super::{Choice, obsolete};
use crate::contents::{Contents, Directory};
use crate::cost::Cost;
use crate::device::{Device, Engine, Role};
use crate::engine::{self, HEX, LINK};
use crate::fs::FileSystem;
use crate::ledger::{Action, Change, Step};
use crate::wanted::{App, Blob, BlobKind, Delta, Image, Layer, Wanted};

/// Bytes that a bundle may unpack to, whatever it claims.
const BUNDLE: u64 = 1 << 30;
/// What gzip can make of one byte, at most.
const GZIP_EXPANSION: u64 = 1032;

/// How the engine calls a layer: a stack by its chain ID; a squashfs image by its diff ID, for it stands alone.
pub(super) fn layer_key(engine: Engine, chain: Digest, layer: &Layer) -> Digest {
    if engine == Engine::Squashfs { layer.diff_id } else { chain }
}

/// What the engine keeps of a layer above `below` others.
pub(super) fn layer_cost(device: &Device, layer: &Layer, below: usize) -> Cost {
    let role = if device.engine == Engine::Squashfs { Role::Layers } else { Role::Engine };
    let Some(file_system) = device.file_systems.get(device.place(role)) else { return Cost::NOTHING };
    let below = u64::try_from(below).unwrap_or(u64::MAX);
    match device.engine {
        Engine::Docker | Engine::DockerInPlace => engine::docker_layer(file_system, layer, below),
        Engine::Containerd => engine::containerd_layer(file_system, layer),
        Engine::Squashfs => engine::squashfs_layer(file_system, layer),
    }
}

pub(super) struct Builder<'a> {
    device: &'a Device,
    wanted: &'a Wanted,
    choice: Choice,
    /// Apps by name, so that the order in which they were given does not matter.
    apps: Vec<&'a App>,
    steps: Vec<Step>,
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

    fn at(&self, role: Role) -> Option<(usize, &'a FileSystem)> {
        let place = self.device.place(role);
        self.device.file_systems.get(place).map(|file_system| (place, file_system))
    }

    /// Blobs that are not there whole, each once, with who wants it first; metadata before layers.
    fn missing_blobs(&self) -> BTreeMap<Blob, String> {
        let mut missing: BTreeMap<Blob, String> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for app in &self.apps {
            let own = app.own.iter().map(|blob| (*blob, app.name.clone()));
            let images = app
                .services
                .iter()
                .flat_map(|service| service.image.blobs().map(|blob| (blob, format!("{}/{}", app.name, service.name))));
            for (blob, whose) in own.chain(images) {
                if seen.insert(blob.digest) && self.stored(&blob) != Some(blob.size) && !self.is_ingested(&blob) {
                    missing.insert(blob, whose);
                }
            }
        }
        missing
    }

    fn stored(&self, blob: &Blob) -> Option<u64> {
        self.device.stored.blobs.get(&blob.digest).copied()
    }

    /// The blob of a layer that is kept as a squashfs image is not needed.
    fn is_ingested(&self, blob: &Blob) -> bool {
        self.device.engine == Engine::Squashfs
            && blob.kind == BlobKind::Layer
            && self
                .layers()
                .iter()
                .any(|(_, _, layer)| layer.digest == blob.digest && self.device.stored.layers.contains(&layer.diff_id))
    }

    /// All layers with the chain ID and how many are below, app by app.
    fn layers(&self) -> Vec<(Digest, usize, &'a Layer)> {
        let images = self.apps.iter().flat_map(|app| app.images());
        let stacks = images.flat_map(|image| image.chain().enumerate());
        stacks.map(|(below, (chain, layer))| (chain, below, layer)).collect()
    }

    fn fetch(&mut self) {
        let Some((place, file_system)) = self.at(Role::Blobs) else { return };
        let missing = self.missing_blobs();
        let deltas = self.deltas(&missing);
        let made: BTreeSet<Digest> = deltas.iter().flat_map(|delta| delta.makes.iter().copied()).collect();
        let have = count(self.device.stored.blobs.len());
        let mut new = 0_u64;
        for (blob, whose) in missing.iter().filter(|(blob, _)| !made.contains(&blob.digest)) {
            // A part that is longer than the blob is not a part of it.
            let fetched = self.stored(blob).filter(|fetched| *fetched <= blob.size).unwrap_or(0);
            let why = if fetched > 0 { "rest of a blob, part of which is here" } else { "blob, as it is fetched" };
            let mut changes = vec![Change::takes(place, file_system.rest_of_file(blob.size, fetched), why)];
            changes.push(grown(place, file_system, have, &mut new, HEX));
            let what = format!("{} {} of {whose}", blob.kind.word(), blob.digest.short());
            self.steps.push(Step::new(Action::Fetch, what, changes).downloading(blob.size - fetched));
        }
        for delta in deltas {
            self.apply(delta, &missing, (have, &mut new));
        }
        if !missing.is_empty() {
            self.steps.push(Step::new(Action::Verify, format!("{} blobs", missing.len()), vec![]));
        }
    }

    /// Deltas that can be used and save something, the one that saves most first; no layer is made twice.
    fn deltas(&self, missing: &BTreeMap<Blob, String>) -> Vec<&'a Delta> {
        if !self.choice.deltas {
            return vec![];
        }
        let sizes: BTreeMap<Digest, u64> = missing
            .keys()
            .map(|blob| (blob.digest, blob.size - self.stored(blob).unwrap_or(0).min(blob.size)))
            .collect();
        let whole = self.sizes();
        let is_here = |digest: &Digest| {
            self.device.stored.blobs.get(digest).is_some_and(|here| whole.get(digest).is_none_or(|size| size == here))
        };
        let saves = |delta: &Delta, made: &BTreeSet<Digest>| {
            let makes = delta.makes.iter().collect::<BTreeSet<_>>();
            let bytes =
                makes.into_iter().filter(|digest| !made.contains(digest)).filter_map(|digest| sizes.get(digest));
            bytes.fold(0_u64, |sum, bytes| sum.saturating_add(*bytes)).saturating_sub(delta.download)
        };
        let mut open: Vec<&Delta> = self.wanted.deltas.iter().filter(|delta| delta.base.iter().all(is_here)).collect();
        open.sort_by_key(|delta| (std::cmp::Reverse(saves(delta, &BTreeSet::new())), delta.digest));
        let mut made = BTreeSet::new();
        let mut chosen = Vec::new();
        for delta in open {
            if saves(delta, &made) > 0 {
                made.extend(delta.makes.iter().copied());
                chosen.push(delta);
            }
        }
        chosen
    }

    /// Lengths of all blobs of which they are known.
    fn sizes(&self) -> BTreeMap<Digest, u64> {
        let stored = self.device.stored.apps.iter().map(|stored| &stored.app);
        let blobs = stored.chain(self.wanted.apps.iter()).flat_map(App::blobs);
        blobs.map(|blob| (blob.digest, blob.size)).collect()
    }

    fn apply(&mut self, delta: &Delta, missing: &BTreeMap<Blob, String>, (have, new): (u64, &mut u64)) {
        let Some((place, file_system)) = self.at(Role::Blobs) else { return };
        let what = format!("delta {}", delta.digest.short());
        let blob = file_system.file(delta.download);
        let changes =
            vec![Change::takes(place, blob, "delta, until it is applied"), grown(place, file_system, have, new, HEX)];
        self.steps.push(Step::new(Action::Fetch, what.clone(), changes).downloading(delta.download));
        let makes: BTreeSet<&Digest> = delta.makes.iter().collect();
        let mut changes = Vec::new();
        for blob in missing.keys().filter(|blob| makes.contains(&blob.digest)) {
            // What was fetched of it goes only once it is made.
            changes.push(Change::takes(place, file_system.file(blob.size), "layers, made by the delta"));
            changes.push(grown(place, file_system, have, new, HEX));
        }
        changes.push(Change::returns(place, blob, "delta, no longer needed"));
        self.steps.push(Step::new(Action::Apply, what, changes));
    }

    /// Images that the engine has not, by configuration, with who wants each first.
    fn missing_images(&self) -> Vec<(&'a Image, String)> {
        let mut seen = BTreeSet::new();
        let mut missing = Vec::new();
        for app in &self.apps {
            for service in &app.services {
                let image = &service.image;
                let layers = image.chain().all(|(chain, _)| self.device.stored.layers.contains(&chain));
                let known = layers && self.device.stored.images.contains(&image.config.digest);
                if !known && seen.insert(image.config.digest) {
                    missing.push((image, format!("{}/{}", app.name, service.name)));
                }
            }
        }
        // The one with the largest archive first: then the others' archives are beside fewer layers.
        missing.sort_by_key(|(image, whose)| (std::cmp::Reverse(archive(image)), whose.clone(), image.config.digest));
        missing
    }

    /// Takes images into Docker, one archive for each.
    fn load(&mut self) {
        let mut have = self.device.stored.layers.clone();
        for (image, whose) in self.missing_images() {
            let temp = self.unpack(image, &whose);
            self.register(image, &whose, &mut have);
            if let Some((place, cost)) = temp {
                let change = Change::returns(place, cost, "archive, unpacked beside the engine's data");
                self.steps.push(Step::new(Action::Clean, whose, vec![change]));
            }
        }
    }

    /// The copy of an archive that `docker load` makes.
    fn unpack(&mut self, image: &Image, whose: &str) -> Option<(usize, Cost)> {
        let (place, file_system) = self.at(Role::EngineTemp).filter(|_| self.device.engine == Engine::Docker)?;
        let names = count(image.layers.len()) + 2;
        let directory = Directory { entries: names, name_bytes: names.saturating_mul(HEX + 5) };
        let layers: BTreeMap<Digest, u64> = image.layers.iter().map(|layer| (layer.digest, layer.size)).collect();
        let cost = layers.into_values().map(|size| file_system.file(size)).sum::<Cost>()
            + file_system.file(image.config.size)
            + file_system.file(names.saturating_mul(80).saturating_add(1024))
            + file_system.directories(directory, 1);
        let change = Change::takes(place, cost, "archive, unpacked beside the engine's data");
        self.steps.push(Step::new(Action::Unpack, whose, vec![change]));
        Some((place, cost))
    }

    fn register(&mut self, image: &Image, whose: &str, have: &mut BTreeSet<Digest>) {
        let Some((place, file_system)) = self.at(Role::Engine) else { return };
        let mut changes = Vec::new();
        let before = count(have.len());
        for (below, (chain, layer)) in image.chain().enumerate() {
            if have.insert(chain) {
                let cost = layer_cost(self.device, layer, below);
                changes.push(Change::takes(place, cost, known(&layer.contents)));
            }
        }
        let new = count(have.len()) - before;
        let names = file_system.growth(before, new, HEX).times(2) + file_system.growth(before, new, LINK);
        let first = if before == 0 { 2 } else { 0 };
        let first = file_system.directories(Directory::default(), first);
        let books = engine::docker_image(file_system, image) + file_system.growth(before, 1, HEX) + first;
        changes.push(Change::takes(place, names, "names in the engine's directories"));
        changes.push(Change::takes(place, books, "image, in the engine's books"));
        if self.device.engine == Engine::Containerd {
            changes.push(Change::takes(
                place,
                engine::containerd_image(file_system, image),
                "blobs, kept by the engine",
            ));
        }
        self.steps.push(Step::new(Action::Load, whose, changes));
    }

    /// Makes squashfs images of layers, the blob of each going when its image is made.
    fn ingest(&mut self) {
        let (Some((place, file_system)), Some((blobs, blob_system))) = (self.at(Role::Layers), self.at(Role::Blobs))
        else {
            return;
        };
        let mut have = self.device.stored.layers.clone();
        let (before, mut new) = (count(have.len()), 0);
        let mut gone = BTreeSet::new();
        for (_, below, layer) in self.layers() {
            if !have.insert(layer.diff_id) {
                continue;
            }
            let cost = layer_cost(self.device, layer, below);
            let mut changes = vec![Change::takes(place, cost, known(&layer.contents))];
            changes.push(grown(place, file_system, before, &mut new, HEX));
            if gone.insert(layer.digest) {
                let blob = Blob::new(BlobKind::Layer, layer.digest, layer.size);
                let cost = blob_system.file(layer.size);
                let why = "blob, no longer needed";
                let fetched = self.stored(&blob).is_none();
                changes.push(if fetched { Change::returns(blobs, cost, why) } else { Change::frees(blobs, cost, why) });
            }
            self.steps.push(Step::new(Action::Ingest, format!("layer {}", layer.digest.short()), changes));
        }
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

/// Bytes of the blobs that an image's archive holds, each once.
fn archive(image: &Image) -> u64 {
    let layers: BTreeMap<Digest, u64> = image.layers.iter().map(|layer| (layer.digest, layer.size)).collect();
    layers.into_values().fold(0, u64::saturating_add)
}

/// What a project takes; a bound where nobody looked into the bundle.
fn project(file_system: &FileSystem, app: &App) -> Cost {
    let own = file_system.directories(Directory { entries: 8, name_bytes: 160 }, 1);
    let Some(unpacked) = &app.bundle else {
        let bundles = app.own.iter().filter(|blob| blob.kind == BlobKind::Bundle);
        let size = bundles.fold(0_u64, |sum, blob| sum.saturating_add(blob.size));
        let length = size.saturating_mul(GZIP_EXPANSION).min(BUNDLE);
        return own + engine::tree_of_tar(file_system, length);
    };
    let directories = file_system.directories(Directory { entries: 8, name_bytes: 160 }, unpacked.directories);
    own + directories + unpacked.files.iter().map(|(bytes, number)| file_system.files(*bytes, *number)).sum()
}

/// The directory of `place` grows by one name, the `new`th.
fn grown(place: usize, file_system: &FileSystem, have: u64, new: &mut u64, name: u64) -> Change {
    let before = file_system.growth(have, *new, name);
    *new += 1;
    let after = file_system.growth(have, *new, name);
    let more = Cost { bound: after.bound, ..Cost::at_most(after.most.saturating_sub(before.most), 0) };
    Change::takes(place, more, "names in the directory of blobs")
}

fn known(contents: &Contents) -> &'static str {
    match contents {
        Contents::Measured(_) => "layer, unpacked: its files were counted",
        Contents::Usage { .. } => "layer, unpacked: from the app's layer metadata",
        Contents::Expanded(_) => "layer, unpacked: only its length is known",
        Contents::Unknown => "layer, unpacked: nothing is known of it",
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
