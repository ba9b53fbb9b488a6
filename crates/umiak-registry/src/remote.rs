//! A blob that is read where it is: passed on while it comes, without a copy here.
//!
//! Guarantees: whoever reads it from its start to its end gets the last bytes only when all of them together have the
//! blob's digest and length, so that what is sent on is never finished with wrong bytes; a connection that breaks is
//! opened again where it broke; what is read a second time, because sending it broke off, is fetched from there.
//! Attempts that bring nothing new are counted.

use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use umiak_spec::{Descriptor, Observer, ReadAt, Sha256};
use ureq::BodyReader;

use crate::download::{FRUITLESS, range_start};
use crate::error::Error;
use crate::transport::{ATTEMPTS, Transport};

/// One blob of a registry.
pub(crate) struct RemoteBlob<'a> {
    transport: &'a Transport,
    url: String,
    blob: Descriptor,
    observer: &'a dyn Observer,
    stream: Mutex<Stream>,
}

/// What is open, and how far it was read.
struct Stream {
    body: Option<BodyReader<'static>>,
    /// Where the next byte of `body` is.
    position: u64,
    hash: Sha256,
    /// Bytes that went into `hash`: never fewer than were handed out.
    hashed: u64,
    /// Whether the digest was compared.
    verified: bool,
    failures: u32,
    fruitless: u32,
}

impl<'a> RemoteBlob<'a> {
    /// The blob at `url`; nothing is asked for yet.
    pub(crate) fn new(transport: &'a Transport, url: String, blob: &Descriptor, observer: &'a dyn Observer) -> Self {
        let stream = Stream {
            body: None,
            position: 0,
            hash: Sha256::new(),
            hashed: 0,
            verified: false,
            failures: 0,
            fruitless: 0,
        };
        Self { transport, url, blob: blob.clone(), observer, stream: Mutex::new(stream) }
    }

    fn network(&self, source: io::Error) -> Error {
        Error::Network { action: "read from", url: self.url.clone(), source: source.into() }
    }

    fn wrong_size(&self, found: u64) -> Error {
        Error::Size { what: format!("blob {}", self.blob.digest), expected: self.blob.size, found }
    }

    /// Asks for the rest from `position` on.
    fn open(&self, stream: &mut Stream) -> Result<(), Error> {
        let start = stream.position;
        let range = format!("bytes={start}-");
        let headers: &[(&str, &str)] = if start > 0 { &[("Range", &range)] } else { &[] };
        let answer = self.transport.get(&self.url, headers, self.observer)?;
        let offset = answer.headers().get("Content-Range").and_then(|value| range_start(value.to_str().ok()?));
        match answer.status().as_u16() {
            206 if offset == Some(start) => stream.body = Some(answer.into_body().into_reader()),
            200 => {
                let mut body = answer.into_body().into_reader();
                // It does no ranges: what is known already goes by once more.
                let skipped = io::copy(&mut body.by_ref().take(start), &mut io::sink());
                if skipped.map_err(|error| self.network(error))? == start {
                    stream.body = Some(body);
                }
            }
            // Another range than was asked for, or none at all.
            _ => {}
        }
        Ok(())
    }

    /// Some bytes from `position` on.
    fn some(&self, stream: &mut Stream, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            self.observer.check()?;
            let result = match &mut stream.body {
                Some(body) => body.read(buffer).map_err(|error| self.network(error)),
                None => match self.open(stream) {
                    Ok(()) if stream.body.is_some() => continue,
                    result => result.map(|()| 0),
                },
            };
            match result {
                Ok(0) => {
                    stream.body = None;
                    stream.fruitless += 1;
                    if stream.fruitless >= FRUITLESS {
                        return Err(self.wrong_size(stream.position));
                    }
                }
                Ok(count) => {
                    (stream.failures, stream.fruitless) = (0, 0);
                    return Ok(count);
                }
                Err(error @ Error::Network { .. }) => {
                    stream.body = None;
                    stream.failures += 1;
                    if stream.failures >= ATTEMPTS {
                        return Err(error);
                    }
                    let at = stream.position;
                    self.observer.note(&format!("the connection broke, going on at {at} bytes: {error}"));
                    self.transport.pause(stream.failures, None, self.observer)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn fill(&self, stream: &mut Stream, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        if offset != stream.position {
            (stream.body, stream.position) = (None, offset);
        }
        let mut filled = 0;
        while filled < buffer.len() {
            let room = &mut buffer[filled..];
            let count = self.some(stream, room)?;
            let known = stream.hashed.saturating_sub(stream.position).min(count as u64);
            if stream.position <= stream.hashed {
                let news = &room[usize::try_from(known).unwrap_or(count)..count];
                stream.hash.update(news);
                stream.hashed += news.len() as u64;
            }
            stream.position += count as u64;
            filled += count;
        }
        if stream.position == self.blob.size && !stream.verified {
            self.verify(stream)?;
        }
        Ok(())
    }

    /// Compares what was read with what the blob is.
    fn verify(&self, stream: &mut Stream) -> Result<(), Error> {
        // Reading the end of the answer also makes the connection ready for another request.
        if let Some(mut body) = stream.body.take()
            && matches!(body.read(&mut [0]), Ok(1..))
        {
            return Err(self.wrong_size(self.blob.size + 1));
        }
        let found = stream.hash.clone().finish();
        if stream.hashed != self.blob.size || found != self.blob.digest {
            let (what, expected) = (format!("blob {}", self.blob.digest), self.blob.digest);
            return Err(Error::Digest { what, expected, found });
        }
        stream.verified = true;
        Ok(())
    }
}

impl ReadAt for RemoteBlob<'_> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.blob.size);
        end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        self.fill(&mut stream, buffer, offset).map_err(io::Error::other)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.blob.size)
    }
}
