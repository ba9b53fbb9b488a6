//! The store on a real directory: what each verb does.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use umiak_spec::{Digest, ReadAt as _, Silent};
use umiak_store::{CHECKPOINT, Closure, Depth, Name, PruneRequest, RealDisk, Store, StoreError, StoreOptions};

fn open(root: &Path) -> Store {
    Store::open(root, Arc::new(RealDisk), &StoreOptions::UPDATE).unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn made() -> (TempDir, Store) {
    let scratch = tempfile::tempdir().unwrap();
    let store = open(&scratch.path().join("var/umiak"));
    (scratch, store)
}

fn bytes(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|at| (at.wrapping_mul(31) >> 3) as u8 ^ seed).collect()
}

#[test]
fn a_blob_comes_back_and_a_wrong_one_never_gets_in() {
    let (_scratch, store) = made();
    let manifest = b"{\"schemaVersion\":2}";
    let digest = Digest::of(manifest);
    assert!(!store.has_blob(&digest) && store.blob(&digest).unwrap().is_none());
    assert!(matches!(store.put_blob(&digest, b"something else"), Err(StoreError::WrongDigest { .. })));
    assert!(!store.has_blob(&digest));
    store.put_blob(&digest, manifest).unwrap();
    let blob = store.blob(&digest).unwrap().unwrap();
    let mut read = vec![0; manifest.len()];
    blob.read_exact_at(&mut read, 0).unwrap();
    assert_eq!((&read[..], blob.size()), (&manifest[..], 19));
    assert_eq!(store.document(&digest, 100).unwrap().unwrap(), manifest);
    assert!(matches!(store.document(&digest, 10), Err(StoreError::TooLarge { limit: 10, .. })));
}

#[test]
fn an_ingest_goes_on_where_it_was_and_ends_verified() {
    let (_scratch, store) = made();
    let whole = bytes(3_000_000, 7);
    let digest = Digest::of(&whole);
    let mut ingest = store.ingest(&digest, 3_000_000).unwrap();
    ingest.restart(Some("\"etag-1\"")).unwrap();
    ingest.write(&whole[..1_000_001]).unwrap();
    assert!(matches!(store.ingest(&digest, 3_000_000), Err(StoreError::BeingIngested(_))));
    drop(ingest);
    assert_eq!(store.partials().unwrap()[0].here, 1_000_001);
    let mut ingest = store.ingest(&digest, 3_000_000).unwrap();
    assert_eq!((ingest.offset(), ingest.validator()), (1_000_001, Some("\"etag-1\"")));
    ingest.write(&whole[1_000_001..]).unwrap();
    assert!(matches!(ingest.write(b"x"), Err(StoreError::WrongLength { wanted: 3_000_000, .. })));
    ingest.finish().unwrap();
    assert_eq!(std::fs::read(store.blob(&digest).unwrap().unwrap().path()).unwrap(), whole);
    assert!(store.partials().unwrap().is_empty());
    assert!(store.check(Depth::Content, &Silent).unwrap().is_empty());
}

#[test]
fn who_is_killed_has_little_to_fetch_again_however_many_blobs_came_at_once() {
    const SIZE: usize = 1_000_000;
    for blobs in [1_u8, 3, 8] {
        let (scratch, store) = made();
        let wholes: Vec<Vec<u8>> = (1..=blobs).map(|seed| bytes(SIZE, seed)).collect();
        let digests: Vec<Digest> = wholes.iter().map(|whole| Digest::of(whole)).collect();
        let mut ingests: Vec<_> = digests.iter().map(|digest| store.ingest(digest, SIZE as u64).unwrap()).collect();
        for at in (0..SIZE - 10_000).step_by(10_000) {
            for (ingest, whole) in ingests.iter_mut().zip(&wholes) {
                ingest.write(&whole[at..at + 10_000]).unwrap();
            }
        }
        // A killed process drops nothing: there is no checkpoint at its end.
        let written: u64 = ingests.iter().map(umiak_store::Ingest::offset).sum();
        ingests.into_iter().for_each(std::mem::forget);
        drop(store);
        let store = open(&scratch.path().join("var/umiak"));
        let kept: u64 = digests.iter().map(|digest| store.ingest(digest, SIZE as u64).unwrap().offset()).sum();
        assert!(kept < written, "an end without checkpoint was tried");
        assert!(written - kept <= CHECKPOINT, "{blobs} blobs: {} lost", written - kept);
    }
}

#[test]
fn a_ref_is_refused_until_all_of_it_is_here_and_then_keeps_it() {
    let (_scratch, store) = made();
    let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
    let closure = Closure { blobs: [one].into(), ..Closure::default() };
    let Err(StoreError::Incomplete(missing)) = store.set_ref(&name("app"), &closure) else { panic!() };
    assert_eq!(missing.blobs, [one].into());
    store.put_blob(&one, b"one").unwrap();
    store.put_blob(&other, b"other").unwrap();
    store.set_ref(&name("app"), &closure).unwrap();
    let plan = store.prune_plan(&PruneRequest::default()).unwrap();
    assert_eq!(plan.objects.len(), 1);
    assert_eq!(store.prune(&plan).unwrap().objects, 1);
    assert!(store.has_blob(&one) && !store.has_blob(&other));
    assert_eq!(store.closure(&name("app")).unwrap(), Some(closure));
}
