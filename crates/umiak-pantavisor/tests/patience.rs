//! Devices that hang, or speak byte by byte: nothing is waited for without end, and what goes on may take its time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use common::{Shelf, fetch, large, posting, state};
use tempfile::TempDir;
use umiak_pantavisor::{Address, Device, Error, ErrorKind, Missing, Settings, Survey};
use umiak_spec::{Digest, Silent};

/// So long nothing is said that a device of these tests would say.
const SHORT: Duration = Duration::from_millis(100);

/// Longer than any of these tests.
const LONG: Duration = Duration::from_secs(60);

/// A control socket at which each connection that has asked for something gets this.
struct Odd {
    place: TempDir,
}

impl Odd {
    fn new(serve: impl Fn(UnixStream) + Send + Clone + 'static) -> Self {
        let place = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(place.path().join("s")).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let serve = serve.clone();
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let mut asked = Vec::new();
                    while !asked.ends_with(b"\r\n\r\n") {
                        let mut byte = [0];
                        if stream.read(&mut byte).unwrap_or(0) == 0 {
                            return;
                        }
                        asked.push(byte[0]);
                    }
                    serve(stream);
                });
            }
        });
        Self { place }
    }

    fn path(&self) -> PathBuf {
        self.place.path().join("s")
    }

    fn device(&self, patience: Duration, document: Duration) -> Device {
        let settings = Settings { patience, document, ..common::settings() };
        Device::connect(&Address::Control(self.path()), &settings, &Silent).unwrap()
    }
}

/// Waits until the other end hangs up; `false` when it has not in a little while.
fn hangs_up(stream: &mut UnixStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    matches!(stream.read(&mut [0]), Ok(0))
}

/// Says this once, and nothing more.
fn once(text: &'static str) -> impl Fn(UnixStream) + Send + Clone + 'static {
    move |mut stream| {
        let _ = stream.write_all(text.as_bytes());
        while !hangs_up(&mut stream) {}
    }
}

/// Says this, and then a byte after the other.
fn dripping(text: &'static str, byte: u8) -> impl Fn(UnixStream) + Send + Clone + 'static {
    move |mut stream| {
        let _ = stream.write_all(text.as_bytes());
        while !hangs_up(&mut stream) && stream.write_all(&[byte]).is_ok() {}
    }
}

#[test]
fn a_device_that_says_nothing_is_given_up() {
    for silent in [once(""), once("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{")] {
        let error = Odd::new(silent).device(SHORT, LONG).state(&Silent).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Network, "{error:?}");
    }
}

#[test]
fn a_document_has_an_end_however_steadily_it_comes() {
    let whole = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
    let pieces = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (begins, byte) in [(whole, b' '), (pieces, b'0')] {
        let odd = Odd::new(dripping(begins, byte));
        let error = odd.device(LONG, SHORT).state(&Silent).unwrap_err();
        let Error::Slow { what, limit, .. } = &error else { panic!("{error:?}") };
        assert_eq!((what.as_str(), *limit), ("the state that the device sent", SHORT));
        assert_eq!(error.kind(), ErrorKind::Network);
    }
    // What comes in front of it is silence, whatever it is.
    let odd = Odd::new(dripping("HTTP/1.1 200 OK\r\nX: ", b'x'));
    let error = odd.device(SHORT, LONG).state(&Silent).unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error:?}");
}

#[test]
fn a_refusal_is_not_heard_to_its_end() {
    let odd = Odd::new(dripping("HTTP/1.1 403 Forbidden\r\nContent-Length: 9000\r\n\r\n", b'x'));
    let error = odd.device(LONG, SHORT).state(&Silent).unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
}

#[test]
fn an_object_takes_as_long_as_it_comes() {
    let bytes = b"forty bytes that are spoken one by one.";
    let odd = Odd::new(move |mut stream: UnixStream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len());
        for byte in bytes {
            if hangs_up(&mut stream) || stream.write_all(&[*byte]).is_err() {
                return;
            }
        }
    });
    assert!(fetch(&odd.device(LONG, SHORT), bytes).unwrap());
}

#[test]
fn an_object_that_stops_is_given_up() {
    let odd = Odd::new(once("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes."));
    let error = fetch(&odd.device(SHORT, LONG), &large(100, 1)).unwrap_err();
    assert!(error.to_string().contains("cannot read from"), "{error:?}");
}

/// Sends one object to it.
fn send(odd: &Odd, bytes: &[u8], patience: Duration, document: Duration) -> Result<(), Error> {
    let (state, shelf) = (state(&[bytes]), Shelf::of(&[bytes]));
    let missing = Missing { digest: Digest::of(bytes), length: bytes.len() as u64, there: None };
    let objects = [(missing.digest, missing.length)].into();
    let survey = Survey { objects, missing: vec![missing], running: false, room: None };
    odd.device(patience, document).send(&posting(&state, &shelf), &survey, &Silent).map(drop)
}

#[test]
fn an_upload_takes_as_long_as_it_goes_and_no_longer() {
    let bytes = large(3_000_000, 1);
    let length = bytes.len();
    let slow = Odd::new(move |mut stream: UnixStream| {
        let (mut left, mut buffer) = (length, vec![0; 100_000]);
        stream.set_read_timeout(Some(LONG)).unwrap();
        while left > 0 {
            // A look at the clock that nobody turns back.
            std::thread::park_timeout(Duration::from_millis(5));
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(count) => left -= count,
            }
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    send(&slow, &bytes, LONG, SHORT).unwrap();

    let (held, holding) = std::sync::mpsc::channel();
    let deaf = Odd::new(move |stream: UnixStream| held.send(stream).unwrap());
    let error = send(&deaf, &bytes, SHORT, LONG).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "{error:?}");
    assert!(holding.try_iter().count() > 1, "it was tried again");
}

#[test]
fn a_look_at_an_update_does_not_outlast_who_waits() {
    let odd = Odd::new(once(""));
    let device = odd.device(LONG, LONG);
    let error = device.watch("locals/x", Duration::from_millis(900), &mut |_| {}, &Silent).unwrap_err();
    assert!(matches!(error, Error::NoVerdict { last: None, .. }), "{error:?}");
}

#[test]
fn a_socket_whose_owner_takes_no_connections_is_given_up() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("s");
    let kind = rustix::net::SocketType::STREAM;
    let listener = rustix::net::socket(rustix::net::AddressFamily::UNIX, kind, None).unwrap();
    rustix::net::bind(&listener, &rustix::net::SocketAddrUnix::new(&path).unwrap()).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let _only_one = UnixStream::connect(&path).unwrap();
    let settings = Settings { patience: SHORT, ..common::settings() };
    let device = Device::connect(&Address::Control(path), &settings, &Silent).unwrap();
    let error = device.state(&Silent).unwrap_err();
    assert!(matches!(error, Error::Network { action: "reach", .. }), "{error:?}");
}
