//! Packages judged: everything that is wrong with one is said by name.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{How, Place, SIX};
use umiak_release::{Judge, ReleaseError, Verified, compare};
use umiak_sign::Signers;
use umiak_spec::{Limits, Platform, Silent};

fn ready() -> Place {
    let place = Place::new();
    place.release(&SIX, 1);
    place.init(&format!("{}:master", place.repository()), &SIX, false).unwrap();
    place.build(&How::default()).unwrap();
    place
}

fn package(place: &Place, arch: &str) -> PathBuf {
    place.root().join(format!("releases/pvwebstatus-v0.0.1-0-g7ab223a.{arch}.tgz"))
}

fn any() -> Judge<'static> {
    Judge { signers: None, now: None, strict: false, platform: None, limits: Limits::default(), observer: &Silent }
}

fn judged(path: &Path, platform: Option<&str>) -> Result<Verified, ReleaseError> {
    let platform = platform.map(|text| text.parse::<Platform>().unwrap());
    Judge { platform: platform.as_ref(), ..any() }.verify(path)
}

#[test]
fn a_good_package_says_what_it_is() {
    let place = ready();
    let found = judged(&package(&place, "arm32v6"), Some("linux/arm/v7")).unwrap();
    assert_eq!(found.apps, [("pvwebstatus".to_owned(), Some("linux/arm/v6".parse().unwrap()))]);
    assert_eq!(found.name.unwrap().arch, "arm32v6");
    assert!(found.signed.is_none());
}

#[test]
fn a_package_for_another_platform_is_refused_by_name() {
    let place = ready();
    let error = judged(&package(&place, "arm64v8"), Some("linux/amd64")).unwrap_err().to_string();
    for word in ["arm64v8.tgz", "pvwebstatus", "linux/arm64", "linux/amd64"] {
        assert!(error.contains(word), "{error}");
    }
    let renamed = place.root().join("pvwebstatus-v0.0.1-0-g7ab223a.mips.tgz");
    fs::copy(package(&place, "amd64"), &renamed).unwrap();
    let error = judged(&renamed, None).unwrap_err();
    assert!(matches!(&error, ReleaseError::OtherPlatform { by: "the file's name", .. }), "{error}");
    // Under a name that says nothing it is what it is.
    let plain = place.root().join("web.tgz");
    fs::copy(package(&place, "amd64"), &plain).unwrap();
    assert!(judged(&plain, None).unwrap().name.is_none());
}

#[test]
fn a_package_without_signatures_is_not_signed() {
    let place = ready();
    let path = package(&place, "amd64");
    let signers = Signers::default();
    let error = Judge { signers: Some(&signers), ..any() }.verify(&path).unwrap_err();
    assert!(matches!(&error, ReleaseError::Unsigned(named) if *named == path), "{error}");
}

#[test]
fn differences_are_named_with_their_bytes() {
    let place = ready();
    let one = judged(&package(&place, "amd64"), None).unwrap().contents;
    let other = judged(&package(&place, "mips"), None).unwrap().contents;
    assert_eq!(compare(&one, &one), []);
    let found = compare(&one, &other);
    let paths: Vec<&str> = found.iter().map(|difference| difference.path.as_str()).collect();
    let expected = [
        "_sigs/pvwebstatus.json",
        "pvwebstatus/root.squashfs",
        "pvwebstatus/root.squashfs.docker-digest",
        "pvwebstatus/src.json",
    ];
    assert_eq!(paths, expected);
    assert!(found.iter().all(|difference| difference.base.is_some() && difference.target.is_some()));
    let mut less = other.clone();
    less.state.remove("pvwebstatus/run.json");
    let found = compare(&other, &less);
    assert_eq!((found.len(), found[0].path.as_str(), found[0].target), (1, "pvwebstatus/run.json", None));
    assert_eq!(compare(&less, &other)[0].base, None);
}
