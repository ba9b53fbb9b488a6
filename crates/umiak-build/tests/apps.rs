//! What `add`, `update` and `install` leave behind, judged by our own squashfs reader and overlay model.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod common;

use std::fs;

use common::{Device, releases, squashfs};
use umiak_build::{BuildError, Outcome, UpdateMode, UpdateRequest};
use umiak_spec::{Cancelled, Observer, Silent};
use umiak_tree::{apply, difference};

const ROOT: &str = "app/root.squashfs";
const OVERLAY: &str = "app/root.ovl.squashfs";

#[test]
fn a_new_app_has_all_files_and_nothing_else() {
    let device = Device::new();
    let (base, _) = releases(1, 60, 0);
    let image = device.image("one", &[&base]);
    let report = device.add("app", &image, None).unwrap();
    assert_eq!(report.outcome, Outcome::Root);
    let mut names: Vec<_> =
        fs::read_dir(device.repository().join("app")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let expected = ["lxc.container.conf", "root.squashfs", "root.squashfs.docker-digest", "run.json", "src.json"];
    assert_eq!(names, expected);
    assert_eq!(device.text("app/root.squashfs.docker-digest"), report.image);
    assert!(device.text("app/src.json").contains(&report.image));
    assert!(matches!(device.add("app", &image, None), Err(BuildError::Exists(name)) if name == "app"));
}

#[test]
fn base_and_patch_together_are_what_a_new_base_is() {
    for seed in 0..25 {
        let device = Device::new();
        let (base, target) = releases(seed, 70, 25);
        let (one, two) = (device.image("one", &[&base]), device.image("two", &[&target]));
        device.add("app", &one, None).unwrap();
        let before = device.read(ROOT).unwrap();
        let report = device.update("app", &two, UpdateMode::Patch).unwrap();
        if report.outcome == Outcome::Unchanged {
            continue;
        }
        assert_eq!(device.read(ROOT).unwrap(), before, "a patch leaves the base alone");
        let at = |name: &str| device.repository().join(name);
        let merged = apply(&squashfs(&at(ROOT)), &squashfs(&at(OVERLAY))).unwrap();

        device.add("fresh", &two, None).unwrap();
        let expected = squashfs(&at("fresh/root.squashfs"));
        assert_eq!(difference(&merged, &expected), None, "seed {seed}");

        device.update("app", &two, UpdateMode::NewBase).unwrap();
        assert_eq!(device.read(ROOT), device.read("fresh/root.squashfs"), "the same with and without a base at hand");
        assert_eq!(device.read(OVERLAY), None);
        assert_eq!(device.read("app/root.ovl.squashfs.docker-digest"), None);
    }
}

#[test]
fn a_second_patch_is_made_against_the_base_again() {
    let device = Device::new();
    let (first, second) = releases(3, 60, 20);
    let (_, third) = releases(3, 60, 40);
    let images = [&first, &second, &third].map(|tree| device.image(&format!("{tree:p}"), &[tree]));
    device.add("app", &images[0], None).unwrap();
    device.update("app", &images[1], UpdateMode::Patch).unwrap();
    // Without a word, an app that has a patch gets another.
    assert_eq!(device.update("app", &images[2], UpdateMode::AsBefore).unwrap().outcome, Outcome::Patch);
    let at = |name: &str| squashfs(&device.repository().join(name));
    device.add("fresh", &images[2], None).unwrap();
    assert_eq!(difference(&apply(&at(ROOT), &at(OVERLAY)).unwrap(), &at("fresh/root.squashfs")), None);
    // Back at the base's own image there is nothing to patch.
    assert_eq!(device.update("app", &images[0], UpdateMode::Patch).unwrap().outcome, Outcome::PatchDropped);
    assert_eq!(device.read(OVERLAY), None);
    assert!(!device.text("app/run.json").contains("root.ovl.squashfs"));
}

#[test]
fn nothing_new_is_nothing_done() {
    let device = Device::new();
    let (base, target) = releases(4, 50, 20);
    let (one, two) = (device.image("one", &[&base]), device.image("two", &[&target]));
    device.add("app", &one, None).unwrap();
    device.update("app", &two, UpdateMode::Patch).unwrap();
    let before = device.everything();
    for mode in [UpdateMode::Patch, UpdateMode::AsBefore] {
        assert_eq!(device.update("app", &two, mode).unwrap().outcome, Outcome::Unchanged);
    }
    let priced = UpdateRequest { from: Some(one), mode: UpdateMode::Patch, dry_run: true, ..UpdateRequest::default() };
    device.work(&Silent, |workshop| workshop.update("app", &priced)).unwrap();
    assert_eq!(device.everything(), before);
}

#[test]
fn apps_that_extend_a_base_follow_it() {
    let device = Device::new();
    let (base, newer) = releases(5, 60, 20);
    let (_, added) = releases(55, 30, 0);
    let images =
        [device.image("base", &[&base]), device.image("newer", &[&newer]), device.image("extension", &[&base, &added])];
    device.add("base", &images[0], None).unwrap();
    let report = device.add("hello", &images[2], Some("base")).unwrap();
    assert_eq!(report.outcome, Outcome::Extension);
    assert_eq!(device.read("hello/root.squashfs"), None, "an extension has no root of its own");
    assert!(device.text("hello/run.json").contains("\"root-volume\": \"root.ovl.squashfs\""));

    let report = device.update("base", &images[1], UpdateMode::NewBase).unwrap();
    assert_eq!(report.dependents.len(), 1);
    assert_eq!(report.dependents[0].outcome, Outcome::Extension);
    device.add("alone", &images[2], None).unwrap();
    let at = |name: &str| squashfs(&device.repository().join(name));
    let merged = apply(&at("base/root.squashfs"), &at("hello/root.ovl.squashfs")).unwrap();
    assert_eq!(difference(&merged, &at("alone/root.squashfs")), None);
    assert!(device.text("hello/src.json").contains(&report.image), "it names the base's new digest");
}

#[test]
fn an_extension_that_was_left_behind_is_noticed() {
    let device = Device::new();
    let (base, newer) = releases(12, 60, 20);
    let (_, added) = releases(56, 30, 0);
    let (one, two) = (device.image("base", &[&base]), device.image("newer", &[&newer]));
    let extension = device.image("extension", &[&base, &added]);
    device.add("base", &one, None).unwrap();
    device.add("hello", &extension, Some("base")).unwrap();
    let at = |name: &str| device.repository().join(name);
    for catch_up in 0..2 {
        // As after a power cut between the two exchanges: the base is new, what extends it is not.
        fs::rename(at("hello"), device.path("aside")).unwrap();
        device.update("base", if catch_up == 0 { &two } else { &one }, UpdateMode::NewBase).unwrap();
        fs::rename(device.path("aside"), at("hello")).unwrap();
        let report = match catch_up {
            0 => device.update("hello", &extension, UpdateMode::AsBefore),
            _ => device.work(&Silent, |workshop| workshop.install("hello")),
        };
        assert_eq!(report.unwrap().outcome, Outcome::Extension);
        let merged = apply(&squashfs(&at("base/root.squashfs")), &squashfs(&at("hello/root.ovl.squashfs"))).unwrap();
        if catch_up == 0 {
            device.add("alone", &extension, None).unwrap();
        }
        assert_eq!(difference(&merged, &squashfs(&at("alone/root.squashfs"))), None);
    }
    assert_eq!(device.update("hello", &extension, UpdateMode::AsBefore).unwrap().outcome, Outcome::Unchanged);
}

#[test]
fn install_makes_what_is_missing_and_only_that() {
    let device = Device::new();
    let (base, target) = releases(6, 50, 20);
    let (one, two) = (device.image("one", &[&base]), device.image("two", &[&target]));
    device.add("app", &one, None).unwrap();
    device.update("app", &two, UpdateMode::Patch).unwrap();
    let before = device.everything();
    let install = || device.work(&Silent, |workshop| workshop.install("app")).unwrap();
    assert_eq!(install().outcome, Outcome::Documents);
    assert_eq!(device.everything(), before);
    fs::remove_file(device.repository().join("app/run.json")).unwrap();
    assert_eq!(install().outcome, Outcome::Documents);
    assert_eq!(device.everything(), before);
    // The tags have moved on, but src.json pins digests; here the layout still has both images.
    copy_blobs(&device, "one", "two");
    fs::remove_file(device.repository().join(OVERLAY)).unwrap();
    assert_eq!(install().outcome, Outcome::Patch);
    assert_eq!(device.everything(), before);
}

/// Gives one layout the blobs of another, so that digests of both are found in it.
fn copy_blobs(device: &Device, from: &str, to: &str) {
    for entry in fs::read_dir(device.path(from).join("blobs/sha256")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, device.path(to).join("blobs/sha256").join(path.file_name().unwrap())).unwrap();
    }
}

/// Cancels at the `n`th question.
struct Impatient(std::sync::atomic::AtomicUsize);

impl Observer for Impatient {
    fn expect(&self, _: &'static str, _: u64) {}
    fn advance(&self, _: &'static str, _: u64) {}
    fn note(&self, _: &str) {}
    fn check(&self) -> Result<(), Cancelled> {
        let left =
            self.0.fetch_update(std::sync::atomic::Ordering::SeqCst, std::sync::atomic::Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        left.map(drop).map_err(|_| Cancelled)
    }
}

#[test]
fn cancelled_anywhere_the_app_is_as_it_was() {
    let device = Device::new();
    let (base, target) = releases(7, 40, 20);
    let (one, two) = (device.image("one", &[&base]), device.image("two", &[&target]));
    device.add("app", &one, None).unwrap();
    let before = device.everything();
    let request = UpdateRequest { from: Some(two), mode: UpdateMode::Patch, ..UpdateRequest::default() };
    let mut cancelled = 0;
    for questions in 0.. {
        let observer = Impatient(questions.into());
        match device.work(&observer, |workshop| workshop.update("app", &request)) {
            Err(BuildError::Cancelled(_)) => assert_eq!(device.everything(), before, "after {questions} questions"),
            Err(other) => panic!("after {questions} questions: {other}"),
            Ok(_) => break,
        }
        cancelled += 1;
    }
    assert!(cancelled > 3, "only {cancelled} places to stop at");
    assert!(device.read(OVERLAY).is_some());
}

#[test]
fn a_damaged_layer_is_refused_by_name_and_changes_nothing() {
    let device = Device::new();
    let (base, target) = releases(8, 40, 20);
    let (one, two) = (device.image("one", &[&base]), device.image("two", &[&target]));
    device.add("app", &one, None).unwrap();
    let before = device.everything();
    let blobs = fs::read_dir(device.path("two/blobs/sha256")).unwrap().map(|entry| entry.unwrap().path());
    let layer = blobs.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(&layer).unwrap();
    for flip in [bytes.len() / 3, bytes.len() - 1] {
        bytes[flip] ^= 1;
        fs::write(&layer, &bytes).unwrap();
        let error = device.update("app", &two, UpdateMode::Patch).unwrap_err();
        let name = layer.file_name().unwrap().to_str().unwrap();
        assert!(error.to_string().contains(name), "{error}");
        assert_eq!(device.everything(), before);
        bytes[flip] ^= 1;
    }
    bytes.truncate(bytes.len() / 2);
    fs::write(&layer, &bytes).unwrap();
    assert!(device.update("app", &two, UpdateMode::Patch).is_err());
    assert_eq!(device.everything(), before);
}

#[test]
fn threads_do_not_change_the_bytes() {
    let (base, _) = releases(9, 80, 0);
    let roots: Vec<_> = [1, 2, 4]
        .map(|threads| {
            let mut device = Device::new();
            device.threads = threads;
            let image = device.image("one", &[&base]);
            device.add("app", &image, None).unwrap();
            device.read(ROOT).unwrap()
        })
        .into();
    assert!(roots.windows(2).all(|pair| pair[0] == pair[1]));
}
