//! Both sides in one test: who publishes apps with `umiak`'s library, and a device that reads them with `umiakd`'s.

#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods, reason = "shared by several test programs")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use umiak_agent::fetch::FetchOptions;
use umiak_agent::sources::Sources;
use umiak_agent::{Fetched, Occasion, Planned, Silently, Supply as _};
use umiak_build::compose::carry::{self, Read};
use umiak_build::compose::{App, Folder, Format, PinnedImages, Request, Work};
use umiak_build::measure::{Measuring, Which};
use umiak_delta::{Effort, MakeOptions};
use umiak_layer::LayerWriter;
use umiak_registry::{Context, Place, RegistrySettings, open_sink};
use umiak_sign::Policy;
use umiak_spec::target::Target;
use umiak_spec::{Descriptor, Digest, ImageReference, Limits, Platform, Silent, media_type};
use umiak_store::{LayerOptions, RealDisk, Store, StoreOptions};
use umiak_testkit::device::device;
use umiak_testkit::random::noise;
use umiak_testkit::sample::{Blob, SampleImage, SampleLayer, image};
use umiak_tree::{Metadata, TreePath};

/// Blocks of the device's file system.
pub const BLOCK: u64 = 4096;

/// Who publishes, and a device.
pub struct Maker {
    pub scratch: tempfile::TempDir,
    /// Host and port of a registry.
    pub registry: String,
    sources: Context,
    options: MakeOptions,
}

fn context(cache: PathBuf) -> Context {
    let registry = RegistrySettings {
        insecure: true,
        patience: Duration::from_secs(2),
        pause: |_| {},
        ..RegistrySettings::default()
    };
    Context {
        cache,
        order: vec![Place::Remote],
        docker_socket: PathBuf::from("/nowhere"),
        registry,
        limits: Limits::default(),
    }
}

impl Maker {
    pub fn new(scratch: tempfile::TempDir, registry: String) -> Self {
        let sources = context(scratch.path().join("cache"));
        fs::create_dir(scratch.path().join("scratch")).unwrap();
        let threads = NonZeroUsize::new(2).unwrap();
        let options = MakeOptions { effort: Effort::Fast, threads, ..MakeOptions::default() };
        Self { scratch, registry, sources, options }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    pub fn work(&self) -> Work<'_> {
        let threads = NonZeroUsize::new(2).unwrap();
        Work { sources: &self.sources, limits: Limits::default(), threads, device: true, observer: &Silent }
    }

    pub fn deltas<T>(&self, work: impl FnOnce(&umiak_build::delta::Work<'_>) -> T) -> T {
        work(&umiak_build::delta::Work {
            sources: &self.sources,
            platforms: &[],
            scratch: &self.path("scratch"),
            options: &self.options,
            limits: Limits::default(),
            observer: &Silent,
        })
    }

    /// `docker://HOST:PORT/team/NAME:TAG`
    pub fn reference(&self, name: &str, tag: &str) -> ImageReference {
        format!("docker://{}/team/{name}:{tag}", self.registry).parse().unwrap()
    }

    /// Pushes an image; the digest of its manifest.
    pub fn image(&self, name: &str, tag: &str, layers: &[Vec<u8>]) -> Digest {
        let layers = layers.iter().map(|tar| packed(tar)).collect();
        let blobs = image(&SampleImage { platform: Platform::host().to_string(), layers });
        self.push(name, Some(tag), &blobs)
    }

    /// Pushes blobs, of which the last is a manifest.
    pub fn push(&self, name: &str, tag: Option<&str>, blobs: &[Blob]) -> Digest {
        let sink = open_sink(&self.reference(name, tag.unwrap_or("any")), &self.sources).unwrap();
        for blob in blobs {
            if media_type::MANIFESTS.contains(&blob.media_type.as_str()) {
                sink.put_manifest(&blob.bytes, &blob.media_type, tag, &Silent).unwrap();
            } else {
                let descriptor = Descriptor::new(&*blob.media_type, blob.digest, blob.bytes.len() as u64);
                sink.put_blob(&descriptor, &blob.bytes, &Silent).unwrap();
            }
        }
        sink.finish(&Silent).unwrap();
        blobs.last().unwrap().digest
    }

    /// Measures an image and attaches what was measured.
    pub fn attach(&self, name: &str, tag: &str) {
        let threads = NonZeroUsize::new(2).unwrap();
        let measuring = Measuring { cache: None, device: true, limits: Limits::default(), threads, observer: &Silent };
        measuring.attach(&self.sources, &[self.reference(name, tag)], &Which::Best(Vec::new())).unwrap();
    }

    pub fn app(&self, tag: &str) -> App {
        self.work().read(&self.reference("shop", tag), &[]).unwrap()
    }

    /// The manifest of a release.
    pub fn app_bytes(&self, tag: &str) -> Vec<u8> {
        self.app(tag).bytes
    }

    /// Publishes the app `shop` with these services (name, image, tag), with deltas from the releases `from`.
    pub fn publish(&self, tag: &str, services: &[(&str, &str, &str)], from: &[&str]) -> Digest {
        let directory = self.path(&format!("project-{tag}"));
        fs::create_dir_all(directory.join("site")).unwrap();
        let mut compose = "services:\n".to_owned();
        for (name, image, tag) in services {
            let image = self.reference(image, tag).to_string();
            compose.push_str(&format!("  {name}:\n    image: {}\n", image.trim_start_matches("docker://")));
        }
        fs::write(directory.join("docker-compose.yml"), compose).unwrap();
        fs::write(directory.join("site/index.html"), format!("<h1>{tag}</h1>")).unwrap();
        let (scratch, app) = (self.path("scratch"), self.reference("shop", tag));
        let project =
            Folder { directory, names: Vec::new(), environment: BTreeMap::new(), scratch: &scratch, observer: &Silent };
        let work = self.work();
        let request = Request {
            app: &app,
            project: &project,
            format: Format::Umiak,
            wanted: &[],
            pinned: PinnedImages::default(),
            layers_meta: None,
        };
        let mut draft = work.draft(request).unwrap();
        let bases: Vec<(App, ImageReference)> =
            from.iter().map(|tag| (self.app(tag), self.reference("shop", tag))).collect();
        let bases: Vec<Read<'_>> = bases.iter().map(|(app, place)| Read { app, place }).collect();
        let made = self.deltas(|work| work.publish_deltas(&mut draft, &bases)).unwrap();
        assert!(made.iter().all(|delta| delta.known.is_some()), "every delta is worth it");
        work.publish(&draft).unwrap().descriptor.digest
    }

    /// A bundle of a release, with deltas from others.
    pub fn bundle(&self, tag: &str, from: &[&str]) -> PathBuf {
        let (app, place) = (self.app(tag), self.reference("shop", tag));
        let bases: Vec<(App, ImageReference)> =
            from.iter().map(|tag| (self.app(tag), self.reference("shop", tag))).collect();
        let bases: Vec<Read<'_>> = bases.iter().map(|(app, place)| Read { app, place }).collect();
        let read = Read { app: &app, place: &place };
        let carried = self.deltas(|work| work.gather(read, &[Platform::host()], &bases)).unwrap();
        let path = self.path(&format!("shop-{tag}{}.tar", if from.is_empty() { "" } else { "-delta" }));
        carry::write(&carried, &path, &Limits::default(), &Silent).unwrap();
        path
    }

    /// The device's store; only one at a time.
    pub fn store(&self) -> Store {
        open(&self.path("store"))
    }
}

pub fn open(path: &Path) -> Store {
    Store::open(path, Arc::new(RealDisk), &StoreOptions::UPDATE).unwrap()
}

/// Plans and fetches until all is there; the plan that was made first.
pub fn arrive(sources: &Sources, store: &Store, target: &Target, current: Option<&Target>) -> Planned {
    let mut occasion = Occasion { current: current.cloned(), ..Occasion::default() };
    let mut first = None;
    loop {
        let planned = sources.plan(store, target, &occasion, &Silently).unwrap();
        assert_eq!(planned.refusal, None);
        let space = store.reserve(planned.reserve).unwrap();
        let fetched = sources.fetch(store, target, &planned, &space, &Silently).unwrap();
        let first = first.get_or_insert(planned);
        match fetched {
            Fetched::Without(useless) => occasion.useless.extend(useless),
            Fetched::All => {
                for app in &target.apps {
                    let closure = sources.closure(store, app).unwrap();
                    assert!(store.missing(&closure).is_empty(), "{:?}", store.missing(&closure));
                }
                return first.clone();
            }
        }
    }
}

/// What the device reaches.
pub fn sources(trust: Policy) -> Sources {
    Sources {
        context: context(PathBuf::new()),
        platform: Platform::host(),
        trust,
        date: Box::new(|| None),
        limits: Limits::default(),
        fetch: FetchOptions::default(),
        layers: LayerOptions::default(),
        environment: BTreeMap::new(),
        profiles: BTreeSet::new(),
        runs_compose: false,
        survey: Box::new(|_| Ok(device(Platform::host()))),
    }
}

/// Bytes in blocks of everything below a directory.
pub fn taken(directory: &Path) -> u64 {
    let mut sum = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        sum += if metadata.is_dir() { BLOCK + taken(&entry.path()) } else { metadata.len().div_ceil(BLOCK) * BLOCK };
    }
    sum
}

/// A tar of files, each with some bytes made of a seed: like those of another seed only in their halves.
pub fn tar(files: &[(&str, usize, u64)]) -> Vec<u8> {
    let mut archive = LayerWriter::new(Vec::new());
    for (path, size, seed) in files {
        let path = TreePath::from_archive(path.as_bytes(), &Limits::default()).unwrap();
        let mut bytes = noise(size / 2, 1);
        bytes.extend(noise(size - size / 2, 77 + seed));
        let length = bytes.len() as u64;
        archive.file(&path, &Metadata::root_owned(0o755), length, &mut bytes.as_slice()).unwrap();
    }
    archive.finish().unwrap()
}

/// A layer whose blob is compressed.
fn packed(tar: &[u8]) -> SampleLayer {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, tar).unwrap();
    let blob = gzip.finish().unwrap();
    SampleLayer { blob, media_type: format!("{}+gzip", media_type::OCI_LAYER), diff_id: Digest::of(tar) }
}
