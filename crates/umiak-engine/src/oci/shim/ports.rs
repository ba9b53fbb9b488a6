//! Published ports: what comes to a port of the device is passed on to the service, by one thread of the shim.
//!
//! TCP connections are carried byte by byte, each way ended when its sender ends; UDP senders get a socket each while
//! they talk. The service sees the device's address, not the sender's. Bounded: so many connections and senders at a
//! time, so many bytes for each; more wait in the kernel's queue or are dropped, as the protocol has it.

mod tcp;
mod udp;

use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use umiak_spec::service::Protocol;

use super::Forward;

/// Idle UDP senders are looked for so often.
const TICK: Duration = Duration::from_secs(10);

/// What one thing waits for.
struct Interest<'a> {
    fd: BorrowedFd<'a>,
    flags: PollFlags,
}

/// Opens the ports and passes on what comes, as long as the process lives.
///
/// # Errors
/// A port is taken, with its number.
pub(super) fn pass_on(ports: &[Forward]) -> Result<(), String> {
    if ports.is_empty() {
        return Ok(());
    }
    let mut doors = Vec::with_capacity(ports.len());
    for port in ports {
        let open = match port.protocol {
            Protocol::Tcp => TcpListener::bind(port.listen).and_then(|listener| {
                listener.set_nonblocking(true)?;
                Ok(Door::Tcp(tcp::Listener::new(listener, port.to)))
            }),
            Protocol::Udp => UdpSocket::bind(port.listen).and_then(|socket| {
                socket.set_nonblocking(true)?;
                Ok(Door::Udp(udp::Relay::new(socket, port.to)))
            }),
            Protocol::Sctp => Err(std::io::ErrorKind::Unsupported.into()),
        };
        doors.push(open.map_err(|error| format!("port {} cannot be opened: {error}", port.listen))?);
    }
    let thread = std::thread::Builder::new().name("umiak-ports".to_owned()).stack_size(128 << 10);
    thread.spawn(move || serve(doors)).map(|_| ()).map_err(|error| error.to_string())
}

enum Door {
    Tcp(tcp::Listener),
    Udp(udp::Relay),
}

impl Door {
    fn interests<'a>(&'a self, into: &mut Vec<Interest<'a>>) {
        match self {
            Self::Tcp(listener) => listener.interests(into),
            Self::Udp(relay) => relay.interests(into),
        }
    }

    fn serve(&mut self) {
        match self {
            Self::Tcp(listener) => listener.serve(),
            Self::Udp(relay) => relay.serve(),
        }
    }
}

fn serve(mut doors: Vec<Door>) {
    loop {
        let mut interests = Vec::new();
        doors.iter().for_each(|door| door.interests(&mut interests));
        let mut fds: Vec<PollFd<'_>> =
            interests.iter().map(|interest| PollFd::from_borrowed_fd(interest.fd, interest.flags)).collect();
        let tick = Timespec { tv_sec: TICK.as_secs().cast_signed(), tv_nsec: 0 };
        let _ = poll(&mut fds, Some(&tick));
        drop(fds);
        drop(interests);
        doors.iter_mut().for_each(Door::serve);
    }
}

impl<'a> Interest<'a> {
    fn new(of: &'a impl AsFd, flags: PollFlags) -> Self {
        Self { fd: of.as_fd(), flags }
    }
}
