//! `umiak keys new`: all files or none.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::fs;
use std::path::Path;
use std::process::Command;

use harness::Place;

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_name_that_is_taken_leaves_nothing() {
    for taken in ["key.a.pem", "pubkey.a.pem", "x5c.a.pem", "cacerts.a.pem", "authority.a.key.pem"] {
        let place = Place::new(&format!("keys-{taken}"));
        place.write(&format!("keys/{taken}"), "mine");
        let said = place.run("keys new --kind p256 --name a --dir keys");
        assert_eq!(said.code, 2, "{}", said.err);
        assert!(said.err.contains(taken) && said.err.contains("nothing was changed"), "{}", said.err);
        assert_eq!(names(&place.path().join("keys")), [taken]);
        assert_eq!(place.read(&format!("keys/{taken}")), "mine");
    }
}

#[test]
fn of_several_runs_at_once_one_wins_whole() {
    let place = Place::new("keys-race");
    let codes: Vec<i32> = std::thread::scope(|scope| {
        let run = || place.run("-q keys new --kind p256 --name a --dir keys").code;
        let runs: Vec<_> = (0..6).map(|_| scope.spawn(run)).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert_eq!(names(&place.path().join("keys")).len(), 5);
    // The five belong together: the key's own certificate, issued by the authority that is there.
    place.write("device/web/run.json", "{}");
    place.done_in("device", "init");
    place.done_in("device", "add");
    place.done_in("device", "commit");
    place.done_in("device", "sig -k ../keys/key.a.pem -x ../keys/x5c.a.pem add --part web");
    place.done_in("device", "commit");
    place.done_in("device", "sig --cacerts ../keys/cacerts.a.pem verify");
}

/// A small file system in memory, unmounted when dropped.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    fn mount(directory: &'a Path, pages: u32) -> Self {
        fs::create_dir_all(directory).unwrap();
        let size = format!("size={}k", pages * 4);
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(directory).status();
        assert!(mounted.unwrap().success());
        Self(directory)
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
#[ignore = "needs: mount, root"]
fn a_full_disk_leaves_nothing() {
    let place = Place::new("keys-full");
    let disk = place.path().join("disk");
    // A page for each of the five files.
    for pages in 1..=5 {
        let _small = Small::mount(&disk, pages);
        let said = place.run("-q keys new --kind p256 --name a --dir disk/keys");
        if pages < 5 {
            assert_eq!(said.code, 3, "{pages}: {}", said.err);
            assert!(said.err.contains("nothing was changed"), "{}", said.err);
            assert_eq!(names(&disk), [""; 0], "{pages}");
        } else {
            assert_eq!(said.code, 0, "{}", said.err);
            assert_eq!(names(&disk.join("keys")).len(), 5);
        }
    }
}
