//! Packages through a pipe into the program: silent ones, stopped ones, killed ones, on a device whose daemon is at work.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test works in a scratch directory")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use umiak_spec::Digest;
use umiak_testkit::random::noise;
use umiak_testkit::tar::tar;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A store that is made ready for a device: nothing runs, and nobody has to be root.
struct Device {
    scratch: TempDir,
}

impl Device {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let device = Self { scratch };
        let text = format!("store = \"{}\"\nengine = \"none\"\n", device.path("data").display());
        fs::write(device.path("umiakd.toml"), text).unwrap();
        device
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_umiakd"));
        command.arg("--config").arg(self.path("umiakd.toml")).args(line.split(' ')).current_dir(self.scratch.path());
        command
    }

    fn run(&self, line: &str) -> (Option<i32>, String) {
        told(&self.command(line).output().unwrap())
    }

    fn done(&self, line: &str) -> String {
        let (code, text) = self.run(line);
        assert_eq!(code, Some(0), "umiakd {line}\n{text}");
        text
    }

    /// A package of one container, in a file.
    fn package(&self, container: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(&format!("{container}.tgz"));
        fs::write(&path, package(container, bytes)).unwrap();
        path
    }

    /// `umiakd tx add -` with a part of a package in its pipe, once it is in the middle of an object.
    fn adding(&self, part: &[u8]) -> (Child, ChildStdin) {
        let mut command = self.command("tx add -");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        pipe.write_all(part).unwrap();
        let end = Instant::now() + PATIENCE;
        while !self.aside().iter().any(|name| name == "coming") {
            assert!(child.try_wait().unwrap().is_none() && Instant::now() < end, "it does not begin");
            std::thread::sleep(Duration::from_millis(5));
        }
        (child, pipe)
    }

    /// What waits aside.
    fn aside(&self) -> Vec<String> {
        names(&self.path("data/store/incoming"))
    }

    fn blobs(&self) -> Vec<String> {
        names(&self.path("data/store/blobs/sha256"))
    }
}

/// The names below a directory, but for locks.
fn names(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        found.extend(names(&entry.path()));
        found.extend(entry.file_name().into_string().ok().filter(|name| name != "lock"));
    }
    found.sort();
    found
}

fn told(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

fn package(container: &str, bytes: &[u8]) -> Vec<u8> {
    let conf = format!(
        "lxc.rootfs.path = overlayfs:/volumes/{container}/root.squashfs:/volumes/{container}/lxc-overlay/upper\n\
         lxc.init.cmd = /bin/run\n"
    );
    let object = |bytes: &[u8]| Digest::of(bytes).hex();
    let state = format!(
        r##"{{"#spec":"pantavisor-service-system@1","{container}/lxc.container.conf":"{}","{container}/root.squashfs":"{}",
        "{container}/run.json":{{"#spec":"service-manifest-run@1","name":"{container}","type":"lxc","config":"lxc.container.conf",
        "root-volume":"root.squashfs","volumes":[],"storage":{{"lxc-overlay":{{"persistence":"boot"}}}}}}}}"##,
        object(conf.as_bytes()),
        object(bytes),
    );
    let (conf_name, root) = (format!("objects/{}", object(conf.as_bytes())), format!("objects/{}", object(bytes)));
    tar(&[("json", state.as_bytes()), (&conf_name, conf.as_bytes()), (&root, bytes)])
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap().success());
}

/// Waits for its end, within [`PATIENCE`].
fn end(mut child: Child) -> (Option<i32>, String) {
    let end = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            child.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    told(&child.wait_with_output().unwrap())
}

#[test]
fn every_other_verb_works_while_a_pipe_is_silent() {
    let device = Device::new();
    let root = noise(300_000, 1);
    let bytes = package("web", &root);
    device.package("maps", b"maps 1");
    device.package("os", b"os 1");
    device.done("tx begin");
    let (child, mut pipe) = device.adding(&bytes[..200_000]);
    device.done("tx add maps.tgz");
    device.done("tx add os.tgz");
    device.done("tx remove os");
    device.done("tx show");
    device.done("target set maps.tgz");
    device.done("check");
    device.done("update --stage-only");
    device.done("prune");
    device.done("fsck");
    device.done("status");
    pipe.write_all(&bytes[200_000..]).unwrap();
    drop(pipe);
    let (code, text) = end(child);
    assert!(code == Some(0) && text.contains("Added") && text.contains("standard input: web"), "{text}");
    let state = device.done("tx show");
    assert!(state.contains("\"web/run.json\"") && state.contains("\"maps/run.json\""), "{state}");
    device.done("prune");
    device.done("tx commit");
    device.done("update --stage-only");
    assert!(device.aside().is_empty() && device.blobs().contains(&Digest::of(&root).hex()));
}

#[test]
fn a_silent_pipe_is_left_when_it_is_asked_to_and_nothing_stays() {
    let device = Device::new();
    let bytes = package("web", &noise(300_000, 1));
    device.done("tx begin empty");
    for name in ["TERM", "INT"] {
        let (child, _pipe) = device.adding(&bytes[..200_000]);
        signal(&child, name);
        let (code, text) = end(child);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("stopped") || text.contains("cancelled"), "{text}");
        assert!(text.contains("nothing was added"), "{text}");
        assert_eq!(device.aside(), [""; 0]);
    }
    // It breaks off.
    let (child, pipe) = device.adding(&bytes[..200_000]);
    drop(pipe);
    let (code, text) = end(child);
    assert!(code == Some(4) && text.contains("cut short"), "{text}");
    assert_eq!((device.aside(), device.blobs()), (vec![], vec![]));
    // It is killed: what it left goes with the next verb that changes something.
    let (child, _pipe) = device.adding(&bytes[..200_000]);
    signal(&child, "KILL");
    end(child);
    assert!(!device.aside().is_empty());
    device.done("tx abort");
    assert_eq!((device.aside(), device.blobs()), (vec![], vec![]));
}
