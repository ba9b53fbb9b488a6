//! The daemon that tests start: containers run, and nothing of it stays.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use umiak_testkit::dockerd::Dockerd;
use umiak_testkit::volume::{FileSystem, Volume};

/// Every process that has `word` in its arguments.
fn processes(word: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path().join("cmdline"));
    let lines = entries.filter_map(|path| fs::read(path).ok()).map(|line| String::from_utf8_lossy(&line).into_owned());
    lines.filter(|line| line.contains(word)).collect()
}

fn mounted(path: &Path) -> bool {
    fs::read_to_string("/proc/mounts").unwrap().contains(path.to_str().unwrap())
}

/// Waits until no process has `word` in its arguments.
fn gone(word: &str) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if processes(word).is_empty() {
            return true;
        }
        thread::yield_now();
    }
    false
}

fn import_busybox(daemon: &Dockerd, scratch: &Path) {
    let tar = scratch.join("root.tar");
    let made = Command::new("tar").args(["-C", "/usr", "-cf", tar.to_str().unwrap(), "bin/busybox"]).status();
    assert!(made.unwrap().success());
    daemon.docker(&["import", tar.to_str().unwrap(), "box:1"]).unwrap();
}

#[test]
#[ignore = "needs: docker.io, iproute2, util-linux, e2fsprogs, mount, busybox-static, tar, root"]
fn containers_run_and_go_with_the_daemon() {
    let scratch = tempfile::tempdir().unwrap();
    let volume = Volume::make(scratch.path(), "disk", FileSystem::Ext4, 4096, 64 << 20).unwrap();
    let root = volume.path().join("docker");
    let daemon = Dockerd::start(&root).unwrap();
    import_busybox(&daemon, scratch.path());
    let said = daemon.docker(&["run", "--rm", "--network=none", "box:1", "/bin/busybox", "echo", "hello"]).unwrap();
    assert_eq!(said, "hello\n");
    daemon
        .docker(&["run", "-d", "--stop-timeout=1", "--network=none", "box:1", "/bin/busybox", "sleep", "1000"])
        .unwrap();
    assert!(processes("/bin/busybox\0sleep\x001000").len() == 1, "the container runs");
    let socket = daemon.socket();
    let of_daemon = socket.parent().unwrap().to_str().unwrap().to_owned();
    assert!(processes(&of_daemon).len() >= 3, "dockerd, containerd and a shim: {:?}", processes(&of_daemon));
    assert!(!mounted(&root), "its mounts are its own");
    daemon.stop().unwrap();
    assert_eq!(processes(&of_daemon), Vec::<String>::new());
    assert!(processes("/bin/busybox\0sleep\x001000").is_empty());
    assert!(!socket.exists());
    // A mount that somebody still had open could not be unmounted and mounted again.
    volume.remount().unwrap();
    let again = Dockerd::start(&root).unwrap();
    assert!(again.docker(&["images", "-q", "box:1"]).unwrap().len() > 1, "the root is taken up");
    drop(again);
    let path = volume.path().to_owned();
    drop(volume);
    assert!(!mounted(&path));
}

#[test]
#[ignore = "needs: docker.io, iproute2, util-linux, root"]
fn the_daemon_ends_with_the_thread_that_started_it() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("docker");
    let started = thread::scope(|scope| {
        let start = || {
            let daemon = Dockerd::start(&root).unwrap();
            let found = processes(root.to_str().unwrap()).len();
            // As if the test were killed: nothing is dropped.
            std::mem::forget(daemon);
            found
        };
        scope.spawn(start).join().unwrap()
    });
    assert!(started > 0);
    assert!(gone(root.to_str().unwrap()), "{:?}", processes(root.to_str().unwrap()));
}

#[test]
#[ignore = "needs: docker.io, iproute2, util-linux, root"]
fn what_the_daemon_said_comes_with_the_error() {
    let scratch = tempfile::tempdir().unwrap();
    let error = Dockerd::start_with(&scratch.path().join("docker"), &["--no-such-flag"]).err().unwrap();
    assert!(error.to_string().contains("no-such-flag"), "{error}");
}

#[test]
#[ignore = "needs: e2fsprogs, xfsprogs, mount, root"]
fn volumes_have_the_asked_block_size() {
    let scratch = tempfile::tempdir().unwrap();
    for (kind, block, bytes) in
        [(FileSystem::Ext4, 1024, 16 << 20), (FileSystem::Ext4, 4096, 16 << 20), (FileSystem::Xfs, 4096, 320 << 20)]
    {
        let volume = Volume::make(scratch.path(), &format!("{}-{block}", kind.name()), kind, block, bytes).unwrap();
        assert_eq!(rustix::fs::statvfs(volume.path()).unwrap().f_bsize, u64::from(block));
        fs::write(volume.path().join("file"), vec![1; 5000]).unwrap();
        volume.remount().unwrap();
        assert_eq!(fs::read(volume.path().join("file")).unwrap().len(), 5000);
    }
}
