//! Debian's docker-registry: pushed to with skopeo, pulled from with umiak.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use common::{assert_layers, context, image, platform, run, source};
use umiak_registry::ErrorKind;
use umiak_spec::Silent;
use umiak_testkit::http::{End, Response, Server};
use umiak_testkit::registry::Registry;
use umiak_testkit::sample;

/// Pushes a layout's tag `1` unchanged; digests stay.
fn push(layout: &str, to: &str) {
    let (from, to) = (format!("oci:{layout}:1"), format!("docker://{to}"));
    run("skopeo", &["copy", "-q", "--all", "--preserve-digests", "--dest-tls-verify=false", &from, &to]);
}

#[test]
#[ignore = "needs: docker-registry, skopeo"]
fn an_index_that_skopeo_pushed_is_pulled_for_one_platform() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let samples = ["linux/amd64", "linux/arm/v7"].map(|platform| image(platform, 8, 200_000));
    let layout = directory.path().join("layout");
    sample::layout(&layout, "1", &sample::index(&samples)).unwrap();
    let registry = Registry::start(directory.path()).unwrap();
    let name = format!("{}/team/app", registry.address());
    push(&layout.display().to_string(), &format!("{name}:1"));

    let tagged = source(&format!("docker://{name}:1"), &context).unwrap();
    let found = tagged.resolve(&[platform("linux/arm/v7")]).unwrap();
    assert_layers(tagged.as_ref(), &found, &samples[1]);
    let manifest = sample::image(&samples[1]).last().unwrap().digest;
    assert_eq!(found.reference, format!("docker://{name}@{manifest}"));
    let bare = source(&format!("{name}:1"), &context).unwrap().resolve(&[platform("linux/arm/v7")]).unwrap();
    assert_eq!(bare.reference, format!("{name}@{manifest}"));

    let error = tagged.resolve(&[platform("linux/riscv64")]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Platform);
    let error = source(&format!("docker://{name}:2"), &context).unwrap().resolve(&[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
#[ignore = "needs: docker-registry, skopeo"]
fn dockers_schema_2_is_read_and_zstd_layers_too() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let sample = image("linux/amd64", 3, 200_000);
    let layout = directory.path().join("layout");
    sample::layout(&layout, "1", &sample::image(&sample)).unwrap();
    let registry = Registry::start(directory.path()).unwrap();
    for (tag, arguments) in [
        ("v2s2", ["--format=v2s2", "--dest-compress-format=gzip"]),
        ("zstd", ["--format=oci", "--dest-compress-format=zstd"]),
    ] {
        let name = format!("{}/team/app:{tag}", registry.address());
        let (from, to) = (format!("oci:{}:1", layout.display()), format!("docker://{name}"));
        run("skopeo", &["copy", "-q", "--dest-tls-verify=false", arguments[0], arguments[1], &from, &to]);
        let source = source(&to, &context).unwrap();
        let found = source.resolve(&[platform("linux/amd64")]).unwrap();
        for (layer, expected) in found.layers.iter().zip(&sample.layers) {
            let blob = source.fetch(layer, &Silent).unwrap();
            let index = umiak_layer::index(blob.reader(), &context.limits, &Silent).unwrap();
            assert_eq!(index.diff_id, expected.diff_id, "{tag}");
        }
    }
}

/// Passes one request on to the registry and returns its answer.
fn passed_on(registry: &str, request: &umiak_testkit::http::Request) -> Response {
    let mut stream = TcpStream::connect(registry).unwrap();
    let mut head = format!("{} {} HTTP/1.0\r\nHost: {registry}\r\n", request.method, request.target);
    for (name, value) in request.headers.iter().filter(|(name, _)| name != "host" && name != "connection") {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all((head + "\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let text = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    let mut response = Response::new(status, &answer[end + 4..]);
    for (name, value) in text.lines().skip(1).filter_map(|line| line.split_once(':')) {
        if !["content-length", "connection"].contains(&name.to_ascii_lowercase().as_str()) {
            response = response.with(name, value.trim());
        }
    }
    response
}

#[test]
#[ignore = "needs: docker-registry, skopeo"]
fn a_pull_cut_in_the_middle_of_a_layer_goes_on_where_it_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let sample = image("linux/amd64", 6, 3_000_000);
    let layout = directory.path().join("layout");
    sample::layout(&layout, "1", &sample::image(&sample)).unwrap();
    let registry = Registry::start(directory.path()).unwrap();
    push(&layout.display().to_string(), &format!("{}/team/app:1", registry.address()));

    // Between umiak and the registry, a line that breaks after every megabyte.
    let address = registry.address();
    let line = Server::start(move |request| {
        let response = passed_on(&address, request);
        let end = if response.body.len() > 1_000_000 { End::Cut(1_000_000) } else { End::Whole };
        Response { end, ..response }
    })
    .unwrap();
    let source = source(&format!("docker://{}/team/app:1", line.address()), &context).unwrap();
    let found = source.resolve(&[]).unwrap();
    assert_layers(source.as_ref(), &found, &sample);
    let ranges: Vec<String> =
        line.requests().iter().filter_map(|request| request.header("range").map(str::to_owned)).collect();
    assert!(ranges.len() >= 2, "{ranges:?}");
    assert_eq!(ranges[0], "bytes=1000000-");
}

#[test]
#[ignore = "needs: docker-registry, skopeo, openssl"]
fn certificates_are_checked_unless_told_otherwise() {
    let directory = tempfile::tempdir().unwrap();
    let mut context = context(directory.path());
    let place = |name: &str| directory.path().join(name).display().to_string();
    let (key, certificate) = (place("key.pem"), place("certificate.pem"));
    let subject = ["-subj", "/CN=umiak test", "-addext", "subjectAltName=IP:127.0.0.1"];
    let mut arguments = vec!["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    arguments.extend(["-days", "2", "-keyout", &key, "-out", &certificate]);
    arguments.extend(subject);
    // A server's certificate that is trusted by itself must not be one of an authority.
    arguments.extend(["-addext", "basicConstraints=critical,CA:FALSE"]);
    run("openssl", &arguments);
    let tls = format!(", tls: {{certificate: '{certificate}', key: '{key}'}}");
    let registry = Registry::start_with(directory.path(), &tls).unwrap();
    let sample = image("linux/amd64", 3, 200_000);
    sample::layout(&directory.path().join("layout"), "1", &sample::image(&sample)).unwrap();
    let name = format!("{}/team/app:1", registry.address());
    push(&place("layout"), &name);
    let reference = format!("docker://{name}");

    context.registry.pause = |_| panic!("trying again does not make a certificate right");
    let error = source(&reference, &context).unwrap().resolve(&[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "{error:?}");
    assert!(common::told(&error).to_lowercase().contains("certificate"), "{}", common::told(&error));

    let pem = std::fs::read(&certificate).unwrap();
    for (insecure, ca_certificates) in [(false, Some(pem)), (true, None)] {
        context.registry.insecure = insecure;
        context.registry.ca_certificates = ca_certificates;
        let source = source(&reference, &context).unwrap();
        let found = source.resolve(&[]).unwrap();
        assert_layers(source.as_ref(), &found, &sample);
    }
}
