//! What is sent with a request. An object is streamed, counted and hashed on its way, as often as it takes.

use std::cell::{Cell, RefCell};
use std::io::{self, Read};

use umiak_spec::{Cancelled, Digest, Observer, Sha256};

use crate::error::Error;
use crate::post::Objects;

/// What an observer is told this is.
pub(crate) const PHASE: &str = "Sending";

/// The body of a request.
#[derive(Clone, Copy)]
pub(crate) enum Body<'a> {
    Nothing,
    Json(&'a str),
    Text(&'a str),
    Load(&'a Load<'a>),
}

/// One object of ours on its way. Announces to its observer what has to be sent again.
pub(crate) struct Load<'a> {
    objects: &'a dyn Objects,
    digest: Digest,
    length: u64,
    observer: &'a dyn Observer,
    sent: Cell<u64>,
    failure: RefCell<Option<Error>>,
}

impl<'a> Load<'a> {
    pub(crate) fn new(objects: &'a dyn Objects, digest: Digest, length: u64, observer: &'a dyn Observer) -> Self {
        Self { objects, digest, length, observer, sent: Cell::new(0), failure: RefCell::new(None) }
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Reads it from its start; what went before has not arrived.
    pub(crate) fn reader(&self) -> Result<LoadReader<'_>, Error> {
        let again = self.sent.take();
        if again > 0 {
            self.observer.expect(PHASE, again);
        }
        let source = self.objects.open(&self.digest);
        let source = source.map_err(|source| Error::Unreadable { digest: self.digest, source })?;
        Ok(LoadReader { load: self, source, hash: Some(Sha256::new()) })
    }

    /// What was wrong on this side, if anything was.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.failure.take()
    }
}

/// Reads a [`Load`]: exactly its length.
pub(crate) struct LoadReader<'a> {
    load: &'a Load<'a>,
    source: Box<dyn Read + 'a>,
    hash: Option<Sha256>,
}

impl LoadReader<'_> {
    fn more(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let load = self.load;
        load.observer.check()?;
        let left = usize::try_from(load.length - load.sent.get()).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        let unreadable = |source| Error::Unreadable { digest: load.digest, source };
        let count = loop {
            match self.source.read(&mut buffer[..wanted]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(unreadable)?,
            }
        };
        if count == 0 && wanted > 0 {
            return Err(unreadable(io::ErrorKind::UnexpectedEof.into()));
        }
        if let Some(hash) = &mut self.hash {
            hash.update(&buffer[..count]);
        }
        load.sent.set(load.sent.get() + count as u64);
        load.observer.advance(PHASE, count as u64);
        if count == left {
            self.compare()?;
        }
        Ok(count)
    }

    /// The last bytes are kept back from a device when they are not those of the object.
    fn compare(&mut self) -> Result<(), Error> {
        match self.hash.take().map(Sha256::finish) {
            Some(found) if found != self.load.digest => Err(Error::Damaged { digest: self.load.digest, found }),
            _ => Ok(()),
        }
    }
}

impl Read for LoadReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.more(buffer).map_err(|error| {
            // The client would take it for a failure of the connection.
            let cancelled = matches!(error, Error::Cancelled(_));
            *self.load.failure.borrow_mut() = Some(error);
            if cancelled { Cancelled.into() } else { io::ErrorKind::InvalidInput.into() }
        })
    }
}
