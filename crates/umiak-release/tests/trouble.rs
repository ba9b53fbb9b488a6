//! Trouble in the middle of a build: what was made stays, what was not is made by the next run, nothing is half.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{How, Place, SIX, sample};
use umiak_release::{Outcome, ReleaseError};
use umiak_repository::package;
use umiak_spec::{Cancelled, Digest, Limits, Observer, Silent};
use umiak_testkit::http::Fault;

fn ready() -> Place {
    let place = Place::new();
    place.release(&SIX, 1);
    place.init(&format!("{}:master", place.repository()), &SIX, false).unwrap();
    place
}

/// Every package that is there is whole, and nothing in `releases/` is half written.
fn all_whole(place: &Place) -> usize {
    let packages: Vec<String> = place.tree("releases").into_iter().filter(|name| !name.contains('/')).collect();
    for name in &packages {
        assert!(name.ends_with(".tgz"), "{name}");
        package::verify(&place.root().join("releases").join(name), &Limits::default(), &Silent).unwrap();
    }
    packages.len()
}

/// What a build that nothing disturbs makes.
fn undisturbed(place: &Place) -> Vec<(String, Vec<u8>)> {
    let other = place.beside("undisturbed");
    other.init(&format!("{}:master", place.repository()), &SIX, false).unwrap();
    other.build(&How::default()).unwrap();
    other.packages()
}

#[test]
fn a_registry_that_is_cut_off_in_one_platform_is_asked_for_the_rest() {
    let place = ready();
    let layer = &sample("linux/mips", 1).layers[1];
    let path = format!("/v2/web/blobs/{}", Digest::of(&layer.blob));
    // Cut in the middle, and then nobody is let in.
    place.fail(&path, [Fault::Cut(layer.blob.len() / 2), Fault::status(403)]);
    let lines = place.build(&How::default()).unwrap();
    for line in &lines {
        assert_eq!(line.result.is_err(), line.arch.as_str() == "mips", "{:?}", line.result);
    }
    assert_eq!(all_whole(&place), 5);
    let [made, unchanged] = [Outcome::Made, Outcome::Unchanged];
    assert_eq!(place.outcomes(&How::default()), [unchanged, unchanged, unchanged, unchanged, made, unchanged]);
    let last = place.last_range(&path);
    assert!(last.is_some_and(|from| from > 0), "what came before the cut is kept: {last:?}");
    assert!(place.packages() == undisturbed(&place));
}

/// Asks to stop at its turn, counted from the first time that it is asked.
struct StopAt {
    turn: usize,
    asked: AtomicUsize,
}

impl Observer for StopAt {
    fn expect(&self, _: &'static str, _: u64) {}
    fn advance(&self, _: &'static str, _: u64) {}
    fn note(&self, _: &str) {}
    fn check(&self) -> Result<(), Cancelled> {
        if self.asked.fetch_add(1, Ordering::SeqCst) < self.turn { Ok(()) } else { Err(Cancelled) }
    }
}

#[test]
fn whoever_is_stopped_anywhere_leaves_whole_packages_and_the_next_run_goes_on() {
    let place = ready();
    let expected = undisturbed(&place);
    fs::create_dir(place.root().join("releases")).unwrap();
    let (mut turn, mut cut) = (0, 0);
    loop {
        let stopped = StopAt { turn, asked: AtomicUsize::new(0) };
        let result = place.build_watched(&How { jobs: 1, ..How::default() }, &stopped);
        all_whole(&place);
        match result {
            Ok(lines) => {
                assert!(lines.iter().all(|line| line.result.is_ok()));
                break;
            }
            Err(ReleaseError::Cancelled(_)) => cut += 1,
            Err(error) => panic!("{error}"),
        }
        // Each run gets a little further than the one before it.
        turn += 7;
    }
    assert!(cut > 5, "{cut}");
    assert!(place.packages() == expected);
    assert_eq!(place.outcomes(&How::default()), [Outcome::Unchanged; 6]);
}

#[test]
fn where_packages_cannot_go_every_platform_says_so() {
    let place = ready();
    place.build(&How::default()).unwrap();
    fs::remove_dir_all(place.root().join("releases")).unwrap();
    fs::write(place.root().join("releases"), "a file").unwrap();
    let lines = place.build(&How::default()).unwrap();
    assert!(lines.iter().all(|line| matches!(line.result, Err(ReleaseError::Io { .. }))));
    assert_eq!(fs::read_to_string(place.root().join("releases")).unwrap(), "a file");
}

/// A small file system in memory, unmounted when dropped.
struct Small<'a>(&'a Path);

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0).status();
    }
}

fn mount(directory: &Path, options: &str) {
    fs::create_dir_all(directory).unwrap();
    let mounted =
        std::process::Command::new("mount").args(["-o", options, "-t", "tmpfs", "tmpfs"]).arg(directory).status();
    assert!(mounted.unwrap().success());
}

#[test]
#[ignore = "needs: mount, root"]
fn a_full_disk_leaves_what_was_made_and_nothing_half() {
    let place = ready();
    let expected = undisturbed(&place);
    let releases = place.root().join("releases");
    // For the first few of six platforms; each takes the app, its objects and the package: three times 270 KiB.
    mount(&releases, "size=2m");
    let small = Small(&releases);
    let lines = place.build(&How { jobs: 1, ..How::default() }).unwrap();
    let made = lines.iter().filter(|line| line.result.is_ok()).count();
    assert!((1..6).contains(&made), "{made}");
    assert!(all_whole(&place) >= made);
    let full = |error: &ReleaseError| {
        let mut next: Option<&dyn std::error::Error> = Some(error);
        while let Some(error) = next {
            if error.downcast_ref::<std::io::Error>().is_some_and(|error| error.raw_os_error() == Some(28)) {
                return true;
            }
            next = error.source();
        }
        false
    };
    for line in &lines {
        assert!(line.result.as_ref().err().is_none_or(full), "{:?}", line.result);
    }
    let remounted = std::process::Command::new("mount").args(["-o", "remount,size=64m"]).arg(&releases).status();
    assert!(remounted.unwrap().success());
    let lines = place.build(&How::default()).unwrap();
    assert!(lines.iter().all(|line| line.result.is_ok()));
    assert!(place.packages() == expected);
    // Read-only, what is there is seen, and what is not there cannot be made.
    let remounted = std::process::Command::new("mount").args(["-o", "remount,ro"]).arg(&releases).status();
    assert!(remounted.unwrap().success());
    assert_eq!(place.outcomes(&How::default()), [Outcome::Unchanged; 6]);
    let lines = place.build(&How { build: "2", ..How::default() }).unwrap();
    assert!(lines.iter().all(|line| line.result.is_err()));
    assert!(place.packages() == expected);
    drop(small);
}
