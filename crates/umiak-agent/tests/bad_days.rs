//! Bad days: everything that goes wrong beside the power, and what the device makes of it.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod common;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::supply::service;
use common::{FIRST, SHOP, WEB, World, asked, committed, installed, rolled_back, running, update};
use umiak_agent::{AgentError, Fate, Outcome, Role, Silently, UpdateOptions, What};
use umiak_engine::Condition;
use umiak_store::{Depth, Hooked, RealDisk, Store, StoreOptions};
use umiak_testkit::crash::{CrashDisk, Loss};

#[test]
fn the_last_of_ten_targets_wins() {
    let world = installed();
    for number in 0..10 {
        let reference = format!("registry.example/team/shop:{number}");
        world.supply.publish(&reference, &[service("front", "run", &format!("front {number}"))]);
    }
    world.supply.publish(SHOP, &[service("front", "run", "front x"), service("other", "run", "other x")]);
    let agent = Arc::new(world.agent());
    let (setter, clock) = (agent.clone(), world.clock.clone());
    let count = AtomicU64::new(0);
    // While the first one is fetched, ten others are set.
    world.supply.set_hook(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        if number < 10 {
            setter.set_target(&asked(&[&format!("registry.example/team/shop:{number}")])).unwrap();
        }
        clock.pass(Duration::from_secs(2));
    });
    let outcome = agent.update(&UpdateOptions::default(), &Silently).unwrap();
    assert!(committed(&outcome), "{outcome:?}");
    assert_eq!(running(&world), "shop/front=front 9");
    assert!(matches!(agent.update(&UpdateOptions::default(), &Silently).unwrap(), Outcome::UpToDate { .. }));
}

#[test]
fn two_agents_at_once_do_not_meet() {
    let world = installed();
    world.supply.publish(SHOP, &[service("front", "run", "front 2")]);
    let other = world.agent();
    let seen = Arc::new(std::sync::Mutex::new(vec![]));
    let told = seen.clone();
    world.supply.set_hook(move |_| {
        let error = other.update(&UpdateOptions::default(), &Silently).unwrap_err();
        told.lock().unwrap().push(error.is_busy());
        assert!(other.status().is_ok() && other.history().is_ok(), "queries go on");
    });
    assert!(committed(&update(&world).unwrap()));
    let seen = seen.lock().unwrap();
    assert!(!seen.is_empty() && seen.iter().all(|busy| *busy));
}

#[test]
fn an_engine_that_does_not_answer_fails_the_release_and_is_asked_again() {
    let world = installed();
    world.supply.publish(SHOP, &[service("front", "slow 3", "front 2")]);
    // It falls silent as soon as the target was started.
    let (engine, clock) = (world.engine.clone(), world.clock.clone());
    let (watched, ticks) = (engine.clone(), clock.clone());
    let silent = std::thread::spawn(move || {
        while watched.running().get("shop/front").is_none_or(|root| root != "front 2") {
            std::thread::yield_now();
        }
        watched.deaf.store(true, Ordering::SeqCst);
        ticks.pass(Duration::from_secs(60));
    });
    let error = update(&world);
    silent.join().unwrap();
    // The race is real: it fell silent in the window, or the window was over before.
    match error {
        Err(error) => {
            assert!(matches!(error, AgentError::StillReturning { .. }), "{error:?}");
            world.engine.deaf.store(false, Ordering::SeqCst);
            assert!(matches!(world.agent().resume(&Silently), Ok(Some(Outcome::RolledBack { .. }))));
            assert_eq!(running(&world), FIRST);
        }
        Ok(outcome) => assert!(committed(&outcome)),
    }
}

#[test]
fn reboots_in_the_testing_window_are_counted() {
    let mut world = installed();
    world.policy.boots = 2;
    world.supply.publish(SHOP, &[service("front", "run", "front 2")]);
    let reboots = Arc::new(AtomicU64::new(0));
    for expected in 1..=3 {
        // The power goes whenever the new front was started.
        let notes = Reboots(reboots.clone());
        let result = world.agent().resume(&notes);
        let result =
            if expected == 1 { world.agent().update(&UpdateOptions::default(), &notes).map(Some) } else { result };
        assert!(matches!(result, Err(AgentError::Cancelled(_))), "{expected}: {result:?}");
        world.reboot();
    }
    let outcome = world.agent().resume(&Silently).unwrap().unwrap();
    assert!(rolled_back(&outcome).contains("started 3 times"), "{outcome:?}");
    assert_eq!(running(&world), FIRST);
    let boots = world.agent().history().unwrap().iter().filter(|entry| entry.what == What::Boot).count();
    assert_eq!(boots, 2);
}

/// Ends the process as soon as the test begins.
struct Reboots(Arc<AtomicU64>);

impl umiak_spec::Observer for Reboots {
    fn expect(&self, _: &'static str, _: u64) {}
    fn advance(&self, _: &'static str, _: u64) {}
    fn note(&self, _: &str) {}
    fn check(&self) -> Result<(), umiak_spec::Cancelled> {
        if self.0.load(Ordering::SeqCst) > 0 { Err(umiak_spec::Cancelled) } else { Ok(()) }
    }
}

impl umiak_agent::Watcher for Reboots {
    fn happened(&self, happening: &umiak_agent::Happening) {
        if matches!(happening, umiak_agent::Happening::Testing { .. }) {
            self.0.store(1, Ordering::SeqCst);
        }
        if matches!(happening, umiak_agent::Happening::Resumed { .. }) {
            self.0.store(0, Ordering::SeqCst);
        }
    }
    fn planned(&self, _: &umiak_agent::Planned) {}
}

#[test]
fn a_clock_that_is_wrong_changes_nothing() {
    let world = World::new();
    world.clock.date.store(3, Ordering::SeqCst);
    world.supply.publish(SHOP, &[service("front", "run", "front 1")]);
    assert!(committed(&world.update_to(&[SHOP])));
    assert!(
        world.agent().history().unwrap().iter().all(|entry| entry.at.is_none()),
        "no date is better than a wrong one"
    );
    world.clock.date.store(4_000_000_000, Ordering::SeqCst);
    world.supply.publish(SHOP, &[service("front", "run", "front 2")]);
    assert!(committed(&update(&world).unwrap()));
    world.clock.date.store(1_800_000_000, Ordering::SeqCst);
    world.supply.publish(SHOP, &[service("front", "sick", "front 3")]);
    rolled_back(&update(&world).unwrap());
    assert_eq!(running(&world), "shop/front=front 2");
}

#[test]
fn containers_that_ended_with_the_machine_are_started_again() {
    let world = installed();
    world.engine.keep_over_reboots();
    world.reboot();
    assert_eq!(running(&world), "");
    world.agent().resume(&Silently).unwrap();
    assert_eq!(running(&world), FIRST);
    // One that ends by itself afterwards is its restart policy's affair.
    world.engine.set("shop", "db", &Condition::Exited { code: 1, stopped: false });
    world.agent().resume(&Silently).unwrap();
    assert_eq!(running(&world), "shop/front=front 1, web/site=site 1");
}

#[test]
fn a_service_that_was_stopped_behind_our_back_is_started_again() {
    let world = installed();
    world.engine.set("shop", "db", &Condition::Exited { code: 0, stopped: true });
    assert_eq!(world.agent().resume(&Silently).unwrap(), None);
    assert_eq!(running(&world), FIRST);
}

/// Every file below a directory but the locks.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.ends_with("lock") && !path.ends_with("updater") {
            found.push(path);
        }
    }
    found
}

#[test]
fn damage_to_any_single_file_is_survived_found_and_repaired() {
    let world = installed();
    world.supply.publish(SHOP, &[service("front", "run", "front 2")]);
    assert!(committed(&update(&world).unwrap()));
    let depth = Depth::Content;
    assert!(world.agent().fsck(depth, false, &Silently).unwrap().is_sound());
    let all = files(&world.root());
    assert!(all.len() > 15);
    for file in &all {
        let bytes = std::fs::read(file).unwrap();
        // Another inode: what runs has the blob open.
        std::fs::remove_file(file).unwrap();
        std::fs::write(file, b"damaged").unwrap();
        let shown = file.display();
        if file.starts_with(world.root().join("inbox")) {
            let error = world.agent().target().unwrap_err();
            assert!(error.line().contains("cannot be written down or read"), "{shown}: {}", error.line());
            world.agent().set_target(&asked(&[SHOP, WEB])).unwrap();
            continue;
        }
        world.reboot();
        world.agent().status().unwrap();
        let fixed = world.agent().fsck(depth, true, &Silently).unwrap();
        let left: Vec<_> = fixed.findings.iter().filter(|finding| finding.fate != Fate::Repaired).collect();
        assert!(left.is_empty(), "{shown}: {left:?}");
        world.agent().resume(&Silently).unwrap();
        assert_eq!(running(&world), "shop/front=front 2, web/site=site 1", "{shown}");
        assert!(world.agent().fsck(depth, false, &Silently).unwrap().is_sound(), "{shown}");
        if file.starts_with(world.root().join("blobs")) {
            assert_eq!(std::fs::read(file).unwrap(), bytes, "{shown}");
        }
        assert!(matches!(update(&world).unwrap(), Outcome::UpToDate { .. }), "{shown}");
    }
    println!("single files damaged: {}", all.len());
}

#[test]
fn a_journal_that_is_lost_with_its_copy_is_made_again() {
    let damage = |world: &World, name: &str| {
        for file in [name.to_owned(), format!("{name}~")] {
            std::fs::write(world.root().join("records").join(file), b"damaged").unwrap();
        }
    };
    let target = "shop/front=front 2, web/site=site 1";
    for also in [false, true] {
        let world = installed();
        world.supply.publish(SHOP, &[service("front", "run", "front 2")]);
        assert!(committed(&update(&world).unwrap()));
        damage(&world, "journal");
        if also {
            // What runs tells which it was.
            damage(&world, "current");
        } else {
            world.reboot();
        }
        assert!(world.agent().status().is_err());
        world.agent().resume(&Silently).unwrap();
        assert_eq!(running(&world), target);
        let history = world.agent().history().unwrap();
        assert!(history[0].why.as_ref().is_some_and(|why| why.contains("was lost")), "{history:?}");
        assert!(matches!(update(&world).unwrap(), Outcome::UpToDate { .. }));
        assert!(world.agent().fsck(Depth::Content, true, &Silently).unwrap().is_sound());
    }
}

#[test]
fn a_journal_that_is_lost_before_anything_was_committed_begins_anew() {
    let world = World::new();
    world.supply.publish(SHOP, &[service("front", "run", "front 1")]);
    world.agent().set_target(&asked(&[SHOP])).unwrap();
    for file in ["journal", "journal~"] {
        std::fs::write(world.root().join("records").join(file), b"damaged").unwrap();
    }
    assert!(committed(&update(&world).unwrap()));
    assert_eq!(running(&world), "shop/front=front 1");
}

#[test]
fn a_journal_that_is_lost_with_a_blob_is_made_again_and_the_blob_repaired() {
    let world = installed();
    let blob = files(&world.root().join("blobs")).remove(0);
    std::fs::remove_file(blob).unwrap();
    for file in ["journal", "journal~"] {
        std::fs::write(world.root().join("records").join(file), b"damaged").unwrap();
    }
    world.reboot();
    assert!(world.agent().fsck(Depth::Content, true, &Silently).unwrap().is_sound());
    world.agent().resume(&Silently).unwrap();
    assert_eq!(running(&world), FIRST);
}

#[test]
fn a_target_that_was_set_is_there_though_a_setter_before_was_killed() {
    let world = World::new();
    drop(Store::open(&world.root(), Arc::new(RealDisk), &StoreOptions::UPDATE).unwrap());
    for number in 1.. {
        let disk = CrashDisk::new(&world.directory.path().join("disk")).unwrap().cut_at(number);
        let agent = world.agent_with(Arc::new(disk.clone()));
        let killed = agent.set_target(&asked(&[SHOP])).is_err();
        disk.revive();
        agent.set_target(&asked(&[WEB])).unwrap();
        let found = world.directory.path().join(format!("found-{number}"));
        disk.find(Loss::Everything, &found).unwrap();
        let target = world.agent_at(found.join("store"), Arc::new(RealDisk)).target().unwrap();
        assert_eq!(target.map(|target| target.asked), Some(asked(&[WEB])), "killed at {number}");
        std::fs::remove_dir_all(world.root().join("inbox")).unwrap();
        if !killed {
            break;
        }
    }
}

#[test]
fn a_trouble_that_was_cut_short_hides_none_that_is_stored() {
    let world = installed();
    world.agent().set_target(&asked(&["registry.example/team/nothing:stable"])).unwrap();
    let error = update(&world).unwrap_err();
    std::fs::write(world.run().join("trouble.json"), b"{\"doing\":").unwrap();
    assert_eq!(world.agent().status().unwrap().trouble.unwrap().why, error.line());
}

/// The update with a disk that fails with `kind` from operation `from` on; what came of it, and how many operations it was.
fn failing(world: &World, kind: io::ErrorKind, from: u64) -> (Result<Outcome, AgentError>, u64) {
    let hooked = Hooked::new(Arc::new(RealDisk), move |step| {
        // Removing and shrinking works on a full disk, nothing does on one that cannot be written to.
        let takes = matches!(step.operation, "create" | "write" | "mkdir" | "link" | "allocate");
        let fails = step.number >= from && (takes || kind == io::ErrorKind::ReadOnlyFilesystem);
        if fails { Err(kind.into()) } else { Ok(()) }
    });
    let outcome = world.agent_with(Arc::new(hooked.clone())).update(&UpdateOptions::default(), &Silently);
    (outcome, hooked.steps())
}

/// What runs now is the whole base or the whole target, and the target only where the journal says so.
fn nothing_is_lost(world: &World, context: &str) {
    let runs = running(world);
    let status = world.agent().status().unwrap();
    let exposed = matches!(status.underway.phase.as_str(), "switching" | "testing");
    let committed = status.revisions.iter().any(|one| one.roles.contains(&Role::Previous));
    assert!(runs == FIRST || runs == "shop/front=front 2, web/site=site 1", "{context}: {runs}");
    assert!(runs == FIRST || exposed || committed, "{context}: {status:?}");
}

#[test]
fn a_disk_that_fills_up_or_turns_read_only_at_any_operation_loses_nothing() {
    let (mut points, mut refused) = (0, 0);
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::ReadOnlyFilesystem] {
        for from in 1.. {
            let world = installed();
            world.supply.publish(SHOP, &[service("front", "run", "front 2")]);
            let (outcome, operations) = failing(&world, kind, from);
            if from > operations {
                assert!(committed(&outcome.unwrap()));
                break;
            }
            points += 1;
            let context = format!("{kind:?} from {from}: {outcome:?}");
            if let Err(error) = outcome {
                refused += 1;
                let trouble = world.agent().status().unwrap().trouble;
                assert!(trouble.is_some(), "{context}: {error}");
            }
            nothing_is_lost(&world, &context);
            // The machine is started again while the disk is as bad as before: the base runs, or what was committed.
            world.reboot();
            let bad = Hooked::new(Arc::new(RealDisk), move |_| Err(kind.into()));
            let _ = world.agent_with(Arc::new(bad)).resume(&Silently);
            nothing_is_lost(&world, &format!("{context}, started again"));
            // The disk is well again.
            world.reboot();
            world.agent().resume(&Silently).unwrap();
            let end = update(&world).unwrap();
            assert!(matches!(end, Outcome::Committed { .. } | Outcome::UpToDate { .. }), "{context}: {end:?}");
            assert_eq!(running(&world), "shop/front=front 2, web/site=site 1", "{context}");
        }
    }
    println!("failing disks: {points} points, the update was refused in {refused}");
    assert!(refused > 50);
}
