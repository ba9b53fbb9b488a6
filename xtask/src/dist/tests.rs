//! The package as dpkg sees it: built around any program, so that no release has to be built for it; installed, replaced,
//! removed and purged in a root file system of its own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::target::Target;
use super::{debian, dynamic};

const EPOCH: u64 = 1_700_000_000;

#[test]
fn a_program_that_wants_a_linker_is_told_from_one_that_does_not() {
    let own = fs::read("/proc/self/exe").unwrap();
    assert!(dynamic(&own));
    assert!(!dynamic(b"\x7fELF"));
}

/// A directory that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("umiak-dist-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn package(out: &Path) -> PathBuf {
    let target = Target::named(std::env::consts::ARCH).unwrap();
    fs::create_dir_all(out).unwrap();
    debian::package(&target, Path::new("/bin/busybox"), out, EPOCH).unwrap()
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

/// A root file system with a shell, what makes groups, and dpkg's own lists.
fn root_file_system(root: &Path) {
    for directory in
        ["bin", "dev", "usr/bin", "etc", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers"]
    {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for name in ["sh", "grep", "rmdir", "rm"] {
        symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    let groupadd = root.join("bin/groupadd");
    fs::write(&groupadd, "#!/bin/sh\n[ \"$1\" = --system ]\necho \"$2:x:999:\" >> /etc/group\n").unwrap();
    fs::set_permissions(&groupadd, fs::Permissions::from_mode(0o755)).unwrap();
    for file in ["etc/group", "dev/null", "var/lib/dpkg/info/passwd.list"] {
        fs::write(root.join(file), "").unwrap();
    }
    let status = "Package: passwd\nStatus: install ok installed\nMaintainer: none <none@localhost>\nArchitecture: all\n\
                  Version: 1\nDescription: accounts\n\n";
    fs::write(root.join("var/lib/dpkg/status"), status).unwrap();
}

#[test]
#[ignore = "needs: busybox-static, root"]
fn the_package_is_the_same_twice_and_says_what_it_is() {
    let scratch = Scratch::new("info");
    let (one, two) = (package(&scratch.0.join("one")), package(&scratch.0.join("two")));
    assert_eq!(fs::read(&one).unwrap(), fs::read(&two).unwrap(), "reproducible");
    let field = |name: &str| output(Command::new("dpkg-deb").arg("--field").arg(&one).arg(name)).trim().to_owned();
    assert_eq!((field("Package"), field("Version")), ("umiakd".into(), env!("CARGO_PKG_VERSION").into()));
    let kib: u64 = field("Installed-Size").parse().unwrap();
    assert!(kib >= fs::metadata("/bin/busybox").unwrap().len() / 1024, "{kib}");
    let control = output(Command::new("dpkg-deb").arg("--info").arg(&one));
    assert!(!["@VERSION@", "@ARCHITECTURE@", "@KIB@"].iter().any(|hole| control.contains(hole)), "{control}");
    let contents = output(Command::new("dpkg-deb").arg("--contents").arg(&one));
    for (mode, path) in [
        ("-rwxr-xr-x root/root", "./usr/bin/umiakd"),
        ("-rw-r--r-- root/root", "./lib/systemd/system/umiakd.service"),
        ("-rw-r--r-- root/root", "./etc/umiak/umiakd.toml"),
        ("drwxr-xr-x root/root", "./usr/share/doc/umiakd/"),
    ] {
        let found = contents.lines().find(|line| line.ends_with(path)).unwrap_or_else(|| panic!("{path}: {contents}"));
        assert!(found.starts_with(mode), "{found}");
    }
}

#[test]
#[ignore = "needs: busybox-static, root"]
fn the_package_is_installed_replaced_removed_and_purged() {
    let scratch = Scratch::new("install");
    let file = package(&scratch.0);
    let root = scratch.0.join("root");
    root_file_system(&root);
    let dpkg = |words: &[&str]| {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg(format!("--root={}", root.display())).arg("--force-not-root").args(words);
        output(dpkg.env("PATH", "/bin:/usr/bin:/sbin:/usr/sbin"))
    };
    let group = || fs::read_to_string(root.join("etc/group")).unwrap().matches("umiak:").count();
    let file = file.to_str().unwrap();
    dpkg(&["--install", file]);
    assert!(root.join("usr/bin/umiakd").exists());
    assert_eq!(group(), 1);

    // What the keeper wrote stays, and what the device stored.
    let settings = root.join("etc/umiak/umiakd.toml");
    fs::write(&settings, "engine = \"oci\"\n").unwrap();
    fs::create_dir_all(root.join("var/lib/umiak/store")).unwrap();
    dpkg(&["--force-confdef", "--force-confold", "--install", file]);
    assert_eq!((group(), fs::read_to_string(&settings).unwrap().as_str()), (1, "engine = \"oci\"\n"));
    dpkg(&["--remove", "umiakd"]);
    assert!(!root.join("usr/bin/umiakd").exists() && settings.exists());
    dpkg(&["--purge", "umiakd"]);
    assert!(!root.join("etc/umiak").exists() && root.join("var/lib/umiak/store").exists());
}
