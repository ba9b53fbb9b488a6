//! The real programs that tests and benches compare umiak with: Debian packages, and crates that no Debian has, each with
//! its reason.
//!
//! This is the only list. A test that needs a package which is not here is refused with a word on what to do.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Failure, command, tidy};

/// Package and what it is here for.
const PACKAGES: [(&str, &str); 37] = [
    ("attr", "getfattr and setfattr: extended attributes as others see them"),
    ("binutils", "strip: a test's program without its tables, small enough for a virtual machine's memory"),
    ("bsdiff", "bsdiff and bspatch: the delta of two files that ours is measured with"),
    ("busybox-static", "one program that makes a small root file system: containers of it start"),
    ("cpio", "the first file system of a virtual machine"),
    ("crun", "an OCI runtime: the app that was built starts"),
    ("docker-compose", "compose projects in a Docker daemon: an app that was carried there starts"),
    ("docker-registry", "a registry on loopback: pull, resume, authenticate"),
    ("docker.io", "a Docker daemon: what layers take on a device, and apps that run there"),
    ("e2fsprogs", "mkfs.ext4: the file system that layers are measured for"),
    ("fakeroot", "trees with owners, as people build them without root"),
    ("git", "git: the build version of packages"),
    ("gzip", "gzip: streams as others write them"),
    ("iproute2", "ip: the network namespace that a daemon is locked into"),
    ("linux-image-cloud-amd64", "the kernel of a virtual machine that is killed in the middle of an update"),
    ("mmdebstrap", "a small real Debian tree"),
    ("mount", "mount and umount: the kernel shows what we wrote"),
    ("openssl", "a certificate for a registry on loopback that speaks https; keys and signatures of others"),
    ("ostree", "static deltas of two trees: the bench's peer"),
    ("python3", "zlib in all its settings, zip archives and PNG pictures made with it"),
    ("qemu-system-common", "qemu-storage-daemon: writes down what a file system writes to its disk"),
    ("qemu-system-x86", "a virtual machine that is killed in the middle of an update"),
    ("rdiff", "librsync's own program: deltas as balena sends them, to be read and to be measured with"),
    ("rsync", "compares trees in the benches' peer"),
    ("runc", "the other OCI runtime"),
    ("skopeo", "makes and copies layouts, archives, registry contents"),
    ("squashfs-tools", "mksquashfs and unsquashfs: the format's own reader and writer"),
    ("systemd", "systemd-analyze: the daemon's unit as systemd reads it"),
    ("tar", "GNU tar: layers as others write and read them"),
    ("time", "wall, CPU and peak memory of a measured command, all its processes together"),
    ("umoci", "unpacks images: the tree that others make of them"),
    ("util-linux", "unshare and setpriv: namespaces that end with their daemon"),
    ("xdelta3", "VCDIFF deltas: the bench's peer"),
    (
        "xfsprogs",
        "mkfs.xfs: the other file system that layers are measured for; xfs_io: takes one away as a power cut does",
    ),
    ("xz-utils", "xz: streams as others write and read them"),
    ("zip", "zip: archives as others write them"),
    ("zstd", "zstd: streams as others write and read them"),
];

/// Programs of crates: name, release, and what it is here for. Tests name them as `cargo:NAME`. They are built once, into
/// `peers` below cargo's target directory, where `umiak_testkit` looks for them.
const CRATES: [(&str, &str, &str); 1] = [(
    "ferro-oci-server",
    "1.0.0",
    "a registry on loopback that has referrers and no ranges: the other half of the world",
)];

/// How tests name a program of a crate.
const CRATE: &str = "cargo:";

/// Installs what is missing of `wanted`, Debian's packages as root; returns what is missing still.
///
/// # Errors
/// A package is not on the list.
pub fn install(wanted: &BTreeSet<String>) -> Result<BTreeSet<String>, Failure> {
    check(wanted)?;
    wanted.iter().filter_map(|name| name.strip_prefix(CRATE)).for_each(build);
    let absent = missing(wanted);
    let packages = || absent.iter().filter(|name| !name.starts_with(CRATE));
    if packages().next().is_none() || !command::is_root() || !Path::new("/usr/bin/apt-get").exists() {
        return Ok(absent);
    }
    // The package lists may be absent or old: then the first try fails, and the second has fresh ones.
    if command::run(apt("install").arg("--no-install-recommends").args(packages())).is_err()
        && command::run(&mut apt("update")).is_ok()
    {
        // What could not be installed is seen, and named, below.
        let _ = command::run(apt("install").arg("--no-install-recommends").args(packages()));
    }
    Ok(missing(&absent))
}

/// Every package has its reason here.
///
/// # Errors
/// One has not.
pub fn check(wanted: &BTreeSet<String>) -> Result<(), Failure> {
    let message = |stranger| format!("{stranger} is not in xtask/src/peers.rs: write it there with its reason");
    stranger(wanted).map_or(Ok(()), |stranger| Err(message(stranger)))
}

fn stranger(wanted: &BTreeSet<String>) -> Option<&String> {
    let known = |name: &String| match name.strip_prefix(CRATE) {
        Some(name) => CRATES.iter().any(|(known, ..)| *known == name),
        None => PACKAGES.iter().any(|(known, _)| known == name),
    };
    wanted.iter().find(|name| !known(name))
}

fn missing(packages: &BTreeSet<String>) -> BTreeSet<String> {
    packages.iter().filter(|package| !installed(package)).cloned().collect()
}

/// What a person would type to have what is missing.
pub fn advice(missing: &BTreeSet<String>) -> Vec<String> {
    let (crates, packages): (Vec<&String>, Vec<&String>) = missing.iter().partition(|name| name.starts_with(CRATE));
    let packages = packages.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" ");
    let mut lines = Vec::new();
    lines.extend((!packages.is_empty()).then(|| format!("apt-get install {packages}")));
    for name in crates.iter().filter_map(|name| name.strip_prefix(CRATE)) {
        lines.extend(place().ok().and_then(|place| Some(command::typed(&recipe(name, &place)?))));
    }
    lines
}

/// Where programs of crates are.
fn place() -> Result<PathBuf, Failure> {
    let metadata = tidy::metadata()?;
    let target = metadata["target_directory"].as_str().ok_or("cargo names no target directory")?;
    Ok(Path::new(target).join("peers"))
}

/// How one is built: quickly, not to be quick.
fn recipe(name: &str, place: &Path) -> Option<Command> {
    let (name, release, _) = CRATES.iter().find(|(known, ..)| *known == name)?;
    let mut cargo = command::cargo();
    cargo.args(["install", "--debug", "--locked", "--quiet", "--root"]).arg(place);
    cargo.args([name, "--version", release]).env("CARGO_TARGET_DIR", place.join("build"));
    // What nobody debugs needs no tables for it: half of the disk and some of the time.
    cargo.env("CARGO_PROFILE_DEV_DEBUG", "0").stdin(Stdio::null());
    Some(cargo)
}

/// Builds one unless it is there. What cannot be built is seen, and named, later.
fn build(name: &str) {
    let Ok(place) = place() else { return };
    if place.join("bin").join(name).exists() {
        return;
    }
    if let Some(mut recipe) = recipe(name, &place)
        && command::run(&mut recipe).is_ok()
    {
        // Some hundred MiB that nobody needs again.
        let _ = std::fs::remove_dir_all(place.join("build"));
    }
}

fn installed(package: &str) -> bool {
    if let Some(name) = package.strip_prefix(CRATE) {
        return place().is_ok_and(|place| place.join("bin").join(name).exists());
    }
    let output = Command::new("dpkg-query").args(["-W", "-f=${Status}", package]).stderr(Stdio::null()).output();
    output.is_ok_and(|output| output.stdout.starts_with(b"install ok installed"))
}

/// The version of an installed package, as Debian counts it.
pub fn version(package: &str) -> Option<String> {
    let output = Command::new("dpkg-query").args(["-W", "-f=${Version}", package]).stderr(Stdio::null()).output();
    let output = output.ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()).filter(|text| !text.is_empty())
}

fn apt(action: &str) -> Command {
    let mut apt = Command::new("apt-get");
    apt.args(["-q", "-y", action]).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    apt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_without_a_reason_is_refused() {
        assert!(install(&["sl".to_owned()].into()).unwrap_err().contains("reason"));
        assert!(stranger(&["tar".to_owned(), "cargo:ferro-oci-server".to_owned()].into()).is_none());
        assert!(stranger(&["cargo:tar".to_owned()].into()).is_some());
        assert!(version("tar").unwrap().starts_with("1."));
        assert_eq!(version("no-such-package"), None);
        assert!(PACKAGES.windows(2).all(|pair| pair[0].0 < pair[1].0), "sorted, each once");
    }
}
