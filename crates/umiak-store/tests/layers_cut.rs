//! A power cut at every durable operation of what is done with layers, in each of the ways to cut: a layer is there whole or not
//! at all, and what was not done can be done again.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use common::{LIMITS, layer, link, with_content};
use umiak_spec::{Digest, Silent};
use umiak_store::{Closure, Depth, Disk, Keep, LayerOptions, RealDisk, Store, StoreError, StoreOptions};
use umiak_testkit::crash::{CrashDisk, Loss};
use umiak_testkit::random::{Chance, mutated, tree};

/// Two layers whose stack needs a top, and the second one damaged and repaired on the way.
struct Work {
    tars: [Vec<u8>; 2],
    chain: [Digest; 2],
}

impl Work {
    fn new() -> Self {
        let mut chance = Chance::new(9);
        let base = tree(&mut chance, 12).unwrap();
        let target = mutated(&mut chance, &base, 3).unwrap();
        let large = chance.bytes(70_000);
        let lower = [with_content("large", b'0', &large), link("lib", b'2', "usr/lib"), layer(&base)].concat();
        let upper =
            [with_content("lib/two", b'0', b"2"), with_content("large-again", b'0', &large), layer(&target)].concat();
        let chain = [Digest::of(&lower), Digest::of(&upper)];
        Self { tars: [lower, upper], chain }
    }

    fn run(&self, store: &Store) -> Result<(), StoreError> {
        let options = LayerOptions::default();
        for (diff_id, tar) in self.chain.iter().zip(&self.tars) {
            store.ingest_layer(diff_id, &tar.as_slice(), &Keep::Whole, &options, &Silent)?;
        }
        assert_eq!(store.root(&self.chain, &options, &Silent)?.len(), 3);
        store.replace_layer(&self.chain[1], &self.tars[1].as_slice(), &Keep::Whole, &options, &Silent)?;
        store.root(&self.chain, &options, &Silent)?;
        let closure = Closure { chains: [self.chain.to_vec()].into(), ..Closure::default() };
        store.set_ref(&"current".parse().unwrap(), &closure)
    }

    /// What is here is whole; a ref holds only what is here.
    fn holds(&self, store: &Store, at: &str) {
        let found = store.check(Depth::Content, &Silent).unwrap();
        assert!(found.is_empty(), "{at}: {found:?}");
        for (diff_id, tar) in self.chain.iter().zip(&self.tars) {
            if store.layer_record(diff_id).unwrap().is_some() {
                let mut exported = Vec::new();
                store.layer_reader(diff_id, &LIMITS).unwrap().read_to_end(&mut exported).unwrap();
                assert!(exported == *tar, "{at}");
            }
        }
    }
}

fn open(path: &Path, disk: impl Disk + 'static) -> Result<Store, StoreError> {
    Store::open(path, Arc::new(disk), &StoreOptions::UPDATE)
}

#[test]
fn a_cut_at_any_operation_leaves_whole_layers() {
    let work = Work::new();
    // Thousands of syncs: in memory, where there is such a directory.
    let memory = Path::new("/dev/shm");
    let area = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let count = |name: &str| {
        let path = area.path().join(name);
        std::fs::create_dir(&path).unwrap();
        let disk = CrashDisk::new(&path).unwrap();
        work.run(&open(&path, disk.clone()).unwrap()).unwrap();
        disk.operations()
    };
    let operations = count("all");
    assert!(operations > 60, "{operations}");
    for cut in 1..=operations {
        let path = area.path().join(format!("cut-{cut}"));
        std::fs::create_dir(&path).unwrap();
        let disk = CrashDisk::new(&path).unwrap().cut_at(cut);
        let done = open(&path, disk.clone()).and_then(|store| work.run(&store));
        assert!(done.is_err() && disk.was_cut(), "operation {cut} of {operations}");
        for (number, loss) in [Loss::Nothing, Loss::Everything, Loss::Contents, Loss::Some(cut)].into_iter().enumerate()
        {
            let at = format!("operation {cut} of {operations}, {loss:?}");
            let found = area.path().join(format!("found-{cut}-{number}"));
            disk.find(loss, &found).unwrap();
            let store = open(&found, RealDisk).unwrap();
            work.holds(&store, &at);
            // Going on is tried in one of the ways in turn; it takes long.
            if cut % 4 == number as u64 {
                work.run(&store).unwrap_or_else(|error| panic!("{at}: {error:?}"));
                work.holds(&store, &at);
            }
            drop(store);
            std::fs::remove_dir_all(&found).unwrap();
        }
        std::fs::remove_dir_all(&path).unwrap();
    }
}

#[test]
fn a_disk_that_fills_up_at_any_operation_loses_nothing() {
    let work = Work::new();
    let memory = Path::new("/dev/shm");
    let area = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    for full in 1.. {
        let path = area.path().join(full.to_string());
        let hook = move |step: &umiak_store::Step| {
            if step.number == full { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        };
        let disk = umiak_store::Hooked::new(Arc::new(RealDisk), hook);
        let store = open(&path, disk.clone());
        let done = store.as_ref().map_err(|_| ()).and_then(|store| {
            work.run(store).map_err(|error| {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                assert!(
                    error.is_full() || matches!(error, StoreError::Squashfs { .. }),
                    "{full}: {error:?} {source:?}"
                );
            })
        });
        let steps = disk.steps();
        drop(store);
        // What a failed rename left of a document is mended when the store is opened again.
        let store = open(&path, RealDisk).unwrap();
        work.holds(&store, &format!("full at {full}"));
        if done.is_err() && full % 5 == 0 {
            work.run(&store).unwrap();
            work.holds(&store, &format!("full at {full}, again"));
        }
        drop(store);
        std::fs::remove_dir_all(&path).unwrap();
        if done.is_ok() && steps < full {
            assert!(full > 60, "{full}");
            return;
        }
    }
}
