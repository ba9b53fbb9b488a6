//! A damaged layer comes again from where it costs least: what else is stored, a delta, the registry; and what is lost is said.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod common;
mod device;
#[path = "device/living.rs"]
mod living;
#[path = "device/releases.rs"]
mod releases;

use std::fs;
use std::path::PathBuf;

use common::{Notes, committed};
use device::noise;
use living::Device;
use releases::tar;
use umiak_agent::Fate;
use umiak_spec::{Digest, Silent};
use umiak_store::Depth;

/// Release 1 with one layer, release 2 with another that is much the same, and the delta between them; both are on the device.
fn updated() -> (Device, Vec<u8>, Vec<u8>) {
    let device = Device::new();
    let file = |number: u64, tail: u64| {
        let bytes = [noise(60_000, number), noise(300, tail)].concat();
        (format!("app/file-{number}"), bytes)
    };
    let base = tar(&[file(1, 5), file(2, 5), file(3, 5)]);
    let target = tar(&[file(1, 5), file(2, 9), file(3, 5), ("etc/own".to_owned(), noise(5000, 4))]);
    device.site.release("1", std::slice::from_ref(&base), true);
    assert!(committed(&device.update("1")));
    let top = device.site.release("2", std::slice::from_ref(&target), true);
    device.site.delta(std::slice::from_ref(&base), std::slice::from_ref(&target), &top, true);
    assert!(committed(&device.update("2")));
    (device, base, target)
}

fn file(device: &Device, layer: &[u8], name: &str) -> PathBuf {
    device.root.join("layers").join(Digest::of(layer).hex()).join(name)
}

/// Some bytes of a file go bad: behind its head, where the first content lies.
fn damage(path: &PathBuf) {
    let mut bytes = fs::read(path).unwrap();
    let at = 100;
    bytes[at..at + 16].iter_mut().for_each(|byte| *byte ^= 0xff);
    fs::write(path, bytes).unwrap();
}

/// Repairs; how many bytes of blobs were sent meanwhile, and what was said.
fn repair(device: &Device) -> (usize, String) {
    let before = device.site.world.server.requests().len();
    let notes = Notes::default();
    let repairs = device.agent().fsck(Depth::Content, true, &notes).unwrap();
    assert!(!repairs.findings.is_empty(), "the damage was seen");
    assert!(repairs.findings.iter().all(|finding| finding.fate == Fate::Repaired), "{repairs:?}");
    assert_eq!(device.store().check(Depth::Content, &Silent).unwrap(), vec![]);
    (device.site.world.server.requests().len() - before, notes.text())
}

fn fetched(device: &Device, blob: &Digest) -> usize {
    device.site.world.server.count(&device.site.world.blob_path(blob))
}

#[test]
fn a_layer_whose_contents_are_elsewhere_needs_no_network() {
    let device = Device::new();
    let files = |names: [&str; 2]| tar(&names.map(|name| (format!("{name}/file"), noise(90_000, name.len() as u64))));
    let layers = [files(["a", "bb"]), files(["cc", "d"])];
    device.site.release("1", &layers, true);
    assert!(committed(&device.update("1")));
    damage(&file(&device, &layers[0], "image.squashfs"));
    let (requests, said) = repair(&device);
    assert_eq!(requests, 0, "{said}");
}

#[test]
fn a_damaged_layer_comes_again_by_the_delta_that_made_it() {
    let (device, base, target) = updated();
    let (part, blob) = (common::layered::delta(&base, &target), releases::pressed(&target));
    let (part, blob) = (Digest::of(&part), Digest::of(&blob));
    let seen = (fetched(&device, &part), fetched(&device, &blob));
    assert_eq!(seen, (1, 0));
    let is_patch = |device: &Device| !device.store().layer_record(&Digest::of(&target)).unwrap().unwrap().is_whole();
    assert!(is_patch(&device));
    for name in ["skeleton.squashfs", "image.squashfs"] {
        damage(&file(&device, &target, name));
        let (_, said) = repair(&device);
        assert!(said.contains("fetched again"), "{said}");
        assert!(is_patch(&device), "it takes no more than before");
    }
    assert_eq!((fetched(&device, &part), fetched(&device, &blob)), (3, 0));
    // The delta is gone: the layer comes whole.
    device.site.world.registry.lose(&part);
    damage(&file(&device, &target, "skeleton.squashfs"));
    repair(&device);
    assert_eq!(fetched(&device, &blob), 1);
}

#[test]
fn a_damaged_base_comes_whole_and_its_patch_holds() {
    let (device, base, target) = updated();
    for name in ["skeleton.squashfs", "image.squashfs"] {
        damage(&file(&device, &base, name));
        repair(&device);
    }
    let mut again = Vec::new();
    let store = device.store();
    std::io::copy(&mut store.layer_reader(&Digest::of(&target), &umiak_spec::Limits::default()).unwrap(), &mut again)
        .unwrap();
    assert!(again == target);
}
