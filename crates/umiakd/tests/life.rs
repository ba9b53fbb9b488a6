//! The whole program on a device: real layouts, the real store, real containers, and the power cut in the middle of it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test works in a scratch directory")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};

use umiak_layer::LayerWriter;
use umiak_spec::Limits;
use umiak_testkit::sample::{SampleImage, SampleLayer, image, layout};
use umiak_tree::{Kind, Metadata, TreePath};

const RUNS: &str = "#!/bin/sh\ntrap 'exit 0' TERM\necho release\nwhile :; do sleep 0.1; done\n";
const FAILS: &str = "#!/bin/sh\necho cannot; exit 3\n";

/// Every how many operations the power is cut; a prime, so that other ones are met as the program changes.
const STRIDE: u64 = 13;

/// One device at a time: a machine is one, and its network devices are numbered by one engine.
static MACHINE: Mutex<()> = Mutex::new(());

/// A device in a directory. Its services go with it.
struct Device {
    scratch: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

struct Said {
    text: String,
    code: Option<i32>,
}

impl Device {
    fn new() -> Self {
        let alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
        let scratch = tempfile::tempdir().unwrap();
        let place = scratch.path().display();
        let config = format!(
            "store = \"{place}/data\"\nengine = \"oci\"\nruntime = \"/usr/bin/crun\"\n\
             [daemon]\nsocket = \"{place}/run/s\"\n[testing]\nwindow = \"300 ms\"\npatience = \"20 s\"\n"
        );
        fs::write(scratch.path().join("umiakd.toml"), config).unwrap();
        let device = Self { scratch, _alone: alone };
        for (name, script, filling) in [("one", RUNS, 1), ("two", RUNS, 2), ("bad", FAILS, 3)] {
            device.release(name, script, filling);
        }
        device
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// A layout with one image: busybox below, the script and some filling above.
    fn release(&self, name: &str, script: &str, filling: u8) {
        let busybox = fs::read("/bin/busybox").unwrap();
        let base = tar(&[("bin/sh", &busybox), ("bin/sleep", &busybox)]);
        let upper = tar(&[("bin/app", script.as_bytes()), ("filling", &vec![filling; 300_000])]);
        let layers = vec![SampleLayer::plain(base), SampleLayer::plain(upper)];
        let platform = umiak_spec::Platform::host().to_string();
        let directory = self.path(name);
        fs::create_dir_all(&directory).unwrap();
        layout(&directory, "latest", &image(&SampleImage { platform, layers })).unwrap();
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_umiakd"));
        command.arg("--config").arg(self.path("umiakd.toml")).args(line.split_whitespace());
        command.current_dir(self.scratch.path());
        command
    }

    fn run(&self, line: &str) -> Said {
        said(&self.command(line).output().unwrap())
    }

    fn done(&self, line: &str) -> String {
        let said = self.run(line);
        assert_eq!(said.code, Some(0), "umiakd {line}\n{}", said.text);
        said.text
    }

    fn status(&self) -> serde_json::Value {
        let output = self.command("--json status").output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output).text))
    }

    /// Release of the one app that runs, and whether it is well.
    fn runs(&self) -> (String, String) {
        let status = self.status();
        let app = &status["apps"][0];
        let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let reference = word(&app["reference"]);
        (reference.rsplit('/').next().unwrap_or_default().to_owned(), word(&app["condition"]))
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // What watches over services ends them; mounts go with the last of them.
        let words = self.path("run").display().to_string();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&line).contains(&words)
                && let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok())
            {
                let _ = Command::new("kill").arg(pid.to_string()).status();
                while Path::new(&format!("/proc/{pid}/exe")).exists() {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
            }
        }
    }
}

fn said(output: &Output) -> Said {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    Said { text: String::from_utf8_lossy(&text).into_owned(), code: output.status.code() }
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = LayerWriter::new(Vec::new());
    let path = |name: &str| TreePath::from_archive(name.as_bytes(), &Limits::default()).unwrap();
    writer.other(&path("bin"), &Metadata::root_owned(0o755), &Kind::<()>::Directory(Default::default())).unwrap();
    for (name, content) in files {
        writer.file(&path(name), &Metadata::root_owned(0o755), content.len() as u64, &mut &content[..]).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
#[ignore = "needs: crun, busybox-static, root"]
fn a_device_updates_goes_back_by_itself_and_by_hand() {
    let device = Device::new();
    device.done("target set oci:one");
    device.done("check --explain");
    device.done("update");
    assert_eq!(device.runs(), ("one".into(), "running".into()));
    assert!(device.done("logs").contains("one/one  release"));

    device.done("target set oci:two");
    let told = device.done("update");
    assert!(told.contains("Committed") && told.contains("umiakd rollback"), "{told}");
    assert_eq!(device.runs(), ("two".into(), "running".into()));

    device.done("target set oci:bad");
    let failed = device.run("update");
    assert_eq!(failed.code, Some(6), "{}", failed.text);
    assert!(failed.text.contains("runs again"), "{}", failed.text);
    assert_eq!(device.runs(), ("two".into(), "running".into()));
    let again = device.run("update");
    assert_eq!(again.code, Some(6), "{}", again.text);

    device.done("rollback");
    assert_eq!(device.runs(), ("one".into(), "running".into()));
    device.done("export one exported");
    assert!(device.path("exported/oci-layout").exists());
    device.done("support -o support.tar.gz");
    device.done("prune");
    assert!(device.done("fsck").contains("Verified"));
    assert!(device.done("history").contains("went back from"));
}

#[test]
#[ignore = "needs: crun, busybox-static, root"]
fn an_update_that_is_cut_off_goes_on_with_the_same_command() {
    let device = Device::new();
    device.done("target set oci:one");
    device.done("update");
    let mut cuts = 0;
    // From one to two and back again, each time cut off somewhere else, until an update gets through.
    for number in (1..).step_by(usize::try_from(STRIDE).unwrap()) {
        let to = if cuts % 2 == 0 { "two" } else { "one" };
        device.done(&format!("target set oci:{to}"));
        let cut = said(&device.command("update --again").env("UMIAK_CRASH_AT", number.to_string()).output().unwrap());
        let (runs, _) = device.runs();
        assert!(["one", "two"].contains(&runs.as_str()), "after a cut at {number}: {runs}");
        if cut.code == Some(0) {
            break;
        }
        assert_eq!(cut.code, None, "at {number} nothing was cut: {}", cut.text);
        device.done("update --again");
        assert_eq!(device.runs(), (to.to_owned(), "running".into()), "cut at {number}");
        cuts += 1;
    }
    println!("cut off at {cuts} operations");
    assert!(cuts > 3);
    assert!(device.done("fsck").contains("Verified"));
}
