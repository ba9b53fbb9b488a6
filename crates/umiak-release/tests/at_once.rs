//! Runs at the same time, and what one that failed or was killed leaves to the next.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking")]

mod common;

use std::fs::{self, File};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use common::{How, Place, SIX};
use umiak_release::{Built, DeltaState, Outcome, ReleaseError};
use umiak_repository::package;
use umiak_spec::{Cancelled, Limits, Observer, Silent};

/// A project for one platform.
fn project() -> Place {
    let place = Place::new();
    place.release(&SIX[..1], 1);
    place.init(&format!("{}:master", place.repository()), &SIX[..1], false).unwrap();
    place
}

fn built(place: &Place, how: &How<'_>) -> Result<Built, ReleaseError> {
    place.build(how)?.remove(0).result
}

/// Lets another run do all of the work as soon as this one waits for the device directory, and gives up after a while.
struct Overtaken<'a> {
    /// The lock that it waits for.
    held: Mutex<Option<File>>,
    other: &'a (dyn Fn() + Sync),
    until: Instant,
}

impl Observer for Overtaken<'_> {
    fn expect(&self, _: &'static str, _: u64) {}
    fn advance(&self, _: &'static str, _: u64) {}
    fn note(&self, _: &str) {
        if let Some(held) = self.held.lock().unwrap().take() {
            drop(held);
            (self.other)();
        }
    }
    fn check(&self) -> Result<(), Cancelled> {
        if Instant::now() < self.until { Ok(()) } else { Err(Cancelled) }
    }
}

#[test]
fn whoever_finds_the_package_made_meanwhile_makes_its_delta_in_little_memory() {
    let place = project();
    built(&place, &How::default()).unwrap();
    place.release(&SIX[..1], 2);
    let releases = place.root().join("releases");
    let next = How { build: "0-2-g1234567", memory: 1 << 30, ..How::default() };
    let held = File::options().write(true).open(releases.join("amd64/.pvr/umiak.lock")).unwrap();
    // Others may look, and nobody may make.
    held.lock_shared().unwrap();
    let other = || assert_eq!(built(&place, &next).unwrap().outcome, Outcome::Made);
    let overtaken =
        Overtaken { held: Mutex::new(Some(held)), other: &other, until: Instant::now() + Duration::from_secs(120) };
    let with_delta = How { from: Some(&releases), ..next.clone() };
    let built = place.build_watched(&with_delta, &overtaken).unwrap().remove(0).result.unwrap();
    assert!(overtaken.held.lock().unwrap().is_none(), "nobody waited");
    assert_eq!((built.outcome, built.delta.unwrap().state), (Outcome::Unchanged, DeltaState::Made));
}

#[test]
fn what_a_build_that_failed_had_brought_is_its_own() {
    for before in [false, true] {
        let place = project();
        if before {
            built(&place, &How::default()).unwrap();
        }
        let (bad, good) = ("pvpkg/amd64/pvwebstatus/mdev.json", "pvpkg/amd64/_config/pvwebstatus/etc/motd");
        place.write(bad, "{ not JSON");
        place.write(good, "welcome");
        assert!(built(&place, &How::default()).is_err());
        let there = |file: &str| place.root().join(file.replace("pvpkg", "releases")).exists();
        assert!(there(bad) && there(good), "what is tested here");
        fs::remove_file(place.root().join(bad)).unwrap();
        fs::remove_file(place.root().join(good)).unwrap();
        let built = built(&place, &How::default()).unwrap();
        assert!(built.outcome == Outcome::Made && !there(bad) && !there(good));
        let told: Vec<_> =
            built.replaced.iter().filter(|file| file.contains("mdev") || file.contains("motd")).collect();
        assert_eq!(told, [""; 0]);
        let contents = package::verify(&built.package, &Limits::default(), &Silent).unwrap();
        assert!(contents.state.get("pvwebstatus/mdev.json").is_none());
        assert_eq!(place.outcomes(&How::default()), [Outcome::Unchanged]);
    }
}

#[test]
fn private_keys_are_refused_by_name_before_anything_is_made() {
    let place = project();
    let key = "pvpkg/amd64/_config/pvwebstatus/etc/ssl/key.pem";
    place.write(key, "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n");
    for dry_run in [true, false] {
        let error = place.build(&How { dry_run, ..How::default() }).unwrap_err();
        assert!(matches!(&error, ReleaseError::PrivateKeys(files) if files[0].ends_with(key)), "{error}");
    }
    assert!(!place.root().join("releases").exists());
    let meant = How { private_keys: true, ..How::default() };
    let made = built(&place, &meant).unwrap();
    let contents = package::verify(&made.package, &Limits::default(), &Silent).unwrap();
    assert!(contents.state.get("_config/pvwebstatus/etc/ssl/key.pem").is_some());
    assert_eq!(place.outcomes(&meant), [Outcome::Unchanged]);
    // Afterwards it is refused all the same.
    assert!(place.build(&How::default()).is_err());
}

#[test]
fn what_a_killed_run_left_of_a_delta_goes_and_one_in_use_stays() {
    let place = project();
    let left = "releases/.pvwebstatus-v0.0.1-1..v0.0.1-2.amd64.delta.umiak";
    let in_use = "releases/.pvwebstatus-v0.0.1-1..v0.0.1-3.amd64.delta.umiak";
    let other = "releases/.pvwebstatus-v0.0.1-1..v0.0.1-2.mips.delta.umiak";
    for file in [left, in_use, other] {
        place.write(file, "half");
    }
    let held = File::open(place.root().join(in_use)).unwrap();
    held.lock().unwrap();
    built(&place, &How::default()).unwrap();
    let there = [left, in_use, other].map(|file| place.root().join(file).exists());
    assert_eq!(there, [false, true, true]);
    drop(held);
    // Whoever makes deltas of what is there already looks as well.
    place.release(&SIX[..1], 2);
    let next = How { build: "0-2-g1234567", ..How::default() };
    built(&place, &next).unwrap();
    place.write(left, "half");
    let releases = place.root().join("releases");
    let built = built(&place, &How { from: Some(&releases), ..next }).unwrap();
    assert_eq!(built.delta.unwrap().state, DeltaState::Made);
    assert!(!place.root().join(left).exists());
}
