//! The verbs of a device directory, through the program: what is printed, what is written, what is left alone.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use harness::{Place, assert_snapshot};

/// A device with two committed files.
fn device(name: &str) -> Place {
    let place = Place::new(name);
    place.write("device/web/run.json", r#"{"name":"web","volumes":[1.50,12345678901234567890]}"#);
    place.write("device/web/root.squashfs", "not really");
    place.done_in("device", "init");
    place.done_in("device", "add");
    place.done_in("device", "commit -m first");
    place
}

/// Every file below a directory and its bytes.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let name = path.strip_prefix(directory).unwrap().display().to_string();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn a_day_with_a_device_directory() {
    let place = Place::new("day");
    let mut transcript = String::new();
    let mut run = |directory: &str, line: &str| {
        let said = place.run_in(directory, line);
        transcript.push_str(&said.told(directory, line));
    };
    place.write("device/web/run.json", r#"{"name":"web","volumes":[1.50,12345678901234567890]}"#);
    place.write("device/web/root.squashfs", "not really");
    run("device", "status");
    run("device", "init");
    run("device", "init");
    run("device", "status");
    run("device", "add");
    run("device", "status");
    run("device", "json");
    run("device", "commit -m first");
    run("device", "status");
    run("device", "commit -m again");
    place.write("device/web/run.json", r#"{"name":"shop"}"#);
    place.write("device/notes.txt", "remember");
    fs::remove_file(place.path().join("device/web/root.squashfs")).unwrap();
    run("device", "status");
    run("device", "status --json");
    run("device", "diff");
    run("device/web", "status");
    run("device", "commit --dry-run");
    run("device", "checkout");
    run("device", "status");
    run("device", "json -c");
    run("device", "export ../web.tgz");
    run("device", "clone ../web.tgz ../copy");
    run("copy", "status");
    run("copy", "json -c");
    run("copy", "clone ../web.tgz ../copy");
    run("device", "import nowhere.tgz");
    run("device", "get ../nowhere");
    assert_snapshot("day", &transcript);
}

#[test]
fn json_documents_are_printed_on_stdout_and_nothing_else_is() {
    let place = device("json");
    place.write("device/web/run.json", r#"{"name":"shop"}"#);
    for line in ["status --json", "diff --json", "json --json", "--json version"] {
        let said = place.done_in("device", line);
        serde_json::from_str::<serde_json::Value>(&said.out)
            .unwrap_or_else(|error| panic!("{line}: {error}: {}", said.out));
        assert_eq!(said.err, "", "{line}");
    }
}

#[test]
fn a_dry_run_changes_nothing() {
    let place = device("dry");
    place.write("device/web/run.json", r#"{"name":"shop"}"#);
    place.write("device/new.txt", "new");
    place.done_in("device", "export ../web.tgz");
    place.done_in("device", "status");
    let before = (files(&place.path()), files(&place.home()));
    for line in [
        "add --dry-run",
        "commit --dry-run",
        "checkout --dry-run",
        "import --dry-run ../web.tgz",
        "get --dry-run ../web.tgz",
        "merge --dry-run ../web.tgz",
        "clone --dry-run ../web.tgz ../copy",
        "deploy --dry-run ../deployed ../web.tgz",
        "export --dry-run ../other.tgz",
    ] {
        let said = place.done_in("device", line);
        assert!(said.err.contains("Would"), "{line}: {}", said.err);
    }
    place.done("init --dry-run");
    assert!((files(&place.path()), files(&place.home())) == before);
}

#[test]
fn quiet_is_quiet_and_verbose_shows_digests_in_full() {
    let place = device("loud");
    place.write("device/web/root.squashfs", "changed");
    assert_eq!(place.done_in("device", "-q commit").err, "");
    assert!(place.done_in("device", "-q status").out.is_empty());
}

#[test]
fn packages_are_the_same_bytes_and_parts_select() {
    let place = device("parts");
    place.write("device/db/run.json", "{}");
    place.write("device/db/root.squashfs", "a database");
    place.done_in("device", "add");
    place.done_in("device", "commit");
    place.done_in("device", "export ../one.tgz");
    place.done_in("device", "export ../two.tgz");
    let read = |name: &str| fs::read(place.path().join(name)).unwrap();
    assert!(read("one.tgz") == read("two.tgz"));
    place.done_in("device", "export -p db ../db.tar");
    place.done_in("device", "clone ../db.tar ../db");
    assert!(place.path().join("db/db/root.squashfs").exists());
    assert!(!place.path().join("db/web").exists());
    place.done_in("device", "clone ../one.tgz#web ../web");
    assert!(!place.path().join("web/db").exists());
    let mut to_stdout = place.command(&place.path().join("device"));
    assert!(to_stdout.args(["export", "-"]).output().unwrap().stdout.len() > 1024);
}

#[test]
fn get_replaces_merge_merges_deploy_assembles() {
    let place = device("assemble");
    place.write("other/web/run.json", r#"{"extra":true}"#);
    place.write("other/db/run.json", r#"{"name":"db"}"#);
    place.done_in("other", "init");
    place.done_in("other", "add");
    place.done_in("other", "commit");
    place.done_in("device", "merge ../other");
    place.done_in("device", "checkout");
    let merged = place.read("device/web/run.json");
    assert!(merged.contains("extra") && merged.contains("volumes"), "{merged}");
    place.done_in("device", "get ../other#web");
    place.done_in("device", "checkout");
    let replaced = place.read("device/web/run.json");
    assert!(replaced.contains("extra") && !replaced.contains("volumes"), "{replaced}");
    place.done_in("", "deploy target device other#db");
    assert_eq!(place.done_in("target", "status").out, "");
    assert!(place.path().join("target/db/run.json").exists());
}

#[test]
fn a_hostile_package_is_refused_and_nothing_changes() {
    let place = device("hostile");
    place.done_in("device", "status");
    let mut package = Vec::new();
    let state = br##"{"#spec":"pantavisor-service-system@1","../../escaped":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}"##;
    let mut header = [0u8; 512];
    header[..4].copy_from_slice(b"json");
    header[100..108].copy_from_slice(b"0000644\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", state.len()).as_bytes());
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    package.extend_from_slice(&header);
    package.extend_from_slice(state);
    package.resize(package.len().next_multiple_of(512) + 1024, 0);
    place.write("bad.tar", &package);
    let before = files(&place.path());
    for line in ["import ../bad.tar", "get ../bad.tar", "merge ../bad.tar", "clone ../bad.tar ../copy"] {
        let said = place.run_in("device", line);
        assert_eq!(said.code, 4, "{line}: {}", said.err);
        assert!(said.err.contains("nothing was changed"), "{line}: {}", said.err);
        assert!(files(&place.path()) == before, "{line}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = device("pipe");
    let line = format!("{} json | true", env!("CARGO_BIN_EXE_umiak"));
    let mut shell = std::process::Command::new("bash");
    shell.args(["-o", "pipefail", "-c", &line]).current_dir(place.path().join("device")).env("HOME", place.home());
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
