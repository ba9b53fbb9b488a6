//! Releases as developers publish them: a layout with Compose Apps, images of compressed layers, and real deltas that say
//! what a device makes of them. For the real sources, without a network; the same bytes at every call.

#![allow(clippy::unwrap_used, dead_code, reason = "a test may panic, and not every test uses everything")]

pub mod scene;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use umiak_agent::sources::Sources;
use umiak_spec::app::{AppManifest, Form};
use umiak_spec::delta::{Content, LAYER_DELTA, OnDevice, Part, PatchFiles, StoredFiles};
use umiak_spec::{DeltaManifest, Descriptor, Digest, Silent, media_type};
use umiak_store::{Keep, LayerDelta, LayerOptions, LayerRecord, RealDisk, Store, StoreOptions};
use umiak_testkit::sample::{self, Blob, SampleImage, SampleLayer};

use super::common::layered::{self, tar};
use super::device;

/// What runs of release `number`.
pub fn runs(number: u32) -> String {
    format!("shop/db=db, shop/front=front {number}")
}

/// A directory of releases of the app `shop`: a database that stays, and a front of two layers of which one changes.
pub struct Releases {
    directory: PathBuf,
    manifests: BTreeMap<u32, Blob>,
    deltas: Vec<Blob>,
    /// Every blob that may be in a store.
    pub blobs: BTreeMap<Digest, Vec<u8>>,
    /// Every layer.
    pub layers: BTreeMap<Digest, Vec<u8>>,
    /// What runs by the first line of its configuration.
    pub names: BTreeMap<String, String>,
}

/// The files of the layer of `front` that changes.
fn changing(number: u32) -> Vec<u8> {
    let mut code = format!("front {number}\n").into_bytes();
    code.extend((0..3000_u32).flat_map(u32::to_le_bytes));
    code.extend((0..600_u32).flat_map(|word| (word ^ number).to_le_bytes()));
    let words: Vec<u8> = (0..4000_u32).flat_map(|word| word.wrapping_mul(word).to_le_bytes()).collect();
    tar(&[("app/code", &code), ("app/words", &words)])
}

fn lowest() -> Vec<u8> {
    tar(&[("etc/os-release", b"ID=made-up\n"), ("lib/noise", &device::noise(20_000, 9))])
}

/// What a directory takes, in blocks of 4 KiB.
pub fn taken(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let below = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => taken(&entry.path()),
        Ok(metadata) => metadata.len().next_multiple_of(4096),
        Err(_) => 0,
    });
    4096 + below.sum::<u64>()
}

impl Releases {
    /// An empty layout at `directory`.
    pub fn new(directory: &Path) -> Self {
        fs::create_dir_all(directory.join("blobs/sha256")).unwrap();
        fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self {
            directory: directory.to_owned(),
            manifests: BTreeMap::new(),
            deltas: vec![],
            blobs: BTreeMap::new(),
            layers: BTreeMap::new(),
            names: BTreeMap::new(),
        }
    }

    /// What a target names: the app's tag in the layout.
    pub fn reference(&self) -> String {
        format!("oci:{}:shop", self.directory.display())
    }

    /// What reaches the layout, on a device with `room` bytes for the store and what else is free.
    pub fn sources(room: u64) -> Sources {
        let survey = Box::new(move |store: &Store| {
            let mut found = device::device();
            found.file_systems[0].free = room.saturating_sub(taken(store.path())) / 4096;
            Ok(found)
        });
        Sources { survey, ..device::sources() }
    }

    fn put(&mut self, blob: &Blob) {
        self.put_bytes(blob.bytes.clone());
    }

    fn put_bytes(&mut self, bytes: Vec<u8>) -> Digest {
        let digest = Digest::of(&bytes);
        fs::write(self.directory.join("blobs/sha256").join(digest.hex()), &bytes).unwrap();
        self.blobs.insert(digest, bytes);
        digest
    }

    fn image(&mut self, name: &str, tars: &[Vec<u8>]) -> Blob {
        let mut layers = Vec::new();
        for tar in tars {
            let diff_id = Digest::of(tar);
            self.layers.insert(diff_id, tar.clone());
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(tar).unwrap();
            layers.push(SampleLayer {
                blob: gzip.finish().unwrap(),
                media_type: media_type::OCI_LAYER_GZIP.into(),
                diff_id,
            });
        }
        let blobs = sample::image(&SampleImage { platform: "linux/amd64".into(), layers });
        blobs.iter().for_each(|blob| self.put(blob));
        let config = &blobs[blobs.len() - 2];
        self.names.insert(String::from_utf8(config.bytes.clone()).unwrap(), name.to_owned());
        blobs.into_iter().next_back().unwrap()
    }

    /// Publishes release `number` of `shop`, whose front does `command`; the tag names it from now on.
    pub fn publish(&mut self, number: u32, command: &str) -> Digest {
        let db = self.image("db", &[tar(&[("bin/db", b"database")])]).digest;
        let front = self.image(&format!("front {number}"), &[lowest(), changing(number)]);
        let words: Vec<String> = command.split(' ').map(|word| format!("\"{word}\"")).collect();
        let compose = format!(
            "services:\n  db:\n    image: 127.0.0.1:1/team/db@{db}\n    command: [\"run\"]\n    network_mode: host\n  \
             front:\n    image: 127.0.0.1:1/team/front@{}\n    command: [{}]\n    network_mode: host\n    \
             volumes: [\"./site:/site:ro\"]\n",
            front.digest,
            words.join(", "),
        );
        let page = format!("<h1>release {number}</h1>");
        let bundle = tar(&[("docker-compose.yml", compose.as_bytes()), ("site/index.html", page.as_bytes())]);
        let manifest = AppManifest::new(Form::Artifact, Digest::of(&bundle), bundle.len() as u64).to_bytes();
        self.put_bytes(bundle);
        self.put_bytes(b"{}".to_vec());
        let top = self.put_bytes(manifest.clone());
        self.manifests.insert(number, front);
        self.write_index(&Blob { digest: top, media_type: media_type::OCI_MANIFEST.into(), bytes: manifest });
        top
    }

    /// Publishes the delta between the fronts of two releases, before the tag names the latter.
    pub fn publish_delta(&mut self, base: u32, target: u32) {
        let (from, to) = (changing(base), changing(target));
        let part = layered::delta(&from, &to);
        let on_device = measured(&from, &to, &part);
        let blob = Descriptor::new(LAYER_DELTA, self.put_bytes(part.clone()), part.len() as u64);
        let subject = self.image(&format!("front {target}"), &[lowest(), to.clone()]);
        let delta = DeltaManifest {
            subject: Descriptor::new(media_type::OCI_MANIFEST, subject.digest, subject.bytes.len() as u64),
            base: None,
            base_config: None,
            base_diff_ids: vec![Digest::of(&from)],
            reused: Vec::new(),
            parts: vec![Part { content: Content::Layer, to: Digest::of(&to), blob }],
            full_size: to.len() as u64,
            expanded_size: to.len() as u64,
            device: vec![on_device],
        };
        let bytes = delta.to_bytes();
        let digest = self.put_bytes(bytes.clone());
        self.deltas.push(Blob { digest, media_type: media_type::OCI_MANIFEST.into(), bytes });
    }

    fn write_index(&self, top: &Blob) {
        let named = top.descriptor(r#","annotations":{"org.opencontainers.image.ref.name":"shop"}"#);
        let others = self.manifests.values().chain(&self.deltas).map(|blob| blob.descriptor(""));
        let all: Vec<String> = std::iter::once(named).chain(others).collect();
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, all.join(","));
        fs::write(self.directory.join("index.json"), index).unwrap();
    }
}

/// What a device makes of the delta: made as it is made there, and measured.
fn measured(base: &[u8], target: &[u8], part: &[u8]) -> OnDevice {
    let place = super::common::temporary();
    let store = Store::open(&place.path().join("s"), Arc::new(RealDisk), &StoreOptions::UPDATE).unwrap();
    let options = LayerOptions::default();
    for tar in [&lowest()[..], base] {
        store.ingest_layer(&Digest::of(tar), &tar, &Keep::Whole, &options, &Silent).unwrap();
    }
    let layer = Digest::of(target);
    let keep = Keep::Patch { base: Digest::of(base), below: vec![Digest::of(&lowest())] };
    let files = |record: &LayerRecord| {
        let path = store.path().join("layers").join(record.diff_id.hex()).join("record");
        let record_bytes = fs::metadata(path).unwrap().len();
        StoredFiles { image: record.image.bytes, skeleton: record.skeleton.bytes, record: record_bytes }
    };
    let made =
        store.apply_delta(&layer, LayerDelta { blob: &part.to_vec(), names: None }, &keep, &options, &Silent).unwrap();
    let base = made.layer.record.base.expect("it is worth a patch");
    let patch = PatchFiles { base, files: files(&made.layer.record) };
    let whole = store.convert_layer(&layer, &Keep::Whole, &options, &Silent).unwrap().record;
    OnDevice { layer, spool: Some(made.spooled), whole: Some(files(&whole)), patch: Some(patch) }
}
