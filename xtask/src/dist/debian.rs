//! The Debian package of the device's program: its files in a directory, then `dpkg-deb`, which every Debian has.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::target::Target;
use crate::{Failure, command};

/// Files of the package: where from in the checkout, where to, mode.
const FILES: [(&str, &str, u32); 7] = [
    ("packaging/umiakd.service", "lib/systemd/system/umiakd.service", 0o644),
    ("packaging/umiakd.toml", "etc/umiak/umiakd.toml", 0o644),
    ("LICENSE-APACHE", "usr/share/doc/umiakd/LICENSE-APACHE", 0o644),
    ("LICENSE-MIT", "usr/share/doc/umiakd/LICENSE-MIT", 0o644),
    ("README.md", "usr/share/doc/umiakd/README.md", 0o644),
    ("CHANGELOG.md", "usr/share/doc/umiakd/CHANGELOG.md", 0o644),
    ("docs/formats/umiakd-toml.md", "usr/share/doc/umiakd/umiakd-toml.md", 0o644),
];

/// Scripts and lists for dpkg.
const CONTROL: [(&str, u32); 4] = [("postinst", 0o755), ("prerm", 0o755), ("postrm", 0o755), ("conffiles", 0o644)];

/// Packs `program`; gives the package.
///
/// # Errors
/// A file cannot be written, or dpkg-deb refuses.
pub fn package(target: &Target, program: &Path, out: &Path, epoch: u64) -> Result<PathBuf, Failure> {
    let stage = out.join("umiakd.stage");
    // Left by a build that was cut off.
    let _ = fs::remove_dir_all(&stage);
    put(&stage.join("usr/bin/umiakd"), &read(program)?, 0o755)?;
    for (from, to, mode) in FILES {
        put(&stage.join(to), &read(&command::root().join(from))?, mode)?;
    }
    let debian = command::root().join("packaging/debian");
    for (name, mode) in CONTROL {
        put(&stage.join("DEBIAN").join(name), &read(&debian.join(name))?, mode)?;
    }
    let control = String::from_utf8_lossy(&read(&debian.join("control"))?)
        .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
        .replace("@ARCHITECTURE@", target.debian())
        .replace("@KIB@", &installed_kib(&stage)?.to_string());
    put(&stage.join("DEBIAN/control"), control.as_bytes(), 0o644)?;
    let package = out.join(format!("umiakd_{}_{}.deb", env!("CARGO_PKG_VERSION"), target.debian()));
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.args(["--root-owner-group", "-Zxz", "--build"]).arg(&stage).arg(&package);
    command::run(dpkg.env("SOURCE_DATE_EPOCH", epoch.to_string()))?;
    fs::remove_dir_all(&stage).map_err(|error| format!("cannot remove {}: {error}", stage.display()))?;
    Ok(package)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// Writes a file with exactly this mode; directories on the way are everybody's to read, whatever the umask.
fn put(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let told = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
    let above: Vec<&Path> = path.ancestors().skip(1).take_while(|above| !above.exists()).collect();
    for directory in above.into_iter().rev() {
        fs::create_dir(directory).map_err(told)?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).map_err(told)?;
    }
    fs::write(path, bytes).map_err(told)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(told)
}

/// What the package takes, in KiB, each file rounded up.
fn installed_kib(directory: &Path) -> Result<u64, Failure> {
    let told = |error: std::io::Error| format!("cannot read {}: {error}", directory.display());
    let mut total = 0;
    for entry in fs::read_dir(directory).map_err(told)? {
        let entry = entry.map_err(told)?;
        let metadata = entry.metadata().map_err(told)?;
        total += if metadata.is_dir() { installed_kib(&entry.path())? } else { metadata.len().div_ceil(1024) };
    }
    Ok(total)
}
