//! Two releases of a package, the delta between them, and a device that has the first.

#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

#[path = "../device/maps.rs"]
mod maps;

use std::fs;
use std::io;
use std::path::PathBuf;

use umiak_agent::sources::Sources;
use umiak_agent::target::asked;
use umiak_agent::{Occasion, Silently, Supply as _};
use umiak_delta::container::{Container, Plain};
use umiak_delta::{MakeOptions, make};
use umiak_pvr::State;
use umiak_pvr::delta::{Carried, Form, ObjectDelta, PackageDelta, Release};
use umiak_repository::package::write_delta;
use umiak_spec::target::Target;
use umiak_spec::{Digest, Limits, ReadAt, Silent};
use umiak_store::Store;

pub use maps::CONF;

use crate::device::{World, bring, noise, tar};

/// A release: what is mounted, and a file beside it.
pub struct Package {
    pub root: Vec<u8>,
    pub page: Vec<u8>,
    pub state: State,
}

impl Package {
    pub fn new(root: Vec<u8>, page: &[u8]) -> Self {
        let text = maps::state(&[("maps/root.squashfs", &root), ("maps/page", page)]);
        Self { root, page: page.to_owned(), state: State::parse(text.as_bytes(), 1 << 20).unwrap() }
    }

    pub fn root(&self) -> Digest {
        Digest::of(&self.root)
    }

    pub fn bytes(&self) -> Vec<u8> {
        let name = |bytes: &[u8]| format!("objects/{}", Digest::of(bytes).hex());
        let (state, objects) = (self.state.canonical(), [CONF, &self.root, &self.page]);
        let names = objects.map(name);
        let mut files: Vec<(&str, &[u8])> = vec![("json", state.as_bytes())];
        files.extend(names.iter().map(String::as_str).zip(objects));
        tar(&files)
    }
}

/// Two releases of which the second differs in a few bytes of a large object.
pub struct Releases {
    pub world: World,
    pub base: Package,
    pub target: Package,
}

impl Releases {
    pub fn new() -> Self {
        Self::of(700_000)
    }

    /// With an object of so many bytes.
    pub fn of(size: usize) -> Self {
        let (root, mut changed) = (noise(size, 5), noise(size, 5));
        changed.splice(size / 2..size / 2 + 10, *b"changed  !");
        Self::between(root, changed)
    }

    /// With these objects.
    pub fn between(base: Vec<u8>, target: Vec<u8>) -> Self {
        let releases = Self { world: World::new(), base: Package::new(base, b"1"), target: Package::new(target, b"2") };
        releases.put("maps-1.amd64.tgz", &releases.base.bytes());
        releases.put("maps-1..2.amd64.delta", &releases.delta(0));
        releases
    }

    pub fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.world.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The delta; more lies beside while it is applied than does.
    pub fn delta(&self, spool: u64) -> Vec<u8> {
        self.delta_saying(self.target.root.len() as u64, spool)
    }

    /// The delta, which says that it makes so many bytes with so many beside them.
    pub fn delta_saying(&self, size: u64, spool: u64) -> Vec<u8> {
        let plain = |bytes: &[u8]| Plain::new(bytes.to_vec(), b"", bytes.len() as u64, Digest::of(bytes));
        let (base, target) = (plain(&self.base.root), plain(&self.target.root));
        let mut blob = Vec::new();
        make(&[&base as &dyn Container], &target, &MakeOptions::default(), &mut blob, &Silent).unwrap();
        assert!(blob.len() < 20_000, "{}", blob.len());
        let made = ObjectDelta {
            base: self.base.root(),
            base_size: self.base.root.len() as u64,
            blob: Digest::of(&blob),
            size: blob.len() as u64,
            spool,
        };
        let carried = |bytes: &[u8], form| (Digest::of(bytes), Carried { size: bytes.len() as u64, form });
        let release = |name: &str, package: &Package| Release {
            name: name.to_owned(),
            state: Digest::of(package.state.canonical().as_bytes()),
        };
        let delta = PackageDelta {
            base: release("maps-1", &self.base),
            target: release("maps-2", &self.target),
            objects: [
                carried(CONF, Form::Kept),
                carried(&self.target.page, Form::Whole),
                (self.target.root(), Carried { size, form: Form::Delta(made) }),
            ]
            .into(),
        };
        let content = |object: &Digest| -> io::Result<Box<dyn ReadAt>> {
            let whole = *object == Digest::of(&self.target.page);
            Ok(Box::new(if whole { self.target.page.clone() } else { blob.clone() }))
        };
        let mut bytes = Vec::new();
        write_delta(&self.target.state, &delta, &content, &mut bytes, &Silent).unwrap();
        bytes
    }

    pub fn resolve(&self, sources: &Sources, store: &Store, name: &str) -> Target {
        let asked = asked(&[name.to_owned()], self.world.path(), &Limits::default()).unwrap();
        sources.resolve(store, &asked, &Silently).unwrap()
    }

    /// A device that runs the first release.
    pub fn installed(&self, sources: &Sources) -> (Store, Target) {
        let store = self.world.store();
        let first = self.resolve(sources, &store, "maps-1.amd64.tgz");
        bring(sources, &store, &first, None);
        (store, first)
    }

    /// Whether all of the second release is here, as it should be.
    pub fn is_here(&self, sources: &Sources, store: &Store, target: &Target) -> bool {
        let closure = sources.closure(store, &target.apps[0]).unwrap();
        let root = store.document(&self.target.root(), 1 << 30).unwrap();
        store.missing(&closure).is_empty() && root.as_deref() == Some(&self.target.root[..])
    }
}

pub fn beside(first: &Target) -> Occasion {
    Occasion { current: Some(first.clone()), ..Occasion::default() }
}

pub fn damage(store: &Store, object: &Digest) {
    let path = store.blob(object).unwrap().unwrap().path().to_owned();
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() / 2 - 100;
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

pub const DELTA: &str = "maps-1..2.amd64.delta";
