//! One blob on its way into a registry, over as many requests as it takes.
//!
//! ```text
//! POST uploads/ --Location--> PUT everything ......................... done
//!     |  mount=…&from=… taken: done
//!                                |  broken or refused: ask how much arrived
//!                                +--> PATCH the rest, in chunks --> PUT nothing more ... done
//! ```
//!
//! Guarantees: what the registry says it has is not sent again; where it forgets an upload, a new one is begun;
//! failures that bring nothing further are counted, so that no mixture of them goes on for ever.

use umiak_spec::{Descriptor, Digest, Observer, ReadAt};
use ureq::ResponseExt as _;
use ureq::http::Method;

use crate::body::{PHASE, Stretch};
use crate::error::Error;
use crate::redirect;
use crate::sink::Stored;
use crate::transport::{ATTEMPTS, Answer, Ask, Setback, Transport};

/// Bytes of a chunk when the registry does not want more: few enough to be lost, enough to be worth a request.
const CHUNK: u64 = 8 << 20;

/// The largest least chunk that a registry may ask for.
const LARGEST_CHUNK: u64 = 1 << 30;

/// Broken connections after which a blob is no longer sent in one piece.
const WHOLE_TRIES: u32 = 2;

/// Statuses of servers and proxies that do not take a body this large, or not in this way.
const NOT_WHOLE: [u16; 5] = [405, 411, 413, 415, 501];

/// What is sent, where to, and who watches.
pub(crate) struct Upload<'a> {
    pub transport: &'a Transport,
    /// Address of the repository.
    pub base: &'a str,
    pub blob: &'a Descriptor,
    pub content: &'a dyn ReadAt,
    /// A repository of the same registry that has the blob.
    pub mount: Option<&'a str>,
    pub observer: &'a dyn Observer,
}

/// An upload that the registry knows of.
struct Session {
    location: String,
    /// Bytes that have arrived.
    offset: u64,
    chunk: u64,
}

impl Upload<'_> {
    /// Sends the blob, unless the registry takes it from where it has it.
    ///
    /// # Errors
    /// The last failure.
    pub(crate) fn complete(&self) -> Result<Stored, Error> {
        self.observer.expect(PHASE, self.blob.size);
        let (mut session, mut whole) = (None, true);
        let (mut failures, mut in_a_row, mut furthest) = (0, 0, 0);
        loop {
            let setback = match self.go_on(&mut session, whole) {
                Ok(stored) => return Ok(stored),
                Err(setback) => setback,
            };
            let refused = matches!(&*setback.error, Error::Status { status, .. } if NOT_WHOLE.contains(status));
            let forgotten = matches!(&*setback.error, Error::Status { status: 404 | 416, .. }) && session.is_some();
            if !(setback.again || forgotten || (refused && whole)) {
                return Err(*setback.error);
            }
            failures += 1;
            in_a_row += 1;
            whole = whole && !refused && failures < WHOLE_TRIES;
            let begun = session.take();
            let before = begun.as_ref().map_or(0, |session| session.offset);
            session = begun.filter(|_| !refused).and_then(|session| self.asked(&session));
            let arrived = session.as_ref().map_or(0, |session| session.offset);
            if arrived < before {
                self.observer.expect(PHASE, before - arrived);
            }
            // It may have stored everything, and only the answer was lost.
            if session.is_none() && !refused && self.is_there() {
                self.observer.advance(PHASE, self.blob.size);
                return Ok(Stored::New);
            }
            if arrived > before {
                // Sent by the request that broke, and counted again as not sent by it.
                self.observer.advance(PHASE, arrived - before);
            }
            if arrived > furthest {
                (furthest, in_a_row) = (arrived, 1);
            }
            if in_a_row >= ATTEMPTS {
                return Err(*setback.error);
            }
            if !refused {
                self.observer
                    .note(&format!("sending broke off, going on at {arrived} bytes: {}", cause(&setback.error)));
                self.transport.pause(in_a_row, setback.wait, self.observer)?;
            }
        }
    }

    /// Sends what has not arrived, until something goes wrong.
    fn go_on(&self, place: &mut Option<Session>, whole: bool) -> Result<Stored, Setback> {
        let session = match place {
            Some(session) => session,
            None => match self.begin()? {
                Some(session) => place.insert(session),
                None => {
                    self.observer.advance(PHASE, self.blob.size);
                    return Ok(Stored::Mounted);
                }
            },
        };
        if whole && session.offset == 0 {
            return self.finish(session, self.blob.size);
        }
        while session.offset < self.blob.size {
            self.patch(session)?;
        }
        self.finish(session, 0)
    }

    /// Where to send the blob; `None` when there is no need to any more.
    fn begin(&self) -> Result<Option<Session>, Setback> {
        let mount = self.mount.map(|from| format!("?mount={}&from={from}", self.blob.digest)).unwrap_or_default();
        let url = format!("{}/blobs/uploads/{mount}", self.base);
        let nothing = Stretch::document(&(&[] as &[u8]));
        let ask = Ask { method: &Method::POST, url: &url, headers: &[], body: Some(&nothing) };
        let answer = self.transport.once(ask, self.observer)?;
        // It is there now. Whoever cannot do that answers as if nothing had been said of it.
        if self.mount.is_some() && answer.status() == 201 {
            return Ok(None);
        }
        let least = header(&answer, "OCI-Chunk-Min-Length").and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let chunk = CHUNK.max(least).min(LARGEST_CHUNK);
        Ok(Some(Session { location: location(&answer, None)?, offset: 0, chunk }))
    }

    /// Sends one chunk.
    fn patch(&self, session: &mut Session) -> Result<(), Setback> {
        let length = session.chunk.min(self.blob.size - session.offset);
        let end = session.offset + length;
        let range = format!("{}-{}", session.offset, end - 1);
        let body = Stretch::of(self.content, session.offset, length, self.observer);
        let headers = [("Content-Type", "application/octet-stream"), ("Content-Range", &*range)];
        let ask = Ask { method: &Method::PATCH, url: &session.location, headers: &headers, body: Some(&body) };
        let answer = self.transport.once(ask, self.observer).inspect_err(|_| body.take_back())?;
        // It has taken the chunk: `0-0` is its first byte then.
        let arrived = arrived(&answer).filter(|arrived| *arrived > 0).unwrap_or(end);
        if arrived <= session.offset || arrived > end {
            body.take_back();
            let reason = format!("it says that it has {arrived} bytes after those up to {end} were sent");
            let error = Error::Network { action: "send to", url: session.location.clone(), source: reason.into() };
            return Err(Setback { error: error.into(), again: true, wait: None });
        }
        if arrived < end {
            self.observer.expect(PHASE, end - arrived);
        }
        session.location = location(&answer, Some(&session.location))?;
        session.offset = arrived;
        Ok(())
    }

    /// Ends the upload with its last `length` bytes: all or none.
    fn finish(&self, session: &Session, length: u64) -> Result<Stored, Setback> {
        let joint = if session.location.contains('?') { '&' } else { '?' };
        let url = format!("{}{joint}digest={}", session.location, self.blob.digest);
        let body = Stretch::of(self.content, session.offset, length, self.observer);
        let headers = [("Content-Type", "application/octet-stream")];
        let ask = Ask { method: &Method::PUT, url: &url, headers: &headers, body: Some(&body) };
        let answer = self.transport.once(ask, self.observer).inspect_err(|_| body.take_back())?;
        match header(&answer, "Docker-Content-Digest").and_then(|text| text.parse::<Digest>().ok()) {
            Some(found) if found != self.blob.digest => {
                let what = format!("what {} stored", self.base);
                Err(Error::Digest { what, expected: self.blob.digest, found }.into())
            }
            _ => Ok(Stored::New),
        }
    }

    /// Whether the registry has the blob.
    fn is_there(&self) -> bool {
        let url = format!("{}/blobs/{}", self.base, self.blob.digest);
        let ask = Ask { method: &Method::HEAD, url: &url, headers: &[], body: None };
        self.transport.once(ask, self.observer).is_ok()
    }

    /// How much of an upload has arrived; `None` when the registry does not say, and a new one has to be begun.
    fn asked(&self, session: &Session) -> Option<Session> {
        let ask = Ask { method: &Method::GET, url: &session.location, headers: &[], body: None };
        let answer = self.transport.once(ask, self.observer).ok()?;
        // None at all and one byte look the same: what would be sent behind the one must not be sent behind none.
        let offset = arrived(&answer).filter(|offset| (1..=self.blob.size).contains(offset))?;
        let location = location(&answer, Some(&session.location)).ok()?;
        Some(Session { location, offset, chunk: session.chunk })
    }
}

/// What broke the connection: that it was this one is known.
fn cause(error: &Error) -> String {
    match error {
        Error::Network { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

/// Where an upload goes on. Redirects to it are followed as any other, which is: never from https to http.
fn location(answer: &Answer, before: Option<&str>) -> Result<String, Error> {
    let from = answer.get_uri().to_string();
    let reason = match (header(answer, "Location"), before) {
        (Some(to), _) => match redirect::follow(&from, to) {
            Some(to) => return Ok(to),
            None => format!("it wants the blob sent to {}", to.chars().take(200).collect::<String>()),
        },
        (None, Some(before)) => return Ok(before.to_owned()),
        (None, None) => "it does not say where to send the blob".to_owned(),
    };
    Err(Error::Network { action: "send to", url: from, source: reason.into() })
}

/// Bytes that have arrived, by the header `Range: 0-<last>`. Nothing at all looks like one byte: `0-0` says both, and is
/// taken for none.
fn arrived(answer: &Answer) -> Option<u64> {
    range_end(header(answer, "Range")?)
}

fn range_end(text: &str) -> Option<u64> {
    let (start, last) = text.trim().trim_start_matches("bytes=").split_once('-')?;
    let last: u64 = last.trim().parse().ok()?;
    match (start.trim().parse::<u64>().ok()?, last) {
        (0, 0) => Some(0),
        (0, last) => last.checked_add(1),
        _ => None,
    }
}

pub(crate) fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers().get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_says_how_much_has_arrived() {
        for (text, end) in [("0-99", Some(100)), ("bytes=0-99", Some(100)), ("0-0", Some(0)), (" 0-7 ", Some(8))] {
            assert_eq!(range_end(text), end, "{text}");
        }
        for wrong in ["", "-", "5-9", "0-", "0--1", "0-18446744073709551615"] {
            assert_eq!(range_end(wrong), None, "{wrong}");
        }
    }
}
