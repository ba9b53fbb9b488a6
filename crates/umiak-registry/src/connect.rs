//! TCP connections for HTTP that keep to a [`Flow`], and to how far a server may be ahead of who reads.
//!
//! ureq's own connections know neither. The traits for bringing others are outside of what ureq promises to keep: the
//! lock file names the release that this was written for. Guarantees: bytes are counted as they come and go, with what
//! HTTP and TLS add to them; a server's silence is timed without the time that was spent waiting for the flow.

use std::fmt;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, ShutdownHandle, Transport,
};
use ureq::{Error, Timeout};

use crate::flow::{Flow, Way};

/// Makes connections.
pub(crate) struct Wires {
    pub flow: Arc<Flow>,
    /// Bytes that a server may send ahead; `None`: the system decides.
    pub window: Option<usize>,
}

/// One connection.
pub(crate) struct Wire {
    stream: Arc<Socket>,
    buffers: LazyBuffers,
    flow: Arc<Flow>,
}

struct Socket(TcpStream);

impl ShutdownHandle for Socket {
    fn shutdown(&self) {
        // It is shut already otherwise.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

impl fmt::Debug for Wires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wires").field("window", &self.window).finish_non_exhaustive()
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("peer", &self.stream.0.peer_addr().ok()).finish_non_exhaustive()
    }
}

impl<In: Transport> Connector<In> for Wires {
    type Out = Either<In, Wire>;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        // A proxy's connection was made by this, too.
        if let Some(there) = chained {
            return Ok(Some(Either::A(there)));
        }
        let stream = self.open(details)?;
        stream.set_nodelay(details.config.no_delay())?;
        if let Some(window) = self.window {
            // What cannot be set costs at most some bytes that are fetched twice.
            let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&stream, window);
        }
        let stream = Arc::new(Socket(stream));
        let shared = Arc::downgrade(&stream);
        let handle: Weak<dyn ShutdownHandle> = shared;
        (details.register_shutdown)(handle)?;
        let (input, output) = (details.config.input_buffer_size(), details.config.output_buffer_size());
        let buffers = LazyBuffers::new(input, output);
        Ok(Some(Either::B(Wire { stream, buffers, flow: Arc::clone(&self.flow) })))
    }
}

impl Wires {
    /// Tries each address of the name, and gives each its part of the time.
    fn open(&self, details: &ConnectionDetails<'_>) -> Result<TcpStream, Error> {
        let mut failure = Error::ConnectionFailed;
        let count = u32::try_from(details.addrs.len()).unwrap_or(1).max(1);
        let each = details.timeout.not_zero().map(|time| *time / count);
        for address in details.addrs.iter() {
            let opened = match each {
                Some(time) => TcpStream::connect_timeout(address, time.max(Duration::from_millis(10))),
                None => TcpStream::connect(address),
            };
            match opened {
                Ok(stream) => return Ok(stream),
                Err(error) if is_timeout(&error) => failure = Error::Timeout(Timeout::Connect),
                Err(error) => failure = error.into(),
            }
        }
        Err(failure)
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
}

impl Wire {
    fn failed(error: std::io::Error, reason: Timeout) -> Error {
        if is_timeout(&error) { Error::Timeout(reason) } else { error.into() }
    }
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let timeout = timeout.for_write();
        self.stream.0.set_write_timeout(timeout.not_zero().map(|time| *time))?;
        let mut left = &self.buffers.output()[..amount];
        while !left.is_empty() {
            let granted = self.flow.pass(Way::Out, left.len());
            let (now, later) = left.split_at(granted);
            (&self.stream.0).write_all(now).map_err(|error| Self::failed(error, timeout.reason))?;
            left = later;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = timeout.for_read();
        self.stream.0.set_read_timeout(timeout.not_zero().map(|time| *time))?;
        let room = self.buffers.input_append_buf();
        let granted = self.flow.pass(Way::In, room.len());
        let result = loop {
            match (&self.stream.0).read(&mut room[..granted]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        let came = result.as_ref().map_or(0, |count| *count);
        self.flow.give_back(Way::In, granted - came);
        let came = result.map_err(|error| Self::failed(error, timeout.reason))?;
        self.buffers.input_appended(came);
        Ok(came > 0)
    }

    fn is_open(&mut self) -> bool {
        let stream = &self.stream.0;
        // Bytes that nobody asked for, the end and errors alike mean that it is of no more use.
        let idle = stream.set_nonblocking(true).is_ok()
            && matches!((&*stream).read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
        idle && stream.set_nonblocking(false).is_ok()
    }
}
