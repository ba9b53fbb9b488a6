//! The Docker daemon, played by a server on a Unix socket.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::path::Path;

use common::watch::Watch;
use common::{assert_layers, context, image, source, tar};
use umiak_registry::{Context, Error, ErrorKind, Place};
use umiak_spec::Digest;
use umiak_testkit::http::{End, Files, Response, Server};
use umiak_testkit::sample::{self, SampleImage};

fn saved(sample: &SampleImage) -> (Digest, Vec<u8>) {
    let blobs = sample::image(sample);
    let config = &blobs[sample.layers.len()];
    let name = format!("{}.json", config.digest.hex());
    let manifest = format!(r#"[{{"Config":"{name}","RepoTags":["app:1"],"Layers":["a/layer.tar","b/layer.tar"]}}]"#);
    let archive = tar(&[
        (&name, &config.bytes),
        ("a/layer.tar", &sample.layers[0].blob),
        ("b/layer.tar", &sample.layers[1].blob),
        ("manifest.json", manifest.as_bytes()),
    ]);
    (config.digest, archive)
}

/// A daemon that has `app:1`; `end` is how its stream of the image ends.
fn daemon(directory: &Path, digests: &str, end: impl Fn(usize) -> End) -> (Server, Context, SampleImage, Digest) {
    guessing_daemon(directory, digests, end, 0)
}

fn guessing_daemon(
    directory: &Path,
    digests: &str,
    end: impl Fn(usize) -> End,
    guess: isize,
) -> (Server, Context, SampleImage, Digest) {
    let context = context(directory);
    let sample = image("linux/amd64", 9, 20_000);
    let (id, archive) = saved(&sample);
    // What the daemon says of the size is a guess.
    let described =
        format!(r#"{{"Id":"{id}","RepoDigests":{digests},"Size":{}}}"#, archive.len().saturating_add_signed(guess));
    let end = end(archive.len());
    let server = Server::start_unix(&context.docker_socket, move |request| match request.target.as_str() {
        "/images/app:1/json" => Response::new(200, described.clone()),
        path if path == format!("/images/{id}/get") => Response { end, ..Response::new(200, archive.clone()) },
        _ => Response::new(404, r#"{"message":"No such image"}"#),
    })
    .unwrap();
    (server, context, sample, id)
}

#[test]
fn an_image_of_the_daemon_is_streamed_once_and_read() {
    let directory = tempfile::tempdir().unwrap();
    let (server, context, sample, id) = daemon(directory.path(), "[]", |_| End::Whole);
    let source = source("docker-daemon:app:1", &context).unwrap();
    let found = source.resolve(&[]).unwrap();
    assert_eq!(found.reference, id.to_string());
    assert_layers(source.as_ref(), &found, &sample);
    assert_eq!(server.count(&format!("/images/{id}/get")), 1);
}

#[test]
fn an_image_of_the_daemon_is_copied_with_a_manifest_made_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let (_server, context, sample, id) = daemon(directory.path(), "[]", |_| End::Whole);
    let to = format!("oci:{}:1", directory.path().join("layout").display());
    common::copying::copy("docker-daemon:app:1", &to, &umiak_registry::Choice::default(), &context).unwrap();
    let copied = source(&to, &context).unwrap();
    let found = copied.resolve(&[]).unwrap();
    assert_layers(copied.as_ref(), &found, &sample);
    assert_eq!(Digest::of(found.config.text.as_bytes()), id, "the image keeps its ID");
}

#[test]
fn copying_is_watched_and_can_be_stopped() {
    for guess in [-15_000, 0, 5000] {
        let directory = tempfile::tempdir().unwrap();
        let (_server, context, sample, _) = guessing_daemon(directory.path(), "[]", |_| End::Whole, guess);
        let source = source("docker-daemon:app:1", &context).unwrap();
        let watch = Watch::until(u64::MAX);
        let found = source.resolve_watched(&[], &watch).unwrap();
        assert_layers(source.as_ref(), &found, &sample);
        let done = watch.done.into_inner();
        assert!(done > 20_000 && watch.expected.into_inner() == done, "{guess}");
        let error = source.resolve_watched(&[], &Watch::until(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    }
}

#[test]
fn a_pulled_image_keeps_its_repository_digest() {
    let directory = tempfile::tempdir().unwrap();
    let pinned = format!("app@{}", Digest::of(b"manifest"));
    let (_server, context, ..) =
        daemon(directory.path(), &format!(r#"["other/name@{}","{pinned}"]"#, Digest::of(b"other")), |_| End::Whole);
    let found = source("docker-daemon:app:1", &context).unwrap().resolve(&[]).unwrap();
    assert_eq!(found.reference, pinned);
}

#[test]
fn a_missing_image_a_cut_stream_and_no_daemon_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let (server, context, ..) = daemon(directory.path(), "[]", |length| End::Cut(length / 2));
    let missing = source("docker-daemon:other", &context).unwrap().resolve(&[]).unwrap_err();
    assert!(matches!(&missing, Error::NotFound { name, .. } if name == "other:latest"), "{missing:?}");
    let cut = source("docker-daemon:app:1", &context).unwrap().resolve(&[]).unwrap_err();
    assert!(matches!(cut.kind(), ErrorKind::Corrupt | ErrorKind::Network), "{cut:?}");
    drop(server);
    std::fs::remove_file(&context.docker_socket).unwrap();
    let nobody = source("docker-daemon:app:1", &context).unwrap().resolve(&[]).unwrap_err();
    assert!(nobody.to_string().contains("docker.sock"), "{nobody}");
}

#[test]
fn a_bare_name_is_looked_for_in_order_and_every_place_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let (server, mut context, ..) = daemon(directory.path(), "[]", |_| End::Whole);
    let registry = Server::start({
        let files = Files::new();
        move |request| files.answer(request)
    })
    .unwrap();
    context.order = vec![Place::Local];
    assert!(source("app:1", &context).unwrap().resolve(&[]).is_ok());
    assert!(registry.requests().is_empty());

    context.order = vec![Place::Remote, Place::Local];
    let name = format!("{}/team/app:1", registry.address());
    let error = source(&name, &context).unwrap().resolve(&[]).unwrap_err();
    let Error::Nowhere { tried, .. } = &error else { panic!("{error:?}") };
    assert_eq!(tried.len(), 2);
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(!registry.requests().is_empty() && !server.requests().is_empty());
}
