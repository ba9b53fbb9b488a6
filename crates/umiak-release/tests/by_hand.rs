//! What people do by hand: files that go along come from `pvpkg/`; what is changed below `releases/` is made again and
//! told, what was put there is refused and stays.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking")]

mod common;

use std::fs;

use common::{How, Place, SIX};
use umiak_release::{Arch, Built, DeltaState, Outcome, ReleaseError};
use umiak_repository::{AddOptions, Repository, package};
use umiak_spec::{Limits, Silent};

const PACKAGE: &str = "releases/pvwebstatus-v0.0.1-0-g7ab223a.amd64.tgz";

/// A project for one platform.
fn project() -> Place {
    let place = Place::new();
    place.release(&SIX[..1], 1);
    place.init(&format!("{}:master", place.repository()), &SIX[..1], false).unwrap();
    place
}

fn built(place: &Place) -> Result<Built, ReleaseError> {
    place.build(&How::default()).unwrap().remove(0).result
}

fn made(place: &Place) -> Vec<String> {
    let built = built(place).unwrap();
    assert_eq!(built.outcome, Outcome::Made);
    built.replaced
}

fn is_unchanged(place: &Place) -> bool {
    built(place).unwrap().outcome == Outcome::Unchanged
}

/// What the package holds, by name.
fn held(place: &Place) -> Vec<String> {
    let contents = package::verify(&place.root().join(PACKAGE), &Limits::default(), &Silent).unwrap();
    contents.state.entries().keys().map(ToString::to_string).collect()
}

fn bytes(place: &Place) -> Vec<u8> {
    fs::read(place.root().join(PACKAGE)).unwrap()
}

/// Records in the device directory of the package what is there, as `umiak add` and `umiak commit` do, or pvr.
fn commit_by_hand(place: &Place, files: &[&str]) {
    let repository = Repository::open(&place.project().release(Arch::named("amd64").unwrap())).unwrap();
    let files: Vec<String> = files.iter().map(ToString::to_string).collect();
    repository.add(&files, AddOptions::default(), &Silent).unwrap();
    repository.commit("by hand", None, &Silent).unwrap();
}

#[test]
fn what_is_otherwise_is_made_again_and_told() {
    let place = project();
    assert_eq!(made(&place), [""; 0]);
    let before = bytes(&place);
    place.write("releases/amd64/pvwebstatus/run.json", "{}");
    fs::remove_file(place.root().join("releases/amd64/pvwebstatus/root.squashfs")).unwrap();
    let dry = place.build(&How { dry_run: true, ..How::default() }).unwrap().remove(0).result.unwrap();
    let told = ["pvwebstatus/root.squashfs", "pvwebstatus/run.json"];
    assert_eq!((dry.outcome, dry.replaced), (Outcome::Planned, told.map(str::to_owned).to_vec()));
    assert_eq!(made(&place), told);
    assert!(bytes(&place) == before);
    assert!(is_unchanged(&place));
    // What was committed looks clean, and is otherwise all the same.
    place.write("releases/amd64/pvwebstatus/run.json", r#"{"by": "hand"}"#);
    commit_by_hand(&place, &[]);
    assert_eq!(made(&place), ["pvwebstatus/run.json"]);
    assert!(bytes(&place) == before);
    // Nobody goes by what a changed source document says of the image beside it.
    let document = place.read("releases/amd64/pvwebstatus/src.json");
    place.write("releases/amd64/pvwebstatus/src.json", &document.replace("docker_tag\": \"", "docker_tag\": \"x"));
    place.write("releases/amd64/pvwebstatus/root.squashfs", "something else");
    commit_by_hand(&place, &[]);
    assert_eq!(made(&place), ["pvwebstatus/root.squashfs", "pvwebstatus/src.json"]);
    assert!(bytes(&place) == before);
    fs::remove_file(place.root().join("releases/amd64/_sigs/pvwebstatus.json")).unwrap();
    commit_by_hand(&place, &[]);
    assert_eq!(made(&place), ["_sigs/pvwebstatus.json"]);
    assert!(bytes(&place) == before && is_unchanged(&place));
}

#[test]
fn what_no_build_made_is_refused_and_stays() {
    let files = ["pvwebstatus/mdev.json", "pvwebstatus/a/b.txt", "_config/pvwebstatus/etc/motd", "_sigs/team.json"];
    for committed in [false, true] {
        for file in files {
            let place = project();
            built(&place).unwrap();
            let before = bytes(&place);
            let path = format!("releases/amd64/{file}");
            place.write(&path, "{}");
            if committed {
                commit_by_hand(&place, &[file]);
            }
            for dry_run in [true, false] {
                let line = place.build(&How { dry_run, ..How::default() }).unwrap().remove(0);
                let error = line.result.unwrap_err();
                assert!(matches!(&error, ReleaseError::Foreign { files, .. } if *files == [file]), "{error}");
            }
            // Nor is it lost when there is another reason to build.
            place.write("pvpkg.json", r#"{"name": "pvwebstatus", "version": "v0.0.2"}"#);
            assert!(matches!(built(&place), Err(ReleaseError::Foreign { .. })), "{file}");
            assert_eq!(place.read(&path), "{}");
            place.write("pvpkg.json", r#"{"name": "pvwebstatus", "version": "v0.0.1"}"#);
            fs::remove_file(place.root().join(&path)).unwrap();
            assert_eq!(built(&place).unwrap().outcome, if committed { Outcome::Made } else { Outcome::Unchanged });
            assert!(bytes(&place) == before, "{file}");
        }
    }
}

#[test]
fn what_has_no_name_in_utf_8_or_is_no_file_stays_as_well() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    let place = project();
    built(&place).unwrap();
    let app = place.root().join("releases/amd64/pvwebstatus");
    let refused = |name: &str| {
        let error = built(&place).unwrap_err();
        assert!(matches!(&error, ReleaseError::Foreign { files, .. } if *files == [name]), "{error}");
    };
    let odd = app.join(OsStr::from_bytes(b"notes-\xff"));
    fs::write(&odd, "mine").unwrap();
    refused("pvwebstatus/notes-\u{fffd}");
    assert_eq!(fs::read_to_string(&odd).unwrap(), "mine");
    fs::remove_file(&odd).unwrap();
    std::os::unix::fs::symlink(place.root(), app.join("link")).unwrap();
    refused("pvwebstatus/link");
    fs::remove_file(app.join("link")).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(app.join("socket")).unwrap();
    refused("pvwebstatus/socket");
    drop(socket);
    fs::remove_file(app.join("socket")).unwrap();
    // A directory of a build that leads elsewhere would be written through.
    let moved = place.root().join("elsewhere");
    fs::rename(&app, &moved).unwrap();
    std::os::unix::fs::symlink(&moved, &app).unwrap();
    refused("pvwebstatus");
    fs::remove_file(&app).unwrap();
    fs::rename(&moved, &app).unwrap();
    assert!(is_unchanged(&place));
}

#[test]
fn what_lies_beside_is_nobody_s_business() {
    let place = project();
    built(&place).unwrap();
    place.write("releases/amd64/notes.txt", "mine");
    place.write("releases/amd64/other/run.json", "{}");
    place.write("releases/amd64/_config/other/etc/motd", "mine");
    assert!(is_unchanged(&place));
    commit_by_hand(&place, &["notes.txt", "other", "_config"]);
    assert!(is_unchanged(&place));
    place.release(&SIX[..1], 2);
    assert_eq!(made(&place), [""; 0]);
    assert!(held(&place).iter().all(|file| file.contains("pvwebstatus")));
    assert_eq!(place.read("releases/amd64/other/run.json"), "{}");
}

#[test]
fn files_beside_the_source_document_go_along() {
    let place = project();
    built(&place).unwrap();
    let plain = bytes(&place);
    place.write("pvpkg/amd64/pvwebstatus/mdev.json", r#"{"rules": ["tty0 0:5 0660"]}"#);
    place.write("pvpkg/amd64/pvwebstatus/.gitignore", "nothing");
    place.write("pvpkg/amd64/_config/pvwebstatus/etc/motd", "welcome");
    assert_eq!(made(&place), [""; 0]);
    let named = |held: &[String], name: &str| held.iter().any(|file| file == name);
    let with = held(&place);
    assert_eq!(with.len(), 8, "{with:?}");
    assert!(named(&with, "pvwebstatus/mdev.json") && named(&with, "_config/pvwebstatus/etc/motd"));
    assert_eq!(place.read("releases/amd64/_config/pvwebstatus/etc/motd"), "welcome");
    assert!(is_unchanged(&place));
    let both = bytes(&place);
    place.write("pvpkg/amd64/_config/pvwebstatus/etc/motd", "good day");
    assert_eq!(made(&place), [""; 0]);
    assert!(bytes(&place) != both);
    // Elsewhere the same sources are the same bytes.
    let other = place.beside("other");
    other.init(&format!("{}:master", place.repository()), &SIX[..1], false).unwrap();
    for file in ["pvpkg/amd64/pvwebstatus/mdev.json", "pvpkg/amd64/_config/pvwebstatus/etc/motd"] {
        other.write(file, &place.read(file));
    }
    built(&other).unwrap();
    assert!(bytes(&other) == bytes(&place));
    // What does not go along any more is gone.
    fs::remove_dir_all(place.root().join("pvpkg/amd64/_config")).unwrap();
    fs::remove_file(place.root().join("pvpkg/amd64/pvwebstatus/mdev.json")).unwrap();
    assert_eq!(made(&place), [""; 0]);
    assert!(bytes(&place) == plain);
    assert!(!place.root().join("releases/amd64/_config").exists());
}

#[test]
fn what_cannot_go_along_is_named() {
    let place = project();
    let refused = |path: &str| {
        place.write(path, "{}");
        let error = place.build(&How::default()).unwrap_err().to_string();
        assert!(error.contains(path.rsplit_once("/x").map_or(path, |(directory, _)| directory)), "{error}");
        fs::remove_file(place.root().join(path)).unwrap();
    };
    refused("pvpkg/amd64/pvwebstatus/run.json");
    refused("pvpkg/amd64/pvwebstatus/root.squashfs.docker-digest");
    refused("pvpkg/amd64/pvwebstatus/a\u{1}b");
    refused("pvpkg/amd64/_config/nobody/x");
    fs::remove_dir_all(place.root().join("pvpkg/amd64/_config")).unwrap();
    std::os::unix::fs::symlink("/nowhere", place.root().join("pvpkg/amd64/pvwebstatus/link")).unwrap();
    assert!(place.build(&How::default()).unwrap_err().to_string().contains("link"));
}

#[test]
fn an_app_that_is_gone_takes_its_files_along() {
    let place = project();
    place.write("pvpkg/amd64/second/src.json", &place.read("pvpkg/amd64/pvwebstatus/src.json"));
    place.write("pvpkg/amd64/_config/second/etc/motd", "second");
    built(&place).unwrap();
    assert!(held(&place).iter().any(|file| file == "second/run.json"));
    fs::remove_dir_all(place.root().join("pvpkg/amd64/second")).unwrap();
    fs::remove_dir_all(place.root().join("pvpkg/amd64/_config")).unwrap();
    assert_eq!(made(&place), [""; 0]);
    let files = place.tree("releases/amd64");
    assert!(files.iter().all(|file| file.contains("pvwebstatus")), "{files:?}");
    assert!(is_unchanged(&place));
}

#[test]
fn a_tree_of_somebody_else_is_made_anew_and_told() {
    let place = project();
    place.write("releases/amd64/pvwebstatus/run.json", "{}");
    place.write("releases/amd64/_sigs/pvwebstatus.json", "{}");
    assert_eq!(made(&place), ["_sigs/pvwebstatus.json", "pvwebstatus/run.json"]);
    assert!(is_unchanged(&place));
    // One that was stopped in its first run says nothing: its files are its own.
    let place = project();
    place.write("releases/amd64/.pvr/json", r##"{"#spec":"pantavisor-service-system@1"}"##);
    place.write("releases/amd64/pvwebstatus/run.json", "{}");
    place.write("releases/pvwebstatus-v0.0.1-0-g7ab223a.amd64.tgz.new-99", "half");
    place.write("releases/pvwebstatus-v0.0.1-0-g7ab223a.mips.tgz.new-99", "somebody else's");
    assert_eq!(made(&place), [""; 0]);
    let left: Vec<String> = place.tree("releases").into_iter().filter(|name| name.contains(".new-")).collect();
    assert_eq!(left, ["pvwebstatus-v0.0.1-0-g7ab223a.mips.tgz.new-99"]);
}

#[test]
fn of_two_runs_at_once_one_works() {
    let place = project();
    place.write("pvpkg/amd64/pvwebstatus/mdev.json", "{}");
    let outcomes = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| built(&place).unwrap().outcome)).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Made).count(), 1, "{outcomes:?}");
    assert!(is_unchanged(&place));
    // The same of the delta that leads to the next release.
    place.release(&SIX[..1], 2);
    let releases = place.root().join("releases");
    let next = How { build: "0-2-g1234567", from: Some(&releases), ..How::default() };
    let run = || place.build(&next).unwrap().remove(0).result.unwrap().delta.unwrap().state;
    let states = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(states.iter().filter(|state| **state == DeltaState::Made).count(), 1, "{states:?}");
}
