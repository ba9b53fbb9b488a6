//! Taking from a device over a wire: verified, kept piece by piece, and the state last.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{self, Read};

use umiak_pvr::{Parts, State};
use umiak_repository::{Arriving, CloneOptions, Elsewhere, ElsewhereError, Error, InitOptions, Repository, clone_from};
use umiak_spec::{Cancelled, Digest, Observer, Silent};

/// A device in memory, with a wire that can break.
#[derive(Default)]
struct Device {
    state: State,
    objects: BTreeMap<Digest, Vec<u8>>,
    asked: RefCell<Vec<Digest>>,
    /// Objects after which the wire breaks, in the middle of the next one.
    good: Cell<usize>,
}

impl Device {
    fn of(files: &[(&str, &[u8])]) -> Self {
        let mut text = String::from("{\"#spec\":\"pantavisor-service-system@1\"");
        for (path, bytes) in files {
            text += &format!(",\"{path}\":\"{}\"", Digest::of(bytes).hex());
        }
        let objects = files.iter().map(|(_, bytes)| (Digest::of(bytes), bytes.to_vec())).collect();
        let state = State::parse((text + "}").as_bytes(), 1 << 20).unwrap();
        Self { state, objects, asked: RefCell::default(), good: Cell::new(usize::MAX) }
    }
}

impl Elsewhere for Device {
    fn name(&self) -> String {
        "http://device".into()
    }

    fn state(&self, _: &dyn Observer) -> Result<State, ElsewhereError> {
        Ok(self.state.clone())
    }

    fn object<'a>(&'a self, digest: &Digest, _: &'a dyn Observer) -> Result<Arriving<'a>, ElsewhereError> {
        self.asked.borrow_mut().push(*digest);
        let bytes = self.objects.get(digest).ok_or("there is no such object")?;
        let good = self.good.replace(self.good.get().saturating_sub(1));
        let bytes: Box<dyn Read> = match good {
            0 => Box::new(bytes[..bytes.len() / 2].chain(Broken)),
            _ => Box::new(&bytes[..]),
        };
        Ok(Arriving { length: None, bytes })
    }
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the wire broke"))
    }
}

fn repository(place: &tempfile::TempDir) -> Repository {
    Repository::init(&place.path().join("device"), &InitOptions::default()).unwrap()
}

#[test]
fn what_came_before_the_wire_broke_does_not_come_again() {
    let place = tempfile::tempdir().unwrap();
    let repository = repository(&place);
    let device = Device::of(&[("web/a", b"first"), ("web/b", b"second"), ("web/c", b"third")]);
    device.good.set(2);
    let before = repository.pristine().unwrap();
    match repository.get_from(&device, &Parts::all(), &Silent) {
        Err(Error::Elsewhere { name, source }) => {
            assert_eq!((name.as_str(), source.to_string().as_str()), ("http://device", "the wire broke"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(repository.pristine().unwrap(), before);
    device.good.set(usize::MAX);
    let report = repository.get_from(&device, &Parts::all(), &Silent).unwrap();
    assert_eq!((report.added.len(), report.stored.objects), (3, 1));
    let asked = device.asked.borrow();
    assert_eq!((asked.len(), asked[2]), (4, asked[3]));
    assert_eq!(Repository::open(repository.root()).unwrap().last_source(), Some("http://device"));
}

#[test]
fn an_object_that_is_something_else_gets_no_name() {
    let place = tempfile::tempdir().unwrap();
    let repository = repository(&place);
    let mut device = Device::of(&[("web/a", b"first")]);
    device.objects.values_mut().for_each(|bytes| bytes[0] ^= 1);
    let error = repository.get_from(&device, &Parts::all(), &Silent).unwrap_err();
    assert!(matches!(&error, Error::DamagedElsewhere { path, .. } if path.as_str() == "web/a"), "{error:?}");
    assert!(!repository.pool().contains(&Digest::of(b"first")));
    device.objects.clear();
    assert!(matches!(repository.get_from(&device, &Parts::all(), &Silent), Err(Error::Elsewhere { .. })));
}

#[test]
fn only_the_parts_that_are_meant_come() {
    let place = tempfile::tempdir().unwrap();
    let repository = repository(&place);
    let device = Device::of(&[("web/a", b"first"), ("os/b", b"second")]);
    repository.merge_from(&device, &Parts::parse("web"), &Silent).unwrap();
    assert_eq!(device.asked.borrow()[..], [Digest::of(b"first")]);
    assert!(repository.pristine().unwrap().get("os/b").is_none());
    assert_eq!(Repository::open(repository.root()).unwrap().last_source(), Some("http://device#web"));
}

#[test]
fn a_clone_is_whole_or_is_not_there() {
    let place = tempfile::tempdir().unwrap();
    let (target, pool) = (place.path().join("clone"), place.path().join("pool"));
    let device = Device::of(&[("web/a", b"first"), ("web/b", b"second")]);
    let options = CloneOptions { objects: Some(pool), ..CloneOptions::default() };
    device.good.set(1);
    assert!(clone_from(&device, &Parts::all(), &target, &options, &Silent).is_err());
    assert!(!target.exists());
    device.good.set(usize::MAX);
    clone_from(&device, &Parts::all(), &target, &options, &Silent).unwrap();
    assert_eq!(std::fs::read(target.join("web/b")).unwrap(), b"second");
    assert_eq!(device.asked.borrow().len(), 3, "one of the two came the first time");
}

/// Stops the work at once.
struct Stop;

impl Observer for Stop {
    fn expect(&self, _: &'static str, _: u64) {}
    fn advance(&self, _: &'static str, _: u64) {}
    fn note(&self, _: &str) {}
    fn check(&self) -> Result<(), Cancelled> {
        Err(Cancelled)
    }
}

#[test]
fn who_stops_it_is_told_so() {
    let place = tempfile::tempdir().unwrap();
    let repository = repository(&place);
    let device = Device::of(&[("web/a", b"first")]);
    assert!(matches!(repository.get_from(&device, &Parts::all(), &Stop), Err(Error::Cancelled(_))));
}

#[test]
fn what_was_posted_to_is_remembered() {
    let place = tempfile::tempdir().unwrap();
    let repository = repository(&place);
    assert_eq!(repository.last_target(), None);
    repository.remember_post("http://device", &Silent).unwrap();
    assert_eq!(Repository::open(repository.root()).unwrap().last_target(), Some("http://device"));
}
