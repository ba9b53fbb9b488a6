//! One blob on its way from a registry to where it lands, over as many requests as it takes.
//!
//! Guarantees: what has arrived is not asked for again as long as the server does ranges; a server that answers with
//! other bytes than it was asked for is read from the start; attempts that bring nothing new are counted, so that no
//! mixture of failures goes on for ever.

use std::io::{ErrorKind, Read as _};

use umiak_spec::Observer;

use crate::error::Error;
use crate::image::Layer;
use crate::landing::Landing;
use crate::transport::{ATTEMPTS, Answer, Transport};
use crate::upload::header;

/// What an observer is told this is.
pub(crate) const PHASE: &str = "Fetching";

/// Answers without an error that bring nothing new, before the server is believed to have no more.
pub(crate) const FRUITLESS: u32 = 3;

/// What is fetched, from where, and who watches.
pub(crate) struct Download<'a> {
    pub transport: &'a Transport,
    pub url: &'a str,
    pub layer: &'a Layer,
    pub observer: &'a dyn Observer,
}

impl Download<'_> {
    /// Fetches what `partial` lacks; goes on after every interruption that brought something new. Returns whether all
    /// of it came in one answer.
    ///
    /// # Errors
    /// The last failure; what has arrived stays in `partial`.
    pub(crate) fn complete(&self, partial: &mut dyn Landing) -> Result<bool, Error> {
        self.observer.expect(PHASE, self.layer.size - partial.offset());
        let (mut failures, mut fruitless, mut answers) = (0, 0, u32::from(partial.offset() > 0));
        let mut furthest = partial.offset();
        while partial.offset() < self.layer.size {
            self.observer.check()?;
            let result = self.piece(partial);
            answers += 1;
            let came_further = partial.offset() > furthest;
            furthest = furthest.max(partial.offset());
            match result {
                Ok(()) if came_further => {}
                Ok(()) => {
                    fruitless += 1;
                    if fruitless >= FRUITLESS {
                        return Err(self.wrong_size(furthest));
                    }
                }
                Err(error @ Error::Network { .. }) => {
                    failures = if came_further { 1 } else { failures + 1 };
                    if failures >= ATTEMPTS {
                        return Err(error);
                    }
                    let at = partial.offset();
                    self.observer.note(&format!("the connection broke, going on at {at} bytes: {error}"));
                    self.transport.pause(failures, None, self.observer)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(answers <= 1)
    }

    /// One request for the rest, and its answer.
    fn piece(&self, partial: &mut dyn Landing) -> Result<(), Error> {
        let start = partial.offset();
        let range = format!("bytes={start}-");
        let kept = partial.validator().map(str::to_owned);
        let mut headers: Vec<(&str, &str)> = if start > 0 { vec![("Range", &range)] } else { Vec::new() };
        // Other content by now comes whole (RFC 9110 13.1.5).
        headers.extend(kept.as_deref().filter(|_| start > 0).map(|tag| ("If-Range", tag)));
        let mut answer = self.transport.get(self.url, &headers, self.observer)?;
        let validator = header(&answer, "ETag").filter(|tag| is_strong(tag)).map(str::to_owned);
        let offset = answer.headers().get("Content-Range").and_then(|value| range_start(value.to_str().ok()?));
        match answer.status().as_u16() {
            206 if offset == Some(start) => self.receive(&mut answer, partial),
            200 => {
                // All of it, from the start: nothing was asked for but that, or the server does not do ranges.
                self.begin_again(partial, validator.as_deref())?;
                self.receive(&mut answer, partial)
            }
            // Another range than was asked for, or none: the next request asks for everything.
            _ => self.begin_again(partial, None),
        }
    }

    fn begin_again(&self, partial: &mut dyn Landing, validator: Option<&str>) -> Result<(), Error> {
        if partial.offset() == 0 && partial.validator() == validator {
            return Ok(());
        }
        self.observer.expect(PHASE, partial.offset());
        partial.restart(validator).map_err(unkept)
    }

    /// Appends the body; more than the blob has is an error of the server.
    fn receive(&self, answer: &mut Answer, partial: &mut dyn Landing) -> Result<(), Error> {
        let mut reader = answer.body_mut().as_reader();
        let mut buffer = vec![0; 128 << 10];
        loop {
            self.observer.check()?;
            let count = match reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(Error::Network { action: "read from", url: self.url.to_owned(), source: error.into() });
                }
            };
            let found = partial.offset() + count as u64;
            if found > self.layer.size {
                partial.restart(None).map_err(unkept)?;
                return Err(self.wrong_size(found));
            }
            partial.write(&buffer[..count]).map_err(unkept)?;
            self.observer.advance(PHASE, count as u64);
        }
    }

    fn wrong_size(&self, found: u64) -> Error {
        Error::Size { what: format!("layer {}", self.layer.digest), expected: self.layer.size, found }
    }
}

/// What a landing said; an error of ours comes out as it went in.
fn unkept(source: std::io::Error) -> Error {
    match source.downcast() {
        Ok(error) => error,
        Err(source) => Error::Unkept { source },
    }
}

/// Whether an entity tag may stand for bytes (RFC 9110 8.8.1), and is short enough to be kept.
fn is_strong(tag: &str) -> bool {
    tag.starts_with('"') && tag.len() <= 256
}

pub(crate) fn range_start(header: &str) -> Option<u64> {
    header.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_says_where_it_starts() {
        assert_eq!(range_start("bytes 100-199/200"), Some(100));
        for wrong in ["items 1-2", "bytes */200", "bytes", ""] {
            assert_eq!(range_start(wrong), None, "{wrong}");
        }
    }
}
