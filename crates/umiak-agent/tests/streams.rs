//! Packages that come through a pipe: however slowly, nobody is held up, and what breaks off leaves nothing.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod common;
mod device;
mod packages;

use std::fs;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use device::sources;
use packages::{Device, Package};
use umiak_agent::{AgentError, Base, Class, Happening, Planned, Silently, Watcher};
use umiak_spec::{Cancelled, Digest, Observer};
use umiak_store::{Hooked, RealDisk, Step, Store, StoreOptions};

/// A pipe of which each piece is sent by hand. Tells when all that was sent is read, and more is wanted.
struct Pipe {
    pieces: Receiver<Vec<u8>>,
    hungry: SyncSender<()>,
    left: Vec<u8>,
}

/// The other end: pieces go in, and it hears when there is nothing left.
struct End {
    send: SyncSender<Vec<u8>>,
    hungry: Receiver<()>,
}

fn pipe() -> (Pipe, End) {
    let ((send, pieces), (hungry, heard)) = (sync_channel(1), sync_channel(1));
    (Pipe { pieces, hungry, left: Vec::new() }, End { send, hungry: heard })
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left.is_empty() {
            let _ = self.hungry.send(());
            self.left = self.pieces.recv().unwrap_or_default();
        }
        let count = self.left.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.left[..count]);
        self.left.drain(..count);
        Ok(count)
    }
}

/// The names that wait aside, in all directories.
fn aside(device: &Device) -> Vec<String> {
    let mut names = Vec::new();
    let directories = fs::read_dir(device.root().join("incoming")).unwrap().flatten();
    for directory in directories.filter(|entry| entry.path().is_dir()) {
        names.push(directory.file_name().into_string().unwrap());
        names.extend(
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()),
        );
    }
    names.sort();
    names
}

#[test]
fn a_pipe_that_is_silent_holds_nobody_up() {
    let device = Device::new();
    device.install(&[&device.file("first.tar", &Package::of("web", "web 1"))]);
    device.update();
    device.agent().begin(&Base::Current).unwrap();
    let bytes = Package::of("os", "os 1").file("os/large", &device::noise(300_000, 3)).bytes();
    let (mut pipe, end) = pipe();
    std::thread::scope(|scope| {
        let adding = scope.spawn(|| device.agent().add_stream(&mut pipe, &Silently));
        end.hungry.recv().unwrap();
        end.send.send(bytes[..200_000].to_vec()).unwrap();
        end.hungry.recv().unwrap();
        assert!(aside(&device).contains(&"coming".to_owned()), "it is silent in the middle of an object");

        // Everything else goes on: an update, the other verbs, pruning.
        device.install(&[&device.file("web.tar", &Package::of("web", "web 2"))]);
        assert_eq!(device.update(), "device/web=web 2");
        let agent = device.agent();
        agent.add(&device.file("maps.tar", &Package::of("maps", "maps 1")), &Silently).unwrap();
        agent.take_out("web").unwrap();
        agent.prune().unwrap();
        agent.rollback(None, &Silently).unwrap();

        end.send.send(bytes[200_000..].to_vec()).unwrap();
        drop(end);
        assert_eq!(adding.join().unwrap().unwrap().parts, ["os"]);
    });
    assert_eq!(aside(&device), [""; 0]);
    device.agent().commit(&Silently).unwrap();
    device.agent().prune().unwrap();
    assert_eq!(device.update(), "device/maps=maps 1, device/os=os 1");
}

#[test]
fn what_breaks_off_or_comes_too_late_leaves_nothing() {
    let device = Device::new();
    device.agent().begin(&Base::Empty).unwrap();
    let bytes = Package::of("web", "web 1").file("web/large", &device::noise(300_000, 3)).bytes();
    let error = device.agent().add_stream(&mut &bytes[..250_000], &Silently).unwrap_err();
    assert_eq!(error.class(), Class::Corrupt);
    assert!(error.line().contains("package - is cut short"), "{}", error.line());
    assert_eq!((aside(&device), device.store().blob_list().unwrap()), (vec![], vec![]));

    let (mut pipe, end) = pipe();
    std::thread::scope(|scope| {
        let adding = scope.spawn(|| device.agent().add_stream(&mut pipe, &Silently));
        end.hungry.recv().unwrap();
        end.send.send(bytes.clone()).unwrap();
        end.hungry.recv().unwrap();
        device.agent().abort().unwrap();
        drop(end);
        assert!(matches!(adding.join().unwrap(), Err(AgentError::NoTransaction)));
    });
    assert_eq!((aside(&device), device.store().blob_list().unwrap()), (vec![], vec![]));
    let nothing_is_read = &mut io::repeat(0);
    assert!(matches!(device.agent().add_stream(nothing_is_read, &Silently), Err(AgentError::NoTransaction)));
}

/// Asks to stop when it is told of bytes.
struct Enough(AtomicBool);

impl Observer for Enough {
    fn expect(&self, _: &'static str, _: u64) {}
    fn advance(&self, _: &'static str, _: u64) {
        self.0.store(true, Ordering::SeqCst);
    }
    fn note(&self, _: &str) {}
    fn check(&self) -> Result<(), Cancelled> {
        if self.0.load(Ordering::SeqCst) { Err(Cancelled) } else { Ok(()) }
    }
}

impl Watcher for Enough {
    fn happened(&self, _: &Happening) {}
    fn planned(&self, _: &Planned) {}
}

/// Says what comes, and then that it was told to stop, as a patient standard input does.
struct Told<'a>(&'a [u8]);

impl Read for Told<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() { Err(Cancelled.into()) } else { self.0.read(buffer) }
    }
}

#[test]
fn who_is_told_to_stop_stops_and_says_nothing_else() {
    let device = Device::new();
    device.agent().begin(&Base::Empty).unwrap();
    let bytes = Package::of("web", "web 1").file("web/large", &device::noise(300_000, 3)).bytes();
    let stopped = |error: AgentError| assert!(error.line().ends_with("cancelled"), "{}", error.line());
    for length in [0, 3, 600, 1100, 100_000, 250_000] {
        stopped(device.agent().add_stream(&mut Told(&bytes[..length]), &Silently).unwrap_err());
    }
    stopped(device.agent().add_stream(&mut &bytes[..], &Enough(false.into())).unwrap_err());
    assert_eq!((aside(&device), device.store().blob_list().unwrap()), (vec![], vec![]));
}

#[test]
fn what_does_not_fit_is_refused_by_its_header() {
    let device = Device::new();
    let tight = || umiak_agent::sources::Sources { survey: Box::new(|_| Ok(device::with_room(100_000))), ..sources() };
    let agent = device.agent_at(device.root(), Arc::new(RealDisk), tight());
    agent.begin(&Base::Empty).unwrap();
    let noise = device::noise(300_000, 3);
    let bytes = Package::of("web", "web 1").file("web/large", &noise).bytes();
    let content = bytes.windows(64).position(|window| window == &noise[..64]).unwrap();
    let (mut pipe, end) = pipe();
    let error = std::thread::scope(|scope| {
        let adding = scope.spawn(|| agent.add_stream(&mut pipe, &Silently));
        end.hungry.recv().unwrap();
        end.send.send(bytes[..content].to_vec()).unwrap();
        // Not a byte of it is asked for: the other end is only dropped once it is over.
        adding.join().unwrap().unwrap_err()
    });
    drop(end);
    assert_eq!(error.class(), Class::DoesNotFit, "{error:?}");
    let told = format!("its object {} has 293 KiB, and 96.0 KiB are free for it", Digest::of(&noise).short());
    assert!(error.line().contains(&told), "{}", error.line());
    assert_eq!(aside(&device), [""; 0]);
}

#[test]
fn a_package_that_is_whole_waits_for_its_turn() {
    let device = Device::new();
    device.agent().begin(&Base::Empty).unwrap();
    let bytes = Package::of("web", "web 1").bytes();
    let (told, hears) = sync_channel(1);
    struct Tells(SyncSender<String>);
    impl Observer for Tells {
        fn expect(&self, _: &'static str, _: u64) {}
        fn advance(&self, _: &'static str, _: u64) {}
        fn note(&self, text: &str) {
            self.0.send(text.to_owned()).unwrap();
        }
        fn check(&self) -> Result<(), Cancelled> {
            Ok(())
        }
    }
    impl Watcher for Tells {
        fn happened(&self, _: &Happening) {}
        fn planned(&self, _: &Planned) {}
    }
    let busy = Store::open(&device.root(), Arc::new(RealDisk), &StoreOptions::UPDATE).unwrap();
    std::thread::scope(|scope| {
        let adding = scope.spawn(|| device.agent().add_stream(&mut &bytes[..], &Tells(told)));
        let note = hears.recv().unwrap();
        assert!(note.contains("in use by process") && note.contains("waits"), "{note}");
        drop(busy);
        assert_eq!(adding.join().unwrap().unwrap().parts, ["web"]);
    });
    assert!(device.store().has_blob(&Digest::of(b"web 1\n")));
    device.agent().commit(&Silently).unwrap();
    assert_eq!(device.update(), "device/web=web 1");
}

#[test]
fn a_pipe_with_a_name_is_not_waited_for() {
    let device = Device::new();
    device.agent().begin(&Base::Empty).unwrap();
    let path = device.directory.path().join("pipe.tgz");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    let error = device.agent().add(&path, &Silently).unwrap_err();
    assert!(error.line().contains("pipe.tgz is no target: it is no file"), "{}", error.line());
}

#[test]
fn a_package_goes_into_no_other_transaction_than_the_one_that_was_open() {
    let device = Device::new();
    device.agent().begin(&Base::Empty).unwrap();
    let bytes = Package::of("web", "web 1").bytes();
    let (mut pipe, end) = pipe();
    std::thread::scope(|scope| {
        let adding = scope.spawn(|| device.agent().add_stream(&mut pipe, &Silently));
        end.hungry.recv().unwrap();
        end.send.send(bytes.clone()).unwrap();
        end.hungry.recv().unwrap();
        device.agent().abort().unwrap();
        device.agent().begin(&Base::Empty).unwrap();
        drop(end);
        let error = adding.join().unwrap().unwrap_err();
        assert!(matches!(error, AgentError::OtherTransaction) && error.class() == Class::Usage, "{error:?}");
    });
    assert_eq!((aside(&device), device.store().blob_list().unwrap()), (vec![], vec![]));
    assert_eq!(device.agent().transaction().unwrap().unwrap().state.parts(), [""; 0]);
    device.agent().add_stream(&mut &bytes[..], &Silently).unwrap();
}

#[test]
fn what_is_here_comes_again_where_files_have_one_name() {
    let device = Device::new();
    device.agent().begin(&Base::Empty).unwrap();
    let bytes = Package::of("web", "web 1").bytes();
    device.agent().add_stream(&mut &bytes[..], &Silently).unwrap();
    let no_links = |step: &Step| if step.operation == "link" { Err(rustix::io::Errno::PERM.into()) } else { Ok(()) };
    let agent = device.agent_at(device.root(), Arc::new(Hooked::new(Arc::new(RealDisk), no_links)), sources());
    assert_eq!(agent.add_stream(&mut &bytes[..], &Silently).unwrap().parts, ["web"]);
}

#[test]
fn a_disk_that_is_full_at_any_operation_holds_nothing_for_nobody() {
    let package = Package::of("web", "web 1").file("web/large", &device::noise(200_000, 3));
    for from in 1.. {
        let device = Device::new();
        device.agent().begin(&Base::Empty).unwrap();
        let (count, hit) = (AtomicU64::new(0), Arc::new(AtomicBool::new(false)));
        let told = Arc::clone(&hit);
        let full = move |step: &Step| {
            // Removing works on a full disk.
            let takes = !matches!(step.operation, "unlink" | "rmdir" | "set_len" | "edit");
            if takes && count.fetch_add(1, Ordering::SeqCst) + 1 == from {
                told.store(true, Ordering::SeqCst);
                return Err(rustix::io::Errno::NOSPC.into());
            }
            Ok(())
        };
        let agent = device.agent_at(device.root(), Arc::new(Hooked::new(Arc::new(RealDisk), full)), sources());
        let done = agent.add_stream(&mut package.bytes().as_slice(), &Silently);
        device.agent().prune().unwrap();
        let parts = device.agent().transaction().unwrap().unwrap().state.parts();
        let (refs, blobs) = (device.store().refs().unwrap(), device.store().blob_list().unwrap());
        if parts.is_empty() {
            assert!(done.is_err());
            assert_eq!((refs, blobs, aside(&device)), (vec![], vec![], vec![]), "operation {from}: {done:?}");
        } else {
            assert_eq!(blobs.len(), package.entries().len() - 1, "operation {from}: {done:?}");
        }
        if !hit.load(Ordering::SeqCst) {
            done.unwrap();
            break;
        }
    }
}
