//! One blob on its way from a registry into the cache, over as many requests as it takes.
//!
//! Guarantees: what has arrived is not asked for again as long as the server does ranges; a server that answers with
//! other bytes than it was asked for is read from the start; attempts that bring nothing new are counted, so that no
//! mixture of failures goes on for ever.

use std::io::{ErrorKind, Read as _};

use umiak_spec::Observer;

use crate::cache::Partial;
use crate::error::Error;
use crate::image::Layer;
use crate::transport::{ATTEMPTS, Answer, Transport};

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
    pub(crate) fn complete(&self, partial: &mut Partial) -> Result<bool, Error> {
        self.observer.expect(PHASE, self.layer.size - partial.length());
        let (mut failures, mut fruitless, mut answers) = (0, 0, u32::from(partial.length() > 0));
        let mut furthest = partial.length();
        while partial.length() < self.layer.size {
            self.observer.check()?;
            let result = self.piece(partial);
            answers += 1;
            let came_further = partial.length() > furthest;
            furthest = furthest.max(partial.length());
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
                    let at = partial.length();
                    self.observer.note(&format!("the connection broke, going on at {at} bytes: {error}"));
                    self.transport.pause(failures, None, self.observer)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(answers <= 1)
    }

    /// One request for the rest, and its answer.
    fn piece(&self, partial: &mut Partial) -> Result<(), Error> {
        let start = partial.length();
        let range = format!("bytes={start}-");
        let headers: &[(&str, &str)] = if start > 0 { &[("Range", &range)] } else { &[] };
        let mut answer = self.transport.get(self.url, headers, self.observer)?;
        let offset = answer.headers().get("Content-Range").and_then(|value| range_start(value.to_str().ok()?));
        match answer.status().as_u16() {
            206 if offset == Some(start) => self.receive(&mut answer, partial),
            200 => {
                // All of it, from the start: nothing was asked for but that, or the server does not do ranges.
                self.begin_again(partial)?;
                self.receive(&mut answer, partial)
            }
            // Another range than was asked for, or none: the next request asks for everything.
            _ => self.begin_again(partial),
        }
    }

    fn begin_again(&self, partial: &mut Partial) -> Result<(), Error> {
        self.observer.expect(PHASE, partial.length());
        partial.restart()
    }

    /// Appends the body; more than the blob has is an error of the server.
    fn receive(&self, answer: &mut Answer, partial: &mut Partial) -> Result<(), Error> {
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
            let found = partial.length() + count as u64;
            if found > self.layer.size {
                partial.restart()?;
                return Err(self.wrong_size(found));
            }
            partial.append(&buffer[..count])?;
            self.observer.advance(PHASE, count as u64);
        }
    }

    fn wrong_size(&self, found: u64) -> Error {
        Error::Size { what: format!("layer {}", self.layer.digest), expected: self.layer.size, found }
    }
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
