//! Two made-up releases of an image, and deltas between them that are real: made, measured in a store as whoever publishes
//! does, and listed by the registry.

#![allow(dead_code, reason = "not every test uses everything")]

use std::io::Write as _;
use std::sync::Arc;

use umiak_spec::delta::{Content, LAYER_DELTA, OnDevice, Part, PatchFiles, StoredFiles};
use umiak_spec::{DeltaManifest, Descriptor, Digest, Silent, media_type};
use umiak_store::{Keep, LayerDelta, LayerOptions, LayerRecord, RealDisk, Store, StoreOptions};
use umiak_testkit::sample::SampleLayer;

use crate::common::layered;
use crate::device::{REPOSITORY, World, image, noise};

/// A file of a layer.
type File = (String, Vec<u8>);

/// A registry with releases.
pub struct Site {
    pub world: World,
}

/// Numbers by chance, the same for the same seed.
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % most.max(1)
    }
}

/// What a release is: which layers, how they travel.
#[derive(Debug, Clone)]
pub struct Releases {
    pub deltas: bool,
    /// Of the deltas only the manifest can be had.
    pub lost: bool,
    pub measured: bool,
    pub gzip: bool,
    /// Bytes of the later one's tars.
    pub bytes: u64,
}

impl Site {
    pub fn new() -> Self {
        Self { world: World::new() }
    }

    /// Publishes release `1`, release `2`, and perhaps what leads from one to the other.
    pub fn publish(&self, seed: u64) -> Releases {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let base: Vec<Vec<File>> = (0..2 + chance.below(3)).map(|layer| files(&mut chance, layer)).collect();
        let mut target: Vec<Vec<File>> = base.clone();
        for (number, layer) in target.iter_mut().enumerate() {
            if number == 0 || chance.below(3) > 0 {
                change(&mut chance, layer);
            }
        }
        let base: Vec<Vec<u8>> = base.iter().map(|files| tar(files)).collect();
        let target: Vec<Vec<u8>> = target.iter().map(|files| tar(files)).collect();
        let bytes = target.iter().map(|tar| tar.len() as u64).sum();
        let (deltas, lost) = (!seed.is_multiple_of(4), seed % 4 == 3);
        let releases = Releases { deltas, lost, measured: seed % 8 != 1, gzip: seed.is_multiple_of(2), bytes };
        self.release("1", &base, releases.gzip);
        let top = self.release("2", &target, releases.gzip);
        if releases.deltas {
            let parts = self.delta(&base, &target, &top, releases.measured);
            parts.iter().filter(|_| releases.lost).for_each(|part| self.world.registry.lose(part));
        }
        releases
    }

    /// An image of these layers; its manifest.
    pub fn release(&self, tag: &str, layers: &[Vec<u8>], gzip: bool) -> Descriptor {
        let layer = |tar: &Vec<u8>| match gzip {
            true => SampleLayer {
                blob: pressed(tar),
                media_type: media_type::OCI_LAYER_GZIP.into(),
                diff_id: Digest::of(tar),
            },
            false => SampleLayer::plain(tar.clone()),
        };
        let blobs = image(layers.iter().map(layer).collect());
        self.world.publish(tag, &blobs);
        let top = blobs.last().unwrap();
        Descriptor::new(media_type::OCI_MANIFEST, top.digest, top.bytes.len() as u64)
    }

    /// The delta from one image to another that has as many layers; its parts. `measured`: it says what layers take on a
    /// device.
    pub fn delta(&self, base: &[Vec<u8>], target: &[Vec<u8>], subject: &Descriptor, measured: bool) -> Vec<Digest> {
        let changed = || base.iter().zip(target).enumerate().filter(|(_, (base, target))| base != target);
        let blobs: Vec<(usize, Vec<u8>)> =
            changed().map(|(number, (base, target))| (number, layered::delta(base, target))).collect();
        let part = |(number, blob): &(usize, Vec<u8>)| Part {
            content: Content::Layer,
            to: Digest::of(&target[*number]),
            blob: Descriptor::new(LAYER_DELTA, Digest::of(blob), blob.len() as u64),
        };
        let size = |layers: &[Vec<u8>]| layers.iter().map(|layer| layer.len() as u64).sum();
        let manifest = DeltaManifest {
            subject: subject.clone(),
            base: None,
            base_config: None,
            base_diff_ids: base.iter().map(|tar| Digest::of(tar)).collect(),
            reused: Vec::new(),
            parts: blobs.iter().map(part).collect(),
            full_size: size(target),
            expanded_size: size(target),
            device: if measured { on_device(base, target, &blobs) } else { Vec::new() },
        };
        let parts = blobs.iter().map(|(_, blob)| Digest::of(blob)).collect();
        for (_, blob) in blobs {
            self.world.registry.put_blob(REPOSITORY, blob);
        }
        let bytes = manifest.to_bytes();
        self.world.registry.put(&Digest::of(&bytes).to_string(), media_type::OCI_MANIFEST, bytes);
        parts
    }
}

/// What the layers take, seen in a store.
fn on_device(base: &[Vec<u8>], target: &[Vec<u8>], blobs: &[(usize, Vec<u8>)]) -> Vec<OnDevice> {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store"), Arc::new(RealDisk), &StoreOptions::UPDATE).unwrap();
    let options = LayerOptions::default();
    for tar in base {
        store.ingest_layer(&Digest::of(tar), &tar.as_slice(), &Keep::Whole, &options, &Silent).unwrap();
    }
    let files = |record: &LayerRecord| StoredFiles {
        image: record.image.bytes,
        skeleton: record.skeleton.bytes,
        record: record.bytes(),
    };
    let mut all = Vec::new();
    let mut next = blobs.iter().peekable();
    for (number, tar) in target.iter().enumerate() {
        let Some((_, blob)) = next.next_if(|(of, _)| *of == number) else { continue };
        let layer = Digest::of(tar);
        let below = target[..number].iter().map(|tar| Digest::of(tar)).collect();
        let keep = Keep::Patch { base: Digest::of(&base[number]), below };
        let delta = LayerDelta { blob, names: None };
        let made = store.apply_delta(&layer, delta, &keep, &options, &Silent).unwrap();
        let record = made.layer.record;
        let patch = record.base.map(|base| PatchFiles { base, files: files(&record) });
        let whole = store.convert_layer(&layer, &Keep::Whole, &options, &Silent).unwrap().record;
        all.push(OnDevice { layer, spool: Some(made.spooled), whole: Some(files(&whole)), patch });
    }
    all
}

/// A file's bytes: noise, words, or both.
fn content(chance: &mut Chance, most: u64) -> Vec<u8> {
    let length = usize::try_from(chance.below(most)).unwrap();
    match chance.below(3) {
        0 => noise(length, chance.below(1 << 40)),
        1 => (0..length).map(|at| b'a' + u8::try_from(at / 7 % 23).unwrap()).collect(),
        _ => [noise(length / 2, chance.below(1 << 40)), vec![b'x'; length / 2]].concat(),
    }
}

fn files(chance: &mut Chance, layer: u64) -> Vec<File> {
    let count = 1 + chance.below(8);
    let name =
        |number| format!("{}/{layer}/file-{number}", ["usr", "etc", "app"][usize::try_from(number % 3).unwrap()]);
    let most = [3000, 60_000, 300_000][usize::try_from(chance.below(3)).unwrap()];
    (0..count).map(|number| (name(number), content(chance, most))).collect()
}

/// A later release of a layer: some files change in part, one may go or come.
fn change(chance: &mut Chance, files: &mut Vec<File>) {
    for (_, bytes) in files.iter_mut() {
        if chance.below(3) == 0 && !bytes.is_empty() {
            let at = usize::try_from(chance.below(bytes.len() as u64)).unwrap();
            let more = content(chance, 4000);
            bytes.splice(at..at, more);
        }
    }
    if chance.below(3) == 0 && files.len() > 1 {
        files.pop();
    }
    let fresh = format!("etc/fresh-{}", chance.below(1000));
    files.push((fresh, content(chance, 20_000)));
}

pub fn tar(files: &[File]) -> Vec<u8> {
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    layered::tar(&files)
}

pub fn pressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
