//! A device that is cut off in the middle of something, and what must hold whenever it is started again.

#![allow(clippy::unwrap_used, dead_code, reason = "a test may panic, and not every test uses everything")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use umiak_agent::{
    Agent, AgentError, Happening, Outcome, Parts, Planned, Policy, Role, Silently, Status, Supply, UpdateOptions,
    Watcher,
};
use umiak_spec::{Cancelled, Digest, Limits, Observer};
use umiak_store::{Damage, Depth, Disk, Object, RealDisk, Store, StoreOptions};
use umiak_testkit::crash::{CrashDisk, Loss};

use super::common::engine::FakeEngine;
use super::common::{FakeClock, asked, temporary};

/// What somebody does when it is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Update,
    Rollback,
    SetTarget,
}

/// How it is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The process is killed; the machine, its files and containers go on.
    Killed,
    /// The power goes: containers are gone, and of what was not synced this is lost.
    Power(Loss),
}

/// Every way to be cut off; what is lost by chance is another part at each point.
pub const fn cuts(point: u64) -> [Cut; 5] {
    [
        Cut::Killed,
        Cut::Power(Loss::Nothing),
        Cut::Power(Loss::Everything),
        Cut::Power(Loss::Contents),
        Cut::Power(Loss::Some(point)),
    ]
}

/// `stride`, unless all points were asked for.
pub fn every(stride: usize) -> usize {
    if std::env::var_os("UMIAK_CUTS").is_some_and(|word| word == "all") { 1 } else { stride }
}

/// Does `work`; where it panics, says where that was.
pub fn attempt<T>(context: &str, work: impl FnOnce() -> T) -> T {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(_) => panic!("that was at {context}"),
    }
}

/// Where it is cut off: at an operation of the disk, at a call to the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    Disk(u64),
    Engine(u64),
}

/// What was published: every byte that a store may have, and what runs by the first line of its configuration.
#[derive(Clone, Default)]
pub struct Known {
    pub blobs: BTreeMap<Digest, Vec<u8>>,
    pub layers: BTreeMap<Digest, Vec<u8>>,
    pub names: BTreeMap<String, String>,
}

/// A device at one moment, to begin from again and again.
pub struct Scene {
    /// Where `disk` is: all that is durable.
    pub directory: TempDir,
    pub engine: FakeEngine,
    pub supply: Arc<dyn Supply>,
    pub known: Known,
    pub policy: Policy,
    /// What the target names.
    pub apps: Vec<String>,
    pub deed: Deed,
    /// What may run in the end.
    pub may_run: Vec<String>,
    /// What must run once it was updated again.
    pub ends: String,
    /// Revisions that are kept in the end, at most.
    pub keeps: usize,
}

/// A device.
pub struct Device {
    /// All that is durable: the store, projects.
    pub disk: PathBuf,
    /// What a reboot empties.
    pub run: PathBuf,
    pub engine: Arc<FakeEngine>,
    pub clock: Arc<FakeClock>,
    pub supply: Arc<dyn Supply>,
    pub known: Known,
    pub policy: Policy,
}

impl Device {
    pub fn root(&self) -> PathBuf {
        self.disk.join("store")
    }

    pub fn agent(&self, disk: Arc<dyn Disk>) -> Agent {
        Agent::new(Parts {
            root: self.root(),
            run: self.run.clone(),
            projects: self.disk.join("projects"),
            disk,
            engine: self.engine.clone(),
            supply: self.supply.clone(),
            clock: self.clock.clone(),
            policy: self.policy.clone(),
        })
    }

    /// The agent on a disk that does what it is told.
    pub fn well(&self) -> Agent {
        self.agent(Arc::new(RealDisk))
    }

    pub fn running(&self) -> String {
        let known = |root: String| self.known.names.get(&root).cloned().unwrap_or(root);
        let all = self.engine.running().into_iter().map(|(name, root)| format!("{name}={}", known(root)));
        all.collect::<Vec<_>>().join(", ")
    }

    pub fn status(&self) -> Status {
        self.well().status().unwrap()
    }

    /// The machine was without power: containers are gone, the clock begins anew.
    pub fn reboot(&self) {
        self.engine.revive();
        self.engine.reboot();
        self.clock.reboot();
        let _ = fs::remove_dir_all(&self.run);
    }

    /// Every blob has its bytes, every ref is whole, every layer is given back bit for bit, whichever form it is kept in,
    /// and everything current, previous, pinned or on its way can be had without network.
    pub fn verify(&self, opened: bool) {
        let store = Store::open(&self.root(), Arc::new(RealDisk), &StoreOptions::READ).unwrap();
        let mut damages = store.check(Depth::Content, &umiak_spec::Silent).unwrap();
        // Documents are kept twice; that one is behind the other is put right when the store is opened for changes.
        let twice = |damage: &Damage| match &damage.object {
            Object::Record(_) | Object::Ref(_) => true,
            Object::Layer(_) => damage.to_string().contains("found for a stack"),
            _ => false,
        };
        damages.retain(|damage| opened || !twice(damage));
        assert!(damages.is_empty(), "{damages:?}");
        for digest in store.blob_list().unwrap() {
            let bytes = store.document(&digest, 1 << 24).unwrap().unwrap();
            assert_eq!(Digest::of(&bytes), digest);
            assert!(self.known.blobs.get(&digest).is_none_or(|expected| *expected == bytes));
        }
        for (layer, expected) in &self.known.layers {
            if store.layer(layer, &Limits::default()).unwrap().is_some() {
                let mut bytes = Vec::new();
                store.layer_reader(layer, &Limits::default()).unwrap().read_to_end(&mut bytes).unwrap();
                assert!(bytes == *expected, "{layer:?}");
            }
        }
        drop(store);
        for revision in &self.status().revisions {
            use Role::{Current, Pinned, Previous, Staged, Testing};
            let must = |role: &Role| matches!(role, Current | Pinned | Previous | Staged | Testing);
            assert!(revision.stored || !revision.roles.iter().any(must), "{revision:?}");
        }
        self.verify_projects();
    }

    /// A project that is said to be whole has its files.
    fn verify_projects(&self) {
        for entry in fs::read_dir(self.disk.join("projects")).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if let Some(project) = name.strip_suffix(".whole") {
                let page = fs::read_to_string(self.disk.join("projects").join(project).join("site/index.html"));
                assert!(page.as_ref().is_ok_and(|page| page.contains("release")), "{project}: {page:?}");
            }
        }
    }
}

/// Hears whether a revision was said to be committed: what was said is so after any cut.
#[derive(Default)]
pub struct Told(AtomicBool);

impl Told {
    pub fn commit(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    pub fn tell(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Observer for Told {
    fn expect(&self, _: &'static str, _: u64) {}
    fn advance(&self, _: &'static str, _: u64) {}
    fn note(&self, _: &str) {}
    fn check(&self) -> Result<(), Cancelled> {
        Ok(())
    }
}

impl Watcher for Told {
    fn happened(&self, happening: &Happening) {
        if matches!(happening, Happening::Committed { .. }) {
            self.tell();
        }
    }
    fn planned(&self, _: &Planned) {}
}

/// One run from the scene to its end.
pub struct Run<'a> {
    pub scene: &'a Scene,
    pub directory: TempDir,
    pub device: Device,
    pub told: Told,
}

impl<'a> Run<'a> {
    /// A device as the scene has it, in memory.
    pub fn new(scene: &'a Scene) -> Self {
        let directory = temporary();
        let disk = directory.path().join("disk");
        Self::at(scene, directory, disk)
    }

    /// A device as the scene has it at `disk`, which is made here.
    pub fn at(scene: &'a Scene, directory: TempDir, disk: PathBuf) -> Self {
        copy(&scene.directory.path().join("disk"), &disk);
        Self::on(scene, directory, disk)
    }

    /// A device whose disk is there already.
    pub fn on(scene: &'a Scene, directory: TempDir, disk: PathBuf) -> Self {
        let device = Device {
            disk,
            run: directory.path().join("run"),
            engine: Arc::new(scene.engine.copy()),
            clock: FakeClock::new(),
            supply: scene.supply.clone(),
            known: scene.known.clone(),
            policy: scene.policy.clone(),
        };
        Self { scene, directory, device, told: Told::default() }
    }

    /// What the scene is about.
    pub fn act(&self, agent: &Agent) -> Result<Option<Outcome>, AgentError> {
        match self.scene.deed {
            Deed::Update => agent.update(&UpdateOptions::default(), &self.told).map(Some),
            Deed::Rollback => agent.rollback(None, &self.told).map(Some),
            Deed::SetTarget => {
                let apps: Vec<&str> = self.scene.apps.iter().rev().map(String::as_str).collect();
                agent.set_target(&asked(&apps)).map(|()| None)
            }
        }
    }

    /// Acts until the cut, after a start of the device where `started`; whether there was a cut.
    pub fn until(&self, at: At, started: bool) -> (CrashDisk, bool) {
        let disk = CrashDisk::new(&self.device.disk).unwrap();
        let disk = if let At::Disk(number) = at { disk.cut_at(number) } else { disk };
        if let At::Engine(number) = at {
            self.device.engine.cut.store(number, Ordering::SeqCst);
        }
        let cut = self.until_cut(&disk, started);
        (disk, cut)
    }

    /// The same with a disk at hand.
    pub fn until_cut(&self, disk: &CrashDisk, started: bool) -> bool {
        let engine = &self.device.engine;
        // The engine hears nothing of a dead process, the disk nothing of one that died in the engine's call.
        let watched = disk.clone();
        engine.dies_with(move || watched.was_cut());
        let dead = engine.clone();
        let hooked = umiak_store::Hooked::new(Arc::new(disk.clone()), move |_| {
            if dead.dead.load(Ordering::SeqCst) { Err(std::io::Error::other("dead")) } else { Ok(()) }
        });
        let agent = self.device.agent(Arc::new(hooked));
        if started {
            let _ = agent.resume(&self.told);
        }
        let _ = self.act(&agent);
        disk.was_cut() || engine.dead.load(Ordering::SeqCst)
    }

    /// Makes the device what is found afterwards.
    pub fn cut(&mut self, cut: Cut, disk: &CrashDisk) {
        match cut {
            Cut::Killed => self.device.engine.revive(),
            Cut::Power(loss) => {
                let found = (1..).map(|number| self.directory.path().join(format!("found-{number}")));
                let found = found.into_iter().find(|path| !path.exists()).unwrap();
                disk.find(loss, &found).unwrap();
                self.device.disk = found;
                self.device.reboot();
            }
        }
    }

    fn may_run(&self, runs: &str) -> bool {
        self.scene.may_run.iter().any(|may| may == runs)
    }

    /// After the cut: goes on and comes to an end.
    pub fn go_on(&self) {
        let before = self.device.running();
        let phase = self.device.status().underway.phase;
        // Until the switch has begun what runs is what ran.
        if matches!(phase.as_str(), "rest" | "staging" | "staged")
            && !before.is_empty()
            && self.scene.deed == Deed::Update
        {
            assert!(self.may_run(&before), "{phase}: {before}");
        }
        self.device.verify(false);
        let agent = self.device.well();
        agent.resume(&Silently).unwrap();
        let runs = self.device.running();
        assert!(self.may_run(&runs), "{runs}");
        assert!(runs == self.scene.ends || !self.told.commit(), "it was said to be committed, and {runs} runs");
        let status = self.device.status();
        assert!(matches!(status.underway.phase.as_str(), "rest" | "staging" | "staged"), "{status:?}");
        self.device.verify(true);
        match self.scene.deed {
            Deed::SetTarget => {}
            Deed::Update => match agent.update(&UpdateOptions::default(), &Silently) {
                Ok(_) => {}
                Err(error) => assert!(matches!(error, AgentError::Refused(_)), "{error:?}"),
            },
            // It did not come to that, or it did: a person looks and says it once more.
            Deed::Rollback if runs == self.scene.ends => {}
            Deed::Rollback => drop(agent.rollback(None, &Silently).unwrap()),
        }
        if self.scene.deed != Deed::SetTarget {
            assert_eq!(self.device.running(), self.scene.ends);
        }
        self.device.verify(true);
        let stays = self.device.status().revisions.iter().filter(|revision| revision.stored).count();
        assert!(stays <= self.scene.keeps, "what is not needed is not kept: {stays}");
    }
}

/// Copies a directory.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let beside = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &beside);
        } else {
            fs::copy(entry.path(), &beside).unwrap();
        }
    }
}
