//! What is sent with a request: a stretch of something that can be read at random, as often as it takes.

use std::cell::{Cell, RefCell};
use std::io::{self, Read};

use umiak_spec::{Observer, ReadAt};

/// What an observer is told this is.
pub(crate) const PHASE: &str = "Sending";

/// The bytes of one request. Counts what it hands out into its observer; what is handed out again, because the request
/// is made again, is announced again.
pub(crate) struct Stretch<'a> {
    content: &'a dyn ReadAt,
    offset: u64,
    length: u64,
    observer: Option<&'a dyn Observer>,
    handed_out: Cell<u64>,
    failure: RefCell<Option<io::Error>>,
}

impl<'a> Stretch<'a> {
    /// `length` bytes of `content` from `offset` on.
    pub(crate) fn of(content: &'a dyn ReadAt, offset: u64, length: u64, observer: &'a dyn Observer) -> Self {
        Self { observer: Some(observer), ..Self::unwatched(content, offset, length) }
    }

    /// All of a small document, which nobody is told about.
    pub(crate) fn document(bytes: &'a &'a [u8]) -> Self {
        Self::unwatched(bytes, 0, <[u8]>::len(bytes) as u64)
    }

    fn unwatched(content: &'a dyn ReadAt, offset: u64, length: u64) -> Self {
        let (handed_out, failure) = (Cell::default(), RefCell::default());
        Self { content, offset, length, observer: None, handed_out, failure }
    }

    /// How many bytes it is.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Reads it from its start.
    pub(crate) fn reader(&self) -> StretchReader<'_> {
        self.take_back();
        StretchReader { stretch: self }
    }

    /// Announces again what was handed out: it has not arrived.
    pub(crate) fn take_back(&self) {
        let again = self.handed_out.take();
        if let Some(observer) = self.observer.filter(|_| again > 0) {
            observer.expect(PHASE, again);
        }
    }

    /// Why reading failed here, when it was not the connection that did.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        self.failure.take()
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let position = self.handed_out.get();
        let left = usize::try_from(self.length - position).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        if let Some(observer) = self.observer {
            observer.check()?;
        }
        let offset = self.offset.checked_add(position).ok_or(io::ErrorKind::InvalidInput)?;
        self.content.read_exact_at(&mut buffer[..wanted], offset)?;
        self.handed_out.set(position + wanted as u64);
        if let Some(observer) = self.observer {
            observer.advance(PHASE, wanted as u64);
        }
        Ok(wanted)
    }
}

/// Reads a [`Stretch`].
pub(crate) struct StretchReader<'a> {
    stretch: &'a Stretch<'a>,
}

impl Read for StretchReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stretch.read(buffer).map_err(|error| {
            // The client would take it for a failure of the connection.
            let kind = error.kind();
            *self.stretch.failure.borrow_mut() = Some(error);
            kind.into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use umiak_spec::Silent;

    #[test]
    fn a_stretch_is_read_as_often_as_it_takes() {
        let content = &b"0123456789"[..];
        let stretch = Stretch::of(&content, 3, 4, &Silent);
        for _ in 0..2 {
            let mut text = String::new();
            stretch.reader().read_to_string(&mut text).unwrap();
            assert_eq!(text, "3456");
        }
        assert!(stretch.failure().is_none());
    }

    #[test]
    fn what_cannot_be_read_here_is_told_apart() {
        let content = &b"0123"[..];
        let stretch = Stretch::of(&content, 3, 4, &Silent);
        assert!(stretch.reader().read(&mut [0; 8]).is_err());
        assert_eq!(stretch.failure().unwrap().kind(), io::ErrorKind::UnexpectedEof);
    }
}
