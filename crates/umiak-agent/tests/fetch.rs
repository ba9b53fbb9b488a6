//! Blobs from a registry that lies, hangs and breaks off: what comes is right or an error, and what came is kept.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod device;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use device::{World, image, layer, noise, sources};
use umiak_agent::fetch::{Cause, Fetch, FetchError, FetchOptions, StoredBlob, Wanted};
use umiak_agent::{Class, Silently, Supply as _};
use umiak_registry::{Clock, Flow, Source};
use umiak_spec::{Descriptor, Digest, Limits};
use umiak_store::{CHECKPOINT, Keep, LayerOptions, Store};
use umiak_testkit::http::Fault;
use umiak_testkit::sample::SampleLayer;

/// Large enough for several checkpoints.
const SIZE: usize = 3 << 20;

struct Served {
    world: World,
    bytes: Vec<u8>,
    blob: Descriptor,
}

impl Served {
    fn new() -> Self {
        let world = World::new();
        let bytes = noise(SIZE, 11);
        world.registry.put_blob(device::REPOSITORY, bytes.clone());
        let blob = Descriptor::new("application/octet-stream", Digest::of(&bytes), SIZE as u64);
        Self { world, bytes, blob }
    }

    fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.world.registry.fail_reading(&self.world.blob_path(&self.blob.digest), faults);
    }

    fn source(&self) -> Box<dyn Source> {
        let reference = format!("docker://{}", self.world.reference("x"));
        umiak_registry::open(&reference.parse().unwrap(), &sources().context).unwrap()
    }

    fn fetch(&self, store: &Store, options: FetchOptions) -> Result<(), FetchError> {
        Fetch::new(store, options, &Silently).one(&Wanted::new(self.blob.clone()), self.source().as_ref())
    }

    fn is_whole(&self, store: &Store) {
        let path = store.blob(&self.blob.digest).unwrap().unwrap().path().to_owned();
        assert_eq!(std::fs::read(path).unwrap(), self.bytes);
        assert!(store.partials().unwrap().is_empty());
    }
}

#[test]
fn whatever_a_server_does_the_blob_is_right_or_absent() {
    let half = SIZE / 2;
    for (faults, comes) in [
        (vec![Fault::Cut(half), Fault::Cut(1000), Fault::Hangup], true),
        (vec![Fault::Stall(half)], true),
        (vec![Fault::Stall(0), Fault::slow_down(1), Fault::status(503)], true),
        (vec![Fault::Cut(half), Fault::IgnoreRange], true),
        (vec![Fault::Cut(half), Fault::WrongRange], true),
        (vec![Fault::Cut(half), Fault::OtherTag], true),
        (vec![Fault::Cut(half), Fault::WrongPlace], true),
        (vec![Fault::Cut(half), Fault::Instead(noise(SIZE, 12))], true),
        (vec![Fault::WrongBytes], false),
        (vec![Fault::Instead(noise(SIZE + 5_000_000, 13))], false),
        (vec![Fault::Instead(noise(half, 14)); 9], false),
        (vec![Fault::status(404)], false),
        (vec![Fault::status(500); 9], false),
        (vec![Fault::Hangup; 25], false),
        (vec![Fault::Stall(0); 5], false),
    ] {
        let served = Served::new();
        let store = served.world.store();
        served.fail(faults.clone());
        let result = served.fetch(&store, FetchOptions::default());
        assert_eq!(result.is_ok(), comes, "{faults:?}: {result:?}");
        if comes {
            served.is_whole(&store);
            continue;
        }
        assert!(!store.has_blob(&served.blob.digest), "{faults:?}");
        // The faults are used up, or the server has come to its senses.
        let again = (0..3).find_map(|_| served.fetch(&store, FetchOptions::default()).ok());
        assert!(again.is_some(), "{faults:?}");
        served.is_whole(&store);
    }
}

#[test]
fn what_came_is_kept_across_processes() {
    let served = Served::new();
    let store = served.world.store();
    let options = FetchOptions { most: Some(SIZE as u64 / 2), ..FetchOptions::default() };
    let error = served.fetch(&store, options).unwrap_err();
    assert!(matches!(error.cause, Cause::Budget { .. }) && error.is_passing() && error.class() == Class::Network);
    assert!(error.kept >= SIZE as u64 / 2, "{error}");
    drop(store);
    let before = served.world.server.sent();
    let store = served.world.store();
    served.fetch(&store, FetchOptions::default()).unwrap();
    served.is_whole(&store);
    let twice = (served.world.server.sent() - before).saturating_sub(SIZE as u64 - error.kept);
    assert!(twice <= 1 << 20, "{twice} bytes came twice");
    // And after a power cut no more than what came since the last checkpoint.
    const { assert!(CHECKPOINT <= 1 << 20) }
}

#[test]
fn the_error_says_what_is_kept() {
    let served = Served::new();
    let store = served.world.store();
    served.fail([vec![Fault::Cut(1 << 20)], vec![Fault::status(500); 9]].concat());
    let error = served.fetch(&store, FetchOptions::default()).unwrap_err();
    assert!(error.kept >= (1 << 20) - (64 << 10), "{}", error.kept);
    assert!(error.to_string().contains(&format!("{} of {SIZE} bytes are kept", error.kept)), "{error}");
    assert_eq!(store.partials().unwrap()[0].here, error.kept);
}

#[test]
fn several_come_at_once_and_each_once() {
    let world = World::new();
    let store = world.store();
    let blobs: Vec<Vec<u8>> = (0..12).map(|seed| noise(200_000, seed * 2 + 1)).collect();
    let mut wanted = Vec::new();
    for bytes in &blobs {
        world.registry.put_blob(device::REPOSITORY, bytes.clone());
        let blob = Descriptor::new("", Digest::of(bytes), bytes.len() as u64);
        wanted.extend([Wanted::new(blob.clone()), Wanted::new(blob)]);
    }
    let reference = format!("docker://{}", world.reference("x"));
    let source = umiak_registry::open(&reference.parse().unwrap(), &sources().context).unwrap();
    let wanted: Vec<(Wanted, &dyn Source)> = wanted.into_iter().map(|blob| (blob, source.as_ref())).collect();
    let options = FetchOptions { parallel: NonZeroUsize::new(5).unwrap(), most: None };
    let fetch = Fetch::new(&store, options, &Silently);
    fetch.all(&wanted).unwrap();
    assert!(blobs.iter().all(|bytes| store.has_blob(&Digest::of(bytes))));
    assert!(blobs.iter().all(|bytes| world.server.count(&world.blob_path(&Digest::of(bytes))) == 1));
    assert_eq!(fetch.came(), 12 * 200_000);
}

/// Time passes only while somebody waits.
#[derive(Default)]
struct Waiting(Mutex<Duration>);

impl Clock for Waiting {
    fn now(&self) -> Duration {
        *self.0.lock().unwrap()
    }
    fn pause(&self, time: Duration) {
        *self.0.lock().unwrap() += time;
    }
}

#[test]
fn bytes_come_at_the_rate_that_is_set() {
    let served = Served::new();
    let store = served.world.store();
    let clock = Arc::new(Waiting::default());
    let mut sources = sources();
    sources.context.registry.flow = Arc::new(Flow::default().limited(512 << 10, clock.clone()));
    let reference = format!("docker://{}", served.world.reference("x"));
    let source = umiak_registry::open(&reference.parse().unwrap(), &sources.context).unwrap();
    let fetch = Fetch::new(&store, FetchOptions::default(), &Silently);
    fetch.one(&Wanted::new(served.blob.clone()), source.as_ref()).unwrap();
    served.is_whole(&store);
    let seconds = clock.now().as_secs_f64();
    assert!((5.0..9.0).contains(&seconds), "3 MiB at 512 KiB a second took {seconds} s");
}

#[test]
fn layers_are_made_of_blobs_in_any_compression() {
    let world = World::new();
    let store = world.store();
    let tar = device::tar(&[("file", &noise(100_000, 3))]);
    let diff_id = Digest::of(&tar);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &tar).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::stream::encode_all(&tar[..], 3).unwrap();
    for blob in [tar.clone(), gzip, zstd] {
        store.put_blob(&Digest::of(&blob), &blob).unwrap();
        let source = StoredBlob::new(&store, Digest::of(&blob), Limits::default());
        let options = LayerOptions::default();
        store.replace_layer(&diff_id, &source, &Keep::Whole, &options, &Silently).unwrap();
        let mut again = Vec::new();
        std::io::Read::read_to_end(&mut store.layer_reader(&diff_id, &Limits::default()).unwrap(), &mut again).unwrap();
        assert_eq!(again, tar);
    }
}

#[test]
fn a_layer_that_is_not_what_the_config_says_is_refused() {
    let world = World::new();
    let (sources, store) = (sources(), world.store());
    let wrong = SampleLayer { diff_id: Digest::of(b"another"), ..layer("a", b"one") };
    world.publish("stable", &image(vec![wrong]));
    let target = sources.resolve(&store, &world.asked(&world.reference("stable")), &Silently).unwrap();
    let planned = sources.plan(&store, &target, &umiak_agent::Occasion::default(), &Silently).unwrap();
    let space = store.reserve(planned.reserve).unwrap();
    let error = sources.fetch(&store, &target, &planned, &space, &Silently).unwrap_err();
    assert_eq!(error.class, Class::Corrupt, "{error}");
    assert!(store.layer_list().unwrap().is_empty());
}
