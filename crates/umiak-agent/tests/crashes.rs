//! A whole update cut off at every single durable operation and at every call to the engine, in every way to be cut off.
//!
//! After each cut the device is started again, goes on, and must end in the base or the target revision with every byte
//! verified; then it is updated once more and must end in the target (or, where the release is bad, in the base). What
//! goes on is cut off a second time, too. The updates from real releases (layers, a delta, a patch, projects, pruning) are
//! sampled; `UMIAK_CUTS=all` tries every point of them.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod common;
mod cut;
mod device;
mod packages;
mod releases;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::World;
use common::committed;
use common::layered::tar;
use common::supply::{FakeSupply, service};
use cut::{At, Cut, Deed, Device, Known, Run, Scene, attempt, cuts, every};
use packages::Package;
use releases::Releases;
use releases::scene::{Space, real};
use umiak_agent::{Outcome, Silently, UpdateOptions};
use umiak_spec::Digest;
use umiak_store::{RealDisk, Store, StoreOptions};
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

fn scene(args: &str, deed: Deed, form: Form) -> (Scene, Arc<FakeSupply>) {
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
    let scene = Scene {
        engine: world.engine.copy(),
        supply: world.supply.clone(),
        known: Known { blobs: world.supply.all(), layers: world.supply.all_layers(), names: BTreeMap::new() },
        policy: world.policy.clone(),
        apps: vec![SHOP.into(), WEB.into()],
        directory: world.directory,
        may_run: if bad { vec![BASE.into()] } else { vec![BASE.into(), TARGET.into()] },
        ends: if bad || deed == Deed::Rollback { BASE } else { TARGET }.into(),
        deed,
        keeps: 2,
    };
    (scene, world.supply)
}

/// What the cuts of a scene came to.
#[derive(Debug, Default)]
struct Tally {
    cuts: usize,
    /// Phases of the journal that were found after a cut.
    phases: BTreeSet<String>,
    /// What was under way, and how often.
    operations: BTreeMap<String, usize>,
}

/// Does `work` with each point, several at a time.
fn side_by_side<T: Sync>(points: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(point) = points.get(next.fetch_add(1, Ordering::SeqCst)) {
                    work(point);
                }
            });
        }
    });
}

/// All points where a run of the scene can be cut off, and what is done at each.
fn points(scene: &Scene) -> (Vec<At>, Vec<String>) {
    let whole = Run::new(scene);
    let (disk, cut) = whole.until(At::Disk(u64::MAX), false);
    assert!(!cut);
    let calls = whole.device.engine.calls.load(Ordering::SeqCst);
    let all = (1..=disk.operations()).map(At::Disk).chain((1..=calls).map(At::Engine));
    (all.collect(), disk.log())
}

/// All cuts of a scene at every `stride`-th point.
fn enumerate(scene: &Scene, stride: usize) -> Tally {
    let (points, log) = points(scene);
    let chosen: Vec<At> = points.into_iter().step_by(every(stride)).collect();
    let tally = Mutex::new(Tally::default());
    side_by_side(&chosen, |at| {
        let (At::Disk(number) | At::Engine(number)) = *at;
        for cut in cuts(number) {
            let context = format!("{:?} {at:?} {cut:?}", scene.deed);
            let phase = attempt(&context, || {
                let mut run = Run::new(scene);
                let (disk, was) = run.until(*at, false);
                assert!(was, "there was no such operation");
                run.cut(cut, &disk);
                let phase = run.device.status().underway.phase;
                run.go_on();
                phase
            });
            let mut tally = tally.lock().unwrap();
            tally.cuts += 1;
            tally.phases.insert(phase);
        }
    });
    let mut tally = tally.into_inner().unwrap();
    for line in log {
        *tally.operations.entry(family(&line)).or_default() += 1;
    }
    tally
}

/// `7 unlink store/blobs/sha256/ab/…` is `unlink store/blobs`.
fn family(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let place: Vec<&str> = words.get(2).unwrap_or(&"").split('/').take(2).collect();
    format!("{} {}", words.get(1).unwrap_or(&""), place.join("/"))
}

/// A cut, and a second one while the device goes on after the first.
fn enumerate_twice(scene: &Scene, first: usize, second: usize) -> usize {
    let (points, _) = points(scene);
    let chosen: Vec<At> = points.into_iter().step_by(every(first)).collect();
    let count = AtomicUsize::new(0);
    side_by_side(&chosen, |at| {
        let (At::Disk(number) | At::Engine(number)) = *at;
        // Begun anywhere, so that together all points of the second run are met.
        let begin = number % u64::try_from(second).unwrap() + 1;
        for again in (begin..).step_by(second) {
            let ways = [Cut::Power(Loss::Some(number)), Cut::Power(Loss::Some(again)), Cut::Power(Loss::Everything)];
            let (one, other) = (ways[usize::try_from(again % 3).unwrap()], ways[usize::try_from(number % 3).unwrap()]);
            let context = format!("{at:?} {one:?}, then at {again} {other:?}");
            let was = attempt(&context, || {
                let mut run = Run::new(scene);
                let (disk, _) = run.until(*at, false);
                run.cut(one, &disk);
                let (disk, was) = run.until(At::Disk(again), true);
                run.cut(other, &disk);
                run.go_on();
                was
            });
            if !was {
                break;
            }
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    count.into_inner()
}

#[test]
fn a_good_update_cut_off_anywhere_ends_in_base_or_target() {
    let tally = enumerate(&scene("run", Deed::Update, Form::Blob).0, 1);
    println!("crash points: good update with a delta, {}", tally.cuts);
    assert!(tally.cuts > 500);
}

#[test]
fn an_update_of_layers_by_a_delta_cut_off_anywhere_ends_in_base_or_target() {
    let (scene, supply) = scene("run", Deed::Update, Form::Layers);
    let tally = enumerate(&scene, 1);
    println!("crash points: layers by a delta, kept as a patch, {}", tally.cuts);
    assert!(tally.cuts > 500);
    assert!(supply.applied.load(Ordering::SeqCst) > 0, "no delta was applied");
}

#[test]
fn a_bad_update_cut_off_anywhere_ends_in_base() {
    let tally = enumerate(&scene("sick", Deed::Update, Form::Blob).0, 1);
    println!("crash points: bad update that is rolled back, {}", tally.cuts);
    assert!(tally.cuts > 500 && tally.phases.contains("returning"), "{tally:?}");
}

#[test]
fn a_way_back_cut_off_anywhere_ends_in_one_or_the_other() {
    let tally = enumerate(&scene("run", Deed::Rollback, Form::Blob).0, 1);
    println!("crash points: rollback by hand, {}", tally.cuts);
    assert!(tally.cuts > 100);
}

#[test]
fn a_target_that_is_set_is_the_one_before_or_this_one() {
    let tally = enumerate(&scene("run", Deed::SetTarget, Form::Blob).0, 1);
    println!("crash points: target set, {}", tally.cuts);
    assert!(tally.cuts > 20);
}

#[test]
fn an_update_from_real_releases_cut_off_anywhere_ends_in_base_or_target() {
    let scene = real("run", Space::Enough);
    let whole = Run::new(&scene);
    assert!(matches!(whole.act(&whole.device.well()), Ok(Some(Outcome::Committed { .. }))));
    let store = Store::open(&whole.device.root(), Arc::new(RealDisk), &StoreOptions::READ).unwrap();
    let records = store.layer_list().unwrap().into_iter().filter_map(|layer| store.layer_record(&layer).unwrap());
    assert!(records.into_iter().any(|record| !record.is_whole()), "nothing is kept as a patch");
    drop(store);
    let tally = enumerate(&scene, 5);
    let operations: usize = tally.operations.values().sum();
    println!("crash points: real sources, delta, patch, project, prune: {}, of {operations} operations", tally.cuts);
    let phases = ["rest", "staged", "staging", "switching", "testing"].map(str::to_owned);
    assert_eq!(tally.phases, phases.into(), "every phase was cut off");
    // It is an update with everything: what comes, what is held, what is written down, what goes.
    for family in [
        "allocate store/reserve",
        "rename store/layers",
        "unlink store/staging",
        "unlink store/refs",
        "unlink store/blobs",
        "sync_all projects",
    ] {
        let here = tally.operations.keys().any(|found| found.starts_with(family));
        assert!(here, "no {family}: {:?}", tally.operations);
    }
}

#[test]
fn an_update_that_reclaims_first_cut_off_anywhere_ends_in_base_or_target() {
    let tally = enumerate(&real("run", Space::Tight), 13);
    println!("crash points: real sources, reclaiming first: {}", tally.cuts);
    assert!(tally.cuts > 50);
}

#[test]
fn a_bad_release_by_a_real_delta_cut_off_anywhere_ends_in_base() {
    let tally = enumerate(&real("sick", Space::Enough), 11);
    println!("crash points: real sources, rolled back: {}", tally.cuts);
    assert!(tally.cuts > 50 && tally.phases.contains("returning"), "{tally:?}");
}

/// A device that runs a package, into which the next release was merged by its delta; nothing of that has come yet.
fn by_parcel() -> Scene {
    let directory = common::temporary();
    let disk = directory.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let device = Device {
        disk,
        run: directory.path().join("run"),
        engine: Arc::default(),
        clock: common::FakeClock::new(),
        supply: Arc::new(Releases::sources(1 << 30)),
        known: Known::default(),
        policy: common::policy(),
    };
    let (page, mut changed) = (device::noise(60_000, 3), device::noise(60_000, 3));
    changed.splice(30_000..30_010, *b"changed  !");
    let base = Package::of("web", "web 1").and("maps", "maps 1").file("web/page", &page);
    let target = Package::of("web", "web 2").and("maps", "maps 1").file("web/page", &changed);
    let put = |name: &str, bytes: Vec<u8>| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let agent = device.well();
    agent.install(&[put("base.tgz", base.bytes())], &Silently).unwrap();
    assert!(committed(&agent.update(&UpdateOptions::default(), &Silently).unwrap()));
    let runs = device.running();
    let delta = put("target.delta", packages::parcel::delta(&base, &target));
    assert!(std::fs::metadata(&delta).unwrap().len() < 20_000);
    agent.install(&[delta], &Silently).unwrap();
    let blobs = base.objects.values().chain(target.objects.values());
    let known = Known { blobs: blobs.map(|bytes| (Digest::of(bytes), bytes.clone())).collect(), ..Known::default() };
    let next = runs.replace("web 1", "web 2");
    assert!(next != runs, "{runs}");
    let Device { engine, supply, policy, .. } = device;
    Scene {
        engine: engine.copy(),
        supply,
        known,
        policy,
        apps: Vec::new(),
        directory,
        may_run: vec![runs, next.clone()],
        ends: next,
        deed: Deed::Update,
        keeps: 2,
    }
}

#[test]
fn a_package_by_its_delta_cut_off_anywhere_ends_in_base_or_target() {
    let tally = enumerate(&by_parcel(), 3);
    println!("crash points: a package by its delta: {}", tally.cuts);
    let phases = ["rest", "staged", "staging", "switching", "testing"].map(str::to_owned);
    assert_eq!(tally.phases, phases.into(), "every phase was cut off");
    assert!(tally.cuts > 100);
}

#[test]
fn what_goes_on_after_a_cut_is_cut_off_as_well() {
    let good = enumerate_twice(&real("run", Space::Enough), 29, 23);
    let bad = enumerate_twice(&scene("sick", Deed::Update, Form::Layers).0, 31, 19);
    println!("crash points: cut off twice, {good} in a good update, {bad} in a bad one");
    assert!(good > 20 && bad > 20);
}

#[test]
fn a_disk_that_lies_is_noticed() {
    let scene = real("run", Space::Enough);
    let losses = [Loss::Everything, Loss::Contents].into_iter().chain((1..=6).map(Loss::Some));
    let noticed = losses.filter(|loss| {
        let mut run = Run::new(&scene);
        let disk = CrashDisk::new(&run.device.disk).unwrap().lying();
        assert!(!run.until_cut(&disk, false) && run.told.commit());
        let gone = std::panic::AssertUnwindSafe(|| {
            run.cut(Cut::Power(*loss), &disk);
            run.go_on();
        });
        std::panic::catch_unwind(gone).is_err()
    });
    assert_eq!(noticed.count(), 8, "what holds without a single sync is not what these tests look at");
}
