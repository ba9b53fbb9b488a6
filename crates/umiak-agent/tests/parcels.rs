//! Deltas of packages as one more source of an update: planned, applied where they lie, planned around, told in words.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod device;
mod parcel;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use device::{World, bring, sources, with_room};
use parcel::{CONF, DELTA, Releases, beside, damage};
use umiak_agent::sources::Sources;
use umiak_agent::target::asked;
use umiak_agent::{Class, Fetched, How, Occasion, Silently, Supply as _, SupplyError};
use umiak_plan::{Task, Way};
use umiak_spec::target::Target;
use umiak_spec::{Digest, Limits, Silent};
use umiak_store::{Depth, Disk, Object, RealDisk, Store, StoreOptions};
use umiak_testkit::crash::{CrashDisk, Loss};

#[test]
fn a_delta_brings_what_changed() {
    let (releases, sources) = (Releases::new(), sources());
    let (store, first) = releases.installed(&sources);
    let target = releases.resolve(&sources, &store, DELTA);
    assert_eq!(target.apps[0].top.digest, Digest::of(releases.target.state.canonical().as_bytes()));
    let planned = sources.plan(&store, &target, &beside(&first), &Silently).unwrap();
    let change = &planned.changes[0];
    assert_eq!((change.how, change.full), (How::Delta, 700_001), "{change:?}");
    assert!(planned.download < 5000 && change.download == planned.download, "{change:?}");
    assert!(planned.uses.contains(&releases.base.root()), "what it starts from is not pruned meanwhile");
    let made = |task: &Task| matches!(task, Task::Make { object, .. } if *object == releases.target.root());
    assert!(planned.answer.steps.iter().any(|step| made(&step.task)), "{:?}", planned.answer.steps);
    assert!(planned.answer.is_exact(), "{:?}", planned.answer.uses);
    bring(&sources, &store, &target, Some(&first));
    assert!(releases.is_here(&sources, &store, &target));

    // It is as good as a package afterwards: what rots is made again, as long as the delta and what it starts from are here.
    damage(&store, &releases.target.root());
    let (targets, object) = (std::slice::from_ref(&target), Object::Blob(releases.target.root()));
    sources.repair(&store, &object, targets, &Silently).unwrap();
    assert!(releases.is_here(&sources, &store, &target));
    damage(&store, &releases.target.root());
    damage(&store, &releases.base.root());
    let error = sources.repair(&store, &object, targets, &Silently).unwrap_err();
    assert!(error.to_string().contains("cannot be applied"), "{error}");
}

#[test]
fn a_device_without_the_base_is_told_what_it_lacks() {
    let (releases, sources) = (Releases::new(), sources());
    let store = releases.world.store();
    let asked = asked(&[DELTA.to_owned()], releases.world.path(), &Limits::default()).unwrap();
    // The configuration is one of the base's.
    let error = sources.resolve(&store, &asked, &Silently).unwrap_err();
    for words in [DELTA, "a delta from maps-1", "2 objects"] {
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
    store.put_blob(&Digest::of(CONF), CONF).unwrap();
    let target = sources.resolve(&store, &asked, &Silently).unwrap();
    let error = sources.plan(&store, &target, &Occasion::default(), &Silently).unwrap_err();
    for words in [
        "a delta from maps-1".to_owned(),
        format!("the object {} (maps/root.squashfs) is not", releases.base.root().short()),
    ] {
        assert!(error.to_string().contains(&words), "{words}: {error}");
    }
    assert!(!store.has_blob(&releases.target.root()));
    // With the package beside it the delta is one way of two, and not the one.
    releases.put("maps-2.amd64.tgz", &releases.target.bytes());
    let planned = bring(&sources, &store, &target, None);
    assert_eq!(planned.changes[0].how, How::Full);
    assert!(releases.is_here(&sources, &store, &target));
}

#[test]
fn a_damaged_base_is_named_and_the_package_beside_does() {
    let (releases, sources) = (Releases::new(), sources());
    let (store, first) = releases.installed(&sources);
    let target = releases.resolve(&sources, &store, DELTA);
    damage(&store, &releases.base.root());
    let planned = sources.plan(&store, &target, &beside(&first), &Silently).unwrap();
    let space = store.reserve(planned.reserve).unwrap();
    let error = sources.fetch(&store, &target, &planned, &space, &Silently).unwrap_err();
    let told = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    assert!(
        told.contains(&format!("{}, which its delta starts from, is damaged", releases.base.root().short())),
        "{told}"
    );
    assert!(!store.has_blob(&releases.target.root()));
    drop(space);

    releases.put("maps-2.amd64.tgz", &releases.target.bytes());
    let planned = bring(&sources, &store, &target, Some(&first));
    assert_eq!(planned.changes[0].how, How::Delta, "that is what was tried first");
    assert!(releases.is_here(&sources, &store, &target));
}

#[test]
fn what_does_not_fit_by_delta_comes_whole() {
    let (releases, mut sources) = (Releases::new(), sources());
    let (store, first) = releases.installed(&sources);
    releases.put(DELTA, &releases.delta(5_000_000));
    let target = releases.resolve(&sources, &store, DELTA);
    sources.survey = Box::new(|_| Ok(with_room(2_000_000)));
    let planned = sources.plan(&store, &target, &beside(&first), &Silently).unwrap();
    assert!(planned.refusal.is_some(), "there is no other way");
    releases.put("maps-2.amd64.tgz", &releases.target.bytes());
    let planned = sources.plan(&store, &target, &beside(&first), &Silently).unwrap();
    assert_eq!((planned.refusal, planned.changes[0].how), (None, How::Full));
    let [choice] = &planned.answer.choices[..] else { panic!("{:?}", planned.answer.choices) };
    assert!(choice.way == Way::Full && choice.why.contains("it would not fit"), "{}", choice.why);
}

#[test]
fn a_delta_that_is_cut_or_damaged_is_no_target() {
    let (releases, sources) = (Releases::new(), sources());
    let (store, first) = releases.installed(&sources);
    let whole = releases.delta(0);
    let mut damaged = whole.clone();
    // In the delta itself: its frames know.
    let at = whole.windows(7).rposition(|bytes| bytes == b"UMIAKDL").unwrap();
    damaged[at + 100] ^= 1;
    releases.put(DELTA, &damaged);
    let target = releases.resolve(&sources, &store, DELTA);
    let planned = sources.plan(&store, &target, &beside(&first), &Silently).unwrap();
    let space = store.reserve(planned.reserve).unwrap();
    let error = sources.fetch(&store, &target, &planned, &space, &Silently).unwrap_err();
    assert!(error.to_string().contains("cannot be applied"), "{error}");
    drop(space);
    releases.put(DELTA, &whole[..whole.len() - 2000]);
    let error = sources.plan(&store, &target, &beside(&first), &Silently).unwrap_err();
    let told = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    assert!(told.contains("cut short") && error.class == Class::Corrupt, "{told}");
    releases.put(DELTA, &whole);
    bring(&sources, &store, &target, Some(&first));
    assert!(releases.is_here(&sources, &store, &target));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &place);
        } else {
            fs::copy(entry.path(), place).unwrap();
        }
    }
}

/// From wherever it was left to all of the second release.
fn update(sources: &Sources, store: &Store, target: &Target, first: &Target) -> Result<(), SupplyError> {
    let planned = sources.plan(store, target, &beside(first), &Silently)?;
    let space =
        store.reserve(planned.reserve).map_err(|error| SupplyError::new(Class::Environment, error.to_string()))?;
    assert_eq!(sources.fetch(store, target, &planned, &space, &Silently)?, Fetched::All);
    Ok(())
}

/// What the power takes with it.
const LOSSES: [Loss; 4] = [Loss::Nothing, Loss::Everything, Loss::Contents, Loss::Some(1)];

#[test]
fn the_power_may_go_at_any_operation() {
    let (releases, sources) = (Releases::of(100_000), sources());
    let (store, first) = releases.installed(&sources);
    let target = releases.resolve(&sources, &store, DELTA);
    drop(store);
    let world = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let open = |root: &Path, disk: Arc<dyn Disk>| Store::open(&root.join("store"), disk, &StoreOptions::UPDATE);
    let mut cuts = 0;
    loop {
        let live = world.path().join(format!("live-{cuts}"));
        fs::create_dir(&live).unwrap();
        copy(&releases.world.path().join("store"), &live.join("store"));
        let disk = CrashDisk::new(&live).unwrap().cut_at(cuts + 1);
        let done =
            open(&live, Arc::new(disk.clone())).is_ok_and(|store| update(&sources, &store, &target, &first).is_ok());
        for (number, loss) in LOSSES.into_iter().enumerate() {
            let found = world.path().join(format!("found-{cuts}-{number}"));
            disk.find(loss, &found).unwrap();
            let store = open(&found, Arc::new(RealDisk)).unwrap();
            let context = format!("cut at {cuts}, {loss:?} lost\n{}", disk.log().join("\n"));
            assert!(store.check(Depth::Content, &Silent).unwrap().is_empty(), "{context}");
            assert!(store.has_blob(&releases.base.root()), "{context}");
            assert!(!done || releases.is_here(&sources, &store, &target), "{context}");
            update(&sources, &store, &target, &first).unwrap_or_else(|error| panic!("again: {error}: {context}"));
            assert!(releases.is_here(&sources, &store, &target), "{context}");
            fs::remove_dir_all(&found).unwrap();
        }
        fs::remove_dir_all(&live).unwrap();
        if !disk.was_cut() {
            break;
        }
        cuts += 1;
    }
    println!("an object made by the delta of its package: {} cuts", cuts * LOSSES.len() as u64);
    assert!(cuts > 20, "{cuts} cuts");
}

#[test]
fn a_delta_is_judged_like_a_package_before_it_is_a_target() {
    let releases = Releases::new();
    let sources = sources();
    let path = releases.world.path().join(DELTA);
    let empty = World::new();
    let error = sources.package(Some(&empty.store()), &path, &Silently).unwrap_err();
    assert!(error.to_string().contains("maps-1"), "what it starts from is not here: {error}");
    let (store, _) = releases.installed(&sources);
    let contents = sources.package(Some(&store), &path, &Silently).unwrap();
    assert_eq!((contents.state, contents.objects.len()), (releases.target.state.clone(), 3));
    let mut bytes = fs::read(&path).unwrap();
    let page = bytes.len() - 1024 - 512;
    bytes[page] ^= 1;
    let damaged = releases.put("damaged.delta", &bytes);
    let error = sources.package(Some(&store), &damaged, &Silently).unwrap_err();
    assert!(error.to_string().contains("damaged.delta"), "{error}");
}
