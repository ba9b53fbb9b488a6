//! What is fetched twice: after connections that break anywhere, and after the process is killed.
//!
//! The bytes that the server sends are counted, all of them, also those that never arrived.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::remote::{Fake, path};
use common::{assert_layers, bytes, context, platform, source, tar};
use umiak_registry::fetch_all;
use umiak_spec::Silent;
use umiak_testkit::http::Fault;
use umiak_testkit::random::Chance;
use umiak_testkit::sample::{self, Blob, SampleImage, SampleLayer};

/// The bar: bytes that may come twice.
const BAR: u64 = 1 << 20;

/// Layers that are fetched at once.
const AT_ONCE: usize = 4;

/// An image of so many layers of so many bytes.
fn large(layers: usize, size: usize) -> (SampleImage, Vec<Blob>) {
    let layer = |number| SampleLayer::plain(tar(&[("file", &Chance::new(number).bytes(size))]));
    let sample = SampleImage { platform: "linux/amd64".into(), layers: (0..layers as u64).map(layer).collect() };
    let blobs = sample::image(&sample);
    (sample, blobs)
}

fn size(blobs: &[Blob]) -> u64 {
    blobs.iter().map(|blob| blob.bytes.len() as u64).sum()
}

#[test]
fn a_connection_that_breaks_anywhere_costs_next_to_nothing() {
    let (sample, blobs) = large(1, 3 << 20);
    let mut chance = Chance::new(5);
    let length = blobs[0].bytes.len();
    let ends = [0, 1, length - 1].into_iter();
    let anywhere: Vec<usize> = ends.chain((0..12).map(|_| chance.below(length))).collect();
    for at in anywhere {
        let directory = tempfile::tempdir().unwrap();
        let fake = Fake::start(&blobs);
        fake.files.fail(&path(&blobs[0]), [Fault::Cut(at)]);
        let context = context(directory.path());
        let source = source(&fake.reference(), &context).unwrap();
        let found = source.resolve(&[platform("linux/amd64")]).unwrap();
        assert_layers(source.as_ref(), &found, &sample);
        let again = fake.server.sent() - size(&blobs);
        assert!(again <= BAR, "cut at {at}: {again} bytes came twice");
    }
}

/// Fetches in another process, kills it when `enough` bytes are kept, and fetches the rest here. Returns how many bytes
/// came twice.
fn killed(layers: usize, enough: u64) -> u64 {
    let (sample, blobs) = large(layers, (32 << 20) / layers);
    let directory = tempfile::tempdir().unwrap();
    let fake = Fake::start(&blobs);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["pulling_until_killed", "--exact"])
        .env("UMIAK_TEST_REFERENCE", fake.reference())
        .env("UMIAK_TEST_DIRECTORY", directory.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let place = directory.path().join("cache/blobs/sha256");
    let kept = || {
        let sizes = fs::read_dir(&place).into_iter().flatten().flatten();
        sizes.map(|entry| entry.metadata().map_or(0, |found| found.len())).sum::<u64>()
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while kept() < enough && child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "{} bytes", kept());
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();

    let context = context(directory.path());
    let source = source(&fake.reference(), &context).unwrap();
    let found = source.resolve(&[]).unwrap();
    let fetched = fetch_all(source.as_ref(), &found.layers, AT_ONCE, &Silent).unwrap();
    assert!(fetched.iter().zip(&sample.layers).all(|(blob, layer)| bytes(blob) == layer.blob));
    fake.server.sent().saturating_sub(size(&blobs))
}

#[test]
fn a_process_that_is_killed_costs_little() {
    for enough in [1, 3 << 20, 17 << 20] {
        let again = killed(1, enough);
        eprintln!("one layer, killed at {enough}: {again} bytes came twice");
        assert!(again <= BAR, "killed at {enough}: {again} bytes came twice");
    }
}

#[test]
fn a_process_that_is_killed_while_layers_come_together_costs_little() {
    for enough in [5 << 20, 20 << 20] {
        let again = killed(AT_ONCE, enough);
        eprintln!("{AT_ONCE} layers, killed at {enough}: {again} bytes came twice");
        assert!(again <= BAR, "killed at {enough}: {again} bytes came twice");
    }
}

/// The process that the tests above kill; by itself it does nothing.
#[test]
fn pulling_until_killed() {
    let Ok(reference) = std::env::var("UMIAK_TEST_REFERENCE") else { return };
    let mut context = context(Path::new(&std::env::var_os("UMIAK_TEST_DIRECTORY").unwrap()));
    context.registry.patience = Duration::from_secs(60);
    let source = source(&reference, &context).unwrap();
    let found = source.resolve(&[]).unwrap();
    fetch_all(source.as_ref(), &found.layers, AT_ONCE, &Silent).unwrap();
}
