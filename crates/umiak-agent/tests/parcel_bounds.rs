//! Deltas of packages that take more of a device than they say: nobody signed what they say, and the plan counted it.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod device;
mod parcel;

use std::fs;
use std::path::{Path, PathBuf};

use device::{bring, sources, with_room};
use parcel::{DELTA, Releases, beside};
use umiak_agent::sources::Sources;
use umiak_agent::{Silently, Supply as _};
use umiak_spec::Digest;
use umiak_spec::target::Target;
use umiak_store::Store;

/// All that the device has, by path.
fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push((path.clone(), fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

/// What an update says that may not end well.
fn refused(sources: &Sources, store: &Store, target: &Target, first: &Target) -> String {
    let planned = sources.plan(store, target, &beside(first), &Silently).unwrap();
    assert_eq!(planned.refusal, None);
    let space = store.reserve(planned.reserve).unwrap();
    let error = sources.fetch(store, target, &planned, &space, &Silently).unwrap_err();
    let mut told = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        told.push_str(&format!(": {error}"));
        cause = error.source();
    }
    told
}

#[test]
fn a_delta_that_makes_more_than_it_says_is_cut_off() {
    let (releases, sources) = (Releases::new(), sources());
    let (store, first) = releases.installed(&sources);
    let before = files(store.path());
    for size in [releases.target.root.len() as u64 - 1, 4096, 0] {
        releases.put(DELTA, &releases.delta_saying(size, 0));
        // Who looks when it is set sees it then.
        let judged = sources.package(Some(&store), &releases.world.path().join(DELTA), &Silently).unwrap_err();
        assert!(judged.to_string().contains(DELTA), "{judged}");
        let target = releases.resolve(&sources, &store, DELTA);
        let told = refused(&sources, &store, &target, &first);
        for words in [DELTA, &format!("it would take more than the {size} bytes that were counted for it")] {
            assert!(told.contains(words), "{words}: {told}");
        }
        assert!(!store.has_blob(&releases.target.root()));
        // What came whole stays, as after a cut; nothing else does.
        let came = [Digest::of(&releases.target.page), Digest::of(releases.target.state.canonical().as_bytes())];
        let mut after = files(store.path());
        after.retain(|(path, _)| !came.iter().any(|digest| path.ends_with(digest.hex())));
        assert!(after == before, "{:?}", after.iter().map(|(path, _)| path).collect::<Vec<_>>());
    }
    releases.put(DELTA, &releases.delta(0));
    let target = releases.resolve(&sources, &store, DELTA);
    bring(&sources, &store, &target, Some(&first));
    assert!(releases.is_here(&sources, &store, &target));
}

#[test]
fn a_package_beside_that_is_longer_than_was_counted_is_not_taken() {
    let (releases, mut sources) = (Releases::new(), sources());
    let (store, first) = releases.installed(&sources);
    // By what the delta says of itself only the whole one fits, which is said to be short.
    releases.put(DELTA, &releases.delta_saying(4096, 5_000_000));
    releases.put("maps-2.amd64.tgz", &releases.target.bytes());
    sources.survey = Box::new(|_| Ok(with_room(2_000_000)));
    let target = releases.resolve(&sources, &store, DELTA);
    let planned = sources.plan(&store, &target, &beside(&first), &Silently).unwrap();
    assert!(planned.refusal.is_some(), "{:?}", planned.answer.choices);
    // By what it says now it fits, and fails, and the package beside is no help that was counted.
    releases.put(DELTA, &releases.delta_saying(4096, 0));
    let target = releases.resolve(&sources, &store, DELTA);
    let told = refused(&sources, &store, &target, &first);
    assert!(told.contains("more than the 4096"), "{told}");
    assert!(!store.has_blob(&releases.target.root()));
}
