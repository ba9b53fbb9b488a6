//! The systemd unit: what the services of a device depend on in it, and that systemd understands it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test works in a scratch directory")]

use std::fs;
use std::path::Path;
use std::process::Command;

fn unit() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/umiakd.service")).unwrap()
}

#[test]
fn services_outlive_the_daemon_and_what_it_needs_stays() {
    let unit = unit();
    for (setting, why) in [
        ("Type=notify", "it says when the device runs what it should"),
        ("KillMode=process", "shims and containers are not ended with the daemon"),
        ("Delegate=yes", "control groups below its own are left to it"),
        ("RuntimeDirectory=umiak", "the place of networks, locks and what shims write down"),
        ("RuntimeDirectoryPreserve=yes", "and it is there for the next daemon"),
        ("Restart=always", "nobody stands beside the device"),
        ("TasksMax=infinity", "shims count as its tasks"),
    ] {
        assert!(unit.lines().any(|line| line == setting), "{setting}: {why}");
    }
    // Mounts that it makes are for the services, which may live elsewhere: no namespace of its own.
    for setting in
        ["PrivateTmp=", "ProtectSystem=", "PrivateMounts=", "ProtectHome=", "PrivateDevices=", "PrivateNetwork="]
    {
        assert!(!unit.contains(setting), "{setting} would take its mounts from the services");
    }
}

#[test]
#[ignore = "needs: systemd"]
fn systemd_understands_every_line() {
    let scratch = tempfile::tempdir().unwrap();
    let text = unit().replace("/usr/bin/umiakd", env!("CARGO_BIN_EXE_umiakd"));
    let path = scratch.path().join("umiakd.service");
    fs::write(&path, text).unwrap();
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("umiakd")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}
