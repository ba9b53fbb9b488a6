//! An object that is read from a device, and read on after the connection was cut.
//!
//! Guarantee: the bytes come in order, each once, whether a server can begin in the middle (206) or not (then what is known
//! already is read past). Their digest is for whoever takes them to compare.

use std::io::{self, Read};
use std::time::Duration;

use umiak_spec::Observer;

use super::{ATTEMPTS, Answer, Ask, Client, Time, header};
use crate::clock::wait;
use crate::error::Error;

/// Bytes that are read past at a time.
const BUFFER: usize = 64 << 10;

/// Where an object is; asked again after each cut, since an address may be good for a while only.
pub(crate) type Whereabouts<'a> = dyn Fn(&dyn Observer) -> Result<String, Error> + 'a;

/// The bytes of an object. Errors are those of [`Error`], inside of an `io::Error`.
pub struct Download<'a> {
    client: &'a Client,
    place: Box<Whereabouts<'a>>,
    observer: &'a dyn Observer,
    body: Option<Box<dyn Read + 'a>>,
    length: Option<u64>,
    position: u64,
    failures: u32,
}

impl<'a> Download<'a> {
    pub(crate) fn open(
        client: &'a Client,
        place: Box<Whereabouts<'a>>,
        observer: &'a dyn Observer,
    ) -> Result<Self, Error> {
        let mut download = Self { client, place, observer, body: None, length: None, position: 0, failures: 0 };
        download.connect()?;
        Ok(download)
    }

    /// How many bytes there are, if the device told.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    fn connect(&mut self) -> Result<(), Error> {
        let url = (self.place)(self.observer)?;
        let ask = Ask { from: self.position, time: Time::Object, ..Ask::get(&url) };
        // 416: what is there is shorter than what we have of it. The next reading ends, and the digest will tell.
        let answer = self.client.ask(ask, &[416], self.observer)?;
        let status = answer.status().as_u16();
        if status == 416 {
            self.length = Some(self.position);
            self.body = Some(Box::new(io::empty()));
            return Ok(());
        }
        let past = if status == 206 && begins(&answer) == Some(self.position) { 0 } else { self.position };
        if self.position == 0 {
            self.length = answer.body().content_length();
        }
        let mut body = answer.into_body().into_reader();
        self.pass_over(&mut body.by_ref().take(past), past)?;
        self.body = Some(Box::new(body));
        Ok(())
    }

    /// Reads past `left` bytes that are known.
    fn pass_over(&self, body: &mut dyn Read, mut left: u64) -> Result<(), Error> {
        let mut buffer = vec![0; BUFFER];
        while left > 0 {
            self.observer.check()?;
            match body.read(&mut buffer) {
                Ok(0) => return Err(self.broken(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => left = left.saturating_sub(count as u64),
                Err(error) => return Err(self.broken(error)),
            }
        }
        Ok(())
    }

    /// Notes a cut, and waits a little; fails when there were too many without a byte between them.
    fn cut(&mut self, error: Error) -> Result<(), Error> {
        self.body = None;
        self.failures += 1;
        if self.failures >= ATTEMPTS || !error.is_connection() {
            return Err(error);
        }
        Ok(wait(&*self.client.clock, Duration::from_secs(1 << (self.failures - 1)), self.observer)?)
    }

    fn more(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            self.observer.check()?;
            let error = match &mut self.body {
                None => match self.connect() {
                    Ok(()) => continue,
                    Err(error) => error,
                },
                Some(body) => match body.read(buffer) {
                    Ok(0) if self.length.is_some_and(|length| self.position < length) => {
                        self.broken(io::ErrorKind::UnexpectedEof.into())
                    }
                    Ok(count) => {
                        self.position += count as u64;
                        self.failures = if count > 0 { 0 } else { self.failures };
                        return Ok(count);
                    }
                    Err(error) => self.broken(error),
                },
            };
            self.cut(error)?;
        }
    }

    fn broken(&self, source: io::Error) -> Error {
        Error::Network { action: "read from", place: self.client.place.clone(), source: source.into() }
    }
}

/// The first byte of a part, from `Content-Range: bytes 5-9/10`.
fn begins(answer: &Answer) -> Option<u64> {
    header(answer, "Content-Range")?.trim().strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

impl Read for Download<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.more(buffer).map_err(|error| match error {
            Error::Cancelled(cancelled) => cancelled.into(),
            error => io::Error::other(error),
        })
    }
}
