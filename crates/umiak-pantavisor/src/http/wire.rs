//! Connections to devices: TCP, or a Unix socket; and an answer that comes while we still send.
//!
//! A device that does not want an object says so at once (507, 422) and closes; whoever only writes sees a broken pipe
//! and never the answer. Here a pipe that breaks is remembered, what is left to send goes nowhere, and the answer is
//! read; if there is none, the broken pipe is the failure after all.
//!
//! The traits for connections of our own are outside of what ureq promises to keep: the lock file names the release that
//! this was written for.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::net::sockopt::{Timeout as Waiting, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, ShutdownHandle, Transport,
};
use ureq::{Error, Timeout};

/// What addresses on a control socket begin with: it takes no other host.
pub(crate) const SOCKET_HOST: &str = "http://localhost";

/// Makes connections: all to one socket, or to where the address says.
#[derive(Debug)]
pub(crate) struct Wires {
    pub socket: Option<PathBuf>,
}

/// One connection.
pub(crate) struct Wire {
    stream: Arc<Stream>,
    buffers: LazyBuffers,
    /// Why nothing more can be sent.
    broken: Option<io::Error>,
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn limit_reads(&self, time: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(time),
            Self::Unix(stream) => stream.set_read_timeout(time),
        }
    }

    fn limit_writes(&self, time: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_write_timeout(time),
            Self::Unix(stream) => stream.set_write_timeout(time),
        }
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let result = match self {
                Self::Tcp(stream) => (&mut &*stream).read(buffer),
                Self::Unix(stream) => (&mut &*stream).read(buffer),
            };
            match result {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => (&mut &*stream).write_all(bytes),
            Self::Unix(stream) => (&mut &*stream).write_all(bytes),
        }
    }

    fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nonblocking(on),
            Self::Unix(stream) => stream.set_nonblocking(on),
        }
    }
}

impl ShutdownHandle for Stream {
    fn shutdown(&self) {
        // It is shut already otherwise.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("broken", &self.broken).finish_non_exhaustive()
    }
}

impl<In: Transport> Connector<In> for Wires {
    type Out = Either<In, Wire>;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        if let Some(there) = chained {
            return Ok(Some(Either::A(there)));
        }
        let stream = match &self.socket {
            Some(path) => Stream::Unix(knock(path, details).map_err(|error| failed(error, Timeout::Connect))?),
            None => Stream::Tcp(reach(details)?),
        };
        let stream = Arc::new(stream);
        let shared = Arc::downgrade(&stream);
        let handle: Weak<dyn ShutdownHandle> = shared;
        (details.register_shutdown)(handle)?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(Wire { stream, buffers, broken: None })))
    }
}

/// Connects to a socket. One whose owner takes no connections has a queue that fills up: that is waited for no longer than
/// anything else.
fn knock(path: &Path, details: &ConnectionDetails<'_>) -> io::Result<UnixStream> {
    let time = details.timeout.not_zero().map(|time| *time);
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // For a Unix socket the kernel takes the limit of writing for connecting, too.
    set_socket_timeout(&socket, Waiting::Send, time)?;
    let address = SocketAddrUnix::new(path)?;
    rustix::io::retry_on_intr(|| connect(&socket, &address))?;
    Ok(UnixStream::from(socket))
}

/// Tries each address of the name, and gives each its part of the time.
fn reach(details: &ConnectionDetails<'_>) -> Result<TcpStream, Error> {
    let mut failure = Error::ConnectionFailed;
    let count = u32::try_from(details.addrs.len()).unwrap_or(1).max(1);
    let each = details.timeout.not_zero().map(|time| *time / count);
    for address in details.addrs.iter() {
        let opened = match each {
            Some(time) => TcpStream::connect_timeout(address, time.max(Duration::from_millis(10))),
            None => TcpStream::connect(address),
        };
        match opened {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => failure = failed(error, Timeout::Connect),
        }
    }
    Err(failure)
}

fn failed(error: io::Error, reason: Timeout) -> Error {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Error::Timeout(reason),
        _ => error.into(),
    }
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if self.broken.is_some() {
            return Ok(());
        }
        let timeout = timeout.for_write();
        self.stream.limit_writes(timeout.not_zero().map(|time| *time))?;
        match self.stream.write_all(&self.buffers.output()[..amount]) {
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                self.broken = Some(error);
                Ok(())
            }
            other => other.map_err(|error| failed(error, timeout.reason)),
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = timeout.for_read();
        self.stream.limit_reads(timeout.not_zero().map(|time| *time))?;
        let result = self.stream.read(self.buffers.input_append_buf());
        let count = match (result, self.broken.take()) {
            (Ok(0) | Err(_), Some(broken)) => return Err(broken.into()),
            (Ok(count), broken) => {
                self.broken = broken;
                count
            }
            (Err(error), None) => return Err(failed(error, timeout.reason)),
        };
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        // Bytes that nobody asked for, the end and errors alike mean that it is of no more use.
        let idle = self.broken.is_none()
            && self.stream.set_nonblocking(true).is_ok()
            && matches!(self.stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
        idle && self.stream.set_nonblocking(false).is_ok()
    }
}

/// Names of hosts become addresses, but not for a socket: it needs none, and a device may have nobody to ask.
#[derive(Debug)]
pub(crate) enum NoNames {
    Needed(DefaultResolver),
    Socket,
}

impl NoNames {
    pub(crate) fn unless(needed: bool) -> Self {
        if needed { Self::Needed(DefaultResolver::default()) } else { Self::Socket }
    }
}

impl Resolver for NoNames {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        match self {
            Self::Needed(resolver) => resolver.resolve(uri, config, timeout),
            Self::Socket => {
                let mut addresses = self.empty();
                addresses.push(SocketAddr::from((Ipv4Addr::LOCALHOST, 80)));
                Ok(addresses)
            }
        }
    }
}
