//! Update after update of much the same layers: current and previous together take little more than one, each time, however
//! the layers came; and each can be gone back to.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod common;
mod device;
#[path = "device/living.rs"]
mod living;
#[path = "device/releases.rs"]
mod releases;

use std::io::Read as _;

use common::committed;
use living::Device;
use releases::{Chance, pressed, tar};
use umiak_agent::{Outcome, Silently};
use umiak_spec::{Digest, Limits, Silent};
use umiak_store::Depth;

/// Current and previous in the store against the blobs and unpacked layers of both.
const BAR: f64 = 0.30;

/// Bytes of the layers, and how many there are, as patches for one.
fn layers(device: &Device) -> (u64, usize, usize) {
    let store = device.store();
    let all = store.layer_list().unwrap();
    let records: Vec<_> = all.iter().map(|layer| store.layer_record(layer).unwrap().unwrap()).collect();
    let bytes = records.iter().map(|record| record.image.bytes + record.skeleton.bytes).sum();
    (bytes, records.len(), records.iter().filter(|record| !record.is_whole()).count())
}

/// Everything is whole, and gives back these tars.
fn verify(device: &Device, tars: &[&Vec<u8>]) {
    let store = device.store();
    assert_eq!(store.check(Depth::Content, &Silent).unwrap(), vec![]);
    for tar in tars {
        let mut bytes = Vec::new();
        store.layer_reader(&Digest::of(tar), &Limits::default()).unwrap().read_to_end(&mut bytes).unwrap();
        assert!(bytes == **tar);
    }
}

/// Letters by chance: half of it is squeezed out.
fn letters(chance: &mut Chance, length: usize) -> Vec<u8> {
    (0..length).map(|_| b'a' + u8::try_from(chance.below(16)).unwrap()).collect()
}

/// Releases of two layers: a lower one that changes seldom, and an upper one of which some files change each time.
fn releases(count: usize) -> Vec<Vec<Vec<u8>>> {
    let mut chance = Chance(77);
    let mut upper: Vec<(String, Vec<u8>)> =
        (0..12).map(|number| (format!("app/file-{number}"), letters(&mut chance, 40_000))).collect();
    let mut lower: Vec<(String, Vec<u8>)> =
        (0..6).map(|number| (format!("usr/lib-{number}"), letters(&mut chance, 40_000))).collect();
    let mut all = Vec::new();
    for number in 0..count {
        upper[number % 12].1 = letters(&mut chance, 39_000);
        upper[0].1.truncate(30_000 - number * 100);
        if number == 2 {
            lower[3].1 = letters(&mut chance, 40_000);
        }
        all.push(vec![tar(&lower), tar(&upper)]);
    }
    all
}

fn bar(device: &Device, base: &[Vec<u8>], target: &[Vec<u8>], when: &str) {
    let (bytes, count, patches) = layers(device);
    // What both have peers have once, too.
    let mut distinct: Vec<&Vec<u8>> = base.iter().chain(target).collect();
    distinct.sort();
    distinct.dedup();
    let peers: usize = distinct.iter().map(|tar| tar.len() + pressed(tar).len()).sum();
    #[allow(clippy::cast_precision_loss, reason = "a ratio of small numbers")]
    let ratio = bytes as f64 / peers as f64;
    assert!(ratio <= BAR, "{when}: {bytes} bytes in {count} layers, {patches} of them patches, {ratio:.3}x");
    let whole: usize = target.iter().map(|tar| pressed(tar).len()).sum();
    assert!(bytes < whole as u64 * 3 / 2, "{when}: current and previous take {bytes}, one alone about {whole}");
    verify(device, &distinct);
}

#[test]
fn current_and_previous_take_little_more_than_one_after_every_update() {
    for deltas in [true, false] {
        let device = Device::new();
        let all = releases(5);
        let mut before: Option<&Vec<Vec<u8>>> = None;
        for (number, layers) in all.iter().enumerate() {
            let tag = (number + 1).to_string();
            let top = device.site.release(&tag, layers, true);
            if let Some(before) = before.filter(|_| deltas) {
                device.site.delta(before, layers, &top, true);
            }
            assert!(committed(&device.update(&tag)));
            if let Some(before) = before {
                bar(&device, before, layers, &format!("deltas {deltas}, update {number}"));
            }
            before = Some(layers);
        }
        // The way back starts from patches; and forth again.
        assert!(matches!(device.agent().rollback(None, &Silently).unwrap(), Outcome::Committed { .. }));
        verify(&device, &all[3].iter().chain(&all[4]).collect::<Vec<_>>());
        assert!(matches!(device.agent().rollback(None, &Silently).unwrap(), Outcome::Committed { .. }));
        bar(&device, &all[3], &all[4], "back and forth");
    }
}
