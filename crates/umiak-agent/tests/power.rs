//! A whole update from real releases on real file systems that lose their power: shut down under it at its operations; made
//! again from the log of what was written to the disk, at every moment that the disk went through; and in a virtual machine
//! that is killed.
//!
//! Sampled; `UMIAK_CUTS=all` tries every operation and every moment, and kills more machines.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod common;
mod cut;
mod device;
mod releases;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{FakeClock, asked, committed, temporary};
use cut::{Device, Known, Run, Scene, attempt, every};
use releases::scene::{Space, real};
use releases::{Releases, runs};
use umiak_agent::{Silently, UpdateOptions};
use umiak_store::{Disk as _, Hooked, RealDisk};
use umiak_testkit::blocklog::{Log, Recorder};
use umiak_testkit::guest::{Guest, Machine};
use umiak_testkit::volume::{FileSystem, Volume, shut_down};

/// Runs the scene on `volume` and takes the file system away right before operation `number`. Whether it came to that.
fn cut_off(run: &Run<'_>, volume: &Volume, number: u64, flush: bool) -> bool {
    let gone = Arc::new(AtomicBool::new(false));
    let (mountpoint, took) = (volume.path().to_owned(), gone.clone());
    let disk = Hooked::new(Arc::new(RealDisk), move |step| {
        if step.number == number {
            shut_down(&mountpoint, flush)?;
            took.store(true, Ordering::SeqCst);
        }
        Ok(())
    });
    let dead = gone.clone();
    run.device.engine.dies_with(move || dead.load(Ordering::SeqCst));
    let _ = run.act(&run.device.agent(Arc::new(disk)));
    gone.load(Ordering::SeqCst)
}

fn without_power(kind: FileSystem, bytes: u64, scene: &Scene, stride: usize) -> usize {
    let scratch = temporary();
    let mut volume = Volume::make(scratch.path(), "disk", kind, 4096, bytes).unwrap();
    let mut points = 0;
    for number in (1..).step_by(every(stride)) {
        let place = volume.path().join(format!("device-{number}"));
        let run = Run::at(scene, temporary(), place.clone());
        RealDisk.sync_all(volume.path()).unwrap();
        let was_cut = cut_off(&run, &volume, number, number % 2 == 0);
        if was_cut {
            volume.power_on().unwrap();
        }
        run.device.reboot();
        attempt(&format!("operation {number}"), || run.go_on());
        fs::remove_dir_all(&place).unwrap();
        if !was_cut {
            break;
        }
        points += 1;
    }
    points
}

#[test]
#[ignore = "needs: mount, e2fsprogs, xfsprogs, root"]
fn ext4_is_shut_down_under_a_whole_update() {
    let cuts = without_power(FileSystem::Ext4, 48 << 20, &real("run", Space::Enough), 13);
    println!("ext4 shut down under a whole update: {cuts} times");
    assert!(cuts > 10);
}

#[test]
#[ignore = "needs: mount, e2fsprogs, xfsprogs, root"]
fn ext4_is_shut_down_under_an_update_that_is_taken_back() {
    let cuts = without_power(FileSystem::Ext4, 48 << 20, &real("sick", Space::Enough), 23);
    println!("ext4 shut down under an update that is taken back: {cuts} times");
    assert!(cuts > 5);
}

#[test]
#[ignore = "needs: mount, xfsprogs, root"]
fn xfs_is_shut_down_under_a_whole_update() {
    let cuts = without_power(FileSystem::Xfs, 320 << 20, &real("run", Space::Enough), 19);
    println!("xfs shut down under a whole update: {cuts} times");
    assert!(cuts > 5);
}

fn copied(from: &Path, to: PathBuf) -> PathBuf {
    assert!(Command::new("cp").arg("--sparse=always").args([from, &to]).status().unwrap().success());
    to
}

/// A disk image before an update, and all that was written to it by the update.
struct Recording {
    scratch: tempfile::TempDir,
    base: PathBuf,
    log: Log,
    /// Requests when the update was said to be committed, at least.
    told: usize,
}

fn recorded(scene: &Scene) -> Recording {
    let scratch = temporary();
    let volume = Volume::make(scratch.path(), "disk", FileSystem::Ext4, 4096, 24 << 20).unwrap();
    cut::copy(&scene.directory.path().join("disk"), &volume.path().join("device"));
    let image = volume.image().to_owned();
    drop(volume);
    let base = copied(&image, scratch.path().join("base.img"));
    let recorder = Recorder::start(scratch.path(), &image).unwrap();
    let volume = Volume::mount(scratch.path(), "logged", FileSystem::Ext4, recorder.device()).unwrap();
    let run = Run::on(scene, temporary(), volume.path().join("device"));
    run.act(&run.device.well()).unwrap();
    assert!(run.told.commit() && run.device.running() == scene.ends);
    let written = recorder.written().unwrap();
    drop((run, volume));
    let log = recorder.stop().unwrap();
    Recording { told: log.within(written), log, base, scratch }
}

/// Mounts the image, which has the first `count` requests, and goes on with the device that is on it.
fn goes_on_from(scene: &Scene, recording: &Recording, image: &Path, count: usize) {
    let volume = Volume::mount(recording.scratch.path(), "found", FileSystem::Ext4, image).unwrap();
    let run = Run::on(scene, temporary(), volume.path().join("device"));
    run.device.reboot();
    if count >= recording.told {
        run.told.tell();
    }
    run.go_on();
}

#[test]
#[ignore = "needs: mount, util-linux, e2fsprogs, qemu-system-common, root"]
fn the_disk_as_it_was_after_any_write_of_an_update_leads_to_base_or_target() {
    let scene = real("run", Space::Enough);
    let recording = recorded(&scene);
    let (log, place) = (&recording.log, recording.scratch.path());
    let stride = every(7);
    // The disk after `count` requests, and the part of it that no cache can have lost.
    let (written, durable) = (place.join("written.img"), place.join("durable.img"));
    copied(&recording.base, written.clone());
    copied(&recording.base, durable.clone());
    let open = |path: &Path| File::options().write(true).open(path).unwrap();
    let (now, kept) = (open(&written), open(&durable));
    let (mut states, mut boundaries, mut flushed) = (0, 0, 0);
    for count in 1..=log.len() {
        log.replay(count - 1, count, &now).unwrap();
        log.replay(flushed, log.flushed(count), &kept).unwrap();
        flushed = log.flushed(count);
        let boundary = log.is_boundary(count);
        boundaries += usize::from(boundary);
        let chosen = if boundary { boundaries % every(4) == 0 } else { count % stride == 0 };
        if !chosen && count != log.len() {
            continue;
        }
        let context = format!("request {count} of {}", log.len());
        attempt(&context, || goes_on_from(&scene, &recording, &copied(&written, place.join("t.img")), count));
        states += 1;
        if flushed < count {
            let torn = copied(&durable, place.join("t.img"));
            log.replay_some(flushed, count, &open(&torn), count as u64).unwrap();
            attempt(&context, || goes_on_from(&scene, &recording, &torn, count));
            states += 1;
        }
    }
    println!("disks made again from a log of {} requests, {boundaries} flushes: {states}", log.len());
    assert!(boundaries > 20 && states > 20);
}

/// A device on `disk` with the sources of releases.
fn device_on(disk: PathBuf, run: PathBuf, releases: &Releases) -> Device {
    Device {
        disk,
        run,
        engine: Arc::default(),
        clock: FakeClock::new(),
        supply: Arc::new(Releases::sources(1 << 30)),
        known: Known { blobs: releases.blobs.clone(), layers: releases.layers.clone(), names: releases.names.clone() },
        policy: common::policy(),
    }
}

/// Publishes a release and the delta to it, and updates to it.
fn next(device: &Device, disk: Arc<dyn umiak_store::Disk>, releases: &mut Releases, number: u32) {
    if number > 1 {
        releases.publish_delta(number - 1, number);
    }
    releases.publish(number, "run");
    let agent = device.agent(disk);
    agent.set_target(&asked(&[&releases.reference()])).unwrap();
    assert!(committed(&agent.update(&UpdateOptions::default(), &Silently).unwrap()));
}

/// What a guest does: it brings its device to one release after the other, says so, and says each operation beforehand.
#[test]
fn life_in_a_guest() {
    let Some(place) = std::env::var_os("UMIAK_TEST_GUEST").map(PathBuf::from) else { return };
    let from: u32 = fs::read_to_string(place.join("next")).unwrap().parse().unwrap();
    let mut releases = Releases::new(Path::new("/tmp/shop"));
    let device = device_on(place.join("device"), "/tmp/run".into(), &releases);
    device.well().resume(&Silently).unwrap();
    let disk = Hooked::new(Arc::new(RealDisk), |step| {
        println!("operation {}", step.number);
        Ok(())
    });
    for number in from.. {
        next(&device, Arc::new(disk.clone()), &mut releases, number);
        println!("committed {number}");
    }
}

/// Reads what a guest says until it is about to do operation `number`, and kills it; what it said was committed.
fn killed_at(mut guest: Guest, number: u64) -> Option<u32> {
    let mut said = Vec::new();
    while let Some(line) = guest.line().unwrap() {
        let here = line.strip_prefix("operation ").is_some_and(|count| count.parse() == Ok(number));
        said.push(line);
        if here {
            said.extend(guest.kill().unwrap());
            return said.iter().rev().find_map(|line| line.strip_prefix("committed ")?.parse().ok());
        }
    }
    panic!("the guest ended by itself: {said:#?}");
}

#[test]
#[ignore = "needs: qemu-system-x86, linux-image-cloud-amd64, busybox-static, cpio, binutils, mount, e2fsprogs, root"]
fn a_machine_that_is_killed_goes_on_with_its_update() {
    let scratch = temporary();
    let program = std::env::current_exe().unwrap();
    let arguments = "--exact life_in_a_guest --nocapture --test-threads=1";
    let machine = Machine::new(scratch.path(), &program, arguments, "UMIAK_TEST_GUEST=/disk").unwrap();
    let mut releases = Releases::new(&scratch.path().join("shop"));
    let volume = Volume::make(scratch.path(), "disk", FileSystem::Ext4, 4096, 48 << 20).unwrap();
    let image = volume.image().to_owned();
    fs::create_dir(volume.path().join("device")).unwrap();
    let device = device_on(volume.path().join("device"), scratch.path().join("run"), &releases);
    next(&device, Arc::new(RealDisk), &mut releases, 1);
    fs::write(volume.path().join("next"), "2").unwrap();
    drop(volume);
    let mut number = 1;
    // Of the some two hundred operations of an update, and of the one after it.
    let stride = if every(2) == 1 { 17 } else { 210 };
    for operation in (29..420).step_by(stride) {
        let told = killed_at(machine.start(&image).unwrap(), operation).unwrap_or(number);
        let volume = Volume::mount(scratch.path(), "disk", FileSystem::Ext4, &image).unwrap();
        for number in number + 1..=told + 1 {
            releases.publish_delta(number - 1, number);
            releases.publish(number, "run");
        }
        let device = device_on(volume.path().join("device"), scratch.path().join("run"), &releases);
        device.reboot();
        device.verify(false);
        device.well().resume(&Silently).unwrap();
        let now = device.running();
        assert!(now == runs(told) || now == runs(told + 1), "{told} was committed, {now} runs");
        device.verify(true);
        println!("killed at operation {operation}: {told} was committed, {now} runs");
        number = told + 2;
        next(&device, Arc::new(RealDisk), &mut releases, number);
        fs::write(volume.path().join("next"), (number + 1).to_string()).unwrap();
    }
}
