//! Every durable operation of every verb is the last one: cut there, with each kind of loss, the store opens, every name
//! has its bytes, what was there stays, what was acknowledged is there, and the verb can be done again.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

mod common;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use tempfile::TempDir;
use umiak_spec::{Digest, Silent};
use umiak_store::{
    CHECKPOINT, Closure, Depth, Disk, Hooked, Keep, LayerOptions, Name, PruneRequest, RealDisk, Room, Store,
    StoreError, StoreOptions,
};
use umiak_testkit::crash::{CrashDisk, Loss};

type Verb = fn(&Store) -> Result<(), StoreError>;

/// Every verb that changes something. Each can be done again after it was done or cut off.
const VERBS: [(&str, Verb); 15] = [
    ("put_blob", |store| store.put_blob(&Digest::of(b"new"), b"new")),
    ("put_blob over a damaged one", |store| store.put_blob(&Digest::of(b"rotten"), b"rotten")),
    ("ingest", ingest),
    ("ingest in two parts", |store| {
        let whole = content();
        let mut first = store.ingest(&Digest::of(&whole), whole.len() as u64)?;
        let here = first.offset() as usize;
        first.write(&whole[here..whole.len().min(here + 100_000)])?;
        drop(first);
        ingest(store)
    }),
    ("ingest, restarted", |store| {
        let whole = content();
        let mut ingest = store.ingest(&Digest::of(&whole), whole.len() as u64)?;
        ingest.restart(Some("\"etag-2\""))?;
        ingest.write(&whole)?;
        ingest.checkpoint()?;
        ingest.finish()
    }),
    ("taking in what came aside", |store| {
        let incoming = store.incoming(&Silent)?;
        for blob in [&b"slow"[..], b"slower"] {
            let mut coming = incoming.begin(&Digest::of(blob), blob.len() as u64)?;
            coming.write(blob)?;
            coming.finish()?;
        }
        incoming.keep(&Digest::of(b"loose"))?;
        store.take_in(&incoming)?;
        let blobs = [&b"slow"[..], b"slower", b"loose"].map(Digest::of).into();
        store.set_ref(&name("brought"), &Closure { blobs, ..Closure::default() })
    }),
    ("put_record", |store| store.put_record(&name("journal"), b"step 2")),
    ("remove_record", |store| store.remove_record(&name("journal"))),
    ("set_ref", |store| {
        let closure = Closure { blobs: [Digest::of(b"kept"), Digest::of(b"loose")].into(), ..Closure::default() };
        store.set_ref(&name("app"), &closure)
    }),
    ("remove_ref and prune", |store| {
        let request = PruneRequest { refs: [name("app")].into(), keep: BTreeSet::new() };
        store.prune_plan(&request).and_then(|plan| store.prune(&plan)).map(drop)
    }),
    ("reserve and write", |store| {
        let held = store.reserve(3 << 20)?;
        held.release(1 << 20)?;
        ingest(store)?;
        store.put_blob(&Digest::of(b"under reserve"), b"under reserve")
    }),
    ("ingest_layer", |store| {
        let stack = vec![Digest::of(&BASE), Digest::of(&TOP)];
        layer(store, &TOP, &Keep::Whole)?;
        let closure = Closure { chains: [stack].into(), ..Closure::default() };
        store.set_ref(&name("layers"), &closure)
    }),
    ("ingest_layer as a patch", |store| {
        layer(store, &TARGET, &Keep::Patch { base: Digest::of(&BASE), below: Vec::new() })?;
        let closure = Closure { chains: [vec![Digest::of(&TARGET)]].into(), ..Closure::default() };
        store.set_ref(&name("layers"), &closure)
    }),
    ("make_blob", |store| {
        let (_, target, delta) = &*RELEASES;
        store.make_blob(&Digest::of(target), delta, Room::ANY, &LayerOptions::default(), &Silent).map(drop)
    }),
    ("repair", |store| {
        for damage in store.check(Depth::Content, &Silent)? {
            store.discard_damage(&damage)?;
        }
        Ok(())
    }),
];

/// A layer that is in the store from the start, one that replaces it, one to lie above it.
static BASE: LazyLock<Vec<u8>> = LazyLock::new(|| [file("same", &noise(40_000, 1)), file("other", b"before")].concat());
static TARGET: LazyLock<Vec<u8>> =
    LazyLock::new(|| [file("same", &noise(40_000, 1)), file("other", b"after")].concat());
static TOP: LazyLock<Vec<u8>> = LazyLock::new(|| file("top", &noise(30_000, 2)));

/// An image that is in the store from the start, one that is made of it, and the delta.
static RELEASES: LazyLock<(Vec<u8>, Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
    let image = |text: &[u8]| common::images::image(&[("stays", &noise(40_000, 3)), ("text", text)]);
    let (base, target) = (image(b"before"), image(b"after"));
    let delta = common::images::delta(&base, &target, true);
    (base, target, delta)
});

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    common::with_content(name, b'0', content)
}

fn layer(store: &Store, tar: &[u8], keep: &Keep) -> Result<(), StoreError> {
    store.ingest_layer(&Digest::of(tar), &tar, keep, &LayerOptions::default(), &Silent).map(drop)
}

fn ingest(store: &Store) -> Result<(), StoreError> {
    let whole = content();
    let mut ingest = store.ingest(&Digest::of(&whole), whole.len() as u64)?;
    for part in whole[ingest.offset() as usize..].chunks(300_000) {
        ingest.write(part)?;
    }
    ingest.finish()
}

/// Two checkpoints and a half.
fn content() -> Vec<u8> {
    noise(CHECKPOINT as u32 / 2 * 5, 0)
}

fn noise(length: u32, seed: u32) -> Vec<u8> {
    (0..length).map(|at| ((at ^ seed << 20).wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// In memory where that is possible: a found disk is real, and what is done to it is synced.
fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn open(root: &Path, disk: Arc<dyn Disk>) -> Result<Store, StoreError> {
    Store::open(&root.join("store"), disk, &StoreOptions::UPDATE)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &place);
        } else {
            std::fs::copy(entry.path(), place).unwrap();
        }
    }
}

/// A store as a device may have it: a ref, a record, a blob that no ref holds, a damaged blob, a record of which one file
/// is damaged, and leftovers of a cut.
fn device(scratch: &TempDir) -> PathBuf {
    let root = scratch.path().join("device");
    std::fs::create_dir(&root).unwrap();
    let store = open(&root, Arc::new(RealDisk)).unwrap();
    for blob in [&b"kept"[..], b"loose", b"rotten"] {
        store.put_blob(&Digest::of(blob), blob).unwrap();
    }
    store.set_ref(&name("app"), &Closure { blobs: [Digest::of(b"kept")].into(), ..Closure::default() }).unwrap();
    layer(&store, &BASE, &Keep::Whole).unwrap();
    store.put_blob(&Digest::of(&RELEASES.0), &RELEASES.0).unwrap();
    store.put_record(&name("journal"), b"step 1").unwrap();
    store.put_record(&name("state"), b"steady").unwrap();
    let partial = vec![7; 100_000];
    store.ingest(&Digest::of(&partial), 200_000).unwrap().write(&partial).unwrap();
    drop(store);
    let at = root.join("store");
    std::fs::write(at.join("blobs/sha256").join(Digest::of(b"rotten").hex()), "rotted").unwrap();
    std::fs::write(at.join("records/state"), "rotted").unwrap();
    std::fs::create_dir_all(at.join("staging/3/below")).unwrap();
    std::fs::write(at.join("staging/3/below/file"), "left").unwrap();
    std::fs::write(at.join("reserve"), "left").unwrap();
    std::fs::create_dir_all(at.join("incoming/0")).unwrap();
    std::fs::write(at.join("incoming/0/coming"), "left").unwrap();
    root
}

/// What holds whatever happened. `done`: the verb had returned `Ok`.
fn check(root: &Path, verb: &str, done: bool, context: &str) {
    let store = open(root, Arc::new(RealDisk)).unwrap_or_else(|error| panic!("{context}: {error}"));
    assert!(store.recovered().damaged.is_empty(), "{context}: {:?}", store.recovered());
    let rotten = Digest::of(b"rotten");
    let healed = ["put_blob over a damaged one", "repair", "remove_ref and prune"].contains(&verb);
    for damage in store.check(Depth::Content, &Silent).unwrap() {
        let known = damage.object == umiak_store::Object::Blob(rotten) && !(done && healed);
        assert!(known, "{context}: {damage}");
    }
    // What was there and was not asked to go.
    let state = store.record(&name("state")).unwrap();
    assert_eq!(state.as_deref(), Some(&b"steady"[..]), "{context}");
    if verb != "remove_ref and prune" {
        assert!(store.has_blob(&Digest::of(b"kept")) && store.has_blob(&Digest::of(b"loose")), "{context}");
        assert!(store.closure(&name("app")).unwrap().is_some(), "{context}");
        assert!(store.layer(&Digest::of(&BASE), &common::LIMITS).unwrap().is_some(), "{context}");
        assert!(
            verb.starts_with("repair") || store.partials().unwrap().iter().any(|partial| partial.size == Some(200_000)),
            "{context}"
        );
    }
    // Before or after, nothing between; after, when it was acknowledged.
    let journal = store.record(&name("journal")).unwrap();
    match verb {
        "put_record" => assert!(
            journal.as_deref() == Some(b"step 2") || (!done && journal.as_deref() == Some(b"step 1")),
            "{context}"
        ),
        "remove_record" => assert!(journal.is_none() || (!done && journal.as_deref() == Some(b"step 1")), "{context}"),
        _ => assert_eq!(journal.as_deref(), Some(&b"step 1"[..]), "{context}"),
    }
    if done {
        match verb {
            "put_blob" => assert!(store.has_blob(&Digest::of(b"new")), "{context}"),
            "make_blob" => assert!(store.has_blob(&Digest::of(&RELEASES.1)), "{context}"),
            "set_ref" => assert_eq!(store.closure(&name("app")).unwrap().unwrap().blobs.len(), 2, "{context}"),
            "remove_ref and prune" => {
                assert!(store.refs().unwrap().is_empty() && store.blob_list().unwrap().is_empty(), "{context}");
                assert!(store.layer(&Digest::of(&BASE), &common::LIMITS).unwrap().is_none(), "{context}");
            }
            verb if verb.starts_with("ingest_layer") => {
                let [stack] =
                    &store.closure(&name("layers")).unwrap().unwrap().chains.into_iter().collect::<Vec<_>>()[..]
                else {
                    panic!("{context}")
                };
                assert_eq!(store.root(stack, &LayerOptions::default(), &Silent).unwrap().len(), 2, "{context}");
            }
            verb if verb.contains("ingest") || verb.contains("reserve") => {
                assert!(store.has_blob(&Digest::of(&content())), "{context}");
            }
            _ => {}
        }
    }
}

const LOSSES: [Loss; 5] = [Loss::Nothing, Loss::Everything, Loss::Contents, Loss::Some(1), Loss::Some(2)];

#[test]
fn every_operation_of_every_verb_can_be_the_last() {
    let scratch = scratch();
    let device = device(&scratch);
    let (mut points, mut found) = (0, 0);
    for (verb, act) in VERBS {
        for cut in 1.. {
            let live = scratch.path().join(format!("live-{points}"));
            copy(&device, &live);
            let disk = CrashDisk::new(&live).unwrap().cut_at(cut);
            // Opening is part of it: recovery is cut as well.
            let done = open(&live, Arc::new(disk.clone())).and_then(|store| act(&store)).is_ok();
            points += 1;
            for loss in LOSSES {
                let context = format!("{verb}, cut at {cut}, {loss:?} lost after\n{}", disk.log().join("\n"));
                let root = scratch.path().join(format!("found-{found}"));
                found += 1;
                disk.find(loss, &root).unwrap();
                check(&root, verb, done, &context);
                let store = open(&root, Arc::new(RealDisk)).unwrap();
                act(&store).unwrap_or_else(|error| panic!("again: {error}: {context}"));
                drop(store);
                check(&root, verb, true, &context);
                std::fs::remove_dir_all(&root).unwrap();
            }
            std::fs::remove_dir_all(&live).unwrap();
            if !disk.was_cut() {
                break;
            }
        }
    }
    println!("{points} points, {found} disks");
    assert!(points > 400 && found == LOSSES.len() * points, "{points} points, {found} disks");
}

/// The process dies, the machine stays up; the next process relies on what it sees, and then the power goes.
#[test]
fn what_a_killed_process_left_is_durable_before_it_is_relied_on() {
    let scratch = scratch();
    let device = device(&scratch);
    for (verb, act) in VERBS {
        for cut in 1.. {
            let live = scratch.path().join("live");
            copy(&device, &live);
            let disk = CrashDisk::new(&live).unwrap().cut_at(cut);
            let _ = open(&live, Arc::new(disk.clone())).and_then(|store| act(&store));
            let was_cut = disk.was_cut();
            disk.revive();
            let store = open(&live, Arc::new(disk.clone())).unwrap();
            act(&store).unwrap();
            drop(store);
            let found = scratch.path().join("found");
            disk.find(Loss::Everything, &found).unwrap();
            check(&found, verb, true, &format!("{verb}, killed at {cut}\n{}", disk.log().join("\n")));
            std::fs::remove_dir_all(&found).unwrap();
            std::fs::remove_dir_all(&live).unwrap();
            if !was_cut {
                break;
            }
        }
    }
}

/// Making a store is cut off.
#[test]
fn a_store_is_made_whole_or_made_again() {
    let scratch = scratch();
    for cut in 1.. {
        let live = scratch.path().join(format!("live-{cut}"));
        std::fs::create_dir(&live).unwrap();
        let disk = CrashDisk::new(&live).unwrap().cut_at(cut);
        let made = open(&live, Arc::new(disk.clone())).is_ok();
        for (number, loss) in LOSSES.into_iter().enumerate() {
            let root = scratch.path().join(format!("found-{cut}-{number}"));
            disk.find(loss, &root).unwrap();
            let reading = Store::open(&root.join("store"), Arc::new(RealDisk), &StoreOptions::READ);
            match reading {
                Ok(_) => {}
                Err(StoreError::NotAStore(_) | StoreError::DamagedDocument { .. }) if !made => {}
                Err(error) => panic!("cut at {cut}, {loss:?}: {error}\n{}", disk.log().join("\n")),
            }
            let store =
                open(&root, Arc::new(RealDisk)).unwrap_or_else(|error| panic!("cut at {cut}, {loss:?}: {error}"));
            store.put_blob(&Digest::of(b"new"), b"new").unwrap();
            assert!(store.check(Depth::Content, &Silent).unwrap().is_empty());
        }
        if !disk.was_cut() {
            break;
        }
    }
}

/// One operation fails, with each of the errors that disks have; the store stays usable and the verb can be done again.
#[test]
fn any_single_failure_leaves_the_store_whole() {
    use rustix::io::Errno;
    let scratch = scratch();
    let device = device(&scratch);
    for errno in [Errno::NOSPC, Errno::IO] {
        for (verb, act) in VERBS {
            for fail in 1.. {
                let live = scratch.path().join("live");
                copy(&device, &live);
                let crash = CrashDisk::new(&live).unwrap();
                let store = open(&live, Arc::new(crash.clone())).unwrap();
                drop(store);
                let armed = Arc::new(AtomicBool::new(false));
                let begun = Arc::new(std::sync::atomic::AtomicU64::new(0));
                let (hook_armed, hook_begun) = (Arc::clone(&armed), Arc::clone(&begun));
                let disk = Hooked::new(Arc::new(crash.clone()), move |_| {
                    let counted = hook_armed.load(Ordering::SeqCst);
                    if counted && hook_begun.fetch_add(1, Ordering::SeqCst) + 1 == fail {
                        return Err(io::Error::from(errno));
                    }
                    Ok(())
                });
                let store = open(&live, Arc::new(disk)).unwrap();
                armed.store(true, Ordering::SeqCst);
                let first = act(&store);
                armed.store(false, Ordering::SeqCst);
                let context = format!("{verb}, {errno:?} at {fail}\n{}", crash.log().join("\n"));
                if let (Err(error), Errno::NOSPC) = (&first, errno) {
                    assert!(error.is_full(), "{context}: {error}");
                }
                // On the open store, no new one: nothing was left locked or half.
                act(&store).unwrap_or_else(|error| panic!("again: {error}: {context}"));
                drop(store);
                let found = scratch.path().join("found");
                crash.find(Loss::Everything, &found).unwrap();
                // The second repair found nothing to do any more; what the first could not make durable may come back.
                check(&found, verb, verb != "repair" || first.is_ok(), &context);
                std::fs::remove_dir_all(&found).unwrap();
                std::fs::remove_dir_all(&live).unwrap();
                if begun.load(Ordering::SeqCst) < fail {
                    break;
                }
            }
        }
    }
}
