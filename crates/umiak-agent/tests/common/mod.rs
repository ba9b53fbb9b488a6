//! A device that is made up: an engine whose containers are a table, a registry that is a map, a clock that is a number.
//! The store is the real one.

#![allow(dead_code, unused_imports, reason = "each test program uses a part of it")]

pub mod engine;
pub mod layered;
pub mod supply;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use umiak_agent::{
    Agent, AgentError, Boot, Clock, Happening, Outcome, Parts, Planned, Policy, Silently, UpdateOptions, Watcher,
};
use umiak_spec::target::{Asked, AskedApp};
use umiak_spec::{Cancelled, Observer};
use umiak_store::{Disk, RealDisk};

use engine::FakeEngine;
use supply::{FakeSupply, service};

/// A clock whose time passes only when somebody waits, and whose date may be anything.
pub struct FakeClock {
    now: AtomicU64,
    boot: AtomicU64,
    pub date: AtomicU64,
}

impl FakeClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { now: AtomicU64::new(1000), boot: AtomicU64::new(1), date: AtomicU64::new(1_800_000_000) })
    }

    pub fn reboot(&self) {
        self.boot.fetch_add(1, Ordering::SeqCst);
        self.now.store(500, Ordering::SeqCst);
    }

    pub fn pass(&self, time: Duration) {
        self.now.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for FakeClock {
    fn date(&self) -> u64 {
        self.date.load(Ordering::SeqCst)
    }

    fn running(&self) -> Duration {
        Duration::from_millis(self.now.load(Ordering::SeqCst))
    }

    fn boot(&self) -> Boot {
        Boot(format!("boot-{}", self.boot.load(Ordering::SeqCst)))
    }

    fn wait(&self, time: Duration) {
        self.pass(time);
    }
}

/// A clock whose time passes by itself, of a machine that is never started again; its date was never set.
pub struct RealClock(Instant);

impl Default for RealClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for RealClock {
    fn date(&self) -> u64 {
        0
    }

    fn running(&self) -> Duration {
        self.0.elapsed()
    }

    fn boot(&self) -> Boot {
        Boot("one".into())
    }

    fn wait(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// A directory in memory, where there is one: what is synced is the kernel's affair in other tests.
pub fn temporary() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory).unwrap() } else { TempDir::new().unwrap() }
}

/// Writes down what happens.
#[derive(Default)]
pub struct Notes(pub Mutex<Vec<String>>);

impl Notes {
    pub fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }

    fn add(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }
}

impl Observer for Notes {
    fn expect(&self, _: &'static str, _: u64) {}
    fn advance(&self, _: &'static str, _: u64) {}
    fn note(&self, text: &str) {
        self.add(text.to_owned());
    }
    fn check(&self) -> Result<(), Cancelled> {
        Ok(())
    }
}

impl Watcher for Notes {
    fn happened(&self, happening: &Happening) {
        match happening {
            Happening::Stopping { app, service } => self.add(format!("stop {app}/{service}")),
            Happening::Starting { app, service } => self.add(format!("start {app}/{service}")),
            Happening::Committed { .. } => self.add("commit".to_owned()),
            Happening::Failed { why, .. } => self.add(format!("failed: {why}")),
            Happening::Returned { .. } => self.add("returned".to_owned()),
            _ => {}
        }
    }

    fn planned(&self, _: &Planned) {}
}

/// Short windows.
pub fn policy() -> Policy {
    Policy { window: Duration::from_secs(10), patience: Duration::from_secs(10), ..Policy::default() }
}

/// A device: all that is durable lies in `disk`.
pub struct World {
    pub directory: TempDir,
    pub engine: Arc<FakeEngine>,
    pub supply: Arc<FakeSupply>,
    pub clock: Arc<FakeClock>,
    pub policy: Policy,
}

impl World {
    pub fn new() -> Self {
        let directory = temporary();
        std::fs::create_dir(directory.path().join("disk")).unwrap();
        Self {
            directory,
            engine: Arc::new(FakeEngine::default()),
            supply: Arc::new(FakeSupply::default()),
            clock: FakeClock::new(),
            policy: policy(),
        }
    }

    pub fn root(&self) -> PathBuf {
        self.directory.path().join("disk/store")
    }

    pub fn run(&self) -> PathBuf {
        self.directory.path().join("run")
    }

    pub fn agent(&self) -> Agent {
        self.agent_with(Arc::new(RealDisk))
    }

    pub fn agent_with(&self, disk: Arc<dyn Disk>) -> Agent {
        self.agent_at(self.root(), disk)
    }

    pub fn agent_at(&self, root: PathBuf, disk: Arc<dyn Disk>) -> Agent {
        Agent::new(Parts {
            root,
            run: self.run(),
            projects: self.directory.path().join("disk/projects"),
            disk,
            engine: self.engine.clone(),
            supply: self.supply.clone(),
            clock: self.clock.clone(),
            policy: self.policy.clone(),
        })
    }

    /// Sets the target and updates.
    pub fn update_to(&self, apps: &[&str]) -> Outcome {
        let agent = self.agent();
        agent.set_target(&asked(apps)).unwrap();
        agent.update(&UpdateOptions::default(), &Silently).unwrap()
    }

    /// The machine is started again: nothing runs, the clock begins anew.
    pub fn reboot(&self) {
        self.clock.reboot();
        self.engine.reboot();
        let _ = std::fs::remove_dir_all(self.run());
    }
}

pub const SHOP: &str = "registry.example/team/shop:stable";
pub const WEB: &str = "registry.example/team/web:stable";

/// A device on which release 1 of `shop` (db, front) and `web` (site) run.
pub fn installed() -> World {
    let world = World::new();
    world.supply.publish(SHOP, &[service("db", "run", "db 1"), service("front", "run", "front 1")]);
    world.supply.publish(WEB, &[service("site", "run", "site 1")]);
    assert!(committed(&world.update_to(&[SHOP, WEB])));
    world.engine.log();
    world
}

pub fn running(world: &World) -> String {
    let all: Vec<String> = world.engine.running().into_iter().map(|(name, root)| format!("{name}={root}")).collect();
    all.join(", ")
}

pub const FIRST: &str = "shop/db=db 1, shop/front=front 1, web/site=site 1";

pub fn update(world: &World) -> Result<Outcome, AgentError> {
    world.agent().update(&UpdateOptions::default(), &Silently)
}

/// A target of these references.
pub fn asked(apps: &[&str]) -> Asked {
    let app = |text: &&str| AskedApp::new(text.parse().unwrap());
    Asked { generation: None, testing_seconds: None, apps: apps.iter().map(app).collect() }
}

pub fn committed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Committed { .. })
}

pub fn rolled_back(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::RolledBack { why, .. } => why,
        other => panic!("not rolled back: {other:?}"),
    }
}
