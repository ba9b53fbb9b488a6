//! What an observer is told while a registry is talked to, and how it stops that.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use common::failing::setting;
use common::remote::path;
use common::watch::Watch;
use common::{assert_layers, source};
use umiak_registry::{ErrorKind, fetch_all};
use umiak_spec::{Cancelled, Observer};
use umiak_testkit::http::Fault;

#[test]
fn progress_adds_up_whatever_happens() {
    let faults = [
        vec![],
        vec![Fault::Cut(100_000)],
        vec![Fault::Cut(100_000), Fault::IgnoreRange],
        vec![Fault::Cut(100_000), Fault::WrongRange],
        vec![Fault::status(503), Fault::Cut(0), Fault::Stall(300_000)],
    ];
    for faults in faults {
        let setting = setting();
        setting.fail(faults.clone());
        let source = source(&setting.fake.reference(), &setting.context).unwrap();
        let found = source.resolve(&[]).unwrap();
        let sums = Watch::until(u64::MAX);
        fetch_all(source.as_ref(), &found.layers, 2, &sums).unwrap();
        let expected = sums.expected.into_inner();
        assert_eq!(expected, sums.done.into_inner(), "{faults:?}");
        assert!(expected >= found.layers.iter().map(|layer| layer.size).sum());
    }
}

/// Remembers what was announced before the first byte came.
struct Opening {
    sums: Watch,
    announced_first: Mutex<Option<u64>>,
}

impl Opening {
    fn new() -> Self {
        Self { sums: Watch::until(u64::MAX), announced_first: Mutex::new(None) }
    }
}

impl Observer for Opening {
    fn expect(&self, phase: &'static str, bytes: u64) {
        self.sums.expect(phase, bytes);
    }
    fn advance(&self, phase: &'static str, bytes: u64) {
        let announced = self.sums.expected.load(Ordering::SeqCst);
        self.announced_first.lock().unwrap().get_or_insert(announced);
        self.sums.advance(phase, bytes);
    }
    fn note(&self, _: &str) {}
    fn check(&self) -> Result<(), Cancelled> {
        Ok(())
    }
}

#[test]
fn the_total_is_known_before_the_first_byte() {
    let setting = setting();
    let second = path(&setting.blobs[1]);
    let source = source(&setting.fake.reference(), &setting.context).unwrap();
    let found = source.resolve(&[]).unwrap();
    let opening = Opening::new();
    let layers = [found.layers.clone(), found.layers.clone()].concat();
    fetch_all(source.as_ref(), &layers, 1, &opening).unwrap();
    let total: u64 = found.layers.iter().map(|layer| layer.size).sum();
    assert_eq!(opening.announced_first.into_inner().unwrap(), Some(total));
    assert_eq!(opening.sums.expected.into_inner(), total, "a layer that is there twice is fetched once");
    assert_eq!(opening.sums.done.into_inner(), total);
    assert_eq!(setting.fake.starts(&second), [0]);

    let nothing = Opening::new();
    fetch_all(source.as_ref(), &layers, 2, &nothing).unwrap();
    assert_eq!(nothing.sums.expected.into_inner(), 0, "what is kept is not announced");
}

#[test]
fn waiting_for_a_server_is_cancelled() {
    let mut setting = setting();
    setting.context.registry.pause = |_| panic!("it waited though it was cancelled");
    let source = source(&setting.fake.reference(), &setting.context).unwrap();
    let found = source.resolve(&[]).unwrap();
    setting.fail([Fault::Cut(200_000), Fault::slow_down(60)]);
    let error = source.fetch(&found.layers[0], &Watch::until(100_001)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

#[test]
fn a_cancelled_fetch_ends_and_is_resumed_later() {
    let setting = setting();
    let source = source(&setting.fake.reference(), &setting.context).unwrap();
    let found = source.resolve(&[]).unwrap();
    let error = source.fetch(&found.layers[0], &Watch::until(100_001)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_layers(source.as_ref(), &found, &setting.sample);
    let starts = setting.starts();
    assert!(starts.len() == 2 && starts[1] > 100_000, "{starts:?}");
    drop(setting.directory);
}
