//! The crash disk keeps what POSIX promises and loses the rest.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use umiak_store::disk::Disk;
use umiak_testkit::crash::{CrashDisk, Loss};

fn read(root: &Path, name: &str) -> Option<String> {
    fs::read_to_string(root.join(name)).ok()
}

/// `work` on a disk that has the file `a` with the content `before`; then what is found after each loss.
fn after(work: impl Fn(&CrashDisk, &Path), losses: &[Loss], check: impl Fn(Loss, &Path)) {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("disk");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a"), "before").unwrap();
    let disk = CrashDisk::new(&root).unwrap();
    work(&disk, &root);
    for (number, loss) in losses.iter().enumerate() {
        let found = scratch.path().join(number.to_string());
        disk.find(*loss, &found).unwrap();
        check(*loss, &found);
    }
}

#[test]
fn a_replacement_without_any_sync_is_the_classic_empty_file() {
    let work = |disk: &CrashDisk, root: &Path| {
        disk.create(&root.join("b")).unwrap().write_all_at(b"after", 0).unwrap();
        disk.rename(&root.join("b"), &root.join("a")).unwrap();
    };
    after(work, &[Loss::Nothing, Loss::Everything, Loss::Contents], |loss, found| {
        let expected = match loss {
            Loss::Nothing => "after",
            Loss::Everything => "before",
            _ => "",
        };
        assert_eq!(read(found, "a").as_deref(), Some(expected), "{loss:?}");
    });
}

#[test]
fn what_was_synced_is_there_whatever_is_lost() {
    let work = |disk: &CrashDisk, root: &Path| {
        disk.mkdir(&root.join("d")).unwrap();
        let file = disk.create(&root.join("d/b")).unwrap();
        file.write_all_at(b"after", 0).unwrap();
        file.sync().unwrap();
        disk.sync_dir(&root.join("d")).unwrap();
        disk.rename(&root.join("d/b"), &root.join("c")).unwrap();
        disk.sync_dir(root).unwrap();
        file.write_all_at(b"AFTER", 0).unwrap();
    };
    let losses: Vec<Loss> = (0..40).map(Loss::Some).chain([Loss::Everything, Loss::Contents]).collect();
    let torn = std::cell::Cell::new(0);
    after(work, &losses, |loss, found| {
        let text = read(found, "c").unwrap();
        assert_eq!(text.to_lowercase(), "after", "{loss:?}");
        assert_eq!(read(found, "d/b"), None, "{loss:?}");
        torn.set(torn.get() + u32::from(text != "after" && text != "AFTER"));
    });
    assert!(torn.get() > 0, "a write is torn now and then");
}

#[test]
fn names_that_were_not_synced_come_and_go_one_by_one() {
    let work = |disk: &CrashDisk, root: &Path| {
        for name in ["x", "y"] {
            disk.create(&root.join(name)).unwrap();
        }
    };
    let losses: Vec<Loss> = (0..40).map(Loss::Some).collect();
    let seen = std::cell::RefCell::new(std::collections::BTreeSet::new());
    after(work, &losses, |_, found| {
        seen.borrow_mut().insert((found.join("x").exists(), found.join("y").exists()));
    });
    assert_eq!(seen.borrow().len(), 4);
}

#[test]
fn after_the_cut_nothing_is_done() {
    let work = |disk: &CrashDisk, root: &Path| {
        let disk = disk.clone().cut_at(2);
        disk.create(&root.join("x")).unwrap();
        assert!(!disk.was_cut());
        assert!(disk.create(&root.join("y")).is_err() && disk.unlink(&root.join("x")).is_err());
        assert!(disk.was_cut() && root.join("x").exists() && !root.join("y").exists());
        disk.revive();
        fs::write(root.join("z"), "around the disk").unwrap();
        assert!(disk.rename(&root.join("z"), &root.join("x")).is_err(), "nobody writes around the disk");
    };
    after(work, &[Loss::Nothing], |_, found| assert!(found.join("x").exists() && !found.join("y").exists()));
}
