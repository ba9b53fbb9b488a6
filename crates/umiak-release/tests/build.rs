//! From source documents to packages: the trees of container-ci, once, reproducibly, side by side.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking")]

mod common;

use std::fs;

use common::{How, Place, SIX, layer, sample, shared};
use umiak_release::{Arch, DeltaState, Outcome, ReleaseError};
use umiak_repository::package;
use umiak_spec::{Digest, Limits, Silent};
use umiak_testkit::random::Chance;
use umiak_testkit::sample::{SampleImage, index};

const DIRECTORIES: [&str; 6] = ["amd64", "arm32v6", "arm32v7", "arm64v8", "mips", "riscv64"];

fn ready() -> Place {
    let place = Place::new();
    place.release(&SIX, 1);
    place.init(&format!("{}:master", place.repository()), &SIX, false).unwrap();
    place
}

/// The two trees of the article that describes container-ci, name by name.
#[test]
fn the_trees_are_container_ci_s() {
    let place = ready();
    let sources: Vec<String> = DIRECTORIES.map(|arch| format!("{arch}/pvwebstatus/src.json")).to_vec();
    assert_eq!(place.tree("pvpkg"), sources);
    assert_eq!(place.read("pvpkg.json"), "{\n  \"name\": \"pvwebstatus\",\n  \"version\": \"v0.0.1\"\n}\n");
    let repository = place.repository();
    let document = format!(
        "{{\n  \"#spec\": \"service-manifest-src@1\",\n  \"template\": \"builtin-lxc-docker\",\n  \"args\": {{\n    \
         \"PV_GROUP\": \"system\"\n  }},\n  \"docker_name\": \"{repository}\",\n  \"docker_tag\": \"master\",\n  \
         \"docker_source\": \"remote,local\",\n  \"docker_platform\": \"linux/arm/v6\"\n}}\n"
    );
    assert_eq!(place.read("pvpkg/arm32v6/pvwebstatus/src.json"), document);

    assert_eq!(place.outcomes(&How::default()), [Outcome::Made; 6]);
    let files = [
        "_sigs/pvwebstatus.json",
        "pvwebstatus/lxc.container.conf",
        "pvwebstatus/root.squashfs",
        "pvwebstatus/root.squashfs.docker-digest",
        "pvwebstatus/run.json",
        "pvwebstatus/src.json",
    ];
    let mut releases: Vec<String> =
        DIRECTORIES.iter().flat_map(|arch| files.map(|file| format!("{arch}/{file}"))).collect();
    releases.extend(DIRECTORIES.map(|arch| format!("pvwebstatus-v0.0.1-0-g7ab223a.{arch}.tgz")));
    releases.sort();
    assert_eq!(place.tree("releases"), releases);
}

#[test]
fn a_package_holds_its_platform_s_app_and_nothing_else() {
    let place = ready();
    place.build(&How::default()).unwrap();
    let path = place.root().join("releases/pvwebstatus-v0.0.1-0-g7ab223a.arm32v7.tgz");
    let contents = package::verify(&path, &Limits::default(), &Silent).unwrap();
    assert!(contents.canonical && contents.state_first && contents.ignored.is_empty());
    let keys: Vec<String> = contents.state.entries().keys().map(ToString::to_string).collect();
    assert_eq!(keys[0], "_sigs/pvwebstatus.json");
    assert_eq!(keys.len(), 6, "{keys:?}");
    let source = place.read("releases/arm32v7/pvwebstatus/src.json");
    assert!(source.contains("\"docker_platform\": \"linux/arm/v7\"") && source.contains("\"docker_digest\""));
    // What somebody else puts beside it stays there.
    place.write("releases/arm32v7/notes.txt", "mine");
    place.write("pvpkg.json", r#"{"name": "pvwebstatus", "version": "v0.0.2"}"#);
    place.build(&How::default()).unwrap();
    let path = place.root().join("releases/pvwebstatus-v0.0.2-0-g7ab223a.arm32v7.tgz");
    let again = package::verify(&path, &Limits::default(), &Silent).unwrap();
    assert_eq!(again.state.entries().len(), 6);
    assert_eq!(place.read("releases/arm32v7/notes.txt"), "mine");
}

#[test]
fn the_tag_is_followed_once_and_what_is_shared_is_fetched_once() {
    let place = ready();
    place.build(&How { jobs: 6, ..How::default() }).unwrap();
    assert_eq!(place.count("/v2/web/manifests/master"), 1);
    let digest = Digest::of(&shared().blob);
    assert_eq!(place.count(&format!("/v2/web/blobs/{digest}")), 1);
}

#[test]
fn what_has_not_changed_is_not_made_again() {
    let place = ready();
    place.build(&How::default()).unwrap();
    let before = place.packages();
    let time = |name: &str| fs::metadata(place.root().join("releases").join(name)).unwrap().modified().unwrap();
    let times: Vec<_> = before.iter().map(|(name, _)| time(name)).collect();
    assert_eq!(place.outcomes(&How::default()), [Outcome::Unchanged; 6]);
    assert_eq!(before.iter().map(|(name, _)| time(name)).collect::<Vec<_>>(), times);

    // Whatever is missing or otherwise is made again, and is the same again.
    fs::remove_file(place.root().join("releases").join(&before[0].0)).unwrap();
    fs::write(place.root().join("releases").join(&before[1].0), "damaged").unwrap();
    place.write("releases/arm32v7/pvwebstatus/run.json", "{}");
    fs::remove_dir_all(place.root().join("releases/arm64v8")).unwrap();
    place.write("releases/mips/pvwebstatus/root.squashfs", "damaged");
    let [made, unchanged] = [Outcome::Made, Outcome::Unchanged];
    assert_eq!(place.outcomes(&How::default()), [made, made, made, made, made, unchanged]);
    assert!(place.packages() == before, "the same bytes");
    assert_eq!(place.outcomes(&How::default()), [Outcome::Unchanged; 6]);
}

#[test]
fn what_decides_a_package_makes_another_one() {
    let place = ready();
    place.build(&How::default()).unwrap();
    let amd64 = [Arch::named("amd64").unwrap()];
    let only = How { only: &amd64, ..How::default() };
    assert_eq!(place.outcomes(&only), [Outcome::Unchanged]);
    assert_eq!(place.outcomes(&How { key: Some("b"), ..only.clone() }), [Outcome::Made]);
    assert_eq!(place.outcomes(&How { key: Some("b"), ..only.clone() }), [Outcome::Unchanged]);
    assert_eq!(place.outcomes(&How { key: None, ..only.clone() }), [Outcome::Made]);
    assert!(!place.root().join("releases/amd64/_sigs").exists(), "nobody vouches for it");
    assert_eq!(place.outcomes(&How { build: "0-2-g1234567", ..only.clone() }), [Outcome::Made]);
    let source = place.read("pvpkg/amd64/pvwebstatus/src.json");
    place.write("pvpkg/amd64/pvwebstatus/src.json", &source.replace("system", "app"));
    assert_eq!(place.outcomes(&How { dry_run: true, ..only.clone() }), [Outcome::Planned]);
    assert_eq!(place.outcomes(&only), [Outcome::Made]);
    assert!(place.read("releases/amd64/pvwebstatus/run.json").contains("\"app\""));
    place.release(&SIX, 2);
    assert_eq!(place.outcomes(&only), [Outcome::Made]);
    assert_eq!(place.outcomes(&only), [Outcome::Unchanged]);
}

#[test]
fn the_same_bytes_whatever_the_folder_the_jobs_and_what_was_there() {
    let one = ready();
    one.build(&How { jobs: 1, threads: 1, ..How::default() }).unwrap();
    one.release(&SIX, 2);
    // The second release is made over the first one, whose compressed blocks it takes.
    one.build(&How { jobs: 6, threads: 3, memory: 1, ..How::default() }).unwrap();
    let other = one.beside("somewhere else");
    other.init(&format!("{}:master", one.repository()), &SIX, false).unwrap();
    assert_eq!(other.outcomes(&How::default()), [Outcome::Made; 6]);
    let (one, other) = (one.packages(), other.packages());
    assert_eq!(one.len(), 6);
    assert!(one == other);
}

#[test]
fn one_that_fails_does_not_keep_the_others_from_being_made() {
    let place = Place::new();
    place.release(&SIX[..5], 1);
    place.init(&format!("{}:master", place.repository()), &SIX, false).unwrap();
    let lines = place.build(&How::default()).unwrap();
    assert_eq!(lines.iter().filter(|line| line.result.is_ok()).count(), 5);
    let last = lines.last().unwrap();
    assert_eq!(last.arch.as_str(), "riscv64");
    let error = last.result.as_ref().unwrap_err();
    assert!(matches!(error, ReleaseError::Build(_)), "{error}");
    assert_eq!(place.packages().len(), 5);
    assert!(!place.root().join("releases/riscv64").exists());
    // Five are there already when the sixth can be made.
    place.push("master", &index(&SIX.map(|platform| sample(platform, 1))));
    let outcomes = place.outcomes(&How::default());
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Made).count(), 1);
}

#[test]
fn a_tag_a_platform_works_as_well() {
    let place = Place::new();
    for platform in SIX {
        let arch = Arch::parse(platform).unwrap();
        place.release_alone(platform, &format!("{arch}-master"));
    }
    place.init(&format!("{}:{{arch}}-master", place.repository()), &SIX, false).unwrap();
    assert!(place.read("pvpkg/mips/pvwebstatus/src.json").contains("\"docker_tag\": \"mips-master\""));
    assert_eq!(place.outcomes(&How::default()), [Outcome::Made; 6]);
    // An image that says it is for another platform is not taken for this one.
    place.release_alone("linux/amd64", "mips-master");
    let lines = place.build(&How::default()).unwrap();
    let error = lines[4].result.as_ref().unwrap_err();
    assert!(error.to_string().contains("linux/mips") && error.to_string().contains("linux/amd64"), "{error}");
}

#[test]
fn init_adds_platforms_and_replaces_nothing_unasked() {
    let place = Place::new();
    let image = format!("{}:master", place.repository());
    let report = place.init(&image, &SIX[..2], false).unwrap();
    assert_eq!((report.written.len(), report.kept.len()), (3, 0));
    place.write("pvpkg.json", r#"{"name": "pvwebstatus", "version": "v2"}"#);
    let report = place.init(&image, &SIX[..3], false).unwrap();
    assert_eq!((report.written.len(), report.kept.len()), (1, 2));
    assert!(place.read("pvpkg.json").contains("v2"));

    let other = image.replace("master", "other");
    let error = place.init(&other, &SIX, false).unwrap_err();
    assert!(matches!(&error, ReleaseError::Exists(paths) if paths.len() == 3), "{error}");
    assert!(!place.root().join("pvpkg/riscv64").exists(), "nothing was written");
    place.init(&other, &SIX, true).unwrap();
    assert!(place.read("pvpkg/amd64/pvwebstatus/src.json").contains("other"));
    assert!(matches!(place.init(&image, &[], false), Err(ReleaseError::NoPlatforms)));
    assert!(matches!(place.init(&image, &["linux/vax"], false), Err(ReleaseError::Platform(_))));
}

#[test]
fn source_documents_that_make_no_sense_are_named() {
    let place = ready();
    let refused = |path: &str, content: &str| {
        let before = place.read(path);
        place.write(path, content);
        let error = place.build(&How::default()).unwrap_err().to_string();
        place.write(path, &before);
        error
    };
    let path = "pvpkg/mips/pvwebstatus/src.json";
    assert!(refused(path, "{").contains(path));
    assert!(refused(path, r#"{"rootfs_url": "x"}"#).contains("docker_name"));
    let elsewhere = r#"{"docker_name": "web", "docker_platform": "linux/amd64"}"#;
    assert!(refused(path, elsewhere).contains("linux/amd64"));
    assert!(refused("pvpkg.json", "{}").contains("pvpkg.json"));
    place.write("pvpkg/vax/pvwebstatus/src.json", "{}");
    let error = place.build(&How::default()).unwrap_err();
    assert!(matches!(error, ReleaseError::Directory(ref name) if name == "vax"), "{error}");
    let sparc = Arch::named("s390x").unwrap();
    fs::remove_dir_all(place.root().join("pvpkg/vax")).unwrap();
    let error = place.build(&How { only: &[sparc], ..How::default() }).unwrap_err();
    assert!(error.to_string().contains("s390x"), "{error}");
}

#[test]
fn deltas_lie_beside_the_packages_that_they_lead_to() {
    let place = ready();
    let amd64 = [Arch::named("amd64").unwrap()];
    let only = How { only: &amd64, ..How::default() };
    place.build(&only).unwrap();
    place.release(&SIX, 2);
    let releases = place.root().join("releases");
    let next = How { build: "0-2-g1234567", from: Some(&releases), ..only.clone() };
    let made = |how: &How<'_>| place.build(how).unwrap().remove(0).result.unwrap().delta.unwrap();
    let delta = made(&next);
    assert_eq!(delta.state, DeltaState::Made);
    let name = "pvwebstatus-v0.0.1-0-g7ab223a..v0.0.1-0-2-g1234567.amd64.delta";
    assert_eq!(delta.path, releases.join(name));
    let bytes = fs::read(&delta.path).unwrap();
    assert_eq!(bytes.len() as u64, delta.bytes);
    assert!(bytes.len() < 100 << 10, "the program did not change: {}", bytes.len());
    assert_eq!(made(&next).state, DeltaState::Unchanged);
    fs::remove_file(&delta.path).unwrap();
    assert_eq!(made(&next).state, DeltaState::Made);
    assert!(fs::read(&delta.path).unwrap() == bytes, "the same bytes");
    // A first release has none before it.
    let nothing = place.root().join("nothing");
    fs::create_dir(&nothing).unwrap();
    let lines = place.build(&How { from: Some(&nothing), ..next }).unwrap();
    assert!(lines[0].result.as_ref().unwrap().delta.is_none());
}

#[test]
fn a_delta_that_is_not_worth_it_is_not_tried_again() {
    let place = ready();
    let amd64 = [Arch::named("amd64").unwrap()];
    let only = How { only: &amd64, ..How::default() };
    place.build(&only).unwrap();
    let other = layer(&[("usr/bin/app", Chance::new(99).bytes(200 << 10))]);
    place.push("master", &index(&[SampleImage { platform: "linux/amd64".into(), layers: vec![other] }]));
    let releases = place.root().join("releases");
    let next = How { build: "0-2-g1234567", from: Some(&releases), ..only };
    let built = || place.build(&next).unwrap().remove(0).result.map(|built| (built.outcome, built.delta.unwrap()));
    let (outcome, delta) = built().unwrap();
    assert_eq!((outcome, delta.state), (Outcome::Made, DeltaState::NotWorth));
    assert!(!delta.path.exists());
    // Whoever tried it would read all of what it starts from.
    let base = releases.join(&delta.base);
    let bytes = fs::read(&base).unwrap();
    fs::write(&base, &bytes[..bytes.len() / 2]).unwrap();
    let (outcome, again) = built().unwrap();
    assert_eq!((outcome, again.state, again.bytes), (Outcome::Unchanged, DeltaState::NotWorth, delta.bytes));
    fs::remove_file(releases.join("amd64/.pvr/umiak-release")).unwrap();
    assert!(built().is_err());
}
