//! Bad days of a whole update from real releases: a disk that fails at one operation or from one on, that is really full or
//! really without inodes, layers and documents that rotted away. The device keeps what it ran, says why, and once the
//! fault is gone the next update succeeds.
//!
//! Sampled; `UMIAK_CUTS=all` tries every operation.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod common;
mod cut;
mod device;
mod releases;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::temporary;
use cut::{Run, every};
use releases::scene::{Space, real};
use umiak_agent::{Class, Fate, Happening, Outcome, Planned, Role, Silently, UpdateOptions, Watcher};
use umiak_spec::{Cancelled, Observer};
use umiak_store::{Depth, Hooked, RealDisk};
use umiak_testkit::volume::{FileSystem, Volume};

/// How a disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// One operation that takes space finds none; the next one does.
    FullOnce,
    /// There is no space any more.
    Full,
    /// One operation fails as a broken sector does.
    BrokenOnce,
    /// All fail like that from then on.
    Broken,
    /// The file system was remounted read-only by the kernel.
    ReadOnly,
}

impl Fault {
    fn hits(self, operation: &str, number: u64, from: u64) -> bool {
        // Removing and shrinking works on a full disk.
        let takes = !matches!(operation, "unlink" | "rmdir" | "set_len" | "edit");
        match self {
            Self::FullOnce => takes && number == from,
            Self::Full => takes && number >= from,
            Self::BrokenOnce => number == from,
            Self::Broken | Self::ReadOnly => number >= from,
        }
    }

    fn error(self) -> io::Error {
        let number = match self {
            Self::FullOnce | Self::Full => 28,
            Self::BrokenOnce | Self::Broken => 5,
            Self::ReadOnly => 30,
        };
        io::Error::from_raw_os_error(number)
    }
}

/// The device after a fault: what runs is whole, and what should be said is said.
fn nothing_is_lost(run: &Run<'_>, context: &str) {
    let runs = run.device.running();
    assert!(run.scene.may_run.contains(&runs), "{context}: {runs}");
    if runs == run.scene.ends {
        let status = run.device.status();
        let exposed = matches!(status.underway.phase.as_str(), "switching" | "testing");
        let target = status.target.and_then(|target| target.revision);
        let is_current =
            |one: &umiak_agent::RevisionStatus| one.roles.contains(&Role::Current) && Some(one.revision) == target;
        let current = status.revisions.iter().any(is_current);
        assert!(run.told.commit() || exposed || current, "{context}: it is not written down that it runs");
    }
}

#[test]
fn a_disk_that_fails_at_any_operation_costs_an_update_and_nothing_else() {
    let scene = real("run", Space::Enough);
    let (mut points, mut refused) = (0, 0);
    let stride = every(7);
    for fault in [Fault::FullOnce, Fault::Full, Fault::BrokenOnce, Fault::Broken, Fault::ReadOnly] {
        for from in (1..).step_by(stride) {
            let run = Run::new(&scene);
            let hooked = Hooked::new(Arc::new(RealDisk), move |step| {
                if fault.hits(step.operation, step.number, from) { Err(fault.error()) } else { Ok(()) }
            });
            let outcome = run.act(&run.device.agent(Arc::new(hooked.clone())));
            if from > hooked.steps() {
                break;
            }
            points += 1;
            let context = format!("{fault:?} from {from}: {outcome:?}");
            if let Err(error) = &outcome {
                refused += 1;
                let trouble = run.device.status().trouble;
                assert!(trouble.is_some_and(|trouble| trouble.why.len() > 20), "{context}");
                assert!(
                    matches!(error.class(), Class::Environment | Class::DoesNotFit),
                    "{context}: {:?}",
                    error.class()
                );
            }
            nothing_is_lost(&run, &context);
            // The fault is gone, and nobody did anything about it.
            let again = run.device.well();
            again.resume(&Silently).unwrap_or_else(|error| panic!("{context}: {error:?}"));
            let end = again.update(&UpdateOptions::default(), &Silently);
            assert!(matches!(end, Ok(Outcome::Committed { .. } | Outcome::UpToDate { .. })), "{context}: {end:?}");
            assert_eq!(run.device.running(), scene.ends, "{context}");
            run.device.verify(true);
            assert!(run.device.status().trouble.is_none(), "{context}");
        }
    }
    println!("failing disks under a whole update: {points} points, it was refused in {refused}");
    assert!(points > 100 && refused > 50);
}

/// Updates on a file system of which all but `free` units are taken, for ever more of them, until it succeeds; what there is
/// is more than the agent is told of, so that it fails while it writes. How often it failed.
fn ever_less_taken(volume: &Volume, take: impl Fn(&Path, u64), step: u64) -> usize {
    let scene = real("run", Space::Enough);
    let mut failures = 0;
    for free in (0..).step_by(usize::try_from(step).unwrap()) {
        let place = volume.path().join(format!("device-{free}"));
        let run = Run::at(&scene, temporary(), place.clone());
        let hog = volume.path().join("hog");
        fs::create_dir(&hog).unwrap();
        take(&hog, free);
        let outcome = run.act(&run.device.well());
        nothing_is_lost(&run, &format!("{free} left: {outcome:?}"));
        let done = outcome.is_ok();
        if let Err(error) = outcome {
            failures += 1;
            let said = error.line();
            assert_eq!(error.class(), Class::DoesNotFit, "{said}");
            assert!(run.device.status().trouble.is_some(), "{said}");
            // Started again on the full disk: what ran runs.
            run.device.reboot();
            let _ = run.device.well().resume(&Silently);
            nothing_is_lost(&run, &said);
        }
        fs::remove_dir_all(&hog).unwrap();
        run.go_on();
        fs::remove_dir_all(&place).unwrap();
        if done {
            return failures;
        }
    }
    failures
}

#[test]
#[ignore = "needs: mount, e2fsprogs, root"]
fn a_disk_that_is_really_full_costs_an_update_and_nothing_else() {
    let scratch = temporary();
    let volume = Volume::make(scratch.path(), "small", FileSystem::Ext4, 1024, 8 << 20).unwrap();
    let take = |hog: &Path, free: u64| {
        let bytes = free_bytes(hog).saturating_sub(free << 10).to_string();
        let mut fallocate = std::process::Command::new("fallocate");
        assert!(fallocate.args(["-l", &bytes]).arg(hog.join("large")).status().unwrap().success());
    };
    let failures = ever_less_taken(&volume, take, 24);
    println!("updates on a full disk: {failures} refused");
    assert!(failures > 3);
}

#[test]
#[ignore = "needs: mount, e2fsprogs, root"]
fn a_disk_without_inodes_costs_an_update_and_nothing_else() {
    let scratch = temporary();
    let volume = Volume::make_with(scratch.path(), "few", FileSystem::Ext4, 1024, 16 << 20, &["-N", "256"]).unwrap();
    let take = |hog: &Path, free: u64| {
        let mut made = Vec::new();
        for number in 0.. {
            let path = hog.join(number.to_string());
            match fs::write(&path, b"") {
                Ok(()) => made.push(path),
                Err(_) => break,
            }
        }
        made.iter().rev().take(usize::try_from(free).unwrap()).for_each(|path| fs::remove_file(path).unwrap());
    };
    let failures = ever_less_taken(&volume, take, 3);
    println!("updates without inodes: {failures} refused");
    assert!(failures > 3);
}

/// Bytes that are free on the file system of `path`.
fn free_bytes(path: &Path) -> u64 {
    let output = std::process::Command::new("stat").args(["-f", "-c", "%a %S"]).arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<u64> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
    numbers[0] * numbers[1]
}

/// Every file below a directory but the locks.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.ends_with("lock") && !path.ends_with("updater") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn any_single_file_that_rots_is_survived_by_the_next_update() {
    let scene = real("run", Space::Enough);
    let base = scene.may_run[0].clone();
    let (mut fell_back, mut refused) = (0, 0);
    let all = files(&scene.directory.path().join("disk/store"));
    for file in &all {
        for damage in [&b"damaged"[..], b""] {
            let run = Run::new(&scene);
            let shown = file.strip_prefix(scene.directory.path().join("disk")).unwrap();
            let there = run.device.disk.join(shown);
            fs::remove_file(&there).unwrap();
            fs::write(&there, damage).unwrap();
            let context = format!("{} is {} bytes of nothing", shown.display(), damage.len());
            // As it is after a night: the machine is started, looks, and updates.
            run.device.reboot();
            let agent = run.device.well();
            let began = agent.resume(&Silently);
            let notes = common::Notes::default();
            let outcome = agent.update(&UpdateOptions::default(), &notes);
            fell_back += usize::from(notes.text().contains("planning without the delta"));
            if let Err(error) = &outcome {
                refused += 1;
                let runs = run.device.running();
                assert!(runs == base || runs.is_empty(), "{context}: {runs}");
                assert!(run.device.well().status().is_err() || run.device.status().trouble.is_some(), "{context}");
                if there.starts_with(run.device.root().join("inbox")) {
                    assert!(error.line().contains("cannot be written down or read"), "{context}: {}", error.line());
                    agent.set_target(&common::asked(&[&scene.apps[0]])).unwrap();
                }
                let fixed = agent.fsck(Depth::Content, true, &Silently).unwrap();
                let left: Vec<_> = fixed.findings.iter().filter(|finding| finding.fate != Fate::Repaired).collect();
                assert!(left.is_empty(), "{context}: {left:?}");
                agent.update(&UpdateOptions::default(), &Silently).unwrap_or_else(|error| {
                    panic!("{context}: {outcome:?}, after {began:?}; repaired, then {error:?}")
                });
            }
            assert_eq!(run.device.running(), scene.ends, "{context}");
            let fixed = agent.fsck(Depth::Content, true, &Silently).unwrap();
            let left: Vec<_> = fixed.findings.iter().filter(|finding| finding.fate != Fate::Repaired).collect();
            assert!(left.is_empty(), "{context}: {left:?}");
            run.device.verify(true);
        }
    }
    println!("files that rotted before an update: {}, {fell_back} deltas fell back, {refused} needed fsck", all.len());
    assert!(all.len() > 20 && fell_back > 0);
}

/// Makes the date jump while the target is tested.
struct Jumps(Arc<common::FakeClock>, AtomicU64);

impl Observer for Jumps {
    fn expect(&self, _: &'static str, _: u64) {}
    fn advance(&self, _: &'static str, _: u64) {}
    fn note(&self, _: &str) {}
    /// Each look in the window finds another century.
    fn check(&self) -> Result<(), Cancelled> {
        let dates = [0, 4_000_000_000, 5, 1_700_000_000, u64::MAX];
        let number = self.1.fetch_add(1, Ordering::SeqCst);
        self.0.date.store(dates[usize::try_from(number).unwrap() % dates.len()], Ordering::SeqCst);
        Ok(())
    }
}

impl Watcher for Jumps {
    fn happened(&self, _: &Happening) {}
    fn planned(&self, _: &Planned) {}
}

#[test]
fn a_date_that_jumps_makes_a_window_neither_longer_nor_shorter() {
    for (command, good) in [("run", true), ("slow 1000", false)] {
        let scene = real(command, Space::Enough);
        let run = Run::new(&scene);
        let begun = umiak_agent::Clock::running(&*run.device.clock);
        let outcome = run.device.well().update(&UpdateOptions::default(), &Jumps(run.device.clock.clone(), 0.into()));
        let took = umiak_agent::Clock::running(&*run.device.clock) - begun;
        assert_eq!(matches!(outcome, Ok(Outcome::Committed { .. })), good, "{outcome:?}");
        let window = if good { 10 } else { 20 };
        let bounds = Duration::from_secs(window)..Duration::from_secs(window + 2);
        assert!(bounds.contains(&took), "{command}: {took:?}");
        assert_eq!(run.device.running(), scene.ends);
    }
}

#[test]
fn a_second_agent_is_told_who_is_at_work() {
    let scene = real("run", Space::Enough);
    let run = Run::new(&scene);
    let (first, second) = (run.device.well(), run.device.well());
    let asks = Asks(second, std::sync::Mutex::new(vec![]));
    assert!(matches!(first.update(&UpdateOptions::default(), &asks), Ok(Outcome::Committed { .. })));
    let said = asks.1.into_inner().unwrap();
    assert!(!said.is_empty());
    for line in said {
        assert!(line.contains("is in use by process"), "{line}");
    }
    assert_eq!(run.device.running(), scene.ends);
}

/// A second agent that wants to work at the same time.
struct Asks(umiak_agent::Agent, std::sync::Mutex<Vec<String>>);

impl Observer for Asks {
    fn expect(&self, _: &'static str, _: u64) {}
    fn advance(&self, _: &'static str, _: u64) {}
    fn note(&self, _: &str) {}
    fn check(&self) -> Result<(), Cancelled> {
        let mut said = self.1.lock().unwrap();
        if said.len() < 6 {
            let error = match said.len() % 3 {
                0 => self.0.update(&UpdateOptions::default(), &Silently).unwrap_err(),
                1 => self.0.rollback(None, &Silently).unwrap_err(),
                _ => self.0.prune().unwrap_err(),
            };
            assert!(error.is_busy() && error.hint().is_some(), "{error:?}");
            said.push(error.line());
        }
        Ok(())
    }
}

impl Watcher for Asks {
    fn happened(&self, _: &Happening) {}
    fn planned(&self, _: &Planned) {}
}
