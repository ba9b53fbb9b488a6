//! Images that an engine takes in: Docker from an archive, the squashfs store layer by layer.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use umiak_spec::Digest;

use super::build::Builder;
use super::count;
use super::names::Names;
use crate::contents::{Contents, Directory};
use crate::cost::Cost;
use crate::device::{Device, Engine, Role};
use crate::engine::{self, HEX, LINK};
use crate::fs::FileSystem;
use crate::ledger::{Action, Change, Step};
use crate::wanted::{Blob, BlobKind, Image, Layer};

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

/// What the engine has, while images are taken in.
struct Books {
    layers: BTreeSet<Digest>,
    layer_names: Names,
    link_names: Names,
    image_names: Names,
}

impl Books {
    fn of(device: &Device) -> Self {
        let layers = device.stored.layers.clone();
        let (layer_names, link_names) = (Names::of(layers.len(), HEX), Names::of(layers.len(), LINK));
        Self { layers, layer_names, link_names, image_names: Names::of(device.stored.images.len(), HEX) }
    }

    /// One image and so many layers more: layers have names in three directories.
    fn grow(&mut self, file_system: &FileSystem, layers: u64) -> Cost {
        let layer_names = self.layer_names.add(file_system, layers).times(2);
        layer_names + self.link_names.add(file_system, layers) + self.image_names.add(file_system, 1)
    }
}

impl<'a> Builder<'a> {
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
        missing.sort_by_key(|(image, whose)| (Reverse(archive(image)), whose.clone(), image.config.digest));
        missing
    }

    /// Takes images into Docker, one archive for each.
    pub(super) fn load(&mut self) {
        let mut books = Books::of(self.device);
        for (image, whose) in self.missing_images() {
            let temp = self.unpack(image, &whose);
            self.register(image, &whose, &mut books);
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

    fn register(&mut self, image: &Image, whose: &str, books: &mut Books) {
        let Some((place, file_system)) = self.at(Role::Engine) else { return };
        let mut changes = Vec::new();
        let (first, mut new) = (books.layers.is_empty(), 0);
        for (below, (chain, layer)) in image.chain().enumerate() {
            if books.layers.insert(chain) {
                new += 1;
                let cost = layer_cost(self.device, layer, below);
                changes.push(Change::takes(place, cost, known(&layer.contents)));
            }
        }
        changes.push(Change::takes(place, books.grow(file_system, new), "names in the engine's directories"));
        let first = file_system.directories(Directory::default(), if first { 2 } else { 0 });
        let image_cost = engine::docker_image(file_system, image) + first;
        changes.push(Change::takes(place, image_cost, "image, in the engine's books"));
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
    pub(super) fn ingest(&mut self) {
        let (Some((place, file_system)), Some((blobs, blob_system))) = (self.at(Role::Layers), self.at(Role::Blobs))
        else {
            return;
        };
        let mut have = self.device.stored.layers.clone();
        let mut names = Names::of(have.len(), HEX);
        let mut gone = BTreeSet::new();
        for (_, below, layer) in self.layers() {
            if !have.insert(layer.diff_id) {
                continue;
            }
            let cost = layer_cost(self.device, layer, below);
            let mut changes = vec![Change::takes(place, cost, known(&layer.contents))];
            changes.push(Change::takes(place, names.add(file_system, 1), "names in the directory of layers"));
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
}

/// Bytes of the blobs that an image's archive holds, each once.
fn archive(image: &Image) -> u64 {
    let layers: BTreeMap<Digest, u64> = image.layers.iter().map(|layer| (layer.digest, layer.size)).collect();
    layers.into_values().fold(0, u64::saturating_add)
}

fn known(contents: &Contents) -> &'static str {
    match contents {
        Contents::Measured(_) => "layer, unpacked: its files were counted",
        Contents::Usage { .. } => "layer, unpacked: from the app's layer metadata",
        Contents::Expanded(_) => "layer, unpacked: only its length is known",
        Contents::Unknown => "layer, unpacked: nothing is known of it",
    }
}
