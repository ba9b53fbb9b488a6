//! `umiak copy` and `umiak image …` through the program: what is said, what an error costs (nothing).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use harness::{Place, Said, assert_snapshot};
use serde_json::Value;
use umiak_layer::LayerWriter;
use umiak_spec::Limits;
use umiak_testkit::http::{Fault, Manner, Server, Store};
use umiak_testkit::sample::{Blob, SampleImage, SampleLayer, index, layout};
use umiak_tree::{Metadata, TreePath};

/// A tar of these files.
fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = LayerWriter::new(Vec::new());
    for (path, content) in files {
        let path = TreePath::from_archive(path.as_bytes(), &Limits::default()).unwrap();
        let mut content: &[u8] = content;
        archive.file(&path, &Metadata::root_owned(0o644), content.len() as u64, &mut content).unwrap();
    }
    archive.finish().unwrap()
}

/// An image for two platforms; `release` is in one of its files.
fn blobs(release: &str) -> Vec<Blob> {
    let image = |platform: &str| {
        let common = tar(&[("etc/os-release", b"ID=test\n")]);
        let own = tar(&[
            ("bin/app", format!("{platform} {release} {}", "x".repeat(2000)).as_bytes()),
            (&format!("opt/only-{release}"), b"."),
        ]);
        SampleImage { platform: platform.into(), layers: [common, own].map(SampleLayer::plain).into() }
    };
    index(&["linux/amd64", "linux/arm64"].map(image))
}

/// The layouts `one` and `two` with the tags `1` and `2`, and a registry.
fn place(name: &str) -> (Place, Server, Store) {
    let place = Place::new(name);
    for (name, release) in [("one", "1"), ("two", "2")] {
        layout(&place.path().join(name), release, &blobs(release)).unwrap();
    }
    let (server, store) = Store::start(Manner::default()).unwrap();
    (place, server, store)
}

/// What was said, with the registry's address and digests named.
fn steady(said: &Said, server: &Server) -> String {
    let text = format!("{}{}", said.out, said.err).replace(&server.address(), "[REGISTRY]");
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let word = |word: &str| {
        let bare = word.trim_matches(|c| "\",:".contains(c));
        let hex = bare.strip_prefix("sha256:").unwrap_or(bare);
        if [12, 64].contains(&hex.len()) && hex.chars().all(is_hex) {
            word.replace(hex, "[DIGEST]")
        } else {
            word.into()
        }
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ") + "\n";
    text.lines().map(line).collect()
}

#[test]
fn a_day_with_a_registry_is_as_reviewed() {
    let (place, server, store) = place("image-day");
    let mut text = String::new();
    for line in [
        "copy oci:one:1 REGISTRY/team/app --all-platforms --dry-run",
        "copy oci:one:1 REGISTRY/team/app --all-platforms",
        "copy oci:two:2 REGISTRY/team/app --all-platforms",
        "copy oci:two:2 REGISTRY/team/app --all-platforms",
        "copy REGISTRY/team/app:2 REGISTRY/mirror/app --all-platforms",
        "copy REGISTRY/team/app:2 oci-archive:two.tar --platform linux/arm64",
        "copy two.tar oci:three:arm",
        "copy REGISTRY/team/app:2 oci:new:2 --dry-run --platform linux/arm64",
        "image ls REGISTRY/team/app",
        "image ls oci:three",
        "image inspect REGISTRY/team/app:2",
        "image inspect REGISTRY/team/app:2 --platform linux/arm64",
        "image diff REGISTRY/team/app:1 REGISTRY/team/app:2 --platform linux/arm64",
        "image diff oci:one:1 oci:one:1 --platform linux/arm64",
    ] {
        let said = place.done(&line.replace("REGISTRY", &server.address()));
        text.push_str(&format!("$ umiak {line}\n{}\n", steady(&said, &server)));
    }
    assert_snapshot("image", &text);
    assert!(!place.path().join("new").exists(), "a dry run makes nothing");
    assert_eq!(store.manifest("2").as_ref(), blobs("2").last().map(|index| &index.bytes));
}

#[test]
fn what_is_wrong_is_told_as_reviewed() {
    let (place, server, store) = place("image-wrong");
    place.done(&format!("copy oci:one:1 {}/team/app --all-platforms", server.address()));
    let layer = &blobs("1")[1];
    let other = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let mut text = String::new();
    for (line, code) in [
        ("copy oci:one:1".to_owned(), 2),
        ("copy oci:one:1 oci:there --limit-rate fast".to_owned(), 2),
        ("copy oci:one:3 oci:there".to_owned(), 2),
        ("copy oci:one:1 oci:there --platform linux/riscv64".to_owned(), 2),
        ("copy oci:one:1 docker-daemon:app".to_owned(), 2),
        ("copy rootfs:one oci:there".to_owned(), 2),
        (format!("copy oci:one:1 REGISTRY/team/app@{other} --all-platforms"), 2),
        ("copy REGISTRY/team/app:1 oci:there --all-platforms".to_owned(), 4),
        ("copy REGISTRY/no/where:1 oci:there".to_owned(), 2),
        ("image ls docker-archive:file".to_owned(), 2),
        ("image inspect REGISTRY/team/app:1 --platform linux/s390x".to_owned(), 2),
        ("image inspect REGISTRY/team/app:1 --raw --json".to_owned(), 2),
        ("image ls REGISTRY/no/where".to_owned(), 2),
    ] {
        let path = format!("/v2/team/app/blobs/{}", layer.digest);
        store.fail_reading(&path, std::iter::repeat_n(Fault::WrongBytes, 4));
        let said = place.run(&line.replace("REGISTRY", &server.address()));
        assert_eq!(said.code, code, "{line}\n{}", said.err);
        text.push_str(&format!("$ umiak {line}\n{}\n", steady(&said, &server)));
    }
    assert_snapshot("wrong-image", &text);
}

#[test]
fn documents_for_programs_say_what_people_are_told() {
    let (place, server, _) = place("image-json");
    let registry = server.address();
    let json = |line: &str| serde_json::from_str::<Value>(&place.done(line).out).unwrap();
    let copied = json(&format!("copy oci:one:1 {registry}/team/app --all-platforms --json"));
    assert_eq!(copied["sent"]["blobs"], 5, "one layer is both platforms'");
    assert_eq!(copied["target"], format!("{registry}/team/app:1"));
    let digest = blobs("1").last().unwrap().digest.to_string();
    assert_eq!(copied["digest"], digest);

    let listed = json(&format!("image ls {registry}/team/app --json"));
    assert_eq!((&listed[0]["tag"], &listed[0]["digest"]), (&Value::from("1"), &Value::from(digest)));
    assert_eq!(listed[0]["platforms"], serde_json::json!(["linux/amd64", "linux/arm64"]));

    let shown = json(&format!("image inspect {registry}/team/app:1 --platform linux/arm64 --json"));
    assert_eq!(shown["images"][0]["layers"].as_array().unwrap().len(), 2);
    assert_eq!(shown["images"][0]["config"]["contents"]["architecture"], "arm64");

    let diff = json("image diff oci:one:1 oci:two:2 --platform linux/arm64 --json");
    let changes: Vec<_> = diff["files"].as_array().unwrap().iter().map(|file| &file["change"]).collect();
    assert_eq!(changes, ["content", "added", "removed"]);
    let layers: Vec<_> = diff["layers"].as_array().unwrap().iter().map(|layer| &layer["in"]).collect();
    assert_eq!(layers, ["base", "both", "target"]);
}

#[test]
fn raw_documents_are_printed_byte_for_byte() {
    let (place, _, _) = place("image-raw");
    let out = |line: &str| {
        let mut command = place.command(&place.path());
        command.args(line.split(' ')).output().unwrap().stdout
    };
    let blobs = blobs("1");
    assert_eq!(out("image inspect oci:one:1 --raw"), blobs.last().unwrap().bytes);
    let manifest = out("image inspect oci:one:1 --raw --platform linux/arm64");
    assert!(blobs.iter().any(|blob| blob.bytes == manifest && blob.media_type.contains("manifest")));
}

#[test]
fn a_limited_copy_says_so_by_taking_longer() {
    let (place, server, _) = place("image-limited");
    let line = format!("copy oci:one:1 {}/team/app --all-platforms --limit-rate 1G", server.address());
    place.done(&line);
    let slow = format!("copy oci:two:2 {}/team/app --all-platforms --limit-rate 20K", server.address());
    let start = std::time::Instant::now();
    place.done(&slow);
    // About 9 KiB with headers, of which an eighth of a second's worth goes at once.
    assert!(start.elapsed().as_secs_f64() > 0.2, "{:?}", start.elapsed());
}

#[test]
fn an_app_is_copied_with_the_images_of_its_services() {
    let (place, server, _) = place("image-app");
    let (other, there) = Store::start(Manner::default()).unwrap();
    let (from, to) = (server.address(), other.address());
    for name in ["web", "db"] {
        place.done(&format!("copy oci:one:1 {from}/team/{name}:1 --all-platforms"));
    }
    let service = |name: &str| format!("  {name}:\n    image: {from}/team/{name}:1\n");
    place.write("shop/docker-compose.yml", format!("services:\n{}{}", service("web"), service("db")));
    place.done_in("shop", &format!("compose publish {from}/team/shop:1.0"));

    let planned = place.done(&format!("copy {from}/team/shop:1.0 {to}/mirror/shop --with-images --dry-run"));
    assert!(planned.err.contains("Would"), "{}", planned.err);
    assert!(there.manifest_in("mirror/shop", "1.0").is_none());
    let copied = place.done(&format!("copy {from}/team/shop:1.0 {to}/mirror/shop --with-images --json")).out;
    let copied: Value = serde_json::from_str(&copied).unwrap();
    let image = blobs("1").pop().unwrap();
    for (name, told) in ["team/web", "team/db"].iter().zip(copied["images"].as_array().unwrap()) {
        assert_eq!(told["target"], format!("docker://{to}/{name}@{}", image.digest));
        assert_eq!(there.manifest_in(name, &image.digest.to_string()).as_ref(), Some(&image.bytes));
    }
    assert!(there.manifest_in("mirror/shop", "1.0").is_some());

    // A layout has all of it: what is in there is shown when the registry is gone.
    place.done(&format!("copy {from}/team/shop:1.0 oci:stick --with-images"));
    place.done(&format!("copy {from}/team/shop:1.0 oci-archive:stick.tar --with-images"));
    drop(server);
    for carried in ["oci:stick:1.0", "oci-archive:stick.tar:1.0"] {
        let shown = place.done(&format!("compose show {carried} --json")).out;
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["services"].as_array().unwrap().len(), 2, "{carried}");
        place.done(&format!("copy {carried} {to}/again/shop --with-images"));
    }
}
