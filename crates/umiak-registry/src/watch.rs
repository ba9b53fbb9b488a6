//! Reading that somebody watches and may end.

use std::io::{self, Read};

use umiak_spec::Observer;

/// A reader that counts into an observer, and fails once the work should stop.
pub(crate) struct Watched<'a, R> {
    inner: R,
    observer: &'a dyn Observer,
    phase: Option<&'static str>,
}

impl<'a, R: Read> Watched<'a, R> {
    /// Announces `length` bytes of `phase`, which are expected to be read to the end.
    pub(crate) fn counted(inner: R, length: u64, phase: &'static str, observer: &'a dyn Observer) -> Self {
        observer.expect(phase, length);
        Self { inner, observer, phase: Some(phase) }
    }

    /// Only listens for the request to stop.
    pub(crate) fn stoppable(inner: R, observer: &'a dyn Observer) -> Self {
        Self { inner, observer, phase: None }
    }
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.observer.check()?;
        let count = self.inner.read(buffer)?;
        if let Some(phase) = self.phase {
            self.observer.advance(phase, count as u64);
        }
        Ok(count)
    }
}
