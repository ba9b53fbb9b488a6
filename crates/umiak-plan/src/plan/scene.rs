//! What an update lacks and has, seen once for all choices: apps in order, missing blobs and layers, deltas that can be
//! used.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use umiak_spec::Digest;

use super::objects;
use crate::device::{Device, Keeps, Role};
use crate::fs::FileSystem;
use crate::wanted::{App, Blob, BlobKind, Delta, DeltaPart, Layer, ObjectDelta, Wanted};

/// A part of a delta that can be used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub delta: &'a Delta,
    pub part: &'a DeltaPart,
}

/// A layer that the device has not.
#[derive(Debug, Clone)]
pub(super) struct Missing<'a> {
    pub layer: &'a Layer,
    /// Who wants it first: `app/service`.
    pub whose: String,
    /// The stacks under it, each once, the lowest layer first.
    pub stacks: BTreeSet<Vec<Digest>>,
    /// How many layers are under it where it is highest.
    pub depth: usize,
}

pub(super) struct Scene<'a> {
    pub device: &'a Device,
    pub wanted: &'a Wanted,
    /// Apps by name, so that the order in which they were given does not matter.
    pub apps: Vec<&'a App>,
    /// Missing layers by diff ID.
    pub layers: BTreeMap<Digest, Missing<'a>>,
    /// Missing blobs other than layers, in the order in which they are fetched, with who wants each first.
    pub documents: Vec<(Blob, String)>,
    /// Of these, objects that a delta can make.
    pub objects: BTreeMap<Digest, &'a ObjectDelta>,
}

impl<'a> Scene<'a> {
    pub fn of(device: &'a Device, wanted: &'a Wanted) -> Self {
        let mut apps: Vec<&App> = wanted.apps.iter().collect();
        apps.sort_by_key(|app| (&app.name, app.digest));
        let mut scene =
            Self { device, wanted, apps, layers: BTreeMap::new(), documents: Vec::new(), objects: BTreeMap::new() };
        scene.documents = scene.missing_documents();
        scene.objects = objects::usable(&scene);
        scene.layers = scene.missing_layers();
        scene
    }

    pub fn at(&self, role: Role) -> Option<(usize, &'a FileSystem)> {
        let place = self.device.place(role);
        self.device.file_systems.get(place).map(|file_system| (place, file_system))
    }

    /// Bytes of a blob that are here. A part that is longer than the blob is not a part of it.
    pub fn fetched(&self, digest: &Digest, size: u64) -> u64 {
        self.device.stored.blobs.get(digest).copied().filter(|fetched| *fetched <= size).unwrap_or(0)
    }

    /// Whether a blob is here whole.
    pub fn has(&self, digest: &Digest, size: u64) -> bool {
        self.device.stored.blobs.get(digest) == Some(&size)
    }

    /// What is fetched when the layer comes as its blob.
    pub fn rest(&self, layer: &Layer) -> u64 {
        layer.size - self.fetched(&layer.digest, layer.size)
    }

    fn is_kept(&self, layer: &Layer) -> bool {
        match self.device.keeps {
            Keeps::Blobs => self.has(&layer.digest, layer.size),
            Keeps::Layers => self.device.stored.layers.contains_key(&layer.diff_id),
        }
    }

    fn missing_layers(&self) -> BTreeMap<Digest, Missing<'a>> {
        let mut missing: BTreeMap<Digest, Missing<'a>> = BTreeMap::new();
        for app in &self.apps {
            for service in &app.services {
                let mut below = Vec::new();
                for layer in &service.image.layers {
                    if !self.is_kept(layer) {
                        let found = missing.entry(layer.diff_id).or_insert_with(|| Missing {
                            layer,
                            whose: format!("{}/{}", app.name, service.name),
                            stacks: BTreeSet::new(),
                            depth: 0,
                        });
                        found.depth = found.depth.max(below.len());
                        found.stacks.insert(below.clone());
                    }
                    below.push(layer.diff_id);
                }
            }
        }
        missing
    }

    fn missing_documents(&self) -> Vec<(Blob, String)> {
        let mut missing: BTreeMap<Blob, String> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for app in &self.apps {
            let own = app.own.iter().map(|blob| (*blob, app.name.clone()));
            let images = app
                .services
                .iter()
                .flat_map(|service| service.image.blobs().map(|blob| (blob, format!("{}/{}", app.name, service.name))));
            for (blob, whose) in own.chain(images).filter(|(blob, _)| blob.kind != BlobKind::Layer) {
                if seen.insert(blob.digest) && !self.has(&blob.digest, blob.size) {
                    missing.insert(blob, whose);
                }
            }
        }
        missing.into_iter().collect()
    }

    /// Whether all that a delta starts from is here.
    pub fn has_base(&self, delta: &Delta) -> bool {
        match self.device.keeps {
            Keeps::Layers => delta.base.iter().all(|layer| self.device.stored.layers.contains_key(layer)),
            Keeps::Blobs => {
                let known = self.known_layers();
                let is_here = |diff_id: &Digest| {
                    known.get(diff_id).is_some_and(|blobs| blobs.iter().any(|(digest, size)| self.has(digest, *size)))
                };
                delta.base.iter().all(is_here)
            }
        }
    }

    /// The blobs of all layers that apps tell of, by diff ID.
    pub fn known_layers(&self) -> BTreeMap<Digest, BTreeSet<(Digest, u64)>> {
        let stored = self.device.stored.apps.iter().map(|stored| &stored.app);
        let layers = stored.chain(&self.wanted.apps).flat_map(App::images).flat_map(|image| &image.layers);
        let mut known: BTreeMap<Digest, BTreeSet<(Digest, u64)>> = BTreeMap::new();
        for layer in layers {
            known.entry(layer.diff_id).or_default().insert((layer.digest, layer.size));
        }
        known
    }

    /// Missing layers that a part makes, besides those that are `made`.
    pub fn makes(&self, part: Part<'a>, made: &BTreeSet<Digest>) -> Vec<&Missing<'a>> {
        let makes: BTreeSet<&Digest> = part.part.makes.iter().filter(|diff_id| !made.contains(diff_id)).collect();
        makes.into_iter().filter_map(|diff_id| self.layers.get(diff_id)).collect()
    }

    /// What is fetched for a part.
    pub fn cost_of(&self, part: Part<'_>) -> u64 {
        part.part.size - self.fetched(&part.part.blob, part.part.size)
    }

    /// Bytes that need not be fetched when a part is used and those that are `made` are there.
    pub fn saves(&self, part: Part<'a>, made: &BTreeSet<Digest>) -> u64 {
        let full =
            self.makes(part, made).iter().fold(0_u64, |sum, missing| sum.saturating_add(self.rest(missing.layer)));
        full.saturating_sub(self.cost_of(part))
    }

    /// Parts that can be used and save something, the one that saves most first.
    pub fn usable(&self) -> Vec<Part<'a>> {
        let deltas = self.wanted.deltas.iter().filter(|delta| self.has_base(delta));
        let parts = deltas.flat_map(|delta| delta.parts.iter().map(move |part| Part { delta, part }));
        let mut parts: Vec<Part<'a>> = parts.filter(|part| self.saves(*part, &BTreeSet::new()) > 0).collect();
        parts.sort_by_key(|part| (Reverse(self.saves(*part, &BTreeSet::new())), part.delta.digest, part.part.blob));
        parts.dedup_by_key(|part| (part.delta.digest, part.part.blob));
        parts
    }

    /// Of these parts those that are fetched: no layer is made twice, and each saves something.
    pub fn pick(&self, parts: &[Part<'a>]) -> Vec<Part<'a>> {
        let mut made = BTreeSet::new();
        let mut picked = Vec::new();
        for part in parts {
            if self.saves(*part, &made) > 0 {
                made.extend(part.part.makes.iter().copied());
                picked.push(*part);
            }
        }
        picked
    }

    /// Bytes of layers that are fetched when these parts are used.
    pub fn download(&self, parts: &[Part<'a>]) -> u64 {
        let made: BTreeSet<Digest> = parts.iter().flat_map(|part| part.part.makes.iter().copied()).collect();
        let full = self.layers.values().filter(|missing| !made.contains(&missing.layer.diff_id));
        let full = full.fold(0_u64, |sum, missing| sum.saturating_add(self.rest(missing.layer)));
        parts.iter().fold(full, |sum, part| sum.saturating_add(self.cost_of(*part)))
    }
}
