//! `umiak compose …` through the program: from a folder to a registry, and what is said when that cannot be.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::fs;
use std::process::Command;

use harness::{Place, assert_snapshot};
use serde_json::Value;
use umiak_layer::LayerWriter;
use umiak_spec::Limits;
use umiak_testkit::registry::Registry;
use umiak_testkit::sample::{SampleImage, SampleLayer, index, layout};
use umiak_tree::{Metadata, TreePath};

/// A tar of these files.
fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = LayerWriter::new(Vec::new());
    for (path, content) in files {
        let path = TreePath::from_archive(path.as_bytes(), &Limits::default()).unwrap();
        let size = content.len() as u64;
        archive.file(&path, &Metadata::root_owned(0o644), size, &mut content.as_bytes()).unwrap();
    }
    archive.finish().unwrap()
}

/// The layouts `web` (amd64, arm/v6, arm/v7) and `db` (amd64, arm/v7, arm64).
fn images(place: &Place) {
    let platforms = [
        ("web", ["linux/amd64", "linux/arm/v6", "linux/arm/v7"]),
        ("db", ["linux/amd64", "linux/arm/v7", "linux/arm64"]),
    ];
    for (name, platforms) in platforms {
        let sample = |platform: &str| {
            let own = tar(&[("bin/app", &format!("{name} for {platform}").repeat(2000))]);
            let layers = vec![SampleLayer::plain(tar(&[("etc/os-release", "ID=test\n")])), SampleLayer::plain(own)];
            SampleImage { platform: platform.into(), layers }
        };
        layout(&place.path().join(name), "1", &index(&platforms.map(sample))).unwrap();
    }
}

const PROJECT: &str = "\
# The shop.
x-common: &common
  restart: always   # always up
services:
  web:
    <<: *common
    image: REGISTRY/team/web:1 # the pages
    ports: [\"8080:80\"]
  db:
    image: REGISTRY/team/db:${DB:-1}
";

fn project(place: &Place, registry: &str) {
    place.write("shop/docker-compose.yml", PROJECT.replace("REGISTRY", registry));
    place.write("shop/conf/web.conf", "listen 80\n");
    place.write("shop/notes.txt", "not for devices\n");
    place.write("shop/.composeappignores", "*.txt\n");
}

/// What changes from run to run gets a name: the registry's port, and the digests and the bundle's size that follow from it.
fn steady(text: &str, registry: &str) -> String {
    let mut text = text.replace(registry, "[REGISTRY]");
    for (before, after) in [("bundle of ", " B"), ("bundle  ", " B"), ("octet-stream\",\n         \"size\": ", ",")] {
        let Some(start) = text.find(before).map(|at| at + before.len()) else { continue };
        let end = text[start..].find(after).unwrap() + start;
        text.replace_range(start..end, "[N]");
    }
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find(is_hex) {
        let length = rest[at..].find(|c| !is_hex(c)).unwrap_or(rest.len() - at);
        out.push_str(&rest[..at]);
        out.push_str(if length == 12 || length == 64 { "[DIGEST]" } else { &rest[at..at + length] });
        rest = &rest[at + length..];
    }
    out + rest
}

#[test]
#[ignore = "needs: docker-registry, skopeo"]
fn a_project_becomes_an_app_in_a_registry() {
    let place = Place::new("compose");
    let registry = Registry::start(&place.home()).unwrap();
    let address = registry.address();
    images(&place);
    project(&place, &address);
    for name in ["web", "db"] {
        let to = format!("docker://{address}/team/{name}:1");
        let copy = ["copy", "-q", "--all", "--preserve-digests", "--dest-tls-verify=false"];
        let from = format!("oci:{}:1", place.path().join(name).display());
        assert!(Command::new("skopeo").args(copy).args([&from, &to]).status().unwrap().success());
    }
    let mut told = String::new();
    let mut tell = |line: &str| {
        let said = place.run_in("shop", &line.replace("REGISTRY", &address));
        let text = format!("$ umiak {line}\n{}{}", said.err, said.out);
        told.push_str(&steady(&text, &address));
        told.push_str(&if said.code == 0 { "\n".to_owned() } else { format!("exit {}\n\n", said.code) });
        said
    };
    tell("compose publish REGISTRY/team/shop:1.0 --dry-run");
    assert_eq!(place.run(&format!("compose show {address}/team/shop:1.0")).code, 2);
    let published = tell("compose publish REGISTRY/team/shop:1.0 --digest-file ../digest");
    let uri = published.out.trim().to_owned();
    assert_eq!(uri.rsplit_once('@').unwrap().1, place.read("digest"));
    tell("compose show REGISTRY/team/shop:1.0");
    tell("compose show REGISTRY/team/shop:1.0 --layers");
    tell("compose show REGISTRY/team/shop:1.0 --manifest");
    tell("compose show REGISTRY/team/shop:1.0 --compose");
    tell("compose publish REGISTRY/team/shop:1.0 --arch arm64");
    tell("compose publish REGISTRY/team/shop:1.0 --format foundries-legacy");
    tell("compose show REGISTRY/team/web:1");
    tell("compose show REGISTRY/team/gone:1");
    tell("compose publish REGISTRY/team/shop");
    fs::remove_file(place.path().join("shop/docker-compose.yml")).unwrap();
    tell("compose publish REGISTRY/team/shop:1.0");
    assert_snapshot("compose", &told);

    // Whoever publishes it from whatever folder: the same app.
    project(&place, &address);
    fs::rename(place.path().join("shop"), place.path().join("elsewhere")).unwrap();
    let again = place.done(&format!("compose publish {address}/team/shop:1.1 -f elsewhere/docker-compose.yml"));
    assert_eq!(again.out.trim(), uri);
    // Nobody else's readers are disturbed: to skopeo it is an ordinary manifest.
    let show = ["inspect", "--raw", "--tls-verify=false", &format!("docker://{uri}")];
    let raw = Command::new("skopeo").args(show).output().unwrap();
    assert_eq!(raw.stdout, place.done(&format!("compose show {uri} --manifest")).out.trim_end().as_bytes());
    let value: Value = serde_json::from_str(&place.done(&format!("compose show {uri} --json")).out).unwrap();
    assert_eq!(value["platforms"].as_array().unwrap().len(), 2);
    assert_eq!(value["services"][0]["platforms"].as_array().unwrap().len(), 3);
    assert!(value["platforms"][0]["stored"].as_u64() > Some(40_000), "{value}");
    let files: Vec<_> = value["bundle"]["files"].as_array().unwrap().iter().map(|file| &file["name"]).collect();
    assert_eq!(files, ["conf/web.conf", "docker-compose.yml"]);
}

#[test]
fn what_is_wrong_is_said_before_anything_is_asked() {
    let place = Place::new("compose-wrong");
    place.write("known", "nginx:1\n");
    place.write("meta", "[]");
    let mut told = String::new();
    for (line, compose) in [
        ("compose publish 127.0.0.1:1/shop:1", "services:\n  web:\n    build: .\n"),
        ("compose publish 127.0.0.1:1/shop:1", "services:\n  web:\n    image: nginx\n    imgae: x\n"),
        ("compose publish 127.0.0.1:1/shop:1", "services:\n  web:\n    image: ${IMAGE}\n"),
        ("compose publish 127.0.0.1:1/shop:1", "services:\n  web:\n    image: nginx\n    depends_on: [db]\n"),
        ("compose publish 127.0.0.1:1/shop:1", "services: {}\n"),
        ("compose publish 127.0.0.1:1/shop:1", "services:\n  web: [\n"),
        ("compose publish 127.0.0.1:1/shop:1 --pinned-images known", "services:\n  web:\n    image: nginx\n"),
        ("compose publish 127.0.0.1:1/shop:1 -l meta", "services:\n  web:\n    image: nginx\n"),
        ("compose publish 127.0.0.1:1/shop:1 --arch linux/arm/v7/x", "services:\n  web:\n    image: nginx\n"),
        ("compose publish docker-daemon:shop:1", "services:\n  web:\n    image: nginx\n"),
    ] {
        place.write("docker-compose.yml", compose);
        let said = place.run(line);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{line}: {}", said.err);
        told.push_str(&format!("$ umiak {line}\n{}\n", said.err));
    }
    assert_snapshot("wrong-compose", &told);
}
