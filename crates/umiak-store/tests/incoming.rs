//! Blobs that come while others change the store.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::open;
use rustix::io::Errno;
use umiak_spec::{Cancelled, Digest, Observer, Silent};
use umiak_store::{Closure, Hooked, Incoming, PruneRequest, RealDisk, Step, Store, StoreError, StoreOptions};

const SLOW: &[u8] = b"what comes slowly";

fn reading(root: &Path) -> Store {
    Store::open(root, Arc::new(RealDisk), &StoreOptions::READ).unwrap()
}

fn put(incoming: &Incoming, bytes: &[u8]) -> Result<(), StoreError> {
    let mut coming = incoming.begin(&Digest::of(bytes), bytes.len() as u64)?;
    bytes.chunks(5).try_for_each(|part| coming.write(part))?;
    coming.finish()
}

/// The names in `incoming`, but for the lock.
fn waiting(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join("incoming")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != "lock");
    names.sort();
    names
}

#[test]
fn what_comes_slowly_holds_nobody_up() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("store");
    drop(open(&root));
    let incoming = reading(&root).incoming(&Silent).unwrap();
    let mut coming = incoming.begin(&Digest::of(SLOW), SLOW.len() as u64).unwrap();
    coming.write(&SLOW[..5]).unwrap();
    {
        // Changes, prunes, opens anew; and somebody else brings something.
        let store = open(&root);
        store.put_blob(&Digest::of(b"fast"), b"fast").unwrap();
        store.prune(&store.prune_plan(&PruneRequest::default()).unwrap()).unwrap();
        assert!(!store.has_blob(&Digest::of(b"fast")));
        put(&store.incoming(&Silent).unwrap(), b"other").unwrap();
        assert_eq!(store.recovered().removed, [""; 0]);
    }
    assert!(incoming.look(&Silent).unwrap().blob_list().unwrap().is_empty());
    coming.write(&SLOW[5..]).unwrap();
    coming.finish().unwrap();
    let store = open(&root);
    assert!(!store.has_blob(&Digest::of(SLOW)), "it is no blob before it is taken in");
    store.take_in(&incoming).unwrap();
    store.take_in(&incoming).unwrap();
    assert_eq!(store.document(&Digest::of(SLOW), 100).unwrap().as_deref(), Some(SLOW));
    drop(incoming);
    assert_eq!(waiting(&root), [""; 0]);
}

#[test]
fn what_is_not_what_it_should_be_is_not_kept() {
    let scratch = tempfile::tempdir().unwrap();
    let store = open(&scratch.path().join("store"));
    let incoming = store.incoming(&Silent).unwrap();
    let mut short = incoming.begin(&Digest::of(SLOW), SLOW.len() as u64).unwrap();
    short.write(&SLOW[..5]).unwrap();
    assert!(matches!(short.finish(), Err(StoreError::WrongLength { found: 5, .. })));
    let mut long = incoming.begin(&Digest::of(SLOW), 5).unwrap();
    assert!(matches!(long.write(SLOW), Err(StoreError::WrongLength { wanted: 5, .. })));
    drop(long);
    let mut other = incoming.begin(&Digest::of(SLOW), 3).unwrap();
    other.write(b"abc").unwrap();
    assert!(matches!(other.finish(), Err(StoreError::WrongDigest { .. })));
    store.take_in(&incoming).unwrap();
    assert_eq!(store.blob_list().unwrap(), []);
    assert!(matches!(reading(store.path()).take_in(&incoming), Err(StoreError::OpenedForReading)));
}

#[test]
fn what_the_store_has_is_kept_though_it_is_pruned_meanwhile() {
    let scratch = tempfile::tempdir().unwrap();
    let store = open(&scratch.path().join("store"));
    store.put_blob(&Digest::of(SLOW), SLOW).unwrap();
    let incoming = store.incoming(&Silent).unwrap();
    assert!(incoming.keep(&Digest::of(SLOW)).unwrap() && incoming.keep(&Digest::of(SLOW)).unwrap());
    assert!(!incoming.keep(&Digest::of(b"never")).unwrap());
    store.prune(&store.prune_plan(&PruneRequest::default()).unwrap()).unwrap();
    assert!(!store.has_blob(&Digest::of(SLOW)));
    store.take_in(&incoming).unwrap();
    let closure = Closure { blobs: [Digest::of(SLOW)].into(), ..Closure::default() };
    store.set_ref(&"app".parse().unwrap(), &closure).unwrap();
}

#[test]
fn what_a_killed_sender_left_goes_and_nothing_else() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("store");
    drop(open(&root));
    let alive = reading(&root).incoming(&Silent).unwrap();
    put(&alive, SLOW).unwrap();
    let left = root.join("incoming/7");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("coming"), "some").unwrap();
    assert_eq!(waiting(&root), ["0", "7"]);
    assert_eq!(open(&root).recovered().removed, ["incoming/7"]);
    assert_eq!(waiting(&root), ["0"]);
    open(&root).take_in(&alive).unwrap();
    assert!(reading(&root).has_blob(&Digest::of(SLOW)));
}

#[test]
fn senders_who_leave_do_not_disturb_who_opens_the_store() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("store");
    drop(open(&root));
    let (over, began) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for number in 0..3_u8 {
            let (root, over, began) = (&root, &over, &began);
            scope.spawn(move || {
                let store = reading(root);
                while !over.load(Ordering::SeqCst) {
                    let incoming = store.incoming(&Silent).unwrap();
                    put(&incoming, &[number; 9]).unwrap();
                    began.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let opened = std::panic::catch_unwind(|| {
            while began.load(Ordering::SeqCst) < 900 {
                assert_eq!(open(&root).recovered().removed, [""; 0]);
            }
        });
        over.store(true, Ordering::SeqCst);
        opened.unwrap();
    });
    assert_eq!(waiting(&root), [""; 0]);
}

#[test]
fn where_a_file_has_one_name_the_blob_is_written_again() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("store");
    open(&root).put_blob(&Digest::of(SLOW), SLOW).unwrap();
    let kept = |errno: Errno| {
        let refuse = move |step: &Step| if step.operation == "link" { Err(errno.into()) } else { Ok(()) };
        let disk = Arc::new(Hooked::new(Arc::new(RealDisk), refuse));
        let store = Store::open(&root, disk, &StoreOptions::UPDATE).unwrap();
        let incoming = store.incoming(&Silent).unwrap();
        let kept = incoming.keep(&Digest::of(SLOW));
        // It comes although it is here, and stays through a pruning.
        put(&incoming, SLOW).unwrap();
        store.prune(&store.prune_plan(&PruneRequest::default()).unwrap()).unwrap();
        store.take_in(&incoming).unwrap();
        assert!(store.has_blob(&Digest::of(SLOW)));
        kept
    };
    for errno in [Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS, Errno::MLINK, Errno::XDEV] {
        assert!(!kept(errno).unwrap(), "{errno}");
    }
    assert!(kept(Errno::IO).is_err());
}

/// Asks to stop when it was looked at so often.
struct Enough(AtomicU64);

impl Observer for Enough {
    fn expect(&self, _: &'static str, _: u64) {}
    fn advance(&self, _: &'static str, _: u64) {}
    fn note(&self, _: &str) {}
    fn check(&self) -> Result<(), Cancelled> {
        self.0.fetch_sub(1, Ordering::SeqCst).checked_sub(1).map(drop).ok_or(Cancelled)
    }
}

#[test]
fn who_waits_for_others_hears_that_he_should_stop() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("store");
    drop(open(&root));
    let incoming = reading(&root).incoming(&Silent).unwrap();
    let alone = |name: &str| {
        let file = fs::File::open(root.join(name)).unwrap();
        file.lock().unwrap();
        file
    };
    let stopped =
        |result: Result<(), StoreError>| assert!(matches!(result, Err(StoreError::Cancelled(_))), "{result:?}");
    {
        let _begins = alone("incoming/lock");
        stopped(reading(&root).incoming(&Enough(2.into())).map(drop));
    }
    let _prunes = alone("lock");
    stopped(incoming.look(&Enough(2.into())).map(drop));
}
