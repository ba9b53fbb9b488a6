//! A device in a directory: releases as layouts, umiakd's configuration, its verbs, real containers.
#![allow(dead_code, reason = "every test program uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use umiak_layer::LayerWriter;
use umiak_spec::Limits;
use umiak_testkit::sample::{SampleImage, SampleLayer, image, layout};
use umiak_tree::{Kind, Metadata, TreePath};

/// A service that runs until it is told to end.
pub const RUNS: &str = "#!/bin/sh\ntrap 'exit 0' TERM\necho release\nwhile :; do sleep 0.1; done\n";
/// A service that is never well.
pub const FAILS: &str = "#!/bin/sh\necho cannot; exit 3\n";

/// A device in a directory. Its services go with it.
pub struct Device {
    scratch: tempfile::TempDir,
}

/// What one run said.
pub struct Said {
    pub text: String,
    pub code: Option<i32>,
}

impl Device {
    pub fn new() -> Self {
        Self::configured("")
    }

    /// A device of which more is decided, see [`Device::configure`].
    pub fn configured(more: &str) -> Self {
        let device = Self { scratch: tempfile::tempdir().unwrap() };
        device.configure(more);
        device
    }

    /// Writes the configuration: `more` has lines as `daemon.poll = "1 s"`, in place of what every test has or beside it.
    pub fn configure(&self, more: &str) {
        let place = self.scratch.path().display();
        let usual = format!(
            "store = \"{place}/data\"\nengine = \"oci\"\nruntime = \"/usr/bin/crun\"\ndaemon.socket = \"{place}/run/s\"\n\
             testing.window = \"300 ms\"\ntesting.patience = \"20 s\"\n"
        );
        let lines: BTreeMap<_, _> =
            usual.lines().chain(more.lines()).filter_map(|line| line.split_once(" = ")).collect();
        let text: String = lines.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        fs::write(self.path("umiakd.toml"), text).unwrap();
    }

    /// Processes that are about this device: those of umiakd, with their command lines.
    pub fn processes(&self) -> Vec<(i32, String)> {
        let words = self.scratch.path().display().to_string();
        let all = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            Some((pid, String::from_utf8_lossy(&line).into_owned()))
        });
        all.filter(|(_, line)| line.contains(&words)).collect()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// A layout with one image: busybox below, the script and some filling above.
    pub fn release(&self, name: &str, script: &str, filling: u8) {
        let busybox = fs::read("/bin/busybox").unwrap();
        let base = tar(&[("bin/sh", &busybox), ("bin/sleep", &busybox)]);
        let upper = tar(&[("bin/app", script.as_bytes()), ("filling", &vec![filling; 300_000])]);
        let layers = vec![SampleLayer::plain(base), SampleLayer::plain(upper)];
        let platform = umiak_spec::Platform::host().to_string();
        let directory = self.path(name);
        fs::create_dir_all(&directory).unwrap();
        layout(&directory, "latest", &image(&SampleImage { platform, layers })).unwrap();
    }

    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_umiakd"));
        command.arg("--config").arg(self.path("umiakd.toml")).args(line.split_whitespace());
        command.current_dir(self.scratch.path());
        command
    }

    pub fn run(&self, line: &str) -> Said {
        said(&self.command(line).output().unwrap())
    }

    pub fn done(&self, line: &str) -> String {
        let said = self.run(line);
        assert_eq!(said.code, Some(0), "umiakd {line}\n{}", said.text);
        said.text
    }

    pub fn status(&self) -> serde_json::Value {
        let output = self.command("--json status").output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output).text))
    }

    /// Release of the one app that runs, and whether it is well.
    pub fn runs(&self) -> (String, String) {
        let status = self.status();
        let app = &status["apps"][0];
        let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let reference = word(&app["reference"]);
        (reference.rsplit('/').next().unwrap_or_default().to_owned(), word(&app["condition"]))
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // What watches over services ends them.
        for (pid, _) in self.processes() {
            let _ = Command::new("kill").arg(pid.to_string()).status();
            let end = Instant::now() + Duration::from_secs(20);
            while Path::new(&format!("/proc/{pid}/exe")).exists() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        // What it left in the kernel: mounts, the topmost first, and bridges, at which their device is noted.
        let place = self.scratch.path().display().to_string();
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        for point in mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)).filter(|at| at.starts_with(&place))
        {
            let _ = Command::new("umount").args(["--lazy", point]).status();
        }
        for link in fs::read_dir("/sys/class/net").into_iter().flatten().flatten() {
            if fs::read_to_string(link.path().join("ifalias")).is_ok_and(|note| note.contains(&place)) {
                let _ = Command::new("ip").args(["link", "delete"]).arg(link.file_name()).status();
            }
        }
    }
}

pub fn said(output: &Output) -> Said {
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
