//! A device repository, a cache, and releases of an image as layouts, all in one scratch directory.

#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods, reason = "shared by several test programs")]

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use umiak_build::{AddRequest, AppReport, BuildError, UpdateMode, UpdateRequest, Workshop};
use umiak_layer::LayerWriter;
use umiak_pvr::app::{SourceDocument, SourceKind};
use umiak_registry::{Context, Place, RegistrySettings};
use umiak_spec::{Limits, Observer, Silent};
use umiak_testkit::random::{Bytes, Chance, mutated, tree};
use umiak_testkit::sample::{SampleImage, SampleLayer, image, layout};
use umiak_tree::{Kind, Tree};

/// One device and the images made for it.
pub struct Device {
    scratch: tempfile::TempDir,
    pub threads: usize,
}

impl Device {
    pub fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir_all(scratch.path().join("device/.pvr")).unwrap();
        Self { scratch, threads: 2 }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    pub fn repository(&self) -> PathBuf {
        self.path("device")
    }

    /// A file of an app, or nothing.
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.repository().join(path)).ok()
    }

    pub fn text(&self, path: &str) -> String {
        String::from_utf8(self.read(path).unwrap()).unwrap()
    }

    /// Writes an image of these layers; returns its reference.
    pub fn image(&self, name: &str, layers: &[&Tree<Bytes>]) -> String {
        let layers = layers.iter().map(|tree| SampleLayer::plain(archive(tree))).collect();
        let host = umiak_spec::Platform::host().to_string();
        let directory = self.path(name);
        layout(&directory, "v", &image(&SampleImage { platform: host, layers })).unwrap();
        format!("oci:{}:v", directory.display())
    }

    pub fn work<T>(&self, observer: &dyn Observer, work: impl FnOnce(&Workshop<'_>) -> T) -> T {
        let cache = self.path("cache");
        let sources = Context {
            cache: cache.clone(),
            order: vec![Place::Remote, Place::Local],
            docker_socket: self.path("no.sock"),
            registry: RegistrySettings::default(),
            limits: Limits::default(),
        };
        work(&Workshop {
            repository: &self.repository(),
            cache: &cache,
            sources: &sources,
            platforms: &[],
            limits: Limits::default(),
            threads: NonZeroUsize::new(self.threads).unwrap(),
            image_time: 0,
            observer,
        })
    }

    pub fn add(&self, name: &str, from: &str, base: Option<&str>) -> Result<AppReport, BuildError> {
        let request = AddRequest {
            name: name.into(),
            from: from.into(),
            kind: SourceKind::Docker,
            base: base.map(str::to_owned),
            document: SourceDocument::new(),
            force: false,
            ignore_mtime: false,
        };
        self.work(&Silent, |workshop| workshop.add(&request))
    }

    pub fn update(&self, name: &str, from: &str, mode: UpdateMode) -> Result<AppReport, BuildError> {
        let request = UpdateRequest { from: Some(from.into()), mode, ..UpdateRequest::default() };
        self.work(&Silent, |workshop| workshop.update(name, &request))
    }

    /// Every file below the repository with its bytes, to compare before and after.
    pub fn everything(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        let mut pending = vec![self.repository()];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { pending.push(path) } else { found.push((path.clone(), fs::read(path).unwrap())) }
            }
        }
        found.sort();
        found
    }
}

/// The tree as an uncompressed layer.
pub fn archive(tree: &Tree<Bytes>) -> Vec<u8> {
    let mut writer = LayerWriter::new(Vec::new());
    writer.tree(tree, |content: &Bytes| Ok(std::io::Cursor::new(content.0.to_vec()))).unwrap();
    writer.finish().unwrap()
}

/// Two releases: a random tree and a changed one, both such that archives can hold them.
pub fn releases(seed: u64, size: usize, changes: usize) -> (Tree<Bytes>, Tree<Bytes>) {
    let mut chance = Chance::new(seed);
    let storable = |tree: &Tree<Bytes>| tree.inodes().all(|(_, inode)| inode.kind != Kind::Socket);
    loop {
        let base = tree(&mut chance, size).unwrap();
        let target = mutated(&mut chance, &base, changes).unwrap();
        if storable(&base) && storable(&target) {
            return (base, target);
        }
    }
}

/// The tree of a squashfs file, contents and all.
pub fn squashfs(path: &Path) -> Tree<Bytes> {
    let image = umiak_squashfs::Image::open(fs::File::open(path).unwrap(), &Limits::default()).unwrap();
    let read = |stored: umiak_squashfs::StoredContent| {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut image.reader(&stored), &mut bytes).map(|_| Bytes(bytes.into()))
    };
    image.tree().unwrap().try_map(|_, stored| read(stored)).unwrap()
}
