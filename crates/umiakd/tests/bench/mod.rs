//! A developer's workbench beside a device: `umiak` as it was built beside the test, images, and the package of it all.
#![allow(dead_code, reason = "every test program uses a part of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use umiak_layer::LayerWriter;
use umiak_spec::Limits;
use umiak_testkit::sample::{SampleImage, SampleLayer, image, layout};
use umiak_tree::{Metadata, TreePath};

use crate::device::Device;

/// What the bench makes.
pub const PACKAGE: &str = "package.tgz";

/// What a container does that stays.
pub const STAYS: &str = "while :; do $1 sleep 0.1; done";

/// A layer of files; those in `bin` can be run.
pub fn layer(files: &[(&str, &[u8])]) -> SampleLayer {
    let mut archive = LayerWriter::new(Vec::new());
    for (name, content) in files {
        let path = TreePath::from_archive(name.as_bytes(), &Limits::default()).unwrap();
        let metadata = Metadata::root_owned(if name.starts_with("bin") { 0o755 } else { 0o644 });
        archive.file(&path, &metadata, content.len() as u64, &mut &content[..]).unwrap();
    }
    SampleLayer::plain(archive.finish().unwrap())
}

/// What `umiak`, as it was built beside this test, says on standard output in a directory beside the device; it must succeed.
pub fn umiak(device: &Device, directory: &str, line: &str) -> String {
    let test = std::env::current_exe().unwrap();
    let program: PathBuf = test.parent().and_then(Path::parent).unwrap().join("umiak");
    assert!(program.exists(), "cargo build -p umiak");
    let mut command = Command::new(program);
    command.args(line.split_whitespace()).current_dir(device.path(directory));
    let home = device.path("umiak");
    let output = command.env("PVR_CONFIG_DIR", &home).env("HOME", &home).output().unwrap();
    assert!(output.status.success(), "umiak {line}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A workbench of the developer beside the device.
pub struct Bench<'d> {
    device: &'d Device,
    base: SampleLayer,
}

impl<'d> Bench<'d> {
    pub fn new(device: &'d Device) -> Self {
        let busybox = fs::read("/bin/busybox").unwrap();
        let base = layer(&[("bin/busybox", &busybox), ("bin/sh", &busybox)]);
        let bench = Self { device, base };
        fs::create_dir(device.path("work")).unwrap();
        bench.umiak("init");
        bench
    }

    /// A place on the bench.
    pub fn path(&self, name: &str) -> PathBuf {
        self.device.path("work").join(name)
    }

    /// `umiak` at the bench.
    pub fn umiak(&self, line: &str) {
        umiak(self.device, "work", line);
    }

    /// A layout of the base and what is above it.
    pub fn image(&self, name: &str, above: &[&[(&str, &[u8])]]) {
        let layers = [self.base.clone()].into_iter().chain(above.iter().map(|files| layer(files))).collect();
        let platform = umiak_spec::Platform::host().to_string();
        layout(&self.device.path(name), "1", &image(&SampleImage { platform, layers })).unwrap();
    }

    /// A layout of an app of this script, and of files beside it.
    pub fn release(&self, name: &str, script: &str, pages: &[(&str, &[u8])]) {
        let app: &[(&str, &[u8])] = &[("bin/app", script.as_bytes())];
        self.image(name, &[app, pages]);
    }

    /// A file that is laid over a container.
    pub fn config(&self, path: &str, text: &str) {
        let path = self.device.path("work/_config").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The package of what is on the bench, in place of the one before.
    pub fn publish(&self) {
        self.publish_as(PACKAGE);
    }

    /// The same under another name.
    pub fn publish_as(&self, file: &str) {
        self.commit();
        self.umiak(&format!("export ../{file}"));
    }

    pub fn commit(&self) {
        self.umiak("-q add .");
        self.umiak("-q commit");
    }
}
