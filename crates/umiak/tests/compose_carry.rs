//! `umiak compose check`, `bundle` and `unpack` through the program: what is said, what is written, what an error costs.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::fs;

use harness::{Place, Said};
use serde_json::Value;
use umiak_layer::LayerWriter;
use umiak_spec::{Limits, Platform};
use umiak_testkit::random::Chance;
use umiak_testkit::sample::{Blob, SampleImage, SampleLayer, image, layout};
use umiak_tree::{Metadata, TreePath};

/// A layer with one file of noise, of which `changed` bytes differ from release to release, and a text.
fn layer(seed: u64, changed: usize, text: &str) -> SampleLayer {
    let mut noise = Chance::new(seed).bytes(300 << 10);
    for place in 0..changed {
        noise[place * 1000] ^= 0x55;
    }
    let mut archive = LayerWriter::new(Vec::new());
    for (path, content) in [("usr/lib/library", noise.as_slice()), ("etc/text", text.as_bytes())] {
        let path = TreePath::from_archive(path.as_bytes(), &Limits::default()).unwrap();
        let mut reader = content;
        archive.file(&path, &Metadata::root_owned(0o644), content.len() as u64, &mut reader).unwrap();
    }
    SampleLayer::plain(archive.finish().unwrap())
}

/// The layout `shop` with two releases of `web` and one `db`, and a project for each release.
fn place(name: &str) -> Place {
    let place = Place::new(name);
    let one = |layers: Vec<SampleLayer>| image(&SampleImage { platform: Platform::host().to_string(), layers });
    let common = layer(1, 0, "common");
    let images = [
        one(vec![common.clone(), layer(2, 0, "web 1")]),
        one(vec![common.clone(), layer(2, 9, "web 2")]),
        one(vec![common, layer(3, 0, "db")]),
    ];
    let digests: Vec<String> = images.iter().map(|blobs| blobs.last().unwrap().digest.to_string()).collect();
    let all: Vec<Blob> = images.into_iter().flatten().collect();
    layout(&place.path().join("shop"), "db", &all).unwrap();
    for (release, web) in [("1", &digests[0]), ("2", &digests[1])] {
        let text = format!(
            "services:\n  web:\n    image: registry.example/team/web@{web}\n  db:\n    image: registry.example/team/db@{}\n",
            digests[2]
        );
        place.write(&format!("shop-{release}/docker-compose.yml"), text);
    }
    place.done_in("shop-1", "compose publish oci:../shop:1");
    place.done_in("shop-2", "compose publish oci:../shop:2 --delta-from 1");
    place.write("edge.json", profile("512 MiB"));
    place
}

fn profile(free: &str) -> String {
    let platform = Platform::host();
    format!(
        r#"{{"name":"edge","platform":"{platform}","file-systems":[{{"name":"/","kind":"ext4","size":"1 GiB","free":"{free}"}}]}}"#
    )
}

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {}{}", said.out, said.err))
}

#[test]
fn an_update_is_cheaper_than_the_app_and_both_are_known_exactly() {
    let place = place("check");
    let fresh = json(&place.done("--json compose check oci:shop:2 --device edge.json"));
    let update = json(&place.done("--json compose check oci:shop:2 --device edge.json --from 1 --explain"));
    assert_eq!((&fresh["fits"], &fresh["exact"], &fresh["deltas"]), (&true.into(), &true.into(), &0.into()));
    assert_eq!((&update["fits"], &update["deltas"]), (&true.into(), &1.into()));
    let download = |answer: &Value| answer["download"].as_u64().unwrap();
    assert!(download(&fresh) > 900 << 10, "{fresh}");
    assert!(download(&update) < 40 << 10, "{update}");
    assert!(fresh["file_systems"][0]["peak"].as_u64() > update["file_systems"][0]["peak"].as_u64());
    let ledger = update["ledger"].as_array().unwrap();
    assert!(ledger.iter().any(|row| row["action"] == "apply"), "{update}");
    // What is there already takes nothing.
    let same = json(&place.done("--json compose check oci:shop:2 --device edge.json --from 2"));
    assert_eq!((download(&same), &same["file_systems"][0]["peak"]), (0, &0.into()));
}

#[test]
fn an_app_shows_the_deltas_that_lead_to_it() {
    let place = place("shown");
    let shown = json(&place.done("--json compose show oci:shop:2"));
    let deltas = shown["deltas"].as_array().unwrap();
    assert_eq!(deltas.len(), 1, "{shown}");
    let manifests = shown["services"].as_array().unwrap().iter().map(|service| &service["platforms"][0]["manifest"]);
    assert!(manifests.into_iter().any(|manifest| *manifest == deltas[0]["target"]), "{shown}");
    assert!(deltas[0]["fetched"].as_u64() < Some(40 << 10), "{shown}");
    assert!(place.done("compose show oci:shop:2").out.contains("\ndelta to"));
    assert!(!place.done("compose show oci:shop:1").out.contains("delta to"));
}

#[test]
fn what_does_not_fit_is_said_with_the_place_and_the_step() {
    let place = place("short");
    // 20 % are kept free.
    place.write("full.json", profile("206 MiB"));
    let said = place.run("compose check oci:shop:2 --device full.json");
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(said.err.contains("shop does not fit on edge"), "{}", said.err);
    assert!(said.err.contains("too little, first at `"), "{}", said.err);
    assert!(said.err.contains("(206 MiB free, 205 MiB stay free by the watermark of 80 %)"), "{}", said.err);
    let answer = place.run("--json compose check oci:shop:2 --device full.json");
    assert_eq!((answer.code, &json(&answer)["fits"]), (3, &false.into()));
    let short = json(&answer)["shortfalls"][0].clone();
    assert_eq!((&short["file_system"], &short["resource"]), (&"/".into(), &"bytes".into()));
    let number = |name: &str| short[name].as_u64().unwrap();
    assert_eq!(number("needed") - number("available"), number("missing"));
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    let place = place("usage");
    place.write("wrong.json", profile("512 MB"));
    for (line, word) in [
        ("compose check oci:shop:2 --device wrong.json", "no device profile"),
        ("compose check oci:shop:2 --device absent.json", "absent.json"),
        ("compose check oci:shop:2 oci:shop:1 --device edge.json", "named twice"),
        ("compose check oci:shop:db --device edge.json", "Compose App"),
        ("compose check oci:shop:9 --device edge.json", "9"),
        ("compose bundle oci:shop:2 -o out.tar --platform plan9/mips", "made for"),
        ("compose unpack edge.json -o out", "edge.json"),
    ] {
        let said = place.run(line);
        assert!(said.code != 0 && said.code != 70, "{line}: {} {}", said.code, said.err);
        assert!(said.err.contains(word), "{line}: {}", said.err);
        assert!(!place.path().join("out.tar").exists() && !place.path().join("out").exists());
    }
}

#[test]
fn a_bundle_is_the_same_whoever_makes_it_and_is_an_app_itself() {
    let place = place("bundle");
    let first = json(&place.done("--json compose bundle oci:shop:2 -o one.tar"));
    assert_eq!((&first["loadable"], &first["app"]), (&true.into(), &"shop".into()));
    // From a bundle another one: nothing is lost on the way, the name of the file does not matter.
    place.done("compose bundle one.tar -o again.tar");
    let read = |name: &str| fs::read(place.path().join(name)).unwrap();
    assert!(read("one.tar") == read("again.tar"));
    let check = json(&place.done("--json compose check one.tar --device edge.json"));
    assert_eq!(
        (&check["fits"], &check["exact"], &check["apps"][0]["name"]),
        (&true.into(), &true.into(), &"shop".into())
    );
    place.done("compose show one.tar");
}

#[test]
fn a_bundle_with_deltas_is_unpacked_from_what_is_there() {
    let place = place("unpack");
    place.done("compose bundle oci:shop:1 -o one.tar");
    let delta = json(&place.done("--json compose bundle oci:shop:2 --from 1 -o delta.tar"));
    assert_eq!(delta["loadable"], false);
    let way = |at: usize| (delta["images"][at]["services"][0].as_str(), delta["images"][at]["carried"].as_str());
    assert_eq!((way(0), way(1)), ((Some("web"), Some("delta")), (Some("db"), Some("unchanged"))));
    assert!(delta["bytes"].as_u64().unwrap() < 100 << 10, "{delta}");
    // No base was named, and there is no daemon.
    let said = place.finish(
        place
            .command(&place.path())
            .args(["compose", "unpack", "delta.tar", "-o", "out"])
            .env("DOCKER_HOST", "unix:///nobody"),
    );
    assert!(said.code == 2 && said.err.contains("is carried as a delta"), "{}", said.err);
    assert!(!place.path().join("out").exists());
    // The bundle of the release before is one, too.
    for (base, out) in [("oci:shop:1", "one"), ("one.tar", "two")] {
        let said = json(&place.done(&format!("--json compose unpack delta.tar -o {out} --from {base}")));
        assert_eq!((&said["images"], &said["rebuilt"]), (&2.into(), &2.into()));
        assert!(place.read(&format!("{out}/shop/docker-compose.yml")).contains("registry.example/team/web@sha256:"));
        let names = place.read(&format!("{out}/shop/docker-compose.override.yml"));
        assert!(names.contains("registry.example/team/db:"), "{names}");
    }
    let read = |name: &str| fs::read(place.path().join(name)).unwrap();
    assert!(read("one/images.tar") == read("two/images.tar"));
    let said = place.run("compose unpack delta.tar -o one --from one.tar");
    assert!(said.code == 2 && said.err.contains("not empty"), "{}", said.err);
}
