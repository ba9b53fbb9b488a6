//! pvr packages of containers that a made-up engine runs, and a device that they are installed on.

#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

pub mod parcel;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use umiak_agent::sources::Sources;
use umiak_agent::{Agent, Base, Outcome, Parts, Policy, Silently, UpdateOptions};
use umiak_spec::Digest;
use umiak_store::{Disk, RealDisk, Store, StoreOptions};
use umiak_testkit::tar::tar;

use crate::common::engine::FakeEngine;
use crate::common::{FakeClock, temporary};
use crate::device::sources;

/// What a package is made of.
#[derive(Default, Clone)]
pub struct Package {
    pub json: BTreeMap<String, String>,
    pub objects: BTreeMap<String, Vec<u8>>,
}

fn hex(bytes: &[u8]) -> String {
    Digest::of(bytes).hex()
}

impl Package {
    /// A package of one container, whose root says `text`.
    pub fn of(container: &str, text: &str) -> Self {
        Self::default().and(container, text)
    }

    /// The same with one container more.
    pub fn and(self, container: &str, text: &str) -> Self {
        let conf = format!(
            "# {text}\nlxc.rootfs.path = overlayfs:/volumes/{container}/root.squashfs:/volumes/{container}/lxc-overlay/upper\n\
             lxc.init.cmd = /bin/run\n"
        );
        let run = format!(
            r##"{{"#spec":"service-manifest-run@1","name":"{container}","type":"lxc","config":"lxc.container.conf",
            "root-volume":"root.squashfs","volumes":[],"storage":{{"lxc-overlay":{{"persistence":"boot"}}}}}}"##
        );
        self.document(&format!("{container}/run.json"), &run)
            .file(&format!("{container}/lxc.container.conf"), conf.as_bytes())
            .file(&format!("{container}/root.squashfs"), format!("{text}\n").as_bytes())
    }

    pub fn document(mut self, key: &str, json: &str) -> Self {
        self.json.insert(key.to_owned(), json.to_owned());
        self
    }

    pub fn file(mut self, key: &str, bytes: &[u8]) -> Self {
        self.json.insert(key.to_owned(), format!("\"{}\"", hex(bytes)));
        self.objects.insert(hex(bytes), bytes.to_vec());
        self
    }

    pub fn state(&self) -> String {
        let members: Vec<String> = self.json.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        format!("{{\"#spec\":\"pantavisor-service-system@1\",{}}}", members.join(","))
    }

    /// The entries of the archive.
    pub fn entries(&self) -> Vec<(String, Vec<u8>)> {
        let state = self.state();
        let named = self.objects.iter().filter(|(name, _)| state.contains(*name));
        let objects = named.map(|(name, bytes)| (format!("objects/{name}"), bytes.clone()));
        [("json".to_owned(), state.clone().into_bytes())].into_iter().chain(objects).collect()
    }

    pub fn bytes(&self) -> Vec<u8> {
        archive(&self.entries())
    }
}

/// A tar of these entries.
pub fn archive(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let files: Vec<(&str, &[u8])> = entries.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    tar(&files)
}

/// A device with real sources and an engine that is a table. All that is durable lies in `disk`.
pub struct Device {
    pub directory: tempfile::TempDir,
    pub engine: Arc<FakeEngine>,
    pub clock: Arc<FakeClock>,
}

impl Device {
    pub fn new() -> Self {
        let directory = temporary();
        fs::create_dir(directory.path().join("disk")).unwrap();
        Self { directory, engine: Arc::default(), clock: FakeClock::new() }
    }

    pub fn root(&self) -> PathBuf {
        self.directory.path().join("disk/store")
    }

    pub fn agent(&self) -> Agent {
        self.agent_at(self.root(), Arc::new(RealDisk), sources())
    }

    pub fn agent_at(&self, root: PathBuf, disk: Arc<dyn Disk>, sources: Sources) -> Agent {
        Agent::new(Parts {
            root,
            run: self.directory.path().join("run"),
            projects: self.directory.path().join("projects"),
            disk,
            engine: self.engine.clone(),
            supply: Arc::new(sources),
            clock: self.clock.clone(),
            policy: Policy { window: Duration::ZERO, ..Policy::default() },
        })
    }

    /// The package in a file.
    pub fn file(&self, name: &str, package: &Package) -> PathBuf {
        self.raw(name, &package.bytes())
    }

    pub fn raw(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    pub fn install(&self, packages: &[&Path]) {
        let packages: Vec<PathBuf> = packages.iter().map(|path| path.to_path_buf()).collect();
        self.agent().install(&packages, &Silently).unwrap();
    }

    /// Brings the device to its target; what runs then.
    pub fn update(&self) -> String {
        let outcome = self.agent().update(&UpdateOptions::default(), &Silently).unwrap();
        assert!(matches!(outcome, Outcome::Committed { .. } | Outcome::UpToDate { .. }), "{outcome:?}");
        self.running()
    }

    pub fn running(&self) -> String {
        let all: Vec<String> = self.engine.running().into_iter().map(|(name, root)| format!("{name}={root}")).collect();
        // The engine tells the first line of a configuration.
        all.join(", ").replace("=# ", "=")
    }

    /// The keys of the state that is current.
    pub fn keys(&self) -> String {
        let agent = self.agent();
        let begun = agent.begin(&Base::Current).unwrap();
        agent.abort().unwrap();
        let keys: Vec<&str> = begun.state.entries().keys().map(umiak_pvr::StatePath::as_str).collect();
        keys.join(" ")
    }

    pub fn store(&self) -> Store {
        Store::open(&self.root(), Arc::new(RealDisk), &StoreOptions::READ).unwrap()
    }
}
