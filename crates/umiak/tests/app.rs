//! `umiak app …` through the program: what is said, what is written, what an error costs (nothing).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use harness::{Place, assert_snapshot};
use umiak_layer::LayerWriter;
use umiak_spec::Limits;
use umiak_testkit::random::Chance;
use umiak_testkit::registry::Registry;
use umiak_testkit::sample::{SampleImage, SampleLayer, image, index, layout};
use umiak_tree::{Metadata, TreePath};

/// A layer with these files.
fn layer<C: AsRef<[u8]>>(files: &[(&str, C)]) -> SampleLayer {
    let mut archive = LayerWriter::new(Vec::new());
    for (path, content) in files {
        let path = TreePath::from_archive(path.as_bytes(), &Limits::default()).unwrap();
        let metadata = Metadata::root_owned(0o644);
        let mut content = content.as_ref();
        archive.file(&path, &metadata, content.len() as u64, &mut content).unwrap();
    }
    SampleLayer::plain(archive.finish().unwrap())
}

/// The layouts `one`, `two` (two releases) and `more` (extends the first), each tagged `1`.
fn images(place: &Place) {
    let library = Chance::new(1).bytes(200 << 10);
    let base = layer(&[("usr/lib/library", library), ("bin/app", b"#!/bin/sh\necho app\n".to_vec())]);
    let first = layer(&[("etc/app.conf", "release = 1\n"), ("srv/old", "old")]);
    let second = layer(&[("etc/app.conf", "release = 2\n"), ("srv/new", "new")]);
    let more = layer(&[("etc/app.conf", "release = 1, extended\n")]);
    let stacks = [
        ("one", vec![base.clone(), first.clone()]),
        ("two", vec![base.clone(), second]),
        ("more", vec![base, first, more]),
    ];
    for (name, layers) in stacks {
        let sample = SampleImage { platform: "linux/amd64".into(), layers };
        layout(&place.path().join(name), "1", &image(&sample)).unwrap();
    }
}

fn device(name: &str) -> Place {
    let place = Place::new(name);
    images(&place);
    place.write("device/.keep", "");
    place.done_in("device", "init");
    place
}

#[test]
fn the_life_of_an_app() {
    let place = device("life");
    let mut transcript = String::new();
    let mut run = |line: &str| {
        let said = place.run_in("device", line);
        transcript.push_str(&said.told("", line));
    };
    run("app ls");
    run("app add --platform linux/amd64 --group=data --status-goal=MOUNTED --from=oci:../one:1 app");
    run("app add --from=oci:../one:1 app");
    run("app info app");
    run("-q add .");
    run("-q commit");
    run("app update app");
    run("app update --dry-run --from=oci:../two:1 app");
    run("app update --patch --from=oci:../two:1 app");
    run("app update --patch app");
    run("app add --platform linux/amd64 --base app --from=oci:../more:1 more");
    run("app ls");
    run("app rm app");
    run("app update --newbase app");
    run("app install app");
    run("app ls --json");
    run("-q app ls");
    run("app rm more");
    run("app rm nothing");
    run("app update nothing");
    run("status");
    assert_snapshot("life", &transcript);
}

#[test]
fn what_goes_wrong_has_a_reason_a_hint_and_a_code_and_changes_nothing() {
    let place = device("wrong-app");
    place.done_in("device", "app add --platform linux/amd64 --from=oci:../one:1 app");
    let sample = |platform: &str| SampleImage { platform: platform.into(), layers: vec![layer(&[("a", "b")])] };
    layout(&place.path().join("arm"), "1", &index(&[sample("linux/arm/v7"), sample("linux/arm64")])).unwrap();
    let blobs = image(&sample("linux/amd64"));
    layout(&place.path().join("bad"), "1", &blobs).unwrap();
    let damaged = place.path().join("bad/blobs/sha256").join(blobs[0].digest.hex());
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[600] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cases = [
        ("app add --from=oci:../nowhere:1 x".to_owned(), 2),
        ("app add --from=oci:../one:9 x".to_owned(), 2),
        ("app add --platform linux/riscv64 --from=oci:../arm:1 x".to_owned(), 2),
        ("app add --platform linux/amd64 --from=oci:../bad:1 x".to_owned(), 4),
        (format!("app add --source remote --from={closed}/x:1 x"), 5),
        ("app add --from=oci:../one:1 ../x".to_owned(), 2),
        ("app add --from=oci:../one:1 app".to_owned(), 2),
        ("app add --platform linux/amd64 --base nothing --from=oci:../one:1 x".to_owned(), 2),
        ("app add --from=oci:../one:1 --format-options=-magic x".to_owned(), 2),
        ("app add --from=oci:../one:1 --volume nonsense x".to_owned(), 2),
        ("app add --type pvr --from=../other#x x".to_owned(), 2),
        ("app add --source moon --from=x x".to_owned(), 2),
        ("app add --password p --from=x x".to_owned(), 2),
    ];
    let before = place.done_in("device", "status").out;
    let mut told = String::new();
    for (line, code) in cases {
        let said = place.run_in("device", &line);
        assert_eq!((said.code, said.out.as_str()), (code, ""), "{line}: {}", said.err);
        assert!(said.err.contains("nothing was changed"), "{line}: {}", said.err);
        assert_eq!(place.done_in("device", "status").out, before, "{line}");
        let text = format!("$ umiak {line}\n{}\n", said.err).replace(&closed.to_string(), "[HOST]");
        told.push_str(&text);
    }
    assert_snapshot("wrong-app", &told);
}

#[test]
fn an_app_added_from_a_directory_below_is_updated_from_anywhere() {
    let place = device("below");
    place.write("device/deep/er/.keep", "");
    place.done_in("device/deep/er", "app add --from=oci:../../../one:1 web");
    assert!(place.read("device/web/src.json").contains(r#""docker_name": "oci:deep/er/../../../one""#));
    for directory in ["device", "device/deep", "device/web"] {
        let said = place.done_in(directory, "app update web");
        assert!(said.err.contains("web"), "{}", said.err);
    }
}

#[test]
fn a_second_interrupt_ends_a_command_that_hangs() {
    let place = device("interrupt");
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let from = format!("--from={}/x:1", server.local_addr().unwrap());
    let mut command = place.command(&place.path().join("device"));
    command.args(["app", "add", "--source", "remote", &from, "x"]).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    // It talks to the server, so it listens to signals; the server never answers.
    let (mut stream, _) = server.accept().unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
    let interrupt = || Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupt().success() && interrupt().success());
    // Two signals may arrive as one: repeat until it has ended.
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        let _ = Command::new("kill").args(["-INT", &child.id().to_string()]).stderr(Stdio::null()).status();
    };
    assert_eq!(code, Some(1));
    assert!(!place.path().join("device/x").exists());
    assert_eq!(place.done_in("device", "status").out, "? .keep\n");
}

#[test]
fn flags_of_pvr_reach_src_json_and_the_rendered_documents() {
    let place = device("flags");
    let mut command = place.command(&place.path().join("device"));
    command.args(["app", "add", "-platform", "linux/amd64", "--from", "oci:../one:1"]);
    command.args(["--arg", "PV_DEBUG_MODE=1", "--arg=PV_LXC_EXTRA_CONF=lxc.x = y", "--volume", "ovl:/var:permanent"]);
    command.args([
        "--volume=/data:revision@disk1",
        "--config",
        "Entrypoint=/bin/sh",
        "--config",
        "Cmd=[\"-c\",\"date\"]",
    ]);
    command.args(["--restart-policy", "container", "-o", "-comp zstd", "app"]).env("PVR_STATUS_GOAL", "STARTED");
    let said = place.finish(&mut command);
    assert_eq!(said.code, 0, "{}", said.err);
    let run = place.read("device/app/run.json");
    for wanted in ["\"restart_policy\": \"container\"", "STARTED", "dockerovl--var", "disk1"] {
        assert!(run.contains(wanted), "{wanted} in {run}");
    }
    let lxc = place.read("device/app/lxc.container.conf");
    for wanted in ["lxc.log.file = /pv/logs/app.log", "lxc.x = y", "lxc.init.cmd = /bin/sh"] {
        assert!(lxc.contains(wanted), "{wanted} in {lxc}");
    }
    assert!(place.read("device/app/src.json").contains("\"format_options\": \"-comp zstd\""));
}

#[test]
fn the_demo_shows_that_a_patch_is_small_and_exact() {
    let place = Place::new("demo");
    let said = place.done("--json demo");
    let told: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let number = |name: &str| told[name].as_u64().unwrap_or_else(|| panic!("{name} in {told}"));
    assert!(number("patch_bytes") * 100 < number("new_base_bytes"), "{told}");
    assert!(number("extension_bytes") * 100 < number("new_base_bytes"), "{told}");
    assert!(number("names_compared") > 140, "{told}");
    assert!(told["kernel"]["failed"].is_null(), "{told}");
    let device = |name: &str| told["device"][name].as_u64().unwrap_or_else(|| panic!("{name} in {told}"));
    assert!(device("update") * 100 < device("full") && device("full") * 10 < device("first"), "{told}");
    assert!(device("cuts") > 0 && device("kept") > 0, "{told}");
    let [predicted, took] = [0, 1].map(|index| told["device"]["update_disk"][index].as_u64().unwrap());
    assert!(took > 0 && took <= predicted, "{told}");
    let left = fs::read_dir(place.path()).unwrap().count();
    assert_eq!(left, 0, "the demo leaves nothing in the current directory");
    place.write("full/file", "x");
    assert_eq!(place.run("demo --keep full").code, 2);
}

#[test]
#[ignore = "needs: crun, root"]
fn as_root_the_demo_runs_the_app_from_base_and_patch() {
    let place = Place::new("demo-root");
    let told: serde_json::Value = serde_json::from_str(&place.done("--json demo").out).unwrap();
    assert_eq!(told["kernel"]["printed"]["release"], 2, "{told}");
    assert!(told["device"]["left_out"].is_null() && told["device"]["stopped"].is_string(), "{told}");
    assert_eq!(told["device"]["cuts"], 2, "{told}");
}

#[test]
#[ignore = "needs: docker-registry, skopeo"]
fn apps_come_from_a_registry_and_are_not_fetched_twice() {
    let place = device("registry");
    let registry = Registry::start(&place.home()).unwrap();
    let push = |layout: &str, tag: &str| {
        let from = format!("oci:{}:1", place.path().join(layout).display());
        let to = format!("docker://{}/team/app:{tag}", registry.address());
        let copied =
            Command::new("skopeo").args(["--insecure-policy", "copy", "--dest-tls-verify=false", &from, &to]).output();
        let copied = copied.expect("skopeo is installed");
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    };
    push("one", "stable");
    let from = format!("--from={}/team/app:stable", registry.address());
    place.done_in("device", &format!("app add --platform linux/amd64 {from} app"));
    place.done_in("device", "add");
    place.done_in("device", "commit");
    assert!(place.done_in("device", "app update app").err.contains("app is up to date"));
    push("two", "stable");
    let updated = place.done_in("device", "app update --patch app").err;
    assert!(updated.contains("a patch of its root.squashfs"), "{updated}");
    drop(registry);
    let said = place.run_in("device", "app update --source remote app");
    assert_eq!(said.code, 5, "{}", said.err);
}
