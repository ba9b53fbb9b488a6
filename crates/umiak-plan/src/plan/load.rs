//! Images that an engine takes in from an archive.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use umiak_spec::Digest;

use super::build::Builder;
use super::count;
use super::names::Names;
use crate::contents::{Contents, Directory};
use crate::cost::Cost;
use crate::device::{Device, Engine, Keeps, Role};
use crate::engine::{self, HEX, LINK};
use crate::fs::FileSystem;
use crate::layout;
use crate::ledger::{Change, Step};
use crate::task::Task;
use crate::wanted::{Image, Layer};

/// What the engine keeps of a layer above `below` others.
pub(super) fn layer_cost(device: &Device, layer: &Layer, below: usize) -> Cost {
    let Some(file_system) = device.file_systems.get(device.place(Role::Engine)) else { return Cost::NOTHING };
    match device.engine {
        Engine::Runtime => Cost::NOTHING,
        Engine::Docker | Engine::DockerInPlace => engine::docker_layer(file_system, layer, count(below)),
        Engine::Containerd => engine::containerd_layer(file_system, layer),
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
        let layers = device.stored.chains.clone();
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
        let stored = &self.scene.device.stored;
        let mut seen = BTreeSet::new();
        let mut missing = Vec::new();
        for app in &self.scene.apps {
            for service in &app.services {
                let image = &service.image;
                let layers = image.chain().all(|(chain, _)| stored.chains.contains(&chain));
                let known = layers && stored.images.contains(&image.config.digest);
                if !known && seen.insert(image.config.digest) {
                    missing.push((image, format!("{}/{}", app.name, service.name)));
                }
            }
        }
        // The one with the largest archive first: then the others' archives are beside fewer layers.
        let length = |image: &Image| self.archive(image).into_values().fold(0, u64::saturating_add);
        missing.sort_by_key(|(image, whose)| (Reverse(length(image)), whose.clone(), image.config.digest));
        missing
    }

    /// Takes images in, one archive for each.
    pub(super) fn load(&mut self) {
        if !self.scene.device.engine.stores() {
            return;
        }
        let mut books = Books::of(self.scene.device);
        for (image, whose) in self.missing_images() {
            let mut changes = Vec::new();
            let unpacked = self.unpacked(image);
            let why = "archive, unpacked beside the engine's data";
            changes.extend(unpacked.map(|(place, cost)| Change::takes(place, cost, why)));
            let chains = self.register(image, &mut books, &mut changes);
            changes.extend(unpacked.map(|(place, cost)| Change::returns(place, cost, why)));
            self.steps.push(Step::new(Task::Load { image: image.config.digest, chains }, whose, changes));
        }
    }

    /// Lengths of the layers in an image's archive: blobs as they are, or what umiak's store gives back, uncompressed.
    fn archive(&self, image: &Image) -> BTreeMap<Digest, u64> {
        let length = |layer: &Layer| match self.scene.device.keeps {
            Keeps::Blobs => layer.size,
            Keeps::Layers => layout::tar(layer).0,
        };
        image.layers.iter().map(|layer| (layer.diff_id, length(layer))).collect()
    }

    /// The copy of an archive that `docker load` makes while it runs.
    fn unpacked(&self, image: &Image) -> Option<(usize, Cost)> {
        let device = self.scene.device;
        let copies = match device.engine {
            Engine::Docker => true,
            // What lies in umiak's store is no blob that could be read in place.
            Engine::DockerInPlace => device.keeps == Keeps::Layers,
            Engine::Containerd | Engine::Runtime => false,
        };
        let (place, file_system) = self.at(Role::EngineTemp).filter(|_| copies)?;
        let names = count(image.layers.len()) + 2;
        let directory = Directory { entries: names, name_bytes: names.saturating_mul(HEX + 5) };
        let cost = self.archive(image).into_values().map(|size| file_system.file(size)).sum::<Cost>()
            + file_system.file(image.config.size)
            + file_system.file(names.saturating_mul(80).saturating_add(1024))
            + file_system.directories(directory, 1);
        let known = device.keeps == Keeps::Blobs || image.layers.iter().all(|layer| layout::tar(layer).1);
        Some((place, if known { cost } else { cost.as_bound() }))
    }

    /// What the engine keeps of an image; the layers that it has not.
    fn register(&self, image: &Image, books: &mut Books, changes: &mut Vec<Change>) -> Vec<Digest> {
        let device = self.scene.device;
        let Some((place, file_system)) = self.at(Role::Engine) else { return vec![] };
        let first = books.layers.is_empty();
        let mut chains = Vec::new();
        for (below, (chain, layer)) in image.chain().enumerate() {
            if books.layers.insert(chain) {
                chains.push(chain);
                changes.push(Change::takes(place, layer_cost(device, layer, below), known(&layer.contents)));
            }
        }
        let names = books.grow(file_system, count(chains.len()));
        changes.push(Change::takes(place, names, "names in the engine's directories"));
        let first = file_system.directories(Directory::default(), if first { 2 } else { 0 });
        let image_cost = engine::docker_image(file_system, image) + first;
        changes.push(Change::takes(place, image_cost, "image, in the engine's books"));
        if device.engine == Engine::Containerd {
            let blobs = engine::containerd_image(file_system, image);
            changes.push(Change::takes(place, blobs, "blobs, kept by the engine"));
        }
        chains
    }
}

fn known(contents: &Contents) -> &'static str {
    match contents {
        Contents::Measured(_) => "layer, unpacked: its files were counted",
        Contents::Usage { .. } => "layer, unpacked: from the app's layer metadata",
        Contents::Expanded(_) => "layer, unpacked: only its length is known",
        Contents::Unknown => "layer, unpacked: nothing is known of it",
    }
}
