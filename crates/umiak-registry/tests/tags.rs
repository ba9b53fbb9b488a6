//! Tags: listed on any number of pages, deleted alone or with their manifest.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::copying::fill;
use common::{context, image, source};
use umiak_registry::{ErrorKind, delete};
use umiak_spec::Silent;
use umiak_testkit::http::{Files, Manner, Server, Store};
use umiak_testkit::sample;

fn tags(reference: &str, context: &umiak_registry::Context) -> Result<Vec<String>, umiak_registry::Error> {
    source(reference, context)?.tags(&Silent)
}

#[test]
fn all_pages_of_a_registrys_list_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let (server, store) = Store::start(Manner { page: 2, ..Manner::default() }).unwrap();
    let wanted: Vec<String> = ["1", "1.5", "2", "latest", "x"].map(str::to_owned).into();
    wanted.iter().for_each(|tag| fill(&store, &sample::image(&image("linux/amd64", 1, 1000)), tag));
    let name = format!("docker://{}/team/app", server.address());
    assert_eq!(tags(&name, &context).unwrap(), wanted);
    assert_eq!(server.requests().len(), 3);
    let nowhere = tags(&format!("docker://{}/no/where", server.address()), &context).unwrap_err();
    assert_eq!(nowhere.kind(), ErrorKind::NotFound);
}

#[test]
fn a_list_that_goes_on_for_ever_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let server = Server::start(|request| {
        let response = Files::new().answer(request);
        let body = br#"{"tags":["a"]}"#.to_vec();
        umiak_testkit::http::Response { status: 200, body, ..response }
            .with("Link", r#"</v2/x/tags/list?n=1>; rel="next""#)
    })
    .unwrap();
    let error = tags(&format!("docker://{}/x", server.address()), &context).unwrap_err();
    assert!(error.to_string().contains("pages"), "{error}");
    assert!(server.requests().len() <= 1001);
}

#[test]
fn a_tag_is_deleted_alone_and_a_digest_with_all_its_tags() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let (server, store) = Store::start(Manner::default()).unwrap();
    let blobs = sample::image(&image("linux/amd64", 1, 1000));
    ["1", "2", "3"].iter().for_each(|tag| fill(&store, &blobs, tag));
    let name = format!("docker://{}/team/app", server.address());
    let remove = |rest: &str| delete(&format!("{name}{rest}").parse().unwrap(), &context, &Silent);
    remove(":2").unwrap();
    assert_eq!(tags(&name, &context).unwrap(), ["1", "3"]);
    remove(":2").unwrap();
    assert!(store.manifest(&blobs.last().unwrap().digest.to_string()).is_some());
    remove(&format!("@{}", blobs.last().unwrap().digest)).unwrap();
    assert_eq!(tags(&name, &context).unwrap(), [] as [&str; 0]);
    assert_eq!(remove("").unwrap_err().kind(), ErrorKind::Unsupported, "`latest` was never said");
}

#[test]
fn a_registry_that_deletes_no_tag_is_not_asked_for_its_manifest() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let (server, store) = Store::start(Manner { deletes_tags: false, ..Manner::default() }).unwrap();
    let blobs = sample::image(&image("linux/amd64", 1, 1000));
    ["1", "2"].iter().for_each(|tag| fill(&store, &blobs, tag));
    let one = format!("docker://{}/team/app:1", server.address());
    let error = delete(&one.parse().unwrap(), &context, &Silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("single tags (by digest only)"), "{error}");
    assert!(store.manifest("2").is_some());
}

#[test]
fn a_layout_lists_and_loses_tags() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let layout = directory.path().join("layout");
    let blobs = sample::image(&image("linux/amd64", 1, 1000));
    sample::layout(&layout, "1", &blobs).unwrap();
    let name = format!("oci:{}", layout.display());
    common::copying::copy(&name, &format!("{name}:2"), &umiak_registry::Choice::default(), &context).unwrap();
    assert_eq!(tags(&name, &context).unwrap(), ["1", "2"]);
    delete(&format!("{name}:1").parse().unwrap(), &context, &Silent).unwrap();
    assert_eq!(tags(&name, &context).unwrap(), ["2"]);
    let digest = blobs.last().unwrap().digest;
    delete(&format!("{name}@{digest}").parse().unwrap(), &context, &Silent).unwrap();
    assert_eq!(tags(&name, &context).unwrap(), [] as [&str; 0]);
    let nowhere = format!("oci:{}:1", directory.path().join("none").display());
    delete(&nowhere.parse().unwrap(), &context, &Silent).unwrap();
    assert!(!directory.path().join("none").exists());
}
