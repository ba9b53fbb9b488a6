//! A device with a store, and a registry that fails when it is told to.

#![allow(
    clippy::unwrap_used,
    dead_code,
    unused_imports,
    reason = "a test may panic, and not every test uses everything"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use umiak_agent::fetch::FetchOptions;
use umiak_agent::sources::Sources;
use umiak_agent::{Fetched, Occasion, Planned, Silently, Supply as _};
use umiak_plan::{Device, Watermark};
use umiak_registry::{Context, Place, RegistrySettings};
use umiak_sign::Policy;
use umiak_spec::app::{AppManifest, Form};
use umiak_spec::target::{Asked, AskedApp, Target};
use umiak_spec::{Digest, Limits, Platform, media_type};
use umiak_store::{LayerOptions, RealDisk, Store, StoreOptions};
use umiak_testkit::http::{Manner, Server, Store as Registry};
use umiak_testkit::sample::{self, Blob, SampleImage, SampleLayer};

pub use umiak_testkit::random::noise;
pub use umiak_testkit::tar::tar;

pub const REPOSITORY: &str = umiak_testkit::http::REPOSITORY;

/// A registry, and a directory for a device.
pub struct World {
    pub directory: tempfile::TempDir,
    pub server: Server,
    pub registry: Registry,
}

impl World {
    pub fn new() -> Self {
        let (server, registry) = Registry::start(Manner::default()).unwrap();
        Self { directory: tempfile::tempdir().unwrap(), server, registry }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The device's store; only one at a time.
    pub fn store(&self) -> Store {
        Store::open(&self.path().join("store"), Arc::new(RealDisk), &StoreOptions::UPDATE).unwrap()
    }

    /// `127.0.0.1:PORT/team/app:TAG`
    pub fn reference(&self, tag: &str) -> String {
        format!("{}/{REPOSITORY}:{tag}", self.server.address())
    }

    pub fn asked(&self, reference: &str) -> Asked {
        let app = AskedApp { name: Some("shop".into()), ..AskedApp::new(reference.parse().unwrap()) };
        Asked { generation: None, testing_seconds: None, apps: vec![app] }
    }

    /// Stores the blobs of an image; the last is its manifest (or index), which gets the tag. Returns its digest.
    pub fn publish(&self, tag: &str, blobs: &[Blob]) -> Digest {
        for blob in blobs {
            if media_type::MANIFESTS.contains(&blob.media_type.as_str()) {
                self.registry.put(&blob.digest.to_string(), &blob.media_type, blob.bytes.clone());
            } else {
                self.registry.put_blob(REPOSITORY, blob.bytes.clone());
            }
        }
        let top = blobs.last().unwrap();
        self.registry.put(tag, &top.media_type, top.bytes.clone());
        top.digest
    }

    /// Stores an app whose only service runs the image `image`; returns the digest of its manifest.
    pub fn publish_app(&self, tag: &str, image: &Digest) -> Digest {
        let compose = format!(
            "services:\n  web:\n    image: {}/{REPOSITORY}@{image}\n    volumes: [\"./site:/site:ro\"]\n",
            self.server.address()
        );
        self.publish_compose(tag, &compose, &[("site/index.html", b"<h1>hello</h1>")])
    }

    /// Stores an app with these files beside its project; returns the digest of its manifest.
    pub fn publish_compose(&self, tag: &str, compose: &str, files: &[(&str, &[u8])]) -> Digest {
        let files: Vec<(&str, &[u8])> =
            [("docker-compose.yml", compose.as_bytes())].into_iter().chain(files.iter().copied()).collect();
        let bundle = tar(&files);
        let manifest = AppManifest::new(Form::Artifact, Digest::of(&bundle), bundle.len() as u64);
        self.registry.put_blob(REPOSITORY, bundle);
        self.registry.put_blob(REPOSITORY, b"{}".to_vec());
        let bytes = manifest.to_bytes();
        let digest = Digest::of(&bytes);
        self.registry.put(tag, media_type::OCI_MANIFEST, bytes.clone());
        self.registry.put(&digest.to_string(), media_type::OCI_MANIFEST, bytes);
        digest
    }

    /// Where a blob is asked for.
    pub fn blob_path(&self, digest: &Digest) -> String {
        format!("/v2/{REPOSITORY}/blobs/{digest}")
    }
}

/// Plans and fetches until all is here; the plan that was made first.
pub fn bring(sources: &Sources, store: &Store, target: &Target, current: Option<&Target>) -> Planned {
    let mut occasion = Occasion { current: current.cloned(), ..Occasion::default() };
    let mut first = None;
    loop {
        let planned = sources.plan(store, target, &occasion, &Silently).unwrap();
        assert_eq!(planned.refusal, None);
        let space = store.reserve(planned.reserve).unwrap();
        let fetched = sources.fetch(store, target, &planned, &space, &Silently).unwrap();
        let first = first.get_or_insert(planned);
        match fetched {
            Fetched::All => return first.clone(),
            Fetched::Without(useless) => occasion.useless.extend(useless),
        }
    }
}

fn platform() -> Platform {
    "linux/amd64".parse().unwrap()
}

/// What the device reaches, with everything at hand for a test.
pub fn sources() -> Sources {
    let registry =
        RegistrySettings { patience: Duration::from_millis(300), pause: |_| {}, ..RegistrySettings::default() };
    Sources {
        context: Context {
            cache: PathBuf::new(),
            order: vec![Place::Remote],
            docker_socket: PathBuf::from("/nowhere"),
            registry,
            limits: Limits::default(),
        },
        platform: platform(),
        trust: Policy::default(),
        date: Box::new(|| None),
        limits: Limits::default(),
        fetch: FetchOptions::default(),
        layers: LayerOptions::default(),
        environment: BTreeMap::new(),
        profiles: BTreeSet::new(),
        runs_compose: false,
        survey: Box::new(|_| Ok(device())),
    }
}

/// A device on which updates may take so many bytes.
pub fn with_room(bytes: u64) -> Device {
    let mut device = device();
    let file_system = &mut device.file_systems[0];
    file_system.free = Watermark::default().kept(file_system.blocks) + bytes / u64::from(file_system.block_size);
    device
}

pub fn device() -> Device {
    umiak_testkit::device::device(platform())
}

/// A plain layer with one file.
pub fn layer(name: &str, content: &[u8]) -> SampleLayer {
    SampleLayer::plain(tar(&[(name, content)]))
}

pub fn image(layers: Vec<SampleLayer>) -> Vec<Blob> {
    sample::image(&SampleImage { platform: "linux/amd64".into(), layers })
}
