//! The law of patches with the kernel as the judge: base and patch, mounted with overlayfs, show the target.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Device, releases};
use umiak_build::{Outcome, UpdateMode};
use umiak_testkit::disk;
use umiak_tree::difference;

struct Mount(PathBuf);

impl Mount {
    fn new(arguments: &[&str], at: &Path) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let output = Command::new("mount").args(arguments).arg(at).output().unwrap();
        assert!(output.status.success(), "mount {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Self(at.to_owned())
    }

    fn squashfs(image: &Path, at: &Path) -> Self {
        Self::new(&["-t", "squashfs", "-o", "loop,ro", image.to_str().unwrap()], at)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
#[ignore = "needs: mount, root"]
fn mounted_base_and_patch_show_exactly_the_target() {
    let mut patched = 0;
    for seed in 100..115 {
        let device = Device::new();
        let (base, target) = releases(seed, 80, 30);
        let (one, two) = (device.image("one", &[&base]), device.image("two", &[&target]));
        device.add("app", &one, None).unwrap();
        if device.update("app", &two, UpdateMode::Patch).unwrap().outcome != Outcome::Patch {
            continue;
        }
        device.add("fresh", &two, None).unwrap();
        let at = |name: &str| device.repository().join(name);
        let points = ["lower", "upper", "fresh", "merged"].map(|name| device.path(name));
        let _lower = Mount::squashfs(&at("app/root.squashfs"), &points[0]);
        let _upper = Mount::squashfs(&at("app/root.ovl.squashfs"), &points[1]);
        let _fresh = Mount::squashfs(&at("fresh/root.squashfs"), &points[2]);
        let lowers = format!("lowerdir={}:{}", points[1].display(), points[0].display());
        let _merged = Mount::new(&["-t", "overlay", "-o", &lowers, "overlay"], &points[3]);
        let (merged, expected) = (disk::read(&points[3]).unwrap(), disk::read(&points[2]).unwrap());
        assert_eq!(difference(&merged, &expected), None, "seed {seed}");
        patched += 1;
    }
    assert!(patched > 10, "only {patched} patches");
}

#[test]
#[ignore = "needs: mount, root"]
fn a_full_disk_leaves_everything_as_it_was() {
    let device = Device::new();
    let (base, target) = releases(200, 80, 60);
    let (one, two) = (device.image("one", &[&base]), device.image("two", &[&target]));
    let mut refused = 0;
    for kib in (16..400).step_by(8) {
        let _small = Mount::new(&["-t", "tmpfs", "-o", &format!("size={kib}k"), "small"], &device.repository());
        std::fs::create_dir(device.repository().join(".pvr")).unwrap();
        if device.add("app", &one, None).is_err() {
            assert_eq!(device.everything(), [], "{kib} KiB");
            refused += 1;
            continue;
        }
        let before = device.everything();
        match device.update("app", &two, UpdateMode::NewBase) {
            Ok(_) => break,
            Err(_) => assert_eq!(device.everything(), before, "{kib} KiB"),
        }
        refused += 1;
    }
    assert!(refused > 3, "the disk was full only {refused} times");
}
