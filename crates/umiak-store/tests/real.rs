//! The store on real file systems that fill up, run out of inodes, turn read-only, and lose their power.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

mod common;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use umiak_spec::{Digest, Silent};
use umiak_store::{
    Closure, Depth, Hooked, Keep, LayerOptions, Name, PruneRequest, RealDisk, Store, StoreError, StoreOptions,
};
use umiak_testkit::volume::{FileSystem, Volume};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A program that another test has just started has our locks until it runs, and for long where its disk is slow.
const PATIENT: StoreOptions = StoreOptions { wait: Duration::from_secs(20), ..StoreOptions::UPDATE };

fn open(root: &Path) -> Result<Store, StoreError> {
    Store::open(root, Arc::new(RealDisk), &PATIENT)
}

fn content(length: usize, seed: u32) -> Vec<u8> {
    (0..length as u32).map(|at| ((at ^ seed).wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn ingest(store: &Store, whole: &[u8]) -> Result<(), StoreError> {
    let mut ingest = store.ingest(&Digest::of(whole), whole.len() as u64)?;
    for part in whole[ingest.offset() as usize..].chunks(100_000) {
        ingest.write(part)?;
    }
    ingest.finish()
}

/// A store with a ref and a record.
fn steady(root: &Path) {
    let store = open(root).unwrap();
    let kept = content(50_000, 1);
    ingest(&store, &kept).unwrap();
    store.set_ref(&name("app"), &Closure { blobs: [Digest::of(&kept)].into(), ..Closure::default() }).unwrap();
    store.put_record(&name("state"), b"steady").unwrap();
}

fn assert_steady(store: &Store, context: &str) {
    let damages = store.check(Depth::Content, &Silent).unwrap();
    assert!(damages.is_empty(), "{context}: {damages:?}");
    assert!(store.closure(&name("app")).unwrap().is_some(), "{context}");
    assert_eq!(store.record(&name("state")).unwrap().as_deref(), Some(&b"steady"[..]), "{context}");
}

#[test]
#[ignore = "needs: mount, e2fsprogs, root"]
fn a_full_disk_is_said_and_costs_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let volume = Volume::make(scratch.path(), "small", FileSystem::Ext4, 1024, 4 << 20).unwrap();
    let root = volume.path().join("store");
    steady(&root);
    let store = open(&root).unwrap();
    let large = content(8 << 20, 2);
    let error = ingest(&store, &large).unwrap_err();
    assert!(error.is_full(), "{error:?}");
    // Nothing more fits: every verb says so, and the store is as it was.
    while store.put_blob(&Digest::of(b"x"), b"x").is_ok()
        && store.put_record(&name("filler"), &content(4096, 3)).is_ok()
    {
        let filler = content(1000, store.blob_list().unwrap().len() as u32);
        if store.put_blob(&Digest::of(&filler), &filler).is_err() {
            break;
        }
    }
    assert!(store.put_record(&name("state"), &content(100_000, 4)).unwrap_err().is_full());
    assert!(store.reserve(1 << 20).unwrap_err().is_full());
    assert!(!root.join("reserve").exists());
    assert_steady(&store, "full");
    drop(store);
    let store = open(&root).unwrap();
    let plan = store.prune_plan(&PruneRequest::default()).unwrap();
    assert!(store.prune(&plan).unwrap().bytes > 1 << 20, "pruning needs no space");
    let held = store.reserve(1 << 20).unwrap();
    assert_eq!(held.remaining(), 1 << 20);
    // What was reserved is what is written: somebody else who takes all the rest does not take it.
    let hog = volume.path().join("hog");
    assert!(std::fs::write(&hog, vec![1; 8 << 20]).is_err());
    ingest(&store, &content(900_000, 5)).unwrap();
    drop(held);
    assert_steady(&store, "after pruning");
}

#[test]
#[ignore = "needs: mount, e2fsprogs, root"]
fn a_disk_without_inodes_is_said_and_costs_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let volume = Volume::make_with(scratch.path(), "few", FileSystem::Ext4, 1024, 8 << 20, &["-N", "48"]).unwrap();
    let root = volume.path().join("store");
    steady(&root);
    let store = open(&root).unwrap();
    let error = (0..100u32).find_map(|number| {
        let blob = number.to_le_bytes();
        store.put_blob(&Digest::of(&blob), &blob).err()
    });
    assert!(error.unwrap().is_full());
    assert!(store.put_record(&name("more"), b"more").unwrap_err().is_full());
    assert!(ingest(&store, &content(1000, 6)).unwrap_err().is_full());
    assert_steady(&store, "no inodes");
    let plan = store.prune_plan(&PruneRequest::default()).unwrap();
    store.prune(&plan).unwrap();
    ingest(&store, &content(1000, 6)).unwrap();
    assert_steady(&store, "after pruning");
}

#[test]
#[ignore = "needs: mount, e2fsprogs, root"]
fn a_disk_that_turned_read_only_can_be_read() {
    let scratch = tempfile::tempdir().unwrap();
    let volume = Volume::make(scratch.path(), "ro", FileSystem::Ext4, 4096, 8 << 20).unwrap();
    let root = volume.path().join("store");
    steady(&root);
    let remount = |how: &str| {
        let status = Command::new("mount").args(["-o", how]).arg(volume.path()).status().unwrap();
        assert!(status.success());
    };
    remount("remount,ro");
    let Err(error) = open(&root) else { panic!("opened for changes") };
    assert!(error.is_read_only(), "{error:?}");
    let store = Store::open(&root, Arc::new(RealDisk), &StoreOptions::READ).unwrap();
    assert_steady(&store, "read-only");
    assert!(matches!(store.put_record(&name("x"), b"x"), Err(StoreError::OpenedForReading)));
    drop(store);
    remount("remount,rw");
    assert_steady(&open(&root).unwrap(), "writable again");
}

/// An update as the store sees it; each part can be repeated.
fn update(store: &Store) -> Result<(), StoreError> {
    store.put_record(&name("journal"), b"fetching")?;
    let reserved = store.reserve(2 << 20)?;
    let (manifest, blob) = (content(700, 10), content(600_000, 11));
    store.put_blob(&Digest::of(&manifest), &manifest)?;
    ingest(store, &blob)?;
    drop(reserved);
    let tar = common::with_content("program", b'0', &content(60_000, 12));
    store.ingest_layer(&Digest::of(&tar), &&tar[..], &Keep::Whole, &LayerOptions::default(), &Silent)?;
    let blobs = [Digest::of(&manifest), Digest::of(&blob)].into();
    let chains = [vec![Digest::of(&tar)]].into();
    store.set_ref(&name("staged"), &Closure { blobs, chains, ..Closure::default() })?;
    store.put_record(&name("journal"), b"staged")?;
    let plan = store.prune_plan(&PruneRequest::default())?;
    store.prune(&plan)?;
    store.remove_record(&name("journal"))
}

/// Runs [`update`] and takes the file system away right before operation `cut`. Whether it came to that.
fn cut_off(volume: &Volume, root: &Path, cut: u64, flush: bool) -> bool {
    let gone = Arc::new(AtomicBool::new(false));
    let hook = {
        let (mountpoint, gone) = (volume.path().to_owned(), Arc::clone(&gone));
        move |step: &umiak_store::Step| {
            if step.number == cut {
                umiak_testkit::volume::shut_down(&mountpoint, flush)?;
                gone.store(true, Ordering::SeqCst);
            }
            Ok(())
        }
    };
    let disk = Hooked::new(Arc::new(RealDisk), hook);
    let _ = Store::open(root, Arc::new(disk), &PATIENT).and_then(|store| update(&store));
    gone.load(Ordering::SeqCst)
}

fn real_cuts(kind: FileSystem, bytes: u64) -> u64 {
    let scratch = tempfile::tempdir().unwrap();
    let mut volume = Volume::make(scratch.path(), "cut", kind, 4096, bytes).unwrap();
    let mut points = 0;
    for cut in 1.. {
        let root = volume.path().join(format!("store-{cut}"));
        steady(&root);
        let was_cut = cut_off(&volume, &root, cut, cut % 2 == 0);
        if was_cut {
            volume.power_on().unwrap();
        }
        let context = format!("{} cut at {cut}", kind.name());
        let store = open(&root).unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_steady(&store, &context);
        let journal = store.record(&name("journal")).unwrap();
        let known = [None, Some(&b"fetching"[..]), Some(b"staged")];
        assert!(known.contains(&journal.as_deref()), "{context}: {journal:?}");
        if journal.as_deref() == Some(b"staged") || !was_cut {
            assert!(store.closure(&name("staged")).unwrap().is_some(), "{context}: what was acknowledged");
        }
        update(&store).unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_steady(&store, &context);
        assert_eq!(store.blob_list().unwrap().len(), 3, "{context}");
        drop(store);
        std::fs::remove_dir_all(&root).unwrap();
        points = cut;
        if !was_cut {
            break;
        }
    }
    points
}

#[test]
#[ignore = "needs: mount, e2fsprogs, xfsprogs, root"]
fn ext4_without_power_at_every_operation_of_an_update() {
    let points = real_cuts(FileSystem::Ext4, 64 << 20);
    println!("{points} points");
    assert!(points > 60);
}

#[test]
#[ignore = "needs: mount, xfsprogs, root"]
fn xfs_without_power_at_every_operation_of_an_update() {
    let points = real_cuts(FileSystem::Xfs, 320 << 20);
    println!("{points} points");
    assert!(points > 60);
}
