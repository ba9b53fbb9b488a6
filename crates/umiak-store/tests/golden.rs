//! The bytes on the disk, who may open a store, and what one damaged file costs.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use umiak_spec::{Digest, Silent};
use umiak_store::{
    Closure, DOCUMENT_LIMIT, Depth, Fault, Name, Object, PruneRequest, RealDisk, Store, StoreError, StoreOptions,
};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn open(root: &Path, options: &StoreOptions) -> Result<Store, StoreError> {
    Store::open(root, Arc::new(RealDisk), options)
}

fn update(root: &Path) -> Store {
    open(root, &StoreOptions::UPDATE).unwrap()
}

const HURRIED: StoreOptions =
    StoreOptions { wait: Duration::ZERO, wait_for_readers: Duration::ZERO, ..StoreOptions::UPDATE };

/// A store with a ref that holds one blob, a record, and a partial blob.
fn made() -> (TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("store");
    let store = update(&root);
    let kept = Digest::of(b"kept");
    store.put_blob(&kept, b"kept").unwrap();
    store.set_ref(&name("app"), &Closure { blobs: [kept].into(), ..Closure::default() }).unwrap();
    store.put_record(&name("state"), b"steady").unwrap();
    let mut ingest = store.ingest(&Digest::of(b"hello world"), 11).unwrap();
    ingest.restart(Some("\"v1\"")).unwrap();
    ingest.write(b"hello ").unwrap();
    ingest.checkpoint().unwrap();
    drop(ingest);
    drop(store);
    (scratch, root)
}

#[test]
fn the_format_is_what_its_page_says() {
    let (_scratch, root) = made();
    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let body = "{\"version\":1,\"features\":{\"compatible\":[],\"readOnly\":[],\"incompatible\":[]}}\n";
    let sealed = |body: &str| format!("umiak-sealed-1 {} {}\n{body}", Digest::of(body.as_bytes()).hex(), body.len());
    assert_eq!(text("format"), sealed(body));
    assert_eq!(text("format~"), text("format"));
    assert_eq!(text("records/state"), sealed("steady"));
    let kept = Digest::of(b"kept").to_string();
    assert_eq!(text("refs/app"), sealed(&format!("{{\"blobs\":[\"{kept}\"],\"layers\":[],\"chains\":[]}}")));
    assert_eq!(text(&format!("blobs/sha256/{}", &kept[7..])), "kept");
    let partial = format!("ingest/{}", Digest::of(b"hello world").hex());
    assert_eq!(text(&format!("{partial}/about")), sealed("{\"size\":11,\"validator\":\"\\\"v1\\\"\"}"));
    assert_eq!(text(&format!("{partial}/bytes")), "hello ");
    let mut record = 6u64.to_le_bytes().to_vec();
    record.extend_from_slice(&Digest::of(b"hello ").as_bytes()[..24]);
    assert_eq!(fs::read(root.join(format!("{partial}/checkpoints"))).unwrap(), record);
}

#[test]
fn one_changes_and_many_read() {
    let (_scratch, root) = made();
    let store = update(&root);
    let Err(StoreError::Busy { holder, .. }) = open(&root, &HURRIED) else { panic!("two at once") };
    assert_eq!(holder, Some(std::process::id()));
    let readers = [open(&root, &StoreOptions::READ).unwrap(), open(&root, &StoreOptions::READ).unwrap()];
    assert!(matches!(readers[0].put_record(&name("x"), b""), Err(StoreError::OpenedForReading)));
    assert!(matches!(readers[0].reserve(1), Err(StoreError::OpenedForReading)));
    drop(store);
    let store = open(&root, &HURRIED).unwrap();
    let plan = store.prune_plan(&PruneRequest::default()).unwrap();
    assert!(matches!(store.prune(&plan), Err(StoreError::Busy { .. })), "nothing goes under a reader");
    drop(readers);
    assert_eq!(store.prune(&plan).unwrap().objects, 1);
}

#[test]
fn what_is_no_store_is_let_alone() {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("thesis.txt"), "years of work").unwrap();
    assert!(matches!(open(scratch.path(), &StoreOptions::UPDATE), Err(StoreError::NotAStore(_))));
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1, "nothing was made there");
    assert!(matches!(open(&scratch.path().join("none"), &StoreOptions::READ), Err(StoreError::NotAStore(_))));
    // Both format files are gone, what they spoke of is not: nobody guesses.
    let (_scratch, root) = made();
    fs::remove_file(root.join("format")).unwrap();
    fs::remove_file(root.join("format~")).unwrap();
    assert!(matches!(open(&root, &StoreOptions::UPDATE), Err(StoreError::NotAStore(_))));
}

/// Every file of the store that matters, one after the other: emptied, overwritten, cut, removed, turned into a directory.
#[test]
fn one_damaged_file_costs_nothing_but_itself() {
    let blob = format!("blobs/sha256/{}", Digest::of(b"kept").hex());
    let partial = format!("ingest/{}", Digest::of(b"hello world").hex());
    let files = [
        "format",
        "format~",
        "refs/app",
        "refs/app~",
        "records/state",
        "records/state~",
        &blob,
        &format!("{partial}/about"),
        &format!("{partial}/bytes"),
        &format!("{partial}/checkpoints"),
    ];
    let damages: [fn(&Path); 5] = [
        |path| fs::write(path, "").unwrap(),
        |path| fs::write(path, [0xff; 5000]).unwrap(),
        |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        },
        |path| fs::remove_file(path).unwrap(),
        |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        },
    ];
    for file in files {
        for (number, damage) in damages.iter().enumerate() {
            let context = format!("{file}, damage {number}");
            let (_scratch, root) = made();
            damage(&root.join(file));
            // Found by whoever looks, before anything is put right.
            let reader = open(&root, &StoreOptions::READ).unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_eq!(reader.record(&name("state")).unwrap().as_deref(), Some(&b"steady"[..]), "{context}");
            let found = reader.check(Depth::Content, &Silent).unwrap();
            assert_eq!(found.is_empty(), file.starts_with("ingest"), "{context}: {found:?}");
            drop(reader);
            let store = update(&root);
            for damage in store.check(Depth::Content, &Silent).unwrap() {
                assert_eq!(damage.object, Object::Blob(Digest::of(b"kept")), "{context}: {damage}");
                store.discard_damage(&damage).unwrap();
            }
            store.put_blob(&Digest::of(b"kept"), b"kept").unwrap();
            let mut ingest = store.ingest(&Digest::of(b"hello world"), 11).unwrap();
            let here = usize::try_from(ingest.offset()).unwrap();
            ingest.write(&b"hello world"[here..]).unwrap();
            ingest.finish().unwrap();
            assert!(store.check(Depth::Content, &Silent).unwrap().is_empty(), "{context}");
            assert_eq!(store.closure(&name("app")).unwrap().unwrap().blobs.len(), 1, "{context}");
        }
    }
}

#[test]
fn with_both_copies_damaged_nothing_is_guessed_and_nothing_pruned() {
    let (_scratch, root) = made();
    for file in ["refs/app", "refs/app~"] {
        fs::write(root.join(file), "rubbish").unwrap();
    }
    let store = update(&root);
    assert_eq!(store.recovered().damaged.len(), 1);
    assert!(matches!(store.prune_plan(&PruneRequest::default()), Err(StoreError::DamagedDocument { .. })));
    let found = store.check(Depth::Names, &Silent).unwrap();
    let [damage] = &found[..] else { panic!("{found:?}") };
    assert_eq!((&damage.object, matches!(damage.fault, Fault::Damaged(_))), (&Object::Ref(name("app")), true));
    store.discard_damage(damage).unwrap();
    assert!(store.refs().unwrap().is_empty() && store.has_blob(&Digest::of(b"kept")));
}

#[test]
fn limits_are_named() {
    let (_scratch, root) = made();
    let store = update(&root);
    let large = vec![0; DOCUMENT_LIMIT + 1];
    assert!(matches!(store.put_record(&name("x"), &large), Err(StoreError::TooLarge { .. })));
    store.put_record(&name("x"), &large[1..]).unwrap();
    assert_eq!(store.record(&name("x")).unwrap().unwrap().len(), DOCUMENT_LIMIT);
    let mut ingest = store.ingest(&Digest::of(b"y"), 1).unwrap();
    assert!(matches!(ingest.restart(Some(&"v".repeat(1025))), Err(StoreError::TooLarge { limit: 1024, .. })));
    let wanted = u64::MAX >> 1;
    assert!(matches!(store.reserve(wanted), Err(StoreError::NoSpace { wanted: w, .. }) if w == wanted));
}
