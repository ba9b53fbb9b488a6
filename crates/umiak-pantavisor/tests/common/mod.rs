//! A device, objects on this side, and time that passes at once.
#![allow(dead_code, reason = "every test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use umiak_pantavisor::{Address, Clock, Device, Error, Objects, Posting, Progress, Settings};
use umiak_pvr::State;
use umiak_pvr::json::Object;
use umiak_spec::{Digest, Silent};
use umiak_testkit::pantavisor::Device as Fake;

/// Time that passes when it is waited for.
#[derive(Default)]
pub struct Patient(Mutex<Duration>);

impl Clock for Patient {
    fn now(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    fn pause(&self, time: Duration) {
        *self.0.lock().unwrap() += time;
    }
}

/// Objects in memory.
#[derive(Default)]
pub struct Shelf(pub BTreeMap<Digest, Vec<u8>>);

impl Objects for Shelf {
    fn length(&self, digest: &Digest) -> io::Result<u64> {
        self.0.get(digest).map(|bytes| bytes.len() as u64).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + '_>> {
        self.0.get(digest).map(|bytes| Box::new(&bytes[..]) as _).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Shelf {
    pub fn of(objects: &[&[u8]]) -> Self {
        Self(objects.iter().map(|bytes| (Digest::of(bytes), bytes.to_vec())).collect())
    }
}

pub const OLD: &[u8] = b"the root file system of the factory";

/// `length` bytes that no two of are alike in a short while.
pub fn large(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        u8::try_from(state >> 24).unwrap()
    };
    (0..length).map(|_| next()).collect()
}

/// A state with the objects as `web/0`, `web/1`, …
pub fn state(objects: &[&[u8]]) -> State {
    let files: String = objects
        .iter()
        .enumerate()
        .map(|(at, bytes)| format!(",\"web/{at}\":\"{}\"", Digest::of(bytes).hex()))
        .collect();
    let text = format!("{{\"#spec\":\"pantavisor-service-system@1\",\"web/run.json\":{{\"name\":\"web\"}}{files}}}");
    State::parse(text.as_bytes(), 1 << 20).unwrap()
}

/// A device that runs a state with [`OLD`].
pub fn fake() -> Fake {
    Fake::start(&state(&[OLD]).canonical(), &[OLD]).unwrap()
}

pub fn settings() -> Settings {
    Settings::new(Arc::new(Patient::default()))
}

pub fn control(fake: &Fake) -> Device {
    Device::connect(&Address::Control(fake.socket().into()), &settings(), &Silent).unwrap()
}

pub fn remote(fake: &Fake) -> Device {
    Device::connect(&Address::Remote(fake.url()), &settings(), &Silent).unwrap()
}

pub fn posting<'a>(state: &'a State, objects: &'a Shelf) -> Posting<'a> {
    Posting { state, objects, message: Some("a better one"), force: false, envelope: Object::new() }
}

/// All of it: what `umiak post` does.
pub fn post(device: &Device, posting: &Posting<'_>) -> Result<(String, Vec<Progress>), Error> {
    let survey = device.survey(posting, &Silent)?;
    device.send(posting, &survey, &Silent)?;
    let revision = device.start(posting, None, 1_700_000_000, true, &Silent)?.unwrap();
    let mut told = Vec::new();
    device.watch(&revision, Duration::from_secs(600), &mut |progress| told.push(progress.clone()), &Silent)?;
    Ok((revision, told))
}

/// All bytes of an object, if they are those that its name says.
pub fn fetch(device: &Device, bytes: &[u8]) -> io::Result<bool> {
    let mut read = Vec::new();
    device.object(&Digest::of(bytes), &Silent).map_err(io::Error::other)?.read_to_end(&mut read)?;
    Ok(read == bytes)
}
