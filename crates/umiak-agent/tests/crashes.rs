//! A whole update cut off at every single durable operation and at every call to the engine, in every way to be cut off.
//!
//! After each cut the device is started again, goes on, and must end in the base or the target revision with every byte
//! verified; then it is updated once more and must end in the target (or, where the release is bad, in the base).

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod common;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::World;
use common::engine::FakeEngine;
use common::layered::tar;
use common::supply::{FakeSupply, service};
use common::{FakeClock, asked, committed, temporary};
use tempfile::TempDir;
use umiak_agent::{Agent, AgentError, Outcome, Parts, Policy, Silently, Status, UpdateOptions};
use umiak_spec::{Digest, Limits};
use umiak_store::{Damage, Depth, Disk, Object, RealDisk, Store, StoreOptions};
use umiak_testkit::crash::{CrashDisk, Loss};

/// What is published as `front`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A blob, with a delta that the registry makes up.
    Blob,
    /// Two layers, of which the upper one changes; with a real delta, kept as a patch.
    Layers,
}

const SHOP: &str = "registry.example/team/shop:stable";
const WEB: &str = "registry.example/team/web:stable";
const BASE: &str = "shop/db=db 1, shop/front=front 1, web/site=site 1";
const TARGET: &str = "shop/db=db 1, shop/front=front 2, web/site=site 1";

/// How the device is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// The process is killed; the machine, its files and containers go on.
    Killed,
    /// The power goes: containers are gone, and of what was not synced this is lost.
    Power(Loss),
}

/// Every way to be cut off; what is lost by chance is another part at each point.
const fn cuts(point: u64) -> [Cut; 5] {
    [
        Cut::Killed,
        Cut::Power(Loss::Nothing),
        Cut::Power(Loss::Everything),
        Cut::Power(Loss::Contents),
        Cut::Power(Loss::Some(point)),
    ]
}

/// Where it is cut off.
#[derive(Debug, Clone, Copy)]
enum At {
    Disk(u64),
    Engine(u64),
}

/// A device at one moment, to begin from again and again.
struct Scene {
    directory: TempDir,
    engine: FakeEngine,
    supply: Arc<FakeSupply>,
    policy: Policy,
    /// What may run in the end.
    may_run: Vec<&'static str>,
    /// What must run once it was updated again.
    ends: &'static str,
    deed: Deed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Update,
    Rollback,
    SetTarget,
}

/// `front` in two releases that differ in their tail: the second comes as a delta.
fn front(number: u32) -> Vec<u8> {
    let mut bytes = format!("front {number}\n").into_bytes();
    let common = (0..3000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>();
    bytes.extend_from_slice(&common);
    bytes.extend((0..600_u32).flat_map(|word| (word ^ number).to_le_bytes()));
    bytes
}

/// The layers of `front`: one that stays, and one of two files of which the second changes in its tail.
fn layers(number: u32) -> Vec<Vec<u8>> {
    let words: Vec<u8> = (0..4000_u32).flat_map(|word| (word * word).to_le_bytes()).collect();
    let upper = [("app/code", front(number)), ("app/words", words)];
    let upper: Vec<(&str, &[u8])> = upper.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    vec![tar(&[("etc/os-release", b"ID=made-up\n")]), tar(&upper)]
}

fn publish(supply: &FakeSupply, number: u32, args: &str, form: Form) {
    if form == Form::Layers {
        let (root, layers) = (format!("front {number}").into_bytes(), layers(number));
        let front = common::supply::Publish { root, layers: &layers, ..service("front", args, "") };
        supply.publish(SHOP, &[service("db", "run", "db 1"), front]);
        return;
    }
    let front = common::supply::Publish { root: front(number), ..service("front", args, "") };
    supply.publish(SHOP, &[service("db", "run", "db 1"), front]);
}

fn scene(args: &str, deed: Deed, form: Form) -> Scene {
    let world = World::new();
    publish(&world.supply, 1, "run", form);
    world.supply.publish(WEB, &[service("site", "run", "site 1")]);
    assert!(committed(&world.update_to(&[SHOP, WEB])));
    publish(&world.supply, 2, args, form);
    match form {
        Form::Blob => world.supply.publish_delta(&front(1), &front(2)),
        Form::Layers => world.supply.publish_layer_delta(&layers(1)[1], &layers(2)[1]),
    }
    if deed == Deed::Rollback {
        assert!(committed(&world.agent().update(&UpdateOptions::default(), &Silently).unwrap()));
    }
    let bad = args != "run";
    Scene {
        engine: world.engine.copy(),
        supply: world.supply.clone(),
        policy: world.policy.clone(),
        directory: world.directory,
        may_run: if bad { vec![BASE] } else { vec![BASE, TARGET] },
        ends: if bad || deed == Deed::Rollback { BASE } else { TARGET },
        deed,
    }
}

/// One run from the scene to its end.
struct Run<'a> {
    scene: &'a Scene,
    directory: TempDir,
    engine: Arc<FakeEngine>,
    clock: Arc<FakeClock>,
    root: PathBuf,
}

impl<'a> Run<'a> {
    fn new(scene: &'a Scene) -> Self {
        let directory = temporary();
        let root = directory.path().join("store");
        copy(&scene.directory.path().join("store"), &root);
        Self { scene, engine: Arc::new(scene.engine.copy()), clock: FakeClock::new(), root, directory }
    }

    fn agent(&self, disk: Arc<dyn Disk>) -> Agent {
        Agent::new(Parts {
            root: self.root.clone(),
            run: self.directory.path().join("run"),
            projects: self.directory.path().join("projects"),
            disk,
            engine: self.engine.clone(),
            supply: self.scene.supply.clone(),
            clock: self.clock.clone(),
            policy: self.scene.policy.clone(),
        })
    }

    fn act(&self, agent: &Agent) -> Result<Option<Outcome>, AgentError> {
        match self.scene.deed {
            Deed::Update => agent.update(&UpdateOptions::default(), &Silently).map(Some),
            Deed::Rollback => agent.rollback(None, &Silently).map(Some),
            Deed::SetTarget => agent.set_target(&asked(&[WEB, SHOP])).map(|()| None),
        }
    }

    /// Acts until the cut; whether there was one.
    fn until(&self, at: At) -> (CrashDisk, bool) {
        let disk = CrashDisk::new(&self.root).unwrap();
        let disk = if let At::Disk(number) = at { disk.cut_at(number) } else { disk };
        if let At::Engine(number) = at {
            self.engine.cut.store(number, Ordering::SeqCst);
        }
        // The engine hears nothing of a dead process, the disk nothing of one that died in the engine's call.
        self.engine.dies_with(disk.clone());
        let engine = self.engine.clone();
        let hooked = umiak_store::Hooked::new(Arc::new(disk.clone()), move |_| {
            if engine.dead.load(Ordering::SeqCst) { Err(std::io::Error::other("dead")) } else { Ok(()) }
        });
        let _ = self.act(&self.agent(Arc::new(hooked)));
        let cut = disk.was_cut() || self.engine.dead.load(Ordering::SeqCst);
        (disk, cut)
    }

    /// What is found afterwards.
    fn cut(&mut self, cut: Cut, disk: &CrashDisk) {
        match cut {
            Cut::Killed => self.engine.revive(),
            Cut::Power(loss) => {
                let found = self.directory.path().join("found");
                disk.find(loss, &found).unwrap();
                self.root = found;
                self.engine.revive();
                self.engine.reboot();
                self.clock.reboot();
                let _ = std::fs::remove_dir_all(self.directory.path().join("run"));
            }
        }
    }

    fn running(&self) -> String {
        let all = self.engine.running().into_iter().map(|(name, root)| format!("{name}={root}"));
        all.collect::<Vec<_>>().join(", ")
    }

    fn status(&self) -> Status {
        self.agent(Arc::new(RealDisk)).status().unwrap()
    }

    /// Every blob has its bytes, every ref is whole, everything current or previous can be had without network.
    fn verify(&self, opened: bool) {
        let store = Store::open(&self.root, Arc::new(RealDisk), &StoreOptions::READ).unwrap();
        let mut damages = store.check(Depth::Content, &umiak_spec::Silent).unwrap();
        // Documents are kept twice; that one is behind the other is put right when the store is opened for changes.
        let twice = |damage: &Damage| match &damage.object {
            Object::Record(_) | Object::Ref(_) => true,
            Object::Layer(_) => damage.to_string().contains("found for a stack"),
            _ => false,
        };
        damages.retain(|damage| opened || !twice(damage));
        assert!(damages.is_empty(), "{damages:?}");
        let all = self.scene.supply.all();
        for digest in store.blob_list().unwrap() {
            let bytes = store.document(&digest, 1 << 24).unwrap().unwrap();
            assert_eq!(Digest::of(&bytes), digest);
            assert!(all.get(&digest).is_none_or(|expected| *expected == bytes));
        }
        // Every layer is given back bit for bit, whichever form it is kept in.
        let layers = self.scene.supply.all_layers();
        for (layer, expected) in layers {
            if store.layer(&layer, &Limits::default()).unwrap().is_some() {
                let mut bytes = Vec::new();
                store.layer_reader(&layer, &Limits::default()).unwrap().read_to_end(&mut bytes).unwrap();
                assert!(bytes == expected, "{layer:?}");
            }
        }
        drop(store);
        let status = self.status();
        for revision in &status.revisions {
            let must = revision.roles.iter().any(|role| {
                use umiak_agent::Role::{Current, Pinned, Previous, Staged, Testing};
                matches!(role, Current | Pinned | Previous | Staged | Testing)
            });
            assert!(revision.stored || !must, "{revision:?}");
        }
    }

    /// After the cut: goes on and comes to an end.
    fn go_on(&self) {
        let before = self.running();
        let phase = self.status().underway.phase;
        // Until the switch has begun what runs is what ran.
        if matches!(phase.as_str(), "rest" | "staging" | "staged")
            && !before.is_empty()
            && self.scene.deed == Deed::Update
        {
            assert!(self.scene.may_run.contains(&before.as_str()), "{phase}: {before}");
        }
        self.verify(false);
        let agent = self.agent(Arc::new(RealDisk));
        agent.resume(&Silently).unwrap();
        let runs = self.running();
        assert!(self.scene.may_run.contains(&runs.as_str()), "{runs}");
        let status = self.status();
        assert!(matches!(status.underway.phase.as_str(), "rest" | "staging" | "staged"), "{status:?}");
        self.verify(true);
        match self.scene.deed {
            Deed::SetTarget => {}
            Deed::Update => match agent.update(&UpdateOptions::default(), &Silently) {
                Ok(_) => {}
                Err(error) => assert!(matches!(error, AgentError::Refused(_)), "{error:?}"),
            },
            // It did not come to that, or it did: a person looks and says it once more.
            Deed::Rollback if runs == BASE => {}
            Deed::Rollback => drop(agent.rollback(None, &Silently).unwrap()),
        }
        if self.scene.deed != Deed::SetTarget {
            assert_eq!(self.running(), self.scene.ends);
        }
        self.verify(true);
        let stays = self.status().revisions.iter().filter(|revision| revision.stored).count();
        assert!(stays <= 2, "what is not needed is not kept");
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let beside = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &beside);
        } else {
            std::fs::copy(entry.path(), &beside).unwrap();
        }
    }
}

/// All cuts of a scene; how many there were.
fn enumerate(scene: &Scene) -> usize {
    let whole = Run::new(scene);
    let (disk, cut) = whole.until(At::Disk(u64::MAX));
    assert!(!cut);
    let (operations, calls) = (disk.operations(), whole.engine.calls.load(Ordering::SeqCst));
    let points: Vec<At> = (1..=operations).map(At::Disk).chain((1..=calls).map(At::Engine)).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut count = 0;
        while let Some(at) = points.get(next.fetch_add(1, Ordering::SeqCst)).copied() {
            let (At::Disk(number) | At::Engine(number)) = at;
            for cut in cuts(number) {
                let context = format!("{:?} {at:?} {cut:?}", scene.deed);
                let result = std::panic::catch_unwind(|| {
                    let mut run = Run::new(scene);
                    let (disk, was) = run.until(at);
                    assert!(was, "there was no such operation");
                    run.cut(cut, &disk);
                    run.go_on();
                });
                assert!(result.is_ok(), "{context}");
                count += 1;
            }
        }
        count
    };
    let threads = 4;
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

#[test]
fn a_good_update_cut_off_anywhere_ends_in_base_or_target() {
    let count = enumerate(&scene("run", Deed::Update, Form::Blob));
    println!("crash points: good update with a delta, {count}");
    assert!(count > 500);
}

#[test]
fn an_update_of_layers_by_a_delta_cut_off_anywhere_ends_in_base_or_target() {
    let scene = scene("run", Deed::Update, Form::Layers);
    let count = enumerate(&scene);
    println!("crash points: layers by a delta, kept as a patch, {count}");
    assert!(count > 500);
    assert!(scene.supply.applied.load(Ordering::SeqCst) > 0, "no delta was applied");
}

#[test]
fn a_bad_update_cut_off_anywhere_ends_in_base() {
    let count = enumerate(&scene("sick", Deed::Update, Form::Blob));
    println!("crash points: bad update that is rolled back, {count}");
    assert!(count > 500);
}

#[test]
fn a_way_back_cut_off_anywhere_ends_in_one_or_the_other() {
    let count = enumerate(&scene("run", Deed::Rollback, Form::Blob));
    println!("crash points: rollback by hand, {count}");
    assert!(count > 100);
}

#[test]
fn a_target_that_is_set_is_the_one_before_or_this_one() {
    let count = enumerate(&scene("run", Deed::SetTarget, Form::Blob));
    println!("crash points: target set, {count}");
    assert!(count > 20);
}
